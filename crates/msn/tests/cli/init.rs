//! `msn pretrain --init`: a run that starts from the weights of another.

use serde_json::Value;

use crate::support::Scratch;

fn first_loss(scratch: &Scratch, run: &str) -> f64 {
    let lines: Vec<Value> = scratch.lines_of_json(&format!("{run}/metrics.jsonl"));
    lines[0]["loss"].as_f64().unwrap()
}

#[test]
fn a_run_starts_from_the_weights_of_another() {
    let scratch = Scratch::with_run();
    let again = scratch.pretrain("again", &["--init", "run", "optim.lr=1e-4"]).success();
    for part in [
        "starting from the encoder of run/checkpoints/step-12",
        "as there: projection head",
        "as there: prototypes",
    ] {
        assert!(again.stderr.contains(part), "{part} in {}", again.stderr);
    }
    scratch.pretrain("drawn", &["optim.lr=1e-4"]).success();
    assert_ne!(first_loss(&scratch, "again"), first_loss(&scratch, "drawn"));
    let state = scratch.read_json("again/checkpoints/step-12/state.json");
    assert_eq!(state["started_from"], "run/checkpoints/step-12");

    // A checkpoint in mid-run, and other prototypes than there: both encoders start from its momentum encoder.
    let stopped = ["--init", "run/checkpoints/step-6", "objective.prototypes=5", "optim.epochs=1"];
    let stopped = scratch.pretrain("other", &stopped).success();
    for part in ["run/checkpoints/step-6", "drawn anew: prototypes"] {
        assert!(stopped.stderr.contains(part), "{part} in {}", stopped.stderr);
    }
    assert_eq!(
        scratch.tensors("other", 0)["target.safetensors"],
        scratch.tensors("run", 6)["target.safetensors"]
    );
}

#[test]
fn without_a_configuration_the_architecture_is_that_of_the_checkpoint() {
    let scratch = Scratch::with_run();
    let arguments = ["pretrain", "--data", "images", "--out", "picked", "--init", "run", "optim.epochs=1"];
    let finished = scratch.msn(&arguments).success();
    let config = scratch.read("picked/config.toml");
    assert!(config.contains("dim = 32\n") && config.contains("depth = 2\n"), "{config}");
    // Its head is larger than that of the tiny configuration.
    assert!(finished.stderr.contains("drawn anew: projection head"), "{}", finished.stderr);
}

#[test]
fn what_does_not_fit_is_refused_before_a_run_is_made() {
    let scratch = Scratch::with_run();
    scratch.pretrain("new", &["--init", "run", "encoder.dim=64"]).fails_with(&[
        "encoder.dim: expected 32",
        "run/checkpoints/step-12",
        "found 64",
    ]);
    scratch.pretrain("new", &["--init", "nowhere"]).fails_with(&["nowhere"]);
    scratch
        .pretrain("new", &["--init", "untrained:run"])
        .fails_with(&["--init untrained:run", "expected the weights"]);
    scratch.pretrain("new", &["--init", "run", "--resume"]).refused_with(&["--init", "--resume"]);
    scratch.pretrain("new", &["--heads", "2"]).refused_with(&["--init"]);
    assert!(!scratch.path("new").exists());
}

#[test]
fn a_diverged_run_says_how_to_go_on_from_its_last_checkpoint() {
    let scratch = Scratch::with_run();
    // The first update breaks all weights; those that the run started from are whole.
    scratch
        .pretrain("far", &["--init", "run", "optim.lr=1e39"])
        .fails_with(&["usually helps", "--init far/checkpoints/step-0 --config far/config.toml"]);
}
