//! The encoder against reference values and against its own plain forms.

use crate::common::{gradients_of, host};
use burn::tensor::{Device, Tensor, TensorData};
use msn_golden::{Case, relative_error};
use msn_model::{
    Array, Encoder, EncoderConfig, Features, Path, Precision, StateDict, StochasticDepth, View, device_named,
    load_state, state_dict,
};

/// Outputs and gradients are within this of the largest element of the reference: f32 carries 6e-8 a rounding,
/// and some hundred roundings of a few blocks add up to under 1e-5.
const TOLERANCE: f64 = 2e-5;

/// The same where products round their operands to bf16, which keeps 8 bits: an error of up to 2^-9, 1.1e-3 in the
/// root mean square. A sum of products has the relative error of its terms, and independent errors add in squares.
/// Between input and output lie six products of two operands a block: over the four blocks of the deepest case
/// sqrt(4 * 6 * 2) * 1.1e-3 = 8e-3, and for gradients, whose way back has two products for each, sqrt(3) times as much.
/// Measured: 9.6e-3 and 1.5e-2. The bounds are twice that.
const BF16_OUTPUTS: f64 = 2e-2;
const BF16_GRADIENTS: f64 = 3e-2;

/// Bounds of outputs and gradients.
#[derive(Clone, Copy)]
struct Tolerance {
    outputs: f64,
    gradients: f64,
}

const F32: Tolerance = Tolerance { outputs: TOLERANCE, gradients: TOLERANCE };

/// Every way to compute blocks, with its tolerance.
const PATHS: [(Path, Tolerance); 3] = [
    (Path::Plain, F32),
    (Path::Kernels(Precision::F32), F32),
    (Path::Kernels(Precision::Bf16), Tolerance { outputs: BF16_OUTPUTS, gradients: BF16_GRADIENTS }),
];

fn with_paths(cases: Vec<Case>) -> impl Iterator<Item = (Case, (Path, Tolerance))> {
    cases.into_iter().flat_map(|case| PATHS.map(|path| (case.clone(), path)))
}

fn config(case: &Case) -> EncoderConfig {
    EncoderConfig {
        variant: String::new(),
        image_size: case.usize("image_size"),
        patch_size: case.usize("patch_size"),
        dim: case.usize("dim"),
        depth: case.usize("depth"),
        heads: case.usize("heads"),
        ..Default::default()
    }
}

fn encoder(case: &Case, device: &Device) -> Encoder {
    let array = |array: msn_golden::Array| Array { shape: array.shape, data: array.data };
    let weights: StateDict = case.with_prefix("model.").into_iter().map(|(k, v)| (k, array(v))).collect();
    load_state(config(case).init(None, 0, device).expect("valid"), weights).expect("the case's weights fit")
}

fn view(case: &Case, input: &str, size: usize, keep: Option<&[Vec<u32>]>, device: &Device) -> View {
    let pixels = case.tensor(input);
    View::new(&pixels.data, pixels.shape[0], size, case.usize("patch_size"), keep, device)
}

fn kept(case: &Case) -> Vec<u32> {
    case.tensor("input.keep").data.iter().map(|&place| place as u32).collect()
}

/// Where the reference values are compared: on any device, kernels there or not.
fn device() -> Device {
    device_named(&msn_golden::device_name()).expect("compiled in")
}

#[test]
fn golden_encoder_outputs_agree() {
    let device = device();
    for (case, (path, tolerance)) in with_paths(msn_golden::cases("encoder")) {
        let encoder = Encoder { path, ..encoder(&case, &device) };
        let size = case.usize("image_size");
        let masked = [kept(&case)];
        let views = [
            ("output.cls", view(&case, "input.image", size, None, &device)),
            ("output.cls_masked", view(&case, "input.image", size, Some(&masked), &device)),
            ("output.cls_focal", view(&case, "input.focal", case.usize("focal_size"), None, &device)),
        ];
        let all = views.each_ref().map(|(_, view)| view.clone());
        let packed = host(encoder.features(&all, Features::AfterNorm));
        let mut rows = packed.chunks_exact(packed.len() / 3);
        for (output, view) in views {
            let expected = &case.tensor(output).data;
            let alone = host(encoder.features(&[view], Features::AfterNorm));
            for (how, found) in [("alone", &alone[..]), ("packed", rows.next().expect("three views"))] {
                let error = relative_error(found, expected);
                let name = &case.name;
                assert!(
                    error < tolerance.outputs,
                    "{name} {path:?}: {output} {how}: relative error {error:.1e}"
                );
            }
        }
    }
}

#[test]
fn golden_encoder_gradients_agree() {
    let device = device().autodiff();
    for (case, (path, tolerance)) in with_paths(msn_golden::cases("encoder")) {
        let encoder = Encoder { path, ..encoder(&case, &device) };
        let view = view(&case, "input.image", case.usize("image_size"), Some(&[kept(&case)]), &device);
        let cotangent = case.tensor("input.cotangent");
        let shape = [cotangent.shape[0], cotangent.shape[1]];
        let cotangent = Tensor::<2>::from_data(TensorData::new(cotangent.data.clone(), shape), &device);
        let output = encoder.norm.forward(encoder.forward(&[view], None));
        let gradients = gradients(&encoder, (output * cotangent).sum());
        let expected = case.with_prefix("grad.");
        assert_eq!(gradients.len(), expected.len(), "{}: number of gradients", case.name);
        for (name, expected) in expected {
            let error = relative_error(&gradients[&name].data, &expected.data);
            let case = &case.name;
            assert!(
                error < tolerance.gradients,
                "{case} {path:?}: gradient of {name}: relative error {error:.1e}"
            );
        }
    }
}

fn gradients(encoder: &Encoder, loss: Tensor<1>) -> StateDict {
    let found = gradients_of(encoder, loss.backward());
    assert_eq!(found.len(), state_dict(encoder).len(), "every parameter has a gradient");
    found
}

/// A small encoder, and views of three images for it: large ones with a mask each, with one mask for all and with none,
/// and a focal one.
fn small(device: &Device) -> (Encoder, Vec<View>) {
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 24,
        patch_size: 4,
        dim: 32,
        depth: 3,
        heads: 2,
        ..Default::default()
    };
    let pixels =
        |count: usize| (0..count).map(|i| ((i * 7919 % 1013) as f32 / 506.5) - 1.0).collect::<Vec<_>>();
    let masks = [vec![0, 5, 17, 35], vec![1, 2, 3, 4], vec![30, 31, 33, 34]];
    let large = pixels(3 * 3 * 24 * 24);
    let views = vec![
        View::new(&large, 3, 24, 4, Some(&masks), device),
        View::new(&pixels(3 * 3 * 12 * 12), 3, 12, 4, None, device),
        View::new(&large, 3, 24, 4, Some(&masks[..1]), device),
        View::new(&large, 3, 24, 4, None, device),
    ];
    (config.init(None, 5, device).expect("valid"), views)
}

/// Dropped branches for the twelve sequences of [`small`].
fn stochastic_depth() -> StochasticDepth {
    let seeds: [[u8; 32]; 12] = std::array::from_fn(|sequence| [sequence as u8; 32]);
    StochasticDepth::draw(0.4, 3, &seeds).expect("something to drop")
}

#[test]
fn the_cls_only_last_block_equals_the_whole_one() {
    let device = Device::flex().autodiff();
    let (encoder, views) = small(&device);
    let depth = stochastic_depth();
    let paths = [Path::Plain, Path::Kernels(Precision::F32)];
    for (path, depth) in paths.into_iter().flat_map(|path| [(path, None), (path, Some(&depth))]) {
        let encoder = Encoder { path, ..encoder.clone() };
        let short = encoder.forward(&views, depth);
        let whole = encoder.forward_whole(&views, depth);
        let error = relative_error(&host(short.clone()), &host(whole.clone()));
        // The same sums in another order: a few roundings of 6e-8.
        assert!(error < 2e-6, "{error:.1e}");
        let (short, whole) = (gradients_of_cls(&encoder, short), gradients_of_cls(&encoder, whole));
        assert_gradients_agree(&short, &whole, TOLERANCE, path);
    }
}

/// All of the gradients, and exactly zero where they are expected to be.
fn assert_gradients_agree(found: &StateDict, expected: &StateDict, tolerance: f64, path: Path) {
    for (name, expected) in expected {
        let found = &found[name].data;
        if expected.data.iter().all(|gradient| *gradient == 0.0) {
            assert!(found.iter().all(|gradient| *gradient == 0.0), "{path:?}: {name}: not zero");
        } else {
            let error = relative_error(found, &expected.data);
            assert!(error < tolerance, "{path:?}: {name}: {error:.1e}");
        }
    }
}

fn gradients_of_cls(encoder: &Encoder, cls: Tensor<2>) -> StateDict {
    // Through the final norm, so that every parameter takes part.
    let output = encoder.norm.forward(cls);
    gradients(encoder, output.clone().powi_scalar(3).sum() + output.sum())
}

#[test]
fn kernels_and_plain_operations_agree_with_and_without_stochastic_depth() {
    let depth = stochastic_depth();
    let plain = Device::flex().autodiff();
    let checkpointing = plain.clone().gradient_checkpointing();
    for (device, depth) in [(&plain, None), (&plain, Some(&depth)), (&checkpointing, Some(&depth))] {
        let (encoder, views) = small(device);
        let compute = |path| {
            let encoder = Encoder { path, ..encoder.clone() };
            let cls = encoder.forward(&views, depth);
            (host(cls.clone()), gradients_of_cls(&encoder, cls))
        };
        let (plain, plain_gradients) = compute(Path::Plain);
        for (path, tolerance) in PATHS {
            let (found, gradients) = compute(path);
            let error = relative_error(&found, &plain);
            assert!(error < tolerance.outputs, "{path:?}: {error:.1e}");
            assert_gradients_agree(&gradients, &plain_gradients, tolerance.gradients, path);
        }
    }
}

#[test]
fn the_key_bias_which_changes_nothing_gets_no_rounding_noise_for_a_gradient() {
    let device = Device::flex().autodiff();
    let (encoder, views) = small(&device);
    for (path, _) in PATHS {
        let encoder = Encoder { path, ..encoder.clone() };
        let gradients = gradients_of_cls(&encoder, encoder.forward(&views, None));
        for block in 0..3 {
            let bias = &gradients[&format!("blocks.{block}.attn.qkv.bias")].data;
            let [queries, keys, values] = [0..32, 32..64, 64..96].map(|part| &bias[part]);
            assert!(keys.iter().all(|gradient| *gradient == 0.0), "{path:?}: block {block}");
            assert!(queries.iter().chain(values).any(|gradient| *gradient != 0.0), "{path:?}: block {block}");
        }
    }
}

#[test]
fn a_head_of_512_dimensions_is_that_of_the_plain_path() {
    let device = Device::flex().autodiff();
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 8,
        patch_size: 4,
        dim: 512,
        depth: 2,
        heads: 1,
        ..Default::default()
    };
    let encoder = config.init(None, 5, &device).expect("valid");
    let pixels: Vec<f32> = (0..2 * 3 * 8 * 8).map(|i| (i % 23) as f32 / 11.0 - 1.0).collect();
    let views = [View::new(&pixels, 2, 8, 4, None, &device)];
    let compute = |path| {
        let encoder = Encoder { path, ..encoder.clone() };
        let cls = encoder.forward(&views, None);
        (host(cls.clone()), gradients_of_cls(&encoder, cls))
    };
    let ((found, gradients), (expected, plain_gradients)) =
        (compute(Path::Kernels(Precision::F32)), compute(Path::Plain));
    let error = relative_error(&found, &expected);
    assert!(error < TOLERANCE, "{error:.1e}");
    assert_gradients_agree(&gradients, &plain_gradients, TOLERANCE, Path::Kernels(Precision::F32));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let device = Device::flex().autodiff();
    let (encoder, views) = small(&device);
    for (path, _) in PATHS.into_iter().filter(|(path, _)| *path != Path::Plain) {
        let encoder = Encoder { path, ..encoder.clone() };
        let compute = || {
            let cls = encoder.forward(&views, None);
            (host(cls.clone()), gradients_of_cls(&encoder, cls))
        };
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(compute)
        };
        let one = in_pool(1);
        for threads in [2, 3, 5] {
            assert!(in_pool(threads) == one, "{path:?}: {threads} threads");
        }
    }
}

#[test]
fn a_masked_patch_changes_nothing() {
    let device = Device::flex();
    let (encoder, _) = small(&device);
    let mut pixels: Vec<f32> = (0..3 * 24 * 24).map(|i| (i % 13) as f32 / 7.0).collect();
    let keep = [vec![0, 7, 14, 21]];
    let features = |pixels: &[f32]| {
        host(encoder.features(&[View::new(pixels, 1, 24, 4, Some(&keep), &device)], Features::AfterNorm))
    };
    let before = features(&pixels);
    // Patch (0, 1), which no mask keeps.
    for y in 0..4 {
        pixels[y * 24 + 4..y * 24 + 8].fill(f32::NAN);
    }
    assert_eq!(features(&pixels), before);
    // Patch (0, 0), which is kept.
    pixels[0] += 1.0;
    assert_ne!(features(&pixels), before);
}

#[test]
fn the_seed_alone_decides_the_weights() {
    let device = Device::flex();
    let config = EncoderConfig { image_size: 32, depth: 1, ..Default::default() };
    let weights = |seed| state_dict(&config.init(None, seed, &device).expect("valid"));
    assert_eq!(weights(3), weights(3));
    assert_ne!(weights(3), weights(4));
}

#[test]
fn the_patch_embedding_starts_with_the_deviation_that_its_patches_ask_for() {
    /// A normal that is cut off at two deviations has this share of its own.
    const CUT: f64 = 0.8796;
    for (patch_size, patch_std, expected) in
        [(4, 0.0, 1.0 / 48_f64.sqrt()), (16, 0.0, 1.0 / 768_f64.sqrt()), (4, 0.02, 0.02)]
    {
        let config = EncoderConfig {
            variant: String::new(),
            image_size: 32,
            patch_size,
            patch_std,
            depth: 1,
            ..Default::default()
        };
        let state = state_dict(&config.init(None, 1, &Device::flex()).expect("valid"));
        let weights = &state["patch_embed.proj.weight"].data;
        let squares: f64 = weights.iter().map(|x| f64::from(*x).powi(2)).sum();
        let found = (squares / weights.len() as f64).sqrt();
        // 18,432 weights at least, whose deviation is known to 0.5%.
        assert!((found / (CUT * expected) - 1.0).abs() < 0.02, "{patch_size}, {patch_std}: {found}");
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let device = Device::flex();
    let (encoder, _) = small(&device);
    let good = state_dict(&encoder);
    let message = |change: &dyn Fn(&mut StateDict)| {
        let mut state = good.clone();
        change(&mut state);
        load_state(encoder.clone(), state).expect_err("does not fit").to_string()
    };
    let missing = message(&|state| drop(state.remove("norm.bias")));
    assert!(missing.contains("norm.bias") && missing.contains("[32]"), "{missing}");
    let other_shape = message(&|state| state.get_mut("norm.bias").expect("there").shape = vec![16]);
    assert!(other_shape.contains("expected shape [32], found [16]"), "{other_shape}");
    let unused =
        message(&|state| drop(state.insert("head.bias".into(), Array { shape: vec![1], data: vec![0.0] })));
    assert!(unused.contains("head.bias"), "{unused}");
}

/// Three blocks on images of 12 px, and two random images.
fn three_blocks() -> (Encoder, View) {
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 12,
        patch_size: 4,
        dim: 32,
        depth: 3,
        heads: 2,
        init_std: 0.1,
        ..Default::default()
    };
    let device = Device::flex();
    let pixels: Vec<f32> = (0..2 * 3 * 12 * 12).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
    (config.init(None, 5, &device).expect("valid"), View::new(&pixels, 2, 12, 4, None, &device))
}

#[test]
fn the_cls_of_a_block_is_that_of_an_encoder_which_ends_there() {
    let (encoder, view) = three_blocks();
    let outputs = encoder.last_blocks(std::slice::from_ref(&view), 3);
    for (index, output) in outputs.iter().enumerate() {
        let mut shorter = encoder.clone();
        shorter.blocks.truncate(index + 1);
        let expected = host(shorter.forward(std::slice::from_ref(&view), None));
        let found: Vec<f32> = host(output.clone()).chunks(64).flat_map(|row| row[..32].to_vec()).collect();
        let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
        // The last block for one token and for all sums in another order.
        assert!(expected.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-5 * largest), "block {index}");
    }
    let last = encoder.last_blocks(&[view], 1);
    assert_eq!(host(last[0].clone()), host(outputs[2].clone()));
}

#[test]
fn where_all_tokens_are_alike_the_mean_of_the_patches_is_cls() {
    let (encoder, _) = three_blocks();
    let mut state = state_dict(&encoder);
    // Black patches embed to the bias, which is zero: every token is its position, and all positions are made one.
    state.get_mut("cls_token").expect("a parameter").data.fill(0.0);
    let positions = state.get_mut("pos_embed").expect("a parameter");
    positions.data.iter_mut().enumerate().for_each(|(i, x)| *x = ((i % 32) as f32 - 16.0) / 20.0);
    let encoder = load_state(encoder, state).expect("the same shapes");
    let black = View::new(&[0.0; 2 * 3 * 12 * 12], 2, 12, 4, None, &encoder.device());
    for output in encoder.last_blocks(&[black], 3) {
        for row in host(output).chunks(64) {
            let (cls, mean) = row.split_at(32);
            assert!(cls.iter().zip(mean).all(|(a, b)| (a - b).abs() <= 1e-4), "{cls:?} {mean:?}");
            assert!(cls.iter().any(|x| x.abs() > 0.1));
        }
    }
}
