//! The linear probe on images whose classes can be seen.

use std::path::Path;

use image::{Rgb, RgbImage};
use msn_data::Dataset;
use msn_eval::{ExtractError, Extractor, LinearProbe, LinearReport};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::common::images;

fn run(probe: &LinearProbe, train: &Path, test: &Path) -> Result<LinearReport, ExtractError> {
    let labels = |dataset: &dyn Dataset| -> Vec<String> {
        (0..dataset.len()).map(|i| dataset.label(i).expect("in a folder").to_owned()).collect()
    };
    let (train, test) = (msn_data::open(train)?, msn_data::open(test)?);
    let (train_labels, test_labels) = (labels(&*train), labels(&*test));
    let extractor = Extractor::raw_pixels(8);
    let mut last = (0, 0);
    let report = probe.run(&extractor, (&*train, &train_labels), (&*test, &test_labels), |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
    })?;
    assert_eq!(last.0, last.1, "every image was announced and went through");
    Ok(report.0)
}

fn probe() -> LinearProbe {
    // The second is too high for numbers.
    let rates = vec![3.0, 1e40];
    LinearProbe { epochs: 15, batch_size: 7, rates, least_area: 0.6, held_out: 0.2, ..LinearProbe::default() }
}

#[test]
fn the_better_rate_is_chosen_on_images_held_out() {
    let scratch = tempfile::tempdir().unwrap();
    let (train, test) = (scratch.path().join("train"), scratch.path().join("test"));
    images(&train, 10);
    images(&test, 4);
    let report = run(&probe(), &train, &test).unwrap();
    assert_eq!((report.classes, report.columns), (3, 192));
    // A fifth of ten images of each class.
    assert_eq!((report.train_images, report.held_out_images, report.test_images), (24, 6, 12));
    assert_eq!((report.chosen_rate, report.top1), (3.0, 100.0), "{report:?}");
    assert!(
        report.rates[1].held_out_top1 < 50.0,
        "a head that has diverged calls everything the first class"
    );
    // A head does not feel the others.
    let alone = run(&LinearProbe { rates: vec![3.0], ..probe() }, &train, &test).unwrap();
    assert_eq!(alone.rates[0], report.rates[0]);
}

/// Ten images of each of three classes that have nothing in common.
fn noise(folder: &Path, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for number in 0..30 {
        let folder = folder.join(format!("class{}", number % 3));
        std::fs::create_dir_all(&folder).unwrap();
        let image = RgbImage::from_fn(8, 8, |_, _| Rgb([0; 3].map(|_: u8| (rng.next_u32() >> 24) as u8)));
        image.save(folder.join(format!("{number:02}.png"))).unwrap();
    }
}

#[test]
fn the_seed_decides_what_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let (train, test) = (scratch.path().join("train"), scratch.path().join("test"));
    noise(&train, 1);
    noise(&test, 2);
    let found = |seed| run(&LinearProbe { seed, epochs: 2, ..probe() }, &train, &test).unwrap();
    let reports = [0, 1, 2, 3].map(found);
    assert_eq!(found(0), reports[0]);
    assert!(reports[1..].iter().any(|report| report.rates[0] != reports[0].rates[0]), "{reports:?}");
}

#[test]
fn wrong_input_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let (train, test) = (scratch.path().join("train"), scratch.path().join("test"));
    images(&train, 1);
    images(&test, 1);
    let message = |probe: LinearProbe| run(&probe, &train, &test).unwrap_err().to_string();
    assert_eq!(message(probe()), "class `class0`: expected at least 2 images to draw from, found 1");
    assert_eq!(
        message(LinearProbe { blocks: 2, ..probe() }),
        "blocks: expected at most 1, the blocks of the encoder, found 2"
    );
    assert_eq!(
        message(LinearProbe { rates: vec![], ..probe() }),
        "rates: expected at least one learning rate, found 0"
    );
    for (field, wrong) in [
        ("flip", LinearProbe { flip: -0.1, ..probe() }),
        ("rotation", LinearProbe { rotation: 1.1, ..probe() }),
    ] {
        let message = message(wrong);
        assert!(message.starts_with(&format!("{field}: expected a number in [0, 1]")), "{message}");
    }
    assert!(
        message(LinearProbe { momentum: 1.0, ..probe() })
            .starts_with("momentum: expected a number in [0, 1)")
    );
    std::fs::rename(test.join("class0"), test.join("other")).unwrap();
    let unseen = run(&probe(), &train, &test).unwrap_err().to_string();
    let expected = "other/00.png: expected one of the 3 classes of the training images, found class `other`";
    assert_eq!(unseen, format!("{}: {expected}", test.display()));
}
