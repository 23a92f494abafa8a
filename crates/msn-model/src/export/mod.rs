//! The encoder in the forms of other programs.

mod onnx;

use msn_store::{Array, StateDict};

pub use onnx::onnx;

use crate::{EncoderConfig, Naming, encoder_tensors};

/// A linear layer from the [CLS] after the final norm to the logits of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    /// Names of the classes, C.
    pub classes: Vec<String>,
    /// [C, D]
    pub weight: Array,
    /// [C]
    pub bias: Array,
}

/// The encoder's tensors, and the head's, under the names of another program. Those of a projection head are left out.
///
/// For Hugging Face these are the names of `ViTMSNModel`, and with a head those of `ViTMSNForImageClassification`; for
/// timm, those of `VisionTransformer`.
///
/// # Panics
/// If `weights` are not those of the architecture.
pub fn named(
    naming: Naming,
    config: &EncoderConfig,
    weights: &StateDict,
    head: Option<&LinearHead>,
) -> StateDict {
    let (prefix, head_name) = match naming {
        Naming::Timm => ("", "head"),
        Naming::HuggingFace => (if head.is_some() { "vit." } else { "" }, "classifier"),
    };
    let mut named = StateDict::new();
    for (name, shape) in encoder_tensors(config) {
        let parts = naming.parts(&name);
        let (rows, values) = (shape[0] / parts.len(), weights[&name].data.len() / parts.len());
        for (part, values) in parts.iter().zip(weights[&name].data.chunks(values)) {
            let shape = [&[rows], &shape[1..]].concat();
            named.insert(format!("{prefix}{part}"), Array::new(shape, values.to_vec()));
        }
    }
    if let Some(head) = head {
        named.insert(format!("{head_name}.weight"), head.weight.clone());
        named.insert(format!("{head_name}.bias"), head.bias.clone());
    }
    named
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::Device;

    use super::*;
    use crate::{find_encoder, state_dict};

    #[test]
    fn what_is_exported_is_found_again_with_every_value() {
        let config = EncoderConfig {
            variant: String::new(),
            image_size: 12,
            patch_size: 4,
            dim: 8,
            depth: 2,
            heads: 2,
            mlp_ratio: 3,
            ..Default::default()
        };
        let weights = state_dict(&config.init(None, 3, &Device::flex()).expect("valid"));
        let head = LinearHead {
            classes: vec!["a".to_owned(), "b".to_owned()],
            weight: Array::new(vec![2, 8], vec![0.5; 16]),
            bias: Array::new(vec![2], vec![0.25; 2]),
        };
        for (naming, head_name) in [(Naming::Timm, "head"), (Naming::HuggingFace, "classifier")] {
            let exported = named(naming, &config, &weights, Some(&head));
            let shapes = exported.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect();
            let found =
                find_encoder(&BTreeMap::from([(String::new(), shapes)]), Some(2)).expect("an encoder");
            assert_eq!(found.config, config);
            assert_eq!(found.unused, [format!("{head_name}.bias"), format!("{head_name}.weight")]);
            assert_eq!(found.weights(exported), weights);
        }
    }
}
