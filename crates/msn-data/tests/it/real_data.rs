//! Real archives, where they are at hand.

use std::collections::BTreeSet;
use std::sync::Arc;

use msn_data::{Cursor, Limits, Loader, LoaderConfig, Views, decode};

use crate::common::shared;

#[test]
fn cifar_10_test_images_open_with_their_classes() {
    let Some(path) = shared("cifar10-test.tar") else { return };
    let dataset = msn_data::open(&path).unwrap();
    assert_eq!(dataset.len(), 10_000);
    let classes: BTreeSet<_> = (0..dataset.len()).filter_map(|i| dataset.label(i)).collect();
    assert_eq!(classes.len(), 10);
    assert!(classes.contains("airplane"), "{classes:?}");
    assert_eq!(dataset.name(0), "airplane/0000.jpg");
    for index in [0, 4999, 9999] {
        let image = decode(&dataset.read(index, usize::MAX).unwrap(), &Limits::default()).unwrap();
        assert_eq!((image.width(), image.height()), (32, 32));
    }
}

#[test]
fn batches_of_photographs_are_whole() {
    let Some(path) = shared("imagenet-sample-200.tar") else { return };
    let dataset = msn_data::open(&path).unwrap();
    assert_eq!(dataset.len(), 200);
    let views = Views { random_size: 64, focal_size: 32, focal_views: 2, ..Views::default() };
    let config = LoaderConfig { views, max_skipped: 0.0, ..LoaderConfig::new(50, 16, 0) };
    let mut loader = Loader::start(Arc::clone(&dataset), config, Cursor::default()).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        let batch = loader.next().unwrap();
        seen.extend(batch.images);
        let pixels = &batch.target.pixels;
        assert_eq!(pixels.len(), 50 * 3 * 64 * 64);
        let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
        // Normalised photographs: the mean of 600,000 values lies near 0, that of black at -2, of white at 2.4.
        assert!(mean.abs() < 0.5, "mean {mean}");
    }
    assert_eq!(seen.len(), 200);
}
