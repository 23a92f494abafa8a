//! Runs that start from given weights.

use burn::tensor::Device;
use msn_store::RunDir;
use msn_train::{Drawn, Images, Initial, PROTOTYPES_PART, start_from};

use crate::tiny::{Stripes, config, new_run, run};

/// A run of one epoch whose weights others start from.
fn trained(scratch: &std::path::Path) -> (msn_model::StateDict, msn_model::StateDict) {
    let folder = RunDir::create(&scratch.join("first")).expect("a new folder");
    run(&config(&["optim.epochs=1"]), &folder, |_| ()).0.expect("trains");
    let mut parts = folder.checkpoints().load_newest().expect("whole").checkpoint.parts;
    let mut part = |name: &str| parts.remove(name).expect("a part of every checkpoint");
    (part(msn_store::TARGET_PART), part(PROTOTYPES_PART))
}

#[test]
fn a_run_starts_from_the_weights_that_it_is_given() {
    let scratch = tempfile::tempdir().expect("a folder");
    let (encoder, prototypes) = trained(scratch.path());
    let images = Images::of(&*Stripes::of(24));
    let initial =
        Initial { origin: "first".into(), encoder: encoder.clone(), prototypes: Some(prototypes.clone()) };

    let folder = new_run(scratch.path());
    let started = start_from(initial.clone(), &config(&[]), images, &folder, &Device::flex()).expect("fits");
    assert_eq!(started, Drawn { head: false, prototypes: false });
    let checkpoint = folder.checkpoints().load_newest().expect("whole").checkpoint;
    assert_eq!((checkpoint.step, &checkpoint.state["started_from"]), (0, &"first".into()));
    assert!(checkpoint.parts["encoder"] == encoder && checkpoint.parts[msn_store::TARGET_PART] == encoder);
    assert!(checkpoint.parts[PROTOTYPES_PART] == prototypes);
    let (outcome, _) = run(&config(&[]), &folder, |_| ());
    assert_eq!(outcome.expect("goes on from step 0").step, 12);
    let end = folder.checkpoints().load_newest().expect("whole").checkpoint;
    assert_eq!(end.state["started_from"], "first", "later checkpoints still know");

    // Another head and other prototypes than there: the encoder alone is taken.
    let other = config(&["head.hidden_dim=24", "objective.prototypes=9"]);
    let folder = RunDir::create(&scratch.path().join("other")).expect("a new folder");
    let started = start_from(initial.clone(), &other, images, &folder, &Device::flex()).expect("fits");
    assert_eq!(started, Drawn { head: true, prototypes: true });
    let checkpoint = folder.checkpoints().load_newest().expect("whole").checkpoint;
    let is_taken = |name: &str| checkpoint.parts["encoder"].get(name) == encoder.get(name);
    assert!(is_taken("blocks.1.mlp.fc1.weight") && !is_taken("fc.fc1.weight"));

    let folder = RunDir::create(&scratch.path().join("larger")).expect("a new folder");
    let error = start_from(initial, &config(&["encoder.dim=64"]), images, &folder, &Device::flex());
    let message = error.expect_err("another architecture").to_string();
    assert!(message.contains("first") && message.contains("another"), "{message}");
    assert_eq!(folder.checkpoints().steps().expect("can be listed"), [0; 0]);
}
