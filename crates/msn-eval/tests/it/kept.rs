//! Features that an earlier command has computed.

use std::path::Path;

use burn::tensor::Device;
use image::{ImageBuffer, Luma, RgbImage};
use msn_data::{Corruption, CorruptionKind, FULL_RANGE};
use msn_eval::{Extractor, FeatureRows, SavedEncoder, Weights};
use msn_kernels::{Isa, with_isa};
use msn_model::{Features, Precision};
use msn_store::CacheFolder;
use serde_json::{Value, json};

use crate::extract::{encoder, images, run_with, state, tensors};

/// More than two batches.
const IMAGES: usize = 70;

/// A change of the configuration in a checkpoint.
type Change = fn(&mut Value);

/// A run, seventy images and an empty cache.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        scratch.save_run("run", 5);
        images(&scratch.path("images"), IMAGES, (16, 16));
        scratch
    }

    fn save_run(&self, name: &str, seed: u64) {
        run_with(&self.path(name), tensors(&encoder(seed)), state());
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn image(&self, image: usize) -> std::path::PathBuf {
        self.path(&format!("images/{image:02}.png"))
    }

    fn plain(&self, run: &str, features: Features, precision: Precision) -> Extractor {
        Extractor::pretrained(&self.path(run), features, precision, &Device::flex()).unwrap()
    }

    fn keeping(&self, run: &str, features: Features, precision: Precision) -> Extractor {
        self.plain(run, features, precision).keeping(self.cache())
    }

    fn cache(&self) -> CacheFolder {
        CacheFolder::new(self.path("cache"), 1 << 20)
    }

    /// Five grey images of 16 bits, in which levels can be seen.
    fn deep_images(&self) -> std::path::PathBuf {
        let folder = self.path("deep");
        std::fs::create_dir(&folder).unwrap();
        for number in 0..5u16 {
            let level = |x: u32, y: u32| Luma([(x * 3000 + y * 700) as u16 + number * 2000]);
            let image = ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(16, 16, level);
            image.save(folder.join(format!("{number}.png"))).unwrap();
        }
        folder
    }

    /// The encoder of [`state`] with this change of it, for images of this size.
    fn changed(&self, name: &str, change: Change, size: usize) -> Extractor {
        let mut state = state();
        change(&mut state["config"]);
        run_with(&self.path(name), tensors(&encoder(5)), state);
        let saved = SavedEncoder::read(&self.path(name), None).unwrap().with_image_size(size).unwrap();
        let (features, precision) = (Features::BeforeNorm, Precision::F32);
        Extractor::of(saved, Weights::Pretrained, features, precision, &Device::flex()).unwrap()
    }

    /// By a new process, as it were: the cache is opened anew.
    fn rows(&self, images: &[usize]) -> FeatureRows {
        rows(&self.keeping("run", Features::BeforeNorm, Precision::F32), &self.path("images"), images)
    }

    fn computed(&self, images: &[usize]) -> FeatureRows {
        rows(&self.plain("run", Features::BeforeNorm, Precision::F32), &self.path("images"), images)
    }
}

fn rows(extractor: &Extractor, folder: &Path, images: &[usize]) -> FeatureRows {
    let dataset = msn_data::open(folder).unwrap();
    let mut done = 0;
    let rows = extractor.rows(&*dataset, images, |images| done = images).unwrap();
    assert_eq!(done, rows.images.len());
    rows
}

fn all() -> Vec<usize> {
    (0..IMAGES).collect()
}

#[test]
fn what_was_computed_once_is_not_computed_again_and_has_the_same_bits() {
    let scratch = Scratch::new();
    let first = scratch.rows(&all());
    assert_eq!(first, scratch.computed(&all()));
    let again = scratch.rows(&all());
    assert_eq!(again, FeatureRows { recalled: IMAGES, ..first });
}

#[test]
fn known_and_new_images_come_in_the_order_asked_for() {
    let scratch = Scratch::new();
    scratch.rows(&[69, 3, 40, 8]);
    std::fs::write(scratch.image(4), "broken").unwrap();
    let asked: Vec<usize> = [3, 7, 7, 4, 69].into_iter().chain((0..IMAGES).rev()).collect();
    let found = scratch.rows(&asked);
    let expected = scratch.computed(&asked);
    assert_eq!((found.images, &found.features), (expected.images, &expected.features));
    assert_eq!(found.skipped, expected.skipped);
    assert_eq!(found.skipped.len(), 2, "the broken image was asked for twice");
    assert!((6..IMAGES).contains(&found.recalled), "{}", found.recalled);
    assert_eq!(scratch.rows(&asked).recalled, expected.features.rows());
}

#[test]
fn an_image_is_known_by_its_content() {
    let scratch = Scratch::new();
    scratch.rows(&all());
    RgbImage::new(16, 16).save(scratch.image(5)).unwrap();
    std::fs::rename(scratch.image(6), scratch.path("images/a.png")).unwrap();
    let found = scratch.rows(&all());
    assert_eq!(found.recalled, IMAGES - 1, "one has changed, one has another name");
    assert_eq!(found.features, scratch.computed(&all()).features);
}

#[test]
fn other_encoders_and_other_ways_to_compute_share_nothing() {
    let scratch = Scratch::new();
    scratch.save_run("other", 6);
    let folder = scratch.path("images");
    for (run, features, precision) in [
        ("run", Features::BeforeNorm, Precision::F32),
        ("other", Features::BeforeNorm, Precision::F32),
        ("run", Features::AfterNorm, Precision::F32),
        ("run", Features::BeforeNorm, Precision::Bf16),
    ] {
        let expected = rows(&scratch.plain(run, features, precision), &folder, &all());
        for recalled in [0, IMAGES] {
            let found = rows(&scratch.keeping(run, features, precision), &folder, &all());
            assert_eq!(
                found,
                FeatureRows { recalled, ..expected.clone() },
                "{run} {features:?} {precision:?}"
            );
        }
    }
    let extractor = scratch.keeping("run", Features::BeforeNorm, Precision::F32);
    let dataset = msn_data::open(&folder).unwrap();
    let corruption = Some(Corruption { kind: CorruptionKind::Noise, severity: 5 });
    let corrupted = extractor.corrupted_rows(&*dataset, &all(), corruption, |_| ()).unwrap();
    assert_eq!(corrupted.recalled, 0);
    assert_ne!(corrupted.features, scratch.computed(&all()).features);
}

#[test]
fn other_ways_to_prepare_images_and_other_heads_share_nothing() {
    let scratch = Scratch::new();
    let folder = scratch.deep_images();
    let images = [0, 1, 2, 3, 4];
    let mut others = Vec::new();
    let changes: [(&str, Change, usize); 6] = [
        ("nothing", |_| (), 16),
        ("heads", |config| config["encoder"]["heads"] = json!(4), 16),
        ("mean", |config| config["data"]["mean"] = json!([0.4, 0.5, 0.7]), 16),
        ("std", |config| config["data"]["std"] = json!([0.2, 0.3, 0.5]), 16),
        ("levels", |config| config["data"]["levels"] = json!([1000, 30000]), 16),
        ("size", |_| (), 32),
    ];
    for (name, change, size) in changes {
        let expected = rows(&scratch.changed(&format!("{name}-plain"), change, size), &folder, &images);
        assert!(!others.contains(&expected.features), "{name} makes no difference");
        for recalled in [0, images.len()] {
            let extractor =
                scratch.changed(&format!("{name}-{recalled}"), change, size).keeping(scratch.cache());
            let found = rows(&extractor, &folder, &images);
            assert_eq!(found, FeatureRows { recalled, ..expected.clone() }, "{name}");
        }
        others.push(expected.features);
    }
}

#[test]
fn other_instruction_sets_share_nothing() {
    let scratch = Scratch::new();
    let images = [0, 1, 2];
    for isa in Isa::supported() {
        for recalled in [0, images.len()] {
            let found = with_isa(isa, || scratch.rows(&images)).unwrap();
            assert_eq!(found.recalled, recalled, "{}", isa.name());
        }
    }
}

#[test]
fn levels_may_be_chosen_before_and_after_it_is_said_where_features_are_kept() {
    let scratch = Scratch::new();
    let folder = scratch.deep_images();
    let images = [0, 1, 2, 3, 4];
    let plain = || scratch.plain("run", Features::BeforeNorm, Precision::F32);
    let kept = || plain().keeping(scratch.cache());
    let as_they_are = rows(&plain(), &folder, &images);
    // First the levels that it has already.
    for recalled in [0, images.len()] {
        let found = rows(&kept().with_levels(FULL_RANGE), &folder, &images);
        assert_eq!(found, FeatureRows { recalled, ..as_they_are.clone() });
    }
    let levels = [1000, 30000];
    let expected = rows(&plain().with_levels(levels), &folder, &images);
    assert_ne!(expected.features, as_they_are.features);
    let found = rows(&kept().with_levels(levels), &folder, &images);
    assert_eq!(found, FeatureRows { recalled: 0, ..expected.clone() });
    let found = rows(&plain().with_levels(levels).keeping(scratch.cache()), &folder, &images);
    assert_eq!(found, FeatureRows { recalled: images.len(), ..expected });
}

#[test]
fn a_cache_that_cannot_be_used_is_done_without() {
    let scratch = Scratch::new();
    let expected = scratch.computed(&all());
    std::fs::write(scratch.path("cache"), "a file, where a folder is expected").unwrap();
    assert_eq!(scratch.rows(&all()), expected);
    std::fs::remove_file(scratch.path("cache")).unwrap();
    // Room for half of the images.
    let small = CacheFolder::new(scratch.path("cache"), 6_000);
    let extractor = scratch.plain("run", Features::BeforeNorm, Precision::F32).keeping(small);
    let half: Vec<usize> = (0..IMAGES / 2).collect();
    rows(&extractor, &scratch.path("images"), &half);
    for _ in 0..2 {
        let found = rows(&extractor, &scratch.path("images"), &all());
        assert_eq!(found, FeatureRows { recalled: half.len(), ..expected.clone() });
    }
}
