//! What is drawn for views, and the picture of what a network sees.

use std::sync::Arc;

use msn_data::rng::Rng;
use msn_data::{
    Adjustment, Cursor, Error, Loader, LoaderConfig, MaskMode, Masking, Orientation, ViewKind, ViewParams,
    Views, picture_of_views, preview,
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
    assert!(matches!(&error, Error::Unreadable { skipped } if skipped.image == 1), "{error}");
    // No setting says how many are chosen.
    let (views, _) = preview(&dataset, &config(2, 0.3), 0, Some(&[2, 0, 2, 0])).unwrap();
    assert_eq!(views.images, [2, 0, 2, 0]);
    let error = preview(&dataset, &config(3, 0.3), 0, None).unwrap_err();
    assert!(matches!(error, Error::TooFewUsable { usable: 2, images: 3, batch_size: 3, .. }), "{error}");
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

/// No two ranges or probabilities are alike, so that none can stand in for another.
fn recipe() -> Views {
    Views {
        random_scale: [0.5, 0.7],
        focal_scale: [0.1, 0.2],
        aspect: [0.8, 1.5],
        flip: 0.15,
        rotation: 0.3,
        color_jitter: 0.5,
        color_jitter_probability: 0.6,
        grayscale: 0.75,
        blur: 0.45,
        blur_radius: [0.4, 1.6],
        ..Views::default()
    }
}

const DRAWN: usize = 4000;

fn drawn(views: &Views, kind: ViewKind) -> Vec<ViewParams> {
    let draw = |image| ViewParams::sample(views, kind, 1000, 800, &mut Rng::for_view(5, 0, image, 0));
    (0..DRAWN).map(draw).collect()
}

/// Uniform numbers fill their range: none outside, and of the hundreds drawn here some within 2% of either end.
fn assert_fill(what: &str, found: impl Iterator<Item = f64>, [low, high]: [f64; 2]) {
    let (least, largest) = found.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
    // Factors are kept as f32, whose ends may round outwards.
    let (rounding, near) = (1e-6, 0.02 * (high - low));
    assert!(
        (low - rounding..low + near).contains(&least) && (high - near..=high + rounding).contains(&largest),
        "{what} from {least} to {largest}, expected {low} to {high}"
    );
}

#[test]
fn each_augmentation_comes_with_its_own_probability() {
    type Is = fn(&ViewParams) -> bool;
    let cases: [(&str, Is, f64); 5] = [
        ("flip", |view| view.orientation.flip, 0.15),
        ("rotation", |view| view.orientation.quarter_turns > 0, 0.3),
        ("colour jitter", |view| view.jitter.is_some(), 0.6),
        ("greyscale", |view| view.grayscale, 0.75),
        ("blur", |view| view.blur.is_some(), 0.45),
    ];
    for kind in [ViewKind::Target, ViewKind::Random, ViewKind::Focal] {
        let views = drawn(&recipe(), kind);
        for (what, is, probability) in cases {
            let found = views.iter().filter(|view| is(view)).count() as f64 / DRAWN as f64;
            // Five standard deviations: at most 0.04, and the probabilities lie 0.15 apart.
            let bound = 5.0 * (probability * (1.0 - probability) / DRAWN as f64).sqrt();
            assert!((found - probability).abs() < bound, "{kind:?}, {what}: {found} for {probability}");
        }
    }
}

#[test]
fn crops_have_the_scale_of_their_kind_and_the_aspect_of_the_recipe() {
    for (kind, scale) in
        [(ViewKind::Target, [0.5, 0.7]), (ViewKind::Random, [0.5, 0.7]), (ViewKind::Focal, [0.1, 0.2])]
    {
        let views = drawn(&recipe(), kind);
        let sides = || views.iter().map(|view| (f64::from(view.crop.width), f64::from(view.crop.height)));
        // Sides are rounded to whole pixels: of at least 230, that is 0.5% of an area and of an aspect.
        let rounded = |[low, high]: [f64; 2]| [low * 0.995, high * 1.005];
        assert_fill(&format!("{kind:?}, scale"), sides().map(|(w, h)| w * h / 800_000.0), rounded(scale));
        // The widest of the largest boxes do not fit into the image, so that only small ones reach both ends.
        if kind == ViewKind::Focal {
            assert_fill("aspect", sides().map(|(w, h)| w / h), rounded([0.8, 1.5]));
        } else {
            assert!(sides().all(|(w, h)| (0.796..1.508).contains(&(w / h))));
        }
    }
}

#[test]
fn views_have_the_size_of_their_kind() {
    let views =
        Views { random_size: 64, focal_size: 32, random_views: 2, focal_views: 1, ..Views::default() };
    let sizes: Vec<usize> = (0..views.count()).map(|view| views.size(views.kind(view))).collect();
    assert_eq!(sizes, [64, 64, 64, 32], "the target, the large anchors, the focal one");
}

/// Section A of SimCLR's appendix, which MSN takes over: 0.8 s for brightness, contrast and saturation, 0.2 s for the hue.
#[test]
fn factors_of_colours_and_radii_of_blurs_fill_their_ranges() {
    for (color_jitter, factors, hues) in [(0.5, [0.6, 1.4], [-0.1, 0.1]), (2.0, [0.0, 2.6], [-0.4, 0.4])] {
        let views = drawn(&Views { color_jitter, ..recipe() }, ViewKind::Random);
        let adjustments: Vec<[Adjustment; 4]> =
            views.iter().filter_map(|v| Some(v.jitter.clone()?.0)).collect();
        let [mut brightness, mut contrast, mut saturation, mut hue] = [const { Vec::new() }; 4];
        for adjustment in adjustments.iter().flatten() {
            match *adjustment {
                Adjustment::Brightness(factor) => brightness.push(factor.into()),
                Adjustment::Contrast(factor) => contrast.push(factor.into()),
                Adjustment::Saturation(factor) => saturation.push(factor.into()),
                Adjustment::Hue(turn) => hue.push(turn.into()),
            }
        }
        for (what, found, range) in [
            ("brightness", brightness, factors),
            ("contrast", contrast, factors),
            ("saturation", saturation, factors),
            ("hue", hue, hues),
        ] {
            assert_eq!(found.len(), adjustments.len(), "{what} comes once in each jitter");
            assert_fill(&format!("{what} at {color_jitter}"), found.into_iter(), range);
        }
        assert_fill("radius", views.iter().filter_map(|view| view.blur), [0.4, 1.6]);
    }
}

#[test]
fn colours_are_adjusted_in_every_order() {
    let mut counts = std::collections::HashMap::new();
    for view in drawn(&Views { color_jitter_probability: 1.0, ..recipe() }, ViewKind::Random) {
        let order = view.jitter.expect("always").0.map(|adjustment| std::mem::discriminant(&adjustment));
        *counts.entry(order).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    // Standard deviation of each count: sqrt(4000 * 1/24 * 23/24) = 12.6; five of them.
    assert!(counts.values().all(|count| count.abs_diff(167) < 64), "{:?}", counts.values());
}
