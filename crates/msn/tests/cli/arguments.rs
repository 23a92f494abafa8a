//! Exit code 2 and what goes with it.

use crate::support::Scratch;

#[test]
fn wrong_arguments_exit_with_2_and_name_the_argument() {
    let scratch = Scratch::new();
    let pretrain = |argument: &str| scratch.pretrain("run", &[argument]);
    pretrain("optim.learning=1").refused_with(&["unknown field `optim.learning`"]);
    pretrain("mask.patch_drp=0.3").refused_with(&["unknown field", "did you mean `mask.patch_drop`?"]);
    pretrain("optim.lr").refused_with(&["`optim.lr`", "KEY=VALUE"]);
    pretrain("optim.lr=-1").refused_with(&["lr", "above 0", "-1"]);
    pretrain("train.batch_size=1").refused_with(&["train.batch_size", "at least 2", "found 1"]);
    pretrain("encoder.depth=deep").refused_with(&["encoder.depth=deep"]);
    pretrain("encoder.variant=vit-xxl16").refused_with(&["encoder.variant", "vit-xxl16", "vit-s16"]);
    pretrain("data.path=elsewhere").refused_with(&["data.path", "argument for the images"]);
    pretrain("encoder.depth=1000000").refused_with(&["encoder.depth", "1 to 1024", "found 1000000"]);
    pretrain("encoder.dim=4800000").refused_with(&["encoder.dim", "1 to 65536", "found 4800000"]);
    pretrain("objective.prototypes=5000000").refused_with(&["objective.prototypes", "2 to 1048576"]);
    pretrain("--device=abacus").refused_with(&["--device", "expected one of cpu", "`abacus`"]);
    pretrain("--no-such-flag").refused_with(&["--no-such-flag"]);
    pretrain("--epochs=3").refused_with(&["--epochs", "settings are given by name: optim.epochs=VALUE"]);
    pretrain("--patch-size").refused_with(&["encoder.patch_size=VALUE"]);
    for arguments in [&["eval", "knn", "--epochs", "3"][..], &["pretrain", "--path", "images"]] {
        let refused = scratch.msn(arguments);
        assert!(!refused.stderr.contains("settings are given by name"), "{}", refused.stderr);
    }
    scratch.msn(&["pretrain"]).refused_with(&["--data <PATH>", "--out <RUN>"]);
    scratch.msn(&["no-such-command"]).refused_with(&["no-such-command"]);
    assert!(!scratch.path("run").exists(), "a wrong argument makes no run folder");
}

#[test]
fn a_device_that_was_not_compiled_in_says_how_to_get_it() {
    let scratch = Scratch::new();
    for (name, compiled_in) in [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("rocm", cfg!(feature = "rocm")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("wgpu", cfg!(feature = "wgpu")),
    ] {
        if !compiled_in {
            let (quoted, feature) = (format!("`{name}`"), format!("--features {name}"));
            let finished = scratch.pretrain("run", &["--device", name]);
            finished.refused_with(&["--device", "expected one of cpu", &quoted, &feature]);
        }
    }
}

#[test]
fn an_instruction_set_that_does_not_exist_is_a_wrong_argument() {
    let scratch = Scratch::new();
    let arguments = crate::support::pretrain_arguments("run", &[]);
    let output = scratch.command(&arguments).env("MSN_ISA", "foo").output().unwrap();
    let expected = "MSN_ISA: expected one of plain, portable, avx2, avx512, avx512bf16, found `foo`";
    crate::support::Finished::of(output, &arguments).refused_with(&[expected]);
    assert!(!scratch.path("run").exists());
}

#[test]
fn wrong_settings_in_a_file_are_wrong_arguments_too() {
    let scratch = Scratch::new();
    let with = |text: &str| {
        std::fs::write(scratch.path("my.toml"), text).unwrap();
        scratch.msn(&["pretrain", "--data", "images", "--out", "run", "--config", "my.toml"])
    };
    with("[optim]\nlearning_rat = 1\n").refused_with(&["my.toml", "optim.learning_rat"]);
    with("[optim]\nlr = \"high\"\n").refused_with(&["my.toml", "lr"]);
    with("[optim]\nepochs = 0\n").refused_with(&["optim.epochs", "found 0 (my.toml, line 2)"]);
    with("[optim\n").refused_with(&["my.toml"]);
    scratch
        .msn(&["pretrain", "--data", "images", "--out", "run", "--config", "none.toml"])
        .refused_with(&["none.toml"]);
}

#[test]
fn a_patch_that_does_not_divide_the_image_is_refused_by_name() {
    let scratch = Scratch::new();
    scratch.pretrain("run", &["encoder.patch_size=5"]).refused_with(&[
        "encoder.image_size",
        "encoder.patch_size = 5",
        "found 16",
    ]);
    // 8 px focal views are no multiple of 16 px.
    scratch.pretrain("run", &["encoder.patch_size=16"]).refused_with(&["views.focal_size", "16", "found 8"]);
}

#[test]
fn a_field_that_nobody_gave_is_told_with_where_its_value_comes_from() {
    let scratch = Scratch::new();
    let picked = |argument: &str| scratch.msn(&["pretrain", "--data", "images", "--out", "run", argument]);
    // Images of 16 px get views of 32 px.
    picked("encoder.patch_size=5").refused_with(&[
        "encoder.image_size",
        "found 32 (picked from the images",
        "encoder.image_size=VALUE",
    ]);
    std::fs::write(scratch.path("short.toml"), "[optim]\nepochs = 3\n").unwrap();
    let short = ["pretrain", "--data", "images", "--out", "run", "--config", "short.toml"];
    scratch.msn(&short).refused_with(&[
        "optim.warmup_epochs",
        "found 15 (the default",
        "optim.warmup_epochs=VALUE",
    ]);
    let warm = [&short[..], &["optim.warmup_epochs=1"]].concat();
    scratch.msn(&warm).fails_with(&["train.batch_size", "found 64 (the default", "train.batch_size=VALUE"]);
    // What was given needs no such words.
    let finished = scratch.pretrain("run", &["optim.warmup_epochs=5"]);
    assert!(!finished.stderr.contains("the default"), "{}", finished.stderr);
    finished.refused_with(&["optim.warmup_epochs", "found 5"]);
}

#[test]
fn a_run_that_no_machine_can_hold_is_refused_before_it_begins() {
    let scratch = Scratch::new();
    let huge = ["encoder.dim=65536", "encoder.depth=1024"];
    let finished = scratch.pretrain("run", &huge);
    if cfg!(target_os = "linux") {
        finished.fails_with(&["GB of memory", "encoder.dim = 65536", "encoder.depth = 1024"]);
        assert!(!scratch.path("run").exists());
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_every_command() {
    let scratch = Scratch::new();
    let lowshot = ["eval", "lowshot", "--checkpoint", "raw-pixels", "--train", "images", "--test", "images"];
    let knn = ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "images", "--test", "images"];
    let with = |command: &[&str], more: &[&str]| scratch.msn(&[command, more].concat());
    with(&lowshot, &["--shots", "0"]).refused_with(&["--shots", "at least 1"]);
    with(&lowshot, &["--splits", "0"]).refused_with(&["--splits", "0"]);
    with(&lowshot, &["--lambda", "0"]).refused_with(&["--lambda", "above 0"]);
    with(&lowshot, &["--features", "middle"]).refused_with(&["--features", "before-norm"]);
    with(&lowshot, &["--split-file", "a.txt", "--shots", "1"]).refused_with(&["--split-file", "--shots"]);
    with(&knn, &["--k", "10,x"]).refused_with(&["--k", "at least 1"]);
    with(&knn, &["--temperature", "nan"]).refused_with(&["--temperature", "above 0"]);
    scratch.msn(&["synth", "--out", "more", "--classes", "1"]).refused_with(&["--classes", "found 1"]);
    scratch.msn(&["synth", "--out", "more", "--size", "1000"]).refused_with(&["--size", "found 1000"]);
    scratch
        .msn(&["predict", "--checkpoint", "run", "--images", "images", "--out", "predicted.xlsx"])
        .refused_with(&["--out", ".csv", "predicted.xlsx"]);
    scratch
        .msn(&["embed", "--checkpoint", "raw-pixels", "--data", "images", "--out", "rows.csv"])
        .refused_with(&["--out", ".npy or .safetensors", "rows.csv"]);
}

#[test]
fn help_is_shown_with_baselines_and_exit_codes() {
    let scratch = Scratch::new();
    for command in ["lowshot", "knn"] {
        let help = scratch.msn(&["eval", command, "--help"]).success().stdout;
        assert!(help.contains("Usage: msn eval "), "{help}");
        assert!(help.contains("raw-pixels") && help.contains("untrained:RUN"), "{help}");
    }
    let help = scratch.msn(&["--help"]).success().stdout;
    assert!(help.contains("Exit codes") && help.contains("130"), "{help}");
}

#[test]
fn two_sizes_of_views_are_refused() {
    let scratch = Scratch::new();
    let sizes = ["encoder.image_size=64", "views.random_size = 32"];
    scratch.pretrain("run", &sizes).refused_with(&["one size", "found 64 and 32"]);
    assert!(!scratch.path("run").exists());
    scratch.pretrain("run", &["data.workers=5000"]).refused_with(&["data.workers", "1024 at most", "5000"]);
}
