//! `--precision`

use std::fs;

use msn_train::config::PrecisionSetting;
use serde_json::{Value, json};

use crate::support::Scratch;

const DATA: [&str; 4] = ["--train", "images", "--test", "images"];

/// What the processor multiplies fastest.
fn picked() -> Value {
    json!(PrecisionSetting::Auto.settled())
}

#[test]
fn results_name_the_precision_that_was_used() {
    let scratch = Scratch::with_run();
    let results = |command: &[&str], more: &[&str]| -> Value {
        let finished = scratch.msn(&[command, &DATA, &["--json", "-"], more].concat());
        serde_json::from_str(&finished.success().stdout).unwrap()
    };
    let knn = ["eval", "knn", "--checkpoint", "run"];
    let linear = ["eval", "linear", "--checkpoint", "run", "--epochs", "1", "--rates", "1"];
    for command in [&knn[..], &linear] {
        assert_eq!(results(command, &[])["precision"], picked());
        assert_eq!(results(command, &["--precision", "auto"])["precision"], picked());
        for precision in ["bf16", "f32"] {
            assert_eq!(results(command, &["--precision", precision])["precision"], precision);
        }
    }
    let compared = results(&["compare", "run", "--shots", "1", "--splits", "1"], &["--precision", "bf16"]);
    let of_encoders = |compared: &Value| -> Vec<Value> {
        let encoders = compared["encoders"].as_array().unwrap();
        encoders.iter().map(|encoder| encoder["precision"].clone()).collect()
    };
    // Raw pixels pass through no encoder.
    assert_eq!(of_encoders(&compared), [Value::Null, json!("bf16"), json!("bf16")]);
    let elsewhere = ["--device", "ndarray", "--precision", "bf16"];
    assert_eq!(results(&knn, &elsewhere)["precision"], "f32", "other devices know no other");
    let half = [&knn[..], &DATA, &["--precision", "half"]].concat();
    scratch.msn(&half).refused_with(&["--precision", "auto, bf16 or f32", "half"]);
}

#[test]
fn features_in_bf16_are_close_to_those_in_f32_and_others() {
    let scratch = Scratch::with_run();
    let embed = |more: &[&str]| {
        let common = ["embed", "--checkpoint", "run", "--data", "images", "--out", "rows.npy"];
        scratch.msn(&[&common[..], more].concat()).success();
        let npy = fs::read(scratch.path("rows.npy")).unwrap();
        let header = usize::from(u16::from_le_bytes([npy[8], npy[9]]));
        let numbers = npy[10 + header..].chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()));
        numbers.collect::<Vec<f32>>()
    };
    let [single, half] = ["f32", "bf16"].map(|precision| embed(&["--precision", precision]));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    for (a, b) in single.chunks(32).zip(half.chunks(32)) {
        assert_ne!(a, b);
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        assert!(cosine > 0.99, "{cosine}");
    }
    let expected = if picked() == "bf16" { &half } else { &single };
    assert_eq!(&embed(&[]), expected);
}
