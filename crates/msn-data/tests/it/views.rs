//! The picture of what a network sees.

use std::sync::Arc;

use msn_data::rng::Rng;
use msn_data::{
    Cursor, Error, Loader, LoaderConfig, MaskMode, Masking, Orientation, ViewKind, ViewParams, Views,
    picture_of_views, preview,
};

use crate::common::Memory;

fn config(batch_size: usize, patch_drop: f64) -> LoaderConfig {
    let views = Views { random_views: 2, focal_views: 3, random_size: 16, focal_size: 8, ..Views::default() };
    let masking = Masking { patch_drop, mask: MaskMode::PerImage };
    LoaderConfig { views, masking, workers: 2, ..LoaderConfig::new(batch_size, 4, 11) }
}

#[test]
fn the_views_shown_are_those_of_training() {
    let dataset = Memory::with_broken(12, &[5]);
    let config = config(4, 0.3);
    let mut loader = Loader::start(Arc::clone(&dataset), config.clone(), Cursor::default()).unwrap();
    let batches: Vec<_> = (0..6).map(|_| loader.next().unwrap()).collect();
    for epoch in 0..2 {
        let (views, _) = preview(&dataset, &config, epoch, None).unwrap();
        let first = &batches[3 * epoch as usize];
        assert_eq!(views.images, first.images);
        assert_eq!(
            (&views.target, &views.random, &views.focal),
            (&first.target, &first.random, &first.focal)
        );
    }
    // An image by itself, wherever it comes in the epoch.
    let image = batches[1].images[2];
    let (views, _) = preview(&dataset, &config, 0, Some(&[image])).unwrap();
    assert_eq!(views.target.pixels, batches[1].target.pixels[2 * 768..3 * 768]);
    assert_eq!(views.random[1].keep.as_ref().unwrap()[0], batches[1].random[1].keep.as_ref().unwrap()[2]);
}

#[test]
fn dropped_patches_are_grey_in_the_picture() {
    let dataset = Memory::with_broken(6, &[]);
    for (drop, dropped) in [(0.0, 0), (0.5, 8)] {
        let mut config = config(3, drop);
        // Nothing else is grey in these images.
        (config.views.grayscale, config.views.color_jitter_probability) = (0.0, 0.0);
        let (views, _) = preview(&dataset, &config, 0, None).unwrap();
        let picture = picture_of_views(&*dataset, &config, 0, &views).unwrap();
        let grey = picture.pixels().as_chunks::<3>().0.iter().filter(|pixel| **pixel == [190; 3]).count();
        // Views of 16 px are shown ten times as large: a patch is 40 x 40 pixels. Three images, two masked views each.
        assert_eq!(grey, 3 * 2 * dropped * 40 * 40, "{drop}");
    }
}

#[test]
fn images_that_cannot_be_shown_are_named() {
    let dataset = Memory::with_broken(3, &[1]);
    let error = preview(&dataset, &config(2, 0.3), 0, Some(&[1])).unwrap_err();
    assert!(
        matches!(&error, Error::TooFewUsable { usable: 0, .. }) && error.to_string().contains("0001.png"),
        "{error}"
    );
    let error = preview(&dataset, &config(4, 0.3), 0, None).unwrap_err();
    assert!(matches!(error, Error::BatchLargerThanData { images: 3, .. }), "{error}");
}

#[test]
fn views_are_flipped_and_rotated_as_often_as_the_recipe_says() {
    let draw = |flip: f64, rotation: f64, image: usize| {
        let views = Views { flip, rotation, ..Views::default() };
        ViewParams::sample(&views, ViewKind::Random, 40, 30, &mut Rng::for_view(1, 0, image, 1))
    };
    for image in 0..40 {
        assert_eq!(draw(0.0, 0.0, image).orientation, Orientation::default());
        assert_eq!(draw(1.0, 0.0, image).orientation, Orientation { flip: true, quarter_turns: 0 });
        let rotated = draw(0.0, 1.0, image).orientation;
        assert!(!rotated.flip && (1..4).contains(&rotated.quarter_turns), "{rotated:?}");
    }
}
