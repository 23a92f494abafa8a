//! `msn eval linear`

use serde_json::Value;

use crate::support::Scratch;

#[test]
fn a_linear_probe_reads_the_last_blocks() {
    let scratch = Scratch::with_run();
    scratch.synth("test", 1);
    let linear = |checkpoint: &'static str, more: &[&str]| {
        let common = [
            "eval",
            "linear",
            "--train",
            "images",
            "--test",
            "test",
            "--epochs",
            "2",
            "--checkpoint",
            checkpoint,
        ];
        scratch.msn(&[&common[..], more].concat())
    };
    let finished = linear("run", &["--blocks", "2", "--patch-mean", "--rates", "1,10"]).success();
    assert_eq!(finished.stdout.matches("chosen").count(), 1, "{}", finished.stdout);
    let scores = scratch.read_json("run/eval/linear.json");
    // Two blocks of [CLS] and mean, 32 numbers each; a tenth of eight images of three classes is held out.
    let numbers =
        ["columns", "train_images", "held_out_images", "test_images"].map(|name| scores[name].clone());
    assert_eq!(numbers, [128, 21, 3, 24].map(Value::from));
    assert_eq!([&scores["flip"], &scores["rotation"]], [0.5, 0.0]);
    linear("run", &["--rates", "10", "--flip", "0", "--rotation", "0.75"]).success();
    let scores = scratch.read_json("run/eval/linear.json");
    assert_eq!([&scores["flip"], &scores["rotation"]], [0.0, 0.75]);
    linear("raw-pixels", &["--rates", "10"]).success();
    linear("run", &["--blocks", "3"])
        .fails_with(&["blocks: expected at most 2, the blocks of the encoder", "found 3"]);
    linear("run", &["--rates", "0"]).refused_with(&["--rates", "above 0"]);
    linear("run", &["--rotation", "1.5"]).refused_with(&["--rotation", "[0, 1]"]);
}
