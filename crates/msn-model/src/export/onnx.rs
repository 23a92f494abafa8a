//! The encoder as an ONNX graph.

use msn_store::StateDict;
use msn_store::onnx::{Attribute, Graph, Model, Size};

use super::LinearHead;
use crate::{EncoderConfig, LAYER_NORM_EPS};

/// Version of the operations: the first with layer norm. (GELU is one only from version 20 on.)
const OPSET: i64 = 17;

/// The encoder for any number of images, with weights of its own and, if there is one, the head.
///
/// Input `pixel_values` [batch, 3, size, size], normalised. Outputs `last_hidden_state` [batch, 1 + N, D], all tokens
/// after the final norm, [CLS] first; `features` [batch, D], the [CLS] before that norm, which the evaluations of msn
/// read; with a head `logits` [batch, C]. `about` are texts that the file keeps.
///
/// # Panics
/// If `weights` are not those of the architecture.
pub fn onnx(
    config: &EncoderConfig,
    weights: &StateDict,
    head: Option<&LinearHead>,
    about: &[(&str, String)],
) -> Model {
    let mut builder = Builder { graph: Graph::new("encoder"), weights };
    let &EncoderConfig { image_size, dim, depth, heads, .. } = config;
    let places = 1 + config.grid(image_size).pow(2);
    let batch = Size::Free("batch");
    builder
        .graph
        .input("pixel_values", &[batch, Size::Fixed(3), Size::Fixed(image_size), Size::Fixed(image_size)]);
    let mut x = builder.embed(config);
    for block in 0..depth {
        x = builder.block(block, &x, dim, heads);
    }
    let first = builder.graph.ints("cls_place", &[], &[0]);
    let one = ("axis", Attribute::Int(1));
    builder.graph.node("features", "Gather", &[&x, &first], std::slice::from_ref(&one));
    let normed = builder.layer_norm("last_hidden_state", "norm", &x);
    builder.graph.output("last_hidden_state", &[batch, Size::Fixed(places), Size::Fixed(dim)]);
    builder.graph.output("features", &[batch, Size::Fixed(dim)]);
    if let Some(head) = head {
        let cls = builder.graph.node("cls", "Gather", &[&normed, &first], &[one]);
        let classes = head.classes.len();
        let weight =
            builder.graph.floats("head.weight", &[dim, classes], &transposed(&head.weight.data, dim));
        let product = builder.graph.node("head/product", "MatMul", &[&cls, &weight], &[]);
        let bias = builder.graph.floats("head.bias", &[classes], &head.bias.data);
        builder.graph.node("logits", "Add", &[&product, &bias], &[]);
        builder.graph.output("logits", &[batch, Size::Fixed(classes)]);
    }
    builder.graph.model(OPSET, about)
}

struct Builder<'a> {
    graph: Graph,
    weights: &'a StateDict,
}

impl Builder<'_> {
    /// Tokens with their positions: [batch, 1 + N, D].
    fn embed(&mut self, config: &EncoderConfig) -> String {
        let &EncoderConfig { image_size, patch_size, dim, .. } = config;
        let patches = config.grid(image_size).pow(2) as i64;
        let (kernel, bias) = (self.weight("patch_embed.proj.weight"), self.weight("patch_embed.proj.bias"));
        let side = Attribute::Ints(vec![patch_size as i64; 2]);
        let sides = [("kernel_shape", side.clone()), ("strides", side)];
        let grid = self.graph.node("patch_embed/grid", "Conv", &["pixel_values", &kernel, &bias], &sides);
        // 0 keeps a dimension as it is.
        let flat = self.graph.ints("patch_embed/shape", &[3], &[0, dim as i64, patches]);
        let flat = self.graph.node("patch_embed/flat", "Reshape", &[&grid, &flat], &[]);
        let order = [("perm", Attribute::Ints(vec![0, 2, 1]))];
        let tokens = self.graph.node("patch_embed/tokens", "Transpose", &[&flat], &order);

        let range = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
        let batch = self.graph.node("batch", "Shape", &["pixel_values"], &range);
        let rest = self.graph.ints("cls_token/shape", &[2], &[1, dim as i64]);
        let axis = |axis| [("axis", Attribute::Int(axis))];
        let shape = self.graph.node("cls_token/whole_shape", "Concat", &[&batch, &rest], &axis(0));
        let cls = self.weight("cls_token");
        let cls = self.graph.node("cls_token/expanded", "Expand", &[&cls, &shape], &[]);
        let tokens = self.graph.node("tokens", "Concat", &[&cls, &tokens], &axis(1));
        let positions = self.weight("pos_embed");
        self.graph.node("embedded", "Add", &[&tokens, &positions], &[])
    }

    /// x: [batch, T, D] -> [batch, T, D]
    fn block(&mut self, index: usize, x: &str, dim: usize, heads: usize) -> String {
        let at = format!("blocks.{index}");
        let normed = self.layer_norm(&format!("{at}/norm1"), &format!("{at}.norm1"), x);
        let attended = self.attention(&at, &normed, dim, heads);
        let x = self.graph.node(&format!("{at}/attended"), "Add", &[x, &attended], &[]);
        let normed = self.layer_norm(&format!("{at}/norm2"), &format!("{at}.norm2"), &x);
        let hidden = self.linear(&format!("{at}.mlp.fc1"), &normed);
        let hidden = self.gelu(&format!("{at}/gelu"), &hidden);
        let branch = self.linear(&format!("{at}.mlp.fc2"), &hidden);
        self.graph.node(&format!("{at}/out"), "Add", &[&x, &branch], &[])
    }

    /// softmax(q k^T / sqrt(d)) v, head by head, then the projection. x: [batch, T, D] -> [batch, T, D]
    fn attention(&mut self, at: &str, x: &str, dim: usize, heads: usize) -> String {
        let name = |part: &str| format!("{at}/attn/{part}");
        let width = dim / heads;
        let order = |order: &[i64]| [("perm", Attribute::Ints(order.to_vec()))];
        let qkv = self.linear(&format!("{at}.attn.qkv"), x);
        let split = self.graph.ints(&name("shape"), &[5], &[0, 0, 3, heads as i64, width as i64]);
        let split = self.graph.node(&name("split"), "Reshape", &[&qkv, &split], &[]);
        // [3, batch, H, T, d]
        let split = self.graph.node(&name("by_head"), "Transpose", &[&split], &order(&[2, 0, 3, 1, 4]));
        let [q, k, v] = ["q", "k", "v"].map(|part| {
            let place = ["q", "k", "v"].iter().position(|other| *other == part).expect("one of them") as i64;
            let place = self.graph.ints(&name(&format!("place_{part}")), &[], &[place]);
            self.graph.node(&name(part), "Gather", &[&split, &place], &[("axis", Attribute::Int(0))])
        });
        let k = self.graph.node(&name("k_transposed"), "Transpose", &[&k], &order(&[0, 1, 3, 2]));
        let scores = self.graph.node(&name("scores"), "MatMul", &[&q, &k], &[]);
        let scale = self.graph.floats(&name("scale"), &[], &[(1.0 / (width as f64).sqrt()) as f32]);
        let scores = self.graph.node(&name("scaled"), "Mul", &[&scores, &scale], &[]);
        let weights =
            self.graph.node(&name("weights"), "Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let attended = self.graph.node(&name("by_head_attended"), "MatMul", &[&weights, &v], &[]);
        let attended = self.graph.node(&name("merged"), "Transpose", &[&attended], &order(&[0, 2, 1, 3]));
        let merged = self.graph.ints(&name("merged_shape"), &[3], &[0, 0, dim as i64]);
        let attended = self.graph.node(&name("attended"), "Reshape", &[&attended, &merged], &[]);
        self.linear(&format!("{at}.attn.proj"), &attended)
    }

    /// x W^T + b with the weights of the layer `name`.
    fn linear(&mut self, name: &str, x: &str) -> String {
        let weight = &self.weights[&format!("{name}.weight")];
        let &[outputs, inputs] = weight.shape.as_slice() else { panic!("{name}: shape {:?}", weight.shape) };
        let weight = transposed(&weight.data, inputs);
        let weight = self.graph.floats(&format!("{name}.weight"), &[inputs, outputs], &weight);
        let product = self.graph.node(&format!("{name}/product"), "MatMul", &[x, &weight], &[]);
        let bias = self.weight(&format!("{name}.bias"));
        self.graph.node(&format!("{name}/out"), "Add", &[&product, &bias], &[])
    }

    fn layer_norm(&mut self, out: &str, name: &str, x: &str) -> String {
        let (scale, bias) = (self.weight(&format!("{name}.weight")), self.weight(&format!("{name}.bias")));
        let settings = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LAYER_NORM_EPS as f32))];
        self.graph.node(out, "LayerNormalization", &[x, &scale, &bias], &settings)
    }

    /// x (1 + erf(x / sqrt(2))) / 2
    fn gelu(&mut self, at: &str, x: &str) -> String {
        let name = |part: &str| format!("{at}/{part}");
        let [root, one, half] = [("root", std::f32::consts::FRAC_1_SQRT_2), ("one", 1.0), ("half", 0.5)]
            .map(|(part, value)| self.graph.floats(&name(part), &[], &[value]));
        let scaled = self.graph.node(&name("scaled"), "Mul", &[x, &root], &[]);
        let erf = self.graph.node(&name("erf"), "Erf", &[&scaled], &[]);
        let share = self.graph.node(&name("share"), "Add", &[&erf, &one], &[]);
        let product = self.graph.node(&name("product"), "Mul", &[x, &share], &[]);
        self.graph.node(at, "Mul", &[&product, &half], &[])
    }

    /// A tensor of the encoder as it is; its name.
    fn weight(&mut self, name: &str) -> String {
        let array = &self.weights[name];
        self.graph.floats(name, &array.shape, &array.data)
    }
}

/// [rows, columns] -> [columns, rows], both row-major.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}
