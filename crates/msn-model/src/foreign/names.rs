//! The encoder's tensors under the names of other programs.

use crate::EncoderConfig;

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The names of the original ViT and DeiT code, which timm, MSN, DINO, iBOT and MAE use, and we too.
    Timm,
    /// Those of Hugging Face's ViT and ViTMSN, which keep queries, keys and values apart.
    HuggingFace,
}

impl Naming {
    /// The tensors that, stacked along their first dimension, are the tensor that we call `name`.
    ///
    /// # Panics
    /// If the encoder has no tensor of that name.
    pub fn parts(self, name: &str) -> Vec<String> {
        match self {
            Self::Timm => vec![name.to_owned()],
            Self::HuggingFace => hugging_face(name),
        }
    }

    /// Beginnings of the names of tensors that take part in computing features: where there is one of these that we
    /// have no place for, the encoder is another one.
    pub(super) fn trunk(self) -> &'static [&'static str] {
        match self {
            Self::Timm => &[
                "blocks.",
                "patch_embed.",
                "cls_token",
                "pos_embed",
                "norm.",
                "norm_pre.",
                "reg_token",
                "register_tokens",
                "dist_token",
                "rel_pos",
            ],
            Self::HuggingFace => &[
                "encoder.",
                "layernorm.",
                "embeddings.cls",
                "embeddings.pos",
                "embeddings.patch",
                "embeddings.reg",
            ],
        }
    }
}

fn hugging_face(name: &str) -> Vec<String> {
    let one = |name: String| vec![name];
    let Some((block, rest)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
        return one(match name.rsplit_once('.') {
            Some(("patch_embed.proj", kind)) => format!("embeddings.patch_embeddings.projection.{kind}"),
            Some(("norm", kind)) => format!("layernorm.{kind}"),
            _ if name == "cls_token" => "embeddings.cls_token".to_owned(),
            _ if name == "pos_embed" => "embeddings.position_embeddings".to_owned(),
            _ => panic!("the encoder has no tensor `{name}`"),
        });
    };
    let layer = |part: &str, kind: &str| format!("encoder.layer.{block}.{part}.{kind}");
    match rest.rsplit_once('.') {
        Some(("norm1", kind)) => one(layer("layernorm_before", kind)),
        Some(("norm2", kind)) => one(layer("layernorm_after", kind)),
        Some(("attn.qkv", kind)) => {
            ["query", "key", "value"].map(|part| layer(&format!("attention.attention.{part}"), kind)).to_vec()
        }
        Some(("attn.proj", kind)) => one(layer("attention.output.dense", kind)),
        Some(("mlp.fc1", kind)) => one(layer("intermediate.dense", kind)),
        Some(("mlp.fc2", kind)) => one(layer("output.dense", kind)),
        _ => panic!("the encoder has no tensor `{name}`"),
    }
}

/// Names and shapes of the tensors of an encoder without a projection head.
pub fn encoder_tensors(config: &EncoderConfig) -> Vec<(String, Vec<usize>)> {
    let &EncoderConfig { dim, depth, mlp_ratio, patch_size, .. } = config;
    let hidden = dim * mlp_ratio;
    let places = 1 + config.grid(config.image_size).pow(2);
    let mut tensors = vec![
        ("cls_token".to_owned(), vec![1, 1, dim]),
        ("pos_embed".to_owned(), vec![1, places, dim]),
        ("patch_embed.proj.weight".to_owned(), vec![dim, 3, patch_size, patch_size]),
        ("patch_embed.proj.bias".to_owned(), vec![dim]),
        ("norm.weight".to_owned(), vec![dim]),
        ("norm.bias".to_owned(), vec![dim]),
    ];
    for block in 0..depth {
        for (part, shape) in [
            ("norm1", vec![dim]),
            ("attn.qkv", vec![3 * dim, dim]),
            ("attn.proj", vec![dim, dim]),
            ("norm2", vec![dim]),
            ("mlp.fc1", vec![hidden, dim]),
            ("mlp.fc2", vec![dim, hidden]),
        ] {
            tensors.push((format!("blocks.{block}.{part}.bias"), vec![shape[0]]));
            tensors.push((format!("blocks.{block}.{part}.weight"), shape));
        }
    }
    tensors
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::state_dict;

    #[test]
    fn hugging_faces_names_are_those_of_its_library() {
        // What `ViTModel` of transformers calls the tensors of timm's VisionTransformer.
        for (timm, hugging_face) in [
            ("cls_token", &["embeddings.cls_token"][..]),
            ("pos_embed", &["embeddings.position_embeddings"]),
            ("patch_embed.proj.weight", &["embeddings.patch_embeddings.projection.weight"]),
            ("patch_embed.proj.bias", &["embeddings.patch_embeddings.projection.bias"]),
            ("norm.weight", &["layernorm.weight"]),
            ("norm.bias", &["layernorm.bias"]),
            ("blocks.3.norm1.weight", &["encoder.layer.3.layernorm_before.weight"]),
            ("blocks.3.norm2.bias", &["encoder.layer.3.layernorm_after.bias"]),
            (
                "blocks.3.attn.qkv.weight",
                &[
                    "encoder.layer.3.attention.attention.query.weight",
                    "encoder.layer.3.attention.attention.key.weight",
                    "encoder.layer.3.attention.attention.value.weight",
                ],
            ),
            ("blocks.3.attn.proj.bias", &["encoder.layer.3.attention.output.dense.bias"]),
            ("blocks.11.mlp.fc1.weight", &["encoder.layer.11.intermediate.dense.weight"]),
            ("blocks.11.mlp.fc2.weight", &["encoder.layer.11.output.dense.weight"]),
        ] {
            assert_eq!(Naming::HuggingFace.parts(timm), hugging_face);
            assert_eq!(Naming::Timm.parts(timm), [timm]);
        }
    }

    #[test]
    fn the_tensors_are_those_of_the_module() {
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
        let encoder = config.init(None, 0, &Device::flex()).expect("valid");
        let expected: Vec<(String, Vec<usize>)> =
            state_dict(&encoder).into_iter().map(|(name, array)| (name, array.shape)).collect();
        let mut found = encoder_tensors(&config);
        found.sort();
        assert_eq!(found, expected);
        for (name, _) in found {
            assert_eq!(Naming::Timm.parts(&name), std::slice::from_ref(&name));
            let parts = Naming::HuggingFace.parts(&name);
            assert_eq!(parts.len(), if name.contains("qkv") { 3 } else { 1 }, "{name}");
        }
    }
}
