//! Every command doing its job, with the files that it leaves.

use serde_json::Value;

use crate::support::{Scratch, names};

#[test]
fn synth_draws_a_folder_of_png_files_a_class_and_the_seed_decides_on_them() {
    let scratch = Scratch::new();
    let classes = names(&scratch.path("images"));
    assert_eq!(classes.len(), 3);
    for class in &classes {
        let images = names(&scratch.path(&format!("images/{class}")));
        assert_eq!(images, (1..=8).map(|i| format!("000{i}.png")).collect::<Vec<_>>());
        for name in &images {
            let image = image::open(scratch.path(&format!("images/{class}/{name}"))).unwrap();
            assert_eq!((image.width(), image.height()), (16, 16));
        }
    }
    scratch.synth("again", 0);
    scratch.synth("others", 1);
    let bytes =
        |folder: &str| std::fs::read(scratch.path(&format!("{folder}/{}/0003.png", classes[1]))).unwrap();
    assert_eq!(bytes("images"), bytes("again"));
    assert_ne!(bytes("images"), bytes("others"));
}

#[test]
fn synth_leaves_a_folder_of_somebody_else_alone() {
    let scratch = Scratch::new();
    let before = names(&scratch.path("images"));
    scratch
        .msn(&["synth", "--out", "images", "--classes", "2", "--images-per-class", "1", "--size", "16"])
        .fails_with(&["images", "expected a new or an empty folder"]);
    assert_eq!(names(&scratch.path("images")), before);
}

#[test]
fn pretrain_writes_a_run_folder_and_says_what_comes_next() {
    let scratch = Scratch::new();
    let finished = scratch.pretrain("run", &["seed=3"]).success();
    assert_eq!(finished.stdout, "", "results go to stdout, and pretrain has none but files");
    for expected in
        ["24 images", "12 steps", "parameters", "checkpoint: run/checkpoints/step-12", "msn eval lowshot"]
    {
        assert!(finished.stderr.contains(expected), "expected `{expected}` in: {}", finished.stderr);
    }
    let run = names(&scratch.path("run"));
    for expected in ["checkpoints", "config.toml", "latest", "metrics.jsonl"] {
        assert!(run.contains(&expected.to_owned()), "{expected} is not among {run:?}");
    }
    assert_eq!(scratch.read("run/latest"), "step-12\n");
    assert_eq!(names(&scratch.path("run/checkpoints")), ["step-12", "step-6"]);
    let config = scratch.read("run/config.toml");
    for expected in ["seed = 3", "path = \"images\"", "depth = 2", "prototypes = 8"] {
        assert!(config.contains(expected), "expected `{expected}` in: {config}");
    }
    let metrics = scratch.lines_of_json("run/metrics.jsonl");
    let steps: Vec<_> = metrics.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let fields =
        ["loss", "cross_entropy", "memax", "entropy", "lr", "prototypes_used", "rank", "images_per_second"];
    for field in fields {
        assert!(metrics[0][field].is_number(), "{field}: {}", metrics[0]);
    }
}

#[test]
fn without_a_terminal_every_epoch_ends_with_a_line_of_progress() {
    let scratch = Scratch::new();
    let stderr = scratch.pretrain("run", &[]).success().stderr;
    for (epoch, step) in [(1, 6), (2, 12)] {
        let line = stderr.lines().find(|line| line.starts_with(&format!("step {step}/12 ")));
        let line = line.unwrap_or_else(|| panic!("no line of step {step} in: {stderr}"));
        let parts =
            [&format!("epoch {epoch}/2"), "images/s", "left", "loss ", "cross-entropy", "me-max", "rank"];
        for expected in parts {
            assert!(line.contains(expected), "expected `{expected}` in: {line}");
        }
    }
    assert!(
        !stderr.contains('\r') && !stderr.contains('\x1b'),
        "no bar where there is no terminal: {stderr}"
    );
}

#[test]
fn without_a_configuration_pretrain_explains_what_it_picks() {
    let scratch = Scratch::new();
    let few = [
        // Fewer than the warm-up that is picked, which has to give way.
        "optim.epochs=1",
        "encoder.depth=1",
        "encoder.dim=48",
        "head.hidden_dim=32",
    ];
    let arguments = [&["pretrain", "--data", "images", "--out", "run"], &few[..]].concat();
    let stderr = scratch.msn(&arguments).success().stderr;
    for expected in [
        "views.random_size = 32, views.focal_size = 16",
        "shorter side is 16 px",
        "encoder.depth = 1 as given",
        "24 images seen in all",
        "objective.prototypes = 8",
    ] {
        assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
    }
    let config = scratch.read("run/config.toml");
    assert!(config.contains("random_size = 32") && config.contains("depth = 1"), "{config}");
}

#[test]
fn pretrain_picks_as_many_epochs_as_fit_the_hours() {
    let scratch = Scratch::new();
    let common = ["pretrain", "--data", "images", "--out", "run"];
    let tiny = ["encoder.dim=48", "encoder.depth=1", "head.hidden_dim=32", "head.output_dim=16"];
    let with = |more: &[&str]| scratch.msn(&[&common[..], &tiny[..], more].concat());
    // 70 milliseconds, in which any machine has time for an epoch of 24 images.
    let stderr = with(&["--hours", "2e-5", "optim.warmup_epochs=0"]).success().stderr;
    assert!(
        stderr.contains("images seen in all") && stderr.contains("FLOP/s that this machine makes)"),
        "{stderr}"
    );
    scratch
        .msn(&[&common[..3], &["--out", "none", "--hours", "1e-9"]].concat())
        .refused_with(&["--hours", "hours that an epoch takes"]);
    assert!(!scratch.path("none").exists());
    with(&["--hours", "1", "optim.epochs=3"]).refused_with(&["--hours", "no optim.epochs"]);
    with(&["--hours", "0"]).refused_with(&["--hours", "a number above 0"]);
    with(&["--hours", "1", "--config", "tiny.toml"]).refused_with(&["--hours", "--config"]);
}

#[test]
fn embed_writes_the_same_rows_in_both_formats_and_the_paths_in_their_order() {
    let scratch = Scratch::with_run();
    let embed = |out: &str| {
        scratch.msn(&["embed", "--checkpoint", "run", "--data", "images", "--out", out]).success();
    };
    embed("rows.npy");
    embed("again.safetensors");
    let npy = std::fs::read(scratch.path("rows.npy")).unwrap();
    assert_eq!(&npy[..8], b"\x93NUMPY\x01\x00");
    let header = usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    let text = String::from_utf8_lossy(&npy[10..10 + header]).into_owned();
    assert!(text.contains("'<f4'") && text.contains("(24, 32)"), "{text}");
    let rows = &npy[10 + header..];
    assert_eq!(rows.len(), 24 * 32 * 4);

    let file = std::fs::read(scratch.path("again.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let tensor = tensors.tensor("features").unwrap();
    assert_eq!(tensor.shape(), [24, 32]);
    assert_eq!(tensor.data(), rows);
    let distinct: std::collections::BTreeSet<_> = rows.chunks_exact(32 * 4).collect();
    assert!(distinct.len() > 20, "different images have different rows, found {}", distinct.len());

    let paths = scratch.read("rows.txt");
    assert_eq!(paths, scratch.read("again.txt"));
    let paths: Vec<_> = paths.lines().collect();
    assert_eq!(paths.len(), 24);
    assert!(paths.iter().all(|path| scratch.path("images").join(path).is_file()), "{paths:?}");
}

#[test]
fn embed_takes_one_checkpoint_as_well_as_a_run() {
    let scratch = Scratch::with_run();
    let embed = |checkpoint: &str, features: &str| {
        let common = ["embed", "--data", "images", "--out", "rows.npy"];
        let choice = ["--checkpoint", checkpoint, "--features", features];
        scratch.msn(&[&common[..], &choice].concat()).success();
        std::fs::read(scratch.path("rows.npy")).unwrap()
    };
    let newest = embed("run", "before-norm");
    assert_eq!(embed("run/checkpoints/step-12", "before-norm"), newest);
    assert_ne!(embed("run/checkpoints/step-6", "before-norm"), newest);
    assert_ne!(embed("run", "after-norm"), newest);
    assert_ne!(embed("untrained:run", "before-norm"), newest);
}

#[test]
fn the_demo_makes_a_run_a_table_and_a_json_file() {
    let scratch = Scratch::new();
    let small = ["optim.epochs=1", "encoder.dim=24", "encoder.depth=1", "train.batch_size=20"];
    let arguments = ["demo", "--out", "demo", "--images-per-class", "6"];
    let finished = scratch.msn(&[&arguments[..], &small].concat()).success();
    for expected in ["raw pixels", "untrained", "pre-trained"] {
        assert!(finished.stdout.contains(expected), "expected `{expected}` in: {}", finished.stdout);
    }
    assert!(finished.stderr.contains("msn pretrain --data"), "what to try next: {}", finished.stderr);
    let results = scratch.read_json("demo/demo.json");
    for row in ["raw_pixels", "untrained", "pretrained"] {
        for shots in ["1", "2", "5"] {
            let score = &results[row][shots];
            let percent = |field: &str| score[field].as_f64().unwrap();
            assert!(
                (0.0..=100.0).contains(&percent("mean")) && percent("sd") >= 0.0,
                "{row} {shots}: {score}"
            );
        }
    }
    assert_eq!(results.as_object().map(serde_json::Map::len), Some(3));
    let run = names(&scratch.path("demo"));
    for expected in ["checkpoints", "config.toml", "demo.json", "images", "latest", "metrics.jsonl"] {
        assert!(run.contains(&expected.to_owned()), "{expected} is not among {run:?}");
    }
    let count = |set: &str| {
        let classes = names(&scratch.path(set));
        (classes.len(), names(&scratch.path(set).join(&classes[0])).len())
    };
    assert_eq!((count("demo/images/train"), count("demo/images/test")), ((20, 6), (20, 1)));
    let metrics = scratch.lines_of_json("demo/metrics.jsonl");
    assert_eq!(metrics.last().map(|line| &line["step"]), Some(&Value::from(6)));

    // A second one does not overwrite it, and says what to do.
    scratch.msn(&arguments).fails_with(&["demo", "already holds a run", "--resume", "--out"]);
}
