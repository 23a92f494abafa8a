//! One encoder in the formats of other programs, against the output that PyTorch computed.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use msn_eval::Import;
use msn_golden::{Array, arrays};
use msn_model::{Features, LinearHead, View, load_state};
use serde_json::Value;

/// Of outputs of a few units, in f32 on both sides.
const TOLERANCE: f32 = 1e-4;

/// The folder with the files, and what is known about them.
fn interop() -> Option<(PathBuf, Value)> {
    let folder = msn_golden::folder()?.join("interop");
    let Ok(index) = std::fs::read(folder.join("index.json")) else {
        msn_golden::skip(&format!("no reference values in {}", folder.display()));
        return None;
    };
    Some((folder, serde_json::from_slice(&index).expect("index.json is JSON")))
}

fn device() -> Device {
    msn_model::device_named(&msn_golden::device_name()).expect("MSN_TEST_DEVICE names a device")
}

/// The normalised [CLS] that the imported encoder gives for the pixels: [B, D].
fn cls(import: Import, pixels: &Array) -> Vec<f32> {
    let fresh = import.config.init(None, 1, &device()).expect("valid");
    let encoder = load_state(fresh, import.weights).expect("all its tensors");
    let [batch, 3, size, _] = pixels.shape[..] else { panic!("pixels of shape {:?}", pixels.shape) };
    let view = View::new(&pixels.data, batch, size, import.config.patch_size, None, &device());
    let cls: Tensor<2> = encoder.features(&[view], Features::AfterNorm);
    cls.into_data().convert::<f32>().try_into_vec().expect("f32")
}

/// x W^T + b. x: [B, D], weight: [C, D] -> [B, C]
fn linear(x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let dim = weight.len() / bias.len();
    let dot = |row: &[f32], column: &[f32]| row.iter().zip(column).map(|(a, b)| a * b).sum::<f32>();
    let logits = |row| weight.chunks(dim).zip(bias).map(move |(column, bias)| dot(row, column) + bias);
    x.chunks(dim).flat_map(logits).collect()
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max)
}

#[test]
fn golden_interop_every_format_gives_the_same_encoder() {
    let Some((folder, index)) = interop() else { return };
    let expected = arrays(&folder.join("expected.safetensors"));
    let heads = index["heads"].as_u64().expect("a number") as usize;
    let mut seen = 0;
    for (file, program, unused) in [
        ("msn_official.pth.tar", "MSN", "module.fc.fc1.weight"),
        ("dino_backbone.pth", "timm, DINO or the like", ""),
        ("dino_full.pth", "DINO", "head.mlp.0.weight"),
        ("ibot_teacher.pth", "iBOT", "masked_embed"),
        ("mae.pth", "MAE", "decoder_embed.weight"),
        ("timm_vit.safetensors", "timm, DINO or the like", "head.weight"),
        ("hf_vit_msn", "Hugging Face", ""),
        ("hf_vit_msn_classifier", "Hugging Face", ""),
    ] {
        let path = folder.join(file);
        // A folder says how many heads there are; tensors do not.
        let import = Import::read(&path, (!path.is_dir()).then_some(heads)).expect(file);
        assert_eq!(import.program, program, "{file}");
        for field in ["image_size", "patch_size", "dim", "depth", "heads"] {
            let config = serde_json::to_value(&import.config).expect("JSON");
            assert_eq!(config[field], index[field], "{file}: {field}");
        }
        assert!(
            unused.is_empty() || import.unused.iter().any(|name| name == unused),
            "{file}: {:?}",
            import.unused
        );
        assert!(import.zeros.is_empty(), "{file}");
        let classifier = import.classifier.clone();
        assert_eq!(classifier.is_some(), file == "hf_vit_msn_classifier", "timm's file names no classes");
        let cls = cls(import, &expected["pixel_values"]);
        let difference = match file {
            // Another encoder, of which the logits are known.
            "hf_vit_msn_classifier" => {
                let LinearHead { classes, weight, bias } = classifier.expect("just seen");
                assert_eq!(classes, [0, 1, 2, 3, 4].map(|class| format!("class {class}")));
                let logits = linear(&cls, &weight.data, &bias.data);
                largest_difference(&logits, &expected["classifier_logits"].data)
            }
            _ => largest_difference(&cls, &expected["cls"].data),
        };
        assert!(difference < TOLERANCE, "{file}: {difference}");
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn golden_interop_heads_that_no_file_tells_are_asked_for() {
    let Some((folder, _)) = interop() else { return };
    let message = Import::read(&folder.join("mae.pth"), None).expect_err("no variant").to_string();
    assert!(message.contains("--heads") && message.contains("mae.pth"), "{message}");
}
