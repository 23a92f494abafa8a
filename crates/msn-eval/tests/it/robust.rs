//! Scores on corrupted rows that can be worked out by hand.

use crate::common::labelled;
use crate::extract;
use image::RgbImage;
use msn_data::{Corruption, CorruptionKind, SEVERITIES};
use msn_eval::{Error, Features, Lambda, robustness};

#[test]
fn errors_are_means_over_severities_and_kinds() {
    let (train, test) = (labelled(4, 6, 12, 0.1, 1), labelled(4, 10, 12, 0.1, 2));
    // Blur turns as many images of the last class into the first as its severity says; jpeg leaves all as they are.
    let corrupted = |corruption: Corruption| -> Result<Features, Error> {
        let mut rows: Vec<usize> = (0..40).collect();
        if corruption.kind == CorruptionKind::Blur {
            (0..corruption.severity).for_each(|i| rows[30 + i] = i);
        }
        Ok(test.features().select(&rows))
    };
    let kinds = [CorruptionKind::Blur, CorruptionKind::Jpeg];
    let report = robustness(&train, &test, Lambda::Default, &kinds, corrupted).expect("valid input");
    assert_eq!((report.images, report.clean_top1), (40, 100.0));
    assert_eq!(report.corruptions[0].name, "blur");
    assert_eq!(report.corruptions[0].top1, [97.5, 95.0, 92.5, 90.0, 87.5]);
    assert_eq!((report.corruptions[0].mean_error, report.corruptions[1].mean_error), (7.5, 0.0));
    assert_eq!(report.mean_corruption_error, 3.75);
}

#[test]
fn wrong_input_is_named() {
    let (train, test) = (labelled(2, 6, 12, 0.1, 1), labelled(2, 10, 12, 0.1, 2));
    let run = |rows: &[usize]| {
        let make = |_| Ok::<Features, Error>(test.features().select(rows));
        robustness(&train, &test, Lambda::Default, &CorruptionKind::ALL, make)
    };
    assert!(matches!(run(&[0, 1]), Err(Error::LabelCount { rows: 2, found: 20 })));
    let unseen = labelled(3, 1, 12, 0.1, 2);
    let make = |_| Ok::<Features, Error>(unseen.features().clone());
    let found = robustness(&train, &unseen, Lambda::Default, &CorruptionKind::ALL, make);
    assert!(matches!(found, Err(Error::UnseenClass { row: 2, .. })));
}

#[test]
fn the_encoder_gets_the_images_as_each_severity_leaves_them() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, folder) = (scratch.path().join("run"), scratch.path().join("images"));
    extract::run_with(&run, extract::tensors(&extract::encoder(9)), extract::state());
    let extractor = extract::pretrained(&run, msn_model::Features::BeforeNorm).unwrap();
    // As large as the encoder wants them, so that nothing happens before the corruption.
    let images = extract::images(&folder, 3, (16, 16));
    let dataset = msn_data::open(&folder).unwrap();
    let order = [2, 0, 1];
    for kind in CorruptionKind::ALL {
        for severity in 1..=SEVERITIES {
            let corruption = Corruption { kind, severity };
            let folder = scratch.path().join(format!("{}-{severity}", kind.name()));
            std::fs::create_dir(&folder).unwrap();
            for (number, image) in images.iter().enumerate() {
                let mut pixels = image.as_raw().clone();
                corruption.apply(&mut pixels, 16, number);
                let image = RgbImage::from_raw(16, 16, pixels).expect("as many pixels");
                image.save(folder.join(format!("{number:02}.png"))).unwrap();
            }
            let corrupted = msn_data::open(&folder).unwrap();
            let expected = extractor.rows(&*corrupted, &order, |_| ()).unwrap();
            let found = extractor.corrupted_rows(&*dataset, &order, Some(corruption), |_| ()).unwrap();
            assert_eq!(found, expected, "{corruption:?}");
        }
    }
}
