//! Layer-wise learning rates.

use std::collections::BTreeMap;

use msn_model::StateDict;
use msn_train::Group;

/// Groups of a classifier's parameters, by name: of the encoder (`encoder.`), 1 + `depth` layers and the layer above.
///
/// The learning rate of layer l is `layer_decay^(depth + 1 - l)` times the head's, where patch embedding, [CLS] and
/// positions are layer 0, the blocks layers 1 to `depth`, and the final norm and the head layer `depth + 1` (BEiT, Bao
/// et al., 2022). Weight decay applies to matrices alone: neither to vectors nor to [CLS] and positions, which are
/// tables of vectors.
pub(super) fn groups(parameters: &StateDict, depth: usize, layer_decay: f64) -> BTreeMap<String, Group> {
    let group = |(name, array): (&String, &msn_model::Array)| {
        let below = (depth + 1 - layer(name, depth)) as i32;
        let token = ["encoder.cls_token", "encoder.pos_embed"].contains(&name.as_str());
        let decay = array.shape.len() > 1 && !token;
        (name.clone(), Group { lr_scale: layer_decay.powi(below), decay })
    };
    parameters.iter().map(group).collect()
}

/// The layer of a parameter, from 0.
fn layer(name: &str, depth: usize) -> usize {
    let encoder = name.strip_prefix("encoder.").unwrap_or(name);
    if let Some(rest) = encoder.strip_prefix("blocks.") {
        let block = rest.split('.').next().and_then(|number| number.parse::<usize>().ok());
        return 1 + block.expect("a block has a number");
    }
    match encoder {
        "cls_token" | "pos_embed" => 0,
        _ if encoder.starts_with("patch_embed.") => 0,
        _ => depth + 1,
    }
}

#[cfg(test)]
mod tests {
    use msn_model::Array;

    use super::*;

    #[test]
    fn rates_fall_from_the_head_down_and_only_matrices_decay() {
        let shapes: [(&str, &[usize]); 9] = [
            ("head.weight", &[5, 4]),
            ("head.bias", &[5]),
            ("encoder.norm.weight", &[4]),
            ("encoder.blocks.2.mlp.fc1.weight", &[16, 4]),
            ("encoder.blocks.0.norm1.bias", &[4]),
            ("encoder.blocks.0.attn.qkv.weight", &[12, 4]),
            ("encoder.patch_embed.proj.weight", &[4, 3, 2, 2]),
            ("encoder.cls_token", &[1, 1, 4]),
            ("encoder.pos_embed", &[1, 5, 4]),
        ];
        let array = |shape: &[usize]| Array::new(shape.to_vec(), vec![0.0; shape.iter().product()]);
        let parameters =
            shapes.iter().map(|(name, shape)| ((*name).to_owned(), array(shape))).collect::<StateDict>();
        let found = groups(&parameters, 3, 0.5);
        // Three blocks: the head is layer 4, the last block layer 3, the first layer 1, what is below it layer 0.
        let scales = [1.0, 1.0, 1.0, 0.5, 0.125, 0.125, 0.0625, 0.0625, 0.0625];
        let decays = [true, false, false, true, false, true, true, false, false];
        for (((name, _), lr_scale), decay) in shapes.into_iter().zip(scales).zip(decays) {
            assert_eq!(found[name], Group { lr_scale, decay }, "{name}");
        }
    }
}
