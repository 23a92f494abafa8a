//! The configurations that come with the project.

use std::path::{Path, PathBuf};

use msn_train::Config;
use msn_train::config::Source;

/// The paper's models: variant, fraction of patches dropped, and side of the focal views.
const PAPER: [(&str, f64, usize); 6] = [
    ("vit-s16", 0.15, 96),
    ("vit-b16", 0.3, 96),
    ("vit-b8", 0.3, 96),
    ("vit-b4", 0.7, 96),
    ("vit-l16", 0.7, 96),
    // 96 is no multiple of 7.
    ("vit-l7", 0.7, 98),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/pretrain")
}

fn read(path: &Path) -> Config {
    let config = Source::file(path).and_then(|source| Config::merge(&Config::default(), &[source]));
    config.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_configuration_loads_and_is_in_range() {
    let entries = std::fs::read_dir(folder()).expect("the project has configurations");
    let paths = entries.map(|entry| entry.expect("can be listed").path());
    let files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    assert!(files.len() >= PAPER.len(), "{files:?}");
    for path in files {
        read(&path).validate().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn the_papers_models_have_its_patch_drops_and_say_that_they_were_not_run() {
    for (variant, patch_drop, focal_size) in PAPER {
        let path = folder().join(format!("imagenet-{variant}.toml"));
        let config = read(&path);
        assert_eq!(config.encoder.variant, variant);
        assert_eq!((config.mask.patch_drop, config.views.focal_size), (patch_drop, focal_size), "{variant}");
        let text = std::fs::read_to_string(&path).expect("was read before");
        let header = text.lines().take_while(|line| line.starts_with('#'));
        assert!(header.clone().any(|line| line.contains("not run here")), "{variant}");
        assert_eq!(header.clone().any(|line| line.contains("96 is not divisible by 7")), variant == "vit-l7");
    }
}
