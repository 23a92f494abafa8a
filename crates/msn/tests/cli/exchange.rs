//! `msn import`, `msn export`, and other programs' checkpoints as `--checkpoint`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Finished, Scratch, names};

const LABELS: &str = "path,label\ncircle-solid/0001.png,round\n";

/// As other programs compute what was exported.
const F32: [&str; 2] = ["--precision", "f32"];

/// The folder with one encoder in the formats of other programs.
fn interop() -> Option<PathBuf> {
    let folder = msn_golden::folder()?.join("interop");
    if folder.join("index.json").is_file() {
        return fs::canonicalize(folder).ok();
    }
    msn_golden::skip(&format!("no reference values in {}", folder.display()));
    None
}

/// Runs the Python program that opens what was exported; whether it could.
fn checked(arguments: &[&str]) -> bool {
    let Ok(python) = std::env::var("MSN_PYTHON") else {
        msn_golden::skip("no MSN_PYTHON, an interpreter with torch, transformers and onnxruntime");
        return false;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_export.py");
    let output = Command::new(&python).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(77) {
        msn_golden::skip(&format!("{}: {}", arguments[1], said.trim()));
        return false;
    }
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("largest difference"), "{said}");
    true
}

/// The forms that Python libraries open, with the ending of what is written.
const FORMS: [(&str, &str); 3] = [("hf", ""), ("timm", ".safetensors"), ("onnx", ".onnx")];

fn export(scratch: &Scratch, checkpoint: &str, form: &str, out: &str, more: &[&str]) -> Finished {
    let arguments = ["export", "--checkpoint", checkpoint, "--format", form, "--out", out];
    scratch.msn(&[&arguments[..], more].concat())
}

#[test]
fn golden_interop_exported_forms_give_the_outputs_of_the_original_weights() {
    let Some(golden) = interop() else { return };
    let scratch = Scratch::new();
    let original = golden.join("msn_official.pth.tar").display().to_string();
    let expected = golden.join("expected.safetensors").display().to_string();
    for (form, ending) in FORMS {
        let out = format!("exported-{form}{ending}");
        export(&scratch, &original, form, &out, &["--heads", "3"]).success();
        checked(&["golden", form, &scratch.path(&out).display().to_string(), &expected]);
    }
}

#[test]
fn golden_interop_every_format_is_a_checkpoint_and_becomes_a_run() {
    let Some(golden) = interop() else { return };
    let scratch = Scratch::new();
    let embed = |checkpoint: &str, more: &[&str]| {
        let arguments = ["embed", "--checkpoint", checkpoint, "--data", "images", "--out", "rows.npy"];
        let said = scratch.msn(&[&arguments[..], more].concat()).success().stderr;
        (fs::read(scratch.path("rows.npy")).unwrap(), said)
    };
    let mut first = None;
    for name in
        names(&golden).iter().filter(|name| !["index.json", "expected.safetensors"].contains(&name.as_str()))
    {
        let path = golden.join(name);
        let file = path.display().to_string();
        let heads: &[&str] = if path.is_dir() { &[] } else { &["--heads", "3"] };
        let (rows, said) = embed(&file, heads);
        assert!(said.contains("48 wide, 3 blocks, 3 heads, images of 32 px in patches of 8 px"), "{said}");
        // The same encoder in every file but one, and so the same features, to the bit.
        if name != "hf_vit_msn_classifier" {
            assert_eq!(first.get_or_insert_with(|| rows.clone()), &rows, "{name}");
        }
        let run = format!("runs-{name}");
        let imported = scratch.msn(&[&["import", &file, "--out", &run], heads].concat()).success();
        assert!(imported.stderr.contains("step-0"), "{}", imported.stderr);
        // The run knows its heads.
        assert_eq!(embed(&run, &[]).0, rows, "{name}");
    }
    let said = scratch.msn(&[
        "import",
        &golden.join("mae.pth").display().to_string(),
        "--out",
        "mae",
        "--heads",
        "3",
    ]);
    let said = said.success().stderr;
    for listed in ["MAE", "not used", "decoder_embed.weight", "mask_token"] {
        assert!(said.contains(listed), "expected `{listed}` in: {said}");
    }
}

#[test]
fn golden_interop_heads_are_asked_for_where_nothing_tells_them() {
    let Some(golden) = interop() else { return };
    let scratch = Scratch::new();
    let file = golden.join("dino_backbone.pth").display().to_string();
    scratch.msn(&["import", &file, "--out", "run"]).fails_with(&["dino_backbone.pth", "--heads"]);
    scratch.msn(&["import", &file, "--out", "run", "--heads", "5"]).fails_with(&["multiple", "heads = 5"]);
    assert!(!scratch.path("run").exists(), "a failed import makes no run folder");

    let sets = ["--train", "images", "--test", "images"];
    let probe = [&["eval", "linear", "--checkpoint", &file, "--epochs", "1"], &sets[..]].concat();
    let compare = [&["compare", &file, "--shots", "1", "--splits", "1"], &sets[..]].concat();
    for arguments in [&probe, &compare] {
        scratch.msn(arguments).fails_with(&["dino_backbone.pth", "--heads"]);
        scratch.msn(&[&arguments[..], &["--heads", "3"]].concat()).success();
    }
}

/// A run, features of its images after and before the norm, and labels of a few of them predicted for all.
///
/// Its weights start with the deviation that suits its width, so that [CLS] has a variance of about 1 as in encoders that
/// have learned: against one of 0.001 the 1e-6 that the final norm adds would show in the fourth digit.
fn run_with_references() -> Scratch {
    let scratch = Scratch::new();
    scratch.pretrain("run", &["encoder.init_std=0.18"]).success();
    for (place, out) in [("after-norm", "after.npy"), ("before-norm", "before.npy")] {
        let arguments =
            ["embed", "--checkpoint", "run", "--data", "images", "--features", place, "--out", out];
        scratch.msn(&[&arguments[..], &F32].concat()).success();
    }
    let mut labels = "path,label\n".to_owned();
    for class in names(&scratch.path("images")) {
        for image in ["0001.png", "0002.png"] {
            labels += &format!("{class}/{image},{class}\n");
        }
    }
    fs::write(scratch.path("few.csv"), labels).unwrap();
    let arguments = [
        "predict",
        "--checkpoint",
        "run",
        "--labels",
        "few.csv",
        "--images",
        "images",
        "--out",
        "predicted.csv",
    ];
    scratch.msn(&[&arguments[..], &F32].concat()).success();
    scratch
}

#[test]
fn exported_classifiers_predict_as_msn_does() {
    let scratch = run_with_references();
    let path = |name: &str| scratch.path(name).display().to_string();
    for (form, ending) in FORMS {
        for labels in [&[][..], &["--labels", "few.csv", "--images", "images"]] {
            let out = format!("{form}-{}{ending}", labels.len());
            let said = export(&scratch, "run", form, &out, labels).success().stderr;
            assert_eq!(said.contains("a classifier of 3 classes"), !labels.is_empty(), "{said}");
            let [exported, images, after, before, predicted] =
                [&out, "images", "after.npy", "before.npy", "predicted.csv"].map(path);
            let mut arguments = vec!["run", form, &exported, &images, &after, &before];
            if !labels.is_empty() {
                arguments.push(&predicted);
            }
            checked(&arguments);
        }
    }
}

#[test]
fn what_is_exported_is_a_checkpoint_again() {
    let scratch = run_with_references();
    let after = fs::read(scratch.path("after.npy")).unwrap();
    for (form, out) in [("hf", "hf"), ("timm", "timm.safetensors"), ("safetensors", "own.safetensors")] {
        export(&scratch, "run", form, out, &["--labels", "few.csv", "--images", "images"]).success();
        let arguments = [
            "embed",
            "--checkpoint",
            out,
            "--data",
            "images",
            "--features",
            "after-norm",
            "--out",
            "again.npy",
        ];
        let said = scratch.msn(&[&arguments[..], &F32].concat()).success().stderr;
        assert!(said.contains("32 wide, 2 blocks, 2 heads"), "{said}");
        assert_eq!(fs::read(scratch.path("again.npy")).unwrap(), after, "{form}");

        // Its classifier is the one of the labels, by itself and as a run.
        let run = format!("run-{form}");
        scratch.msn(&["import", out, "--out", &run]).success();
        for checkpoint in [out, &run] {
            let predict = ["predict", "--checkpoint", checkpoint, "--images", "images", "--out", "own.csv"];
            scratch.msn(&[&predict[..], &F32].concat()).success();
            let labels = |file: &str| -> Vec<String> {
                scratch.read(file).lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
            };
            assert_eq!(labels("own.csv"), labels("predicted.csv"), "{checkpoint}");
            fs::remove_file(scratch.path("own.csv")).unwrap();
        }
    }
}

#[test]
fn exports_replace_nothing_and_say_what_they_take() {
    let scratch = Scratch::with_run();
    fs::write(scratch.path("notes.onnx"), "mine").unwrap();
    export(&scratch, "run", "onnx", "notes.onnx", &[]).fails_with(&["notes.onnx", "another file"]);
    export(&scratch, "run", "hf", "images", &[]).fails_with(&["images", "a new or an empty folder"]);
    export(&scratch, "run", "onnx", "model.pth", &[]).refused_with(&["--out", ".onnx", "model.pth"]);
    export(&scratch, "run", "timm", "model.bin", &[]).refused_with(&["--out", ".safetensors"]);
    export(&scratch, "run", "gguf", "model", &[]).refused_with(&["--format", "hf, timm, onnx, safetensors"]);
    export(&scratch, "run", "hf", "model", &["--labels", "few.csv"]).refused_with(&["--images"]);
    export(&scratch, "images", "hf", "model", &[]).fails_with(&["images", "not a run folder"]);
    for _ in 0..2 {
        export(&scratch, "run", "onnx", "model.onnx", &[]).success();
    }
    export(&scratch, "run", "timm", "a.safetensors", &[]).success();
    export(&scratch, "run", "safetensors", "a.safetensors", &[]).success();
    let import =
        |more: &[&str]| scratch.msn(&[&["import", "a.safetensors", "--out", "imported"], more].concat());
    import(&["--heads", "4"]).fails_with(&["a.safetensors", "2 in it and 4 given"]);
    import(&["--heads", "2", "--levels", "0,4095"]).success();
    assert!(scratch.read("imported/config.toml").contains("4095"));
    import(&[]).fails_with(&["imported", "a new or an empty folder, found a run"]);
    export(&scratch, "a.safetensors", "timm", "a.safetensors", &[]).fails_with(&["one of its inputs"]);
    let embed = ["embed", "--checkpoint", "a.safetensors", "--data", "images", "--out", "a.safetensors"];
    scratch.msn(&embed).fails_with(&["one of its inputs"]);
    fs::copy(scratch.path("run/checkpoints/step-6/encoder.safetensors"), scratch.path("w.safetensors"))
        .unwrap();
    export(&scratch, "run", "timm", "w.safetensors", &[]).fails_with(&["w.safetensors", "another file"]);
    assert_eq!(fs::read(scratch.path("notes.onnx")).unwrap(), b"mine");
}

#[test]
fn hostile_checkpoints_are_refused_and_nothing_is_executed() {
    let scratch = Scratch::new();
    // `os.system("touch executed")`, in PyTorch's old format.
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(b"\x80\x02cos\nsystem\n(X\x0e\0\0\0touch executedtR.\x80\x02].");
    fs::write(scratch.path("evil.pth"), &file).unwrap();
    fs::write(scratch.path("truncated.pth.tar"), b"PK\x03\x04 and no more").unwrap();
    fs::write(scratch.path("lies.safetensors"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    fs::write(scratch.path("notes.txt"), LABELS).unwrap();
    for (file, parts) in [
        ("evil.pth", &["`os.system`", "not executed"][..]),
        ("truncated.pth.tar", &["truncated.pth.tar", "zip archive"]),
        ("lies.safetensors", &["lies.safetensors", "18446744073709551615"]),
        ("notes.txt", &["notes.txt", "PyTorch"]),
    ] {
        scratch.msn(&["import", file, "--out", "run"]).fails_with(parts);
        let embed = ["embed", "--checkpoint", file, "--data", "images", "--out", "rows.npy"];
        scratch.msn(&embed).fails_with(parts);
    }
    assert!(!scratch.path("executed").exists() && !scratch.path("run").exists());
}

#[test]
fn an_original_configuration_trains_and_names_what_has_no_effect() {
    let scratch = Scratch::new();
    let yaml = "\
criterion:
  num_proto: 8
  use_sinkhorn: true
data:
  rand_size: 32
  focal_size: 16
  focal_views: 1
  batch_size: 4
  pin_mem: true
logging:
  folder: logs/
meta:
  model_name: deit_tiny
  hidden_dim: 16
  output_dim: 8
optimization:
  epochs: 1
  warmup: 0
";
    fs::write(scratch.path("msn.yaml"), yaml).unwrap();
    let arguments = ["pretrain", "--data", "images", "--out", "run", "--config", "msn.yaml"];
    let said = scratch.msn(&[&arguments[..], &["encoder.depth=1"]].concat()).success().stderr;
    for part in
        ["data.pin_mem = true has no effect", "logging.folder = \"logs/\" has no effect", "data.batch_size"]
    {
        assert!(said.contains(part), "expected `{part}` in: {said}");
    }
    let config = scratch.read("run/config.toml");
    assert!(config.contains("prototypes = 8") && config.contains("image_size = 32"), "{config}");
    fs::write(scratch.path("msn.yaml"), "criterion:\n  num_proto: many\n").unwrap();
    scratch.msn(&arguments).refused_with(&["msn.yaml, criterion.num_proto"]);
}
