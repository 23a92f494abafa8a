//! What every image set must have, whatever its nuisances are tuned to.

use std::collections::HashSet;
use std::thread;

use image::RgbImage;
use msn_synth::{CLASSES, Error, SynthConfig, class_name, draw};

fn config() -> SynthConfig {
    SynthConfig { classes: 20, images_per_class: 40, size: 32, seed: 0 }
}

#[test]
fn every_class_has_a_name_of_its_own_that_can_be_a_folder() {
    let names: HashSet<_> = (0..CLASSES).map(class_name).collect();
    assert_eq!(names.len(), CLASSES);
    for name in names {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
    }
}

#[test]
fn every_value_out_of_its_range_is_named_with_the_range() {
    let cases = [
        (SynthConfig { classes: 1, ..config() }, "classes: expected 2 to 30, found 1"),
        (SynthConfig { classes: CLASSES + 1, ..config() }, "classes: expected 2 to 30, found 31"),
        (SynthConfig { images_per_class: 0, ..config() }, "images_per_class: expected at least 1, found 0"),
        (SynthConfig { size: 15, ..config() }, "size: expected 16 to 256, found 15"),
        (SynthConfig { size: 257, ..config() }, "size: expected 16 to 256, found 257"),
    ];
    for (config, message) in cases {
        let error: Error = config.validate().expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_bounds_themselves_can_be_drawn() {
    for (classes, size) in [(2, 16), (CLASSES, 256)] {
        let config = SynthConfig { classes, images_per_class: 1, size, seed: u64::MAX };
        assert_eq!(config.validate(), Ok(()));
        let side = u32::try_from(size).expect("at most 256");
        assert_eq!(draw(&config, classes - 1, 0).dimensions(), (side, side));
    }
}

#[test]
#[should_panic(expected = "class 20: expected less than 20")]
fn a_class_that_the_set_does_not_have_panics() {
    draw(&config(), 20, 0);
}

#[test]
#[should_panic(expected = "index 40: expected less than 40")]
fn an_index_that_the_set_does_not_have_panics() {
    draw(&config(), 0, 40);
}

#[test]
fn an_image_is_the_same_in_any_order_on_any_thread_and_in_a_larger_set() {
    let config = config();
    let all = |order: Vec<usize>| {
        let mut images: Vec<_> = order.into_iter().map(|class| (class, draw(&config, class, 3))).collect();
        images.sort_by_key(|(class, _)| *class);
        images
    };
    let forwards = all((0..20).collect());
    let backwards = thread::scope(|scope| {
        scope.spawn(|| all((0..20).rev().collect())).join().expect("drawing does not panic")
    });
    assert!(forwards == backwards);

    let larger = SynthConfig { classes: CLASSES, images_per_class: 1000, ..config.clone() };
    assert!(draw(&larger, 7, 3) == forwards[7].1);
}

#[test]
fn seed_class_and_index_each_give_another_image() {
    let config = config();
    let other_seed = SynthConfig { seed: 1, ..config.clone() };
    let images: HashSet<Vec<u8>> = (0..20)
        .flat_map(|class| (0..5).map(move |index| (class, index)))
        .flat_map(|(class, index)| [draw(&config, class, index), draw(&other_seed, class, index)])
        .map(RgbImage::into_raw)
        .collect();
    assert_eq!(images.len(), 200);
}

/// Accuracy of [`nearest_mean_accuracy`] above which a statistic knows something of the class. With 400 test images and
/// chance 5% the standard deviation of the accuracy of a blind guess is 1.1 points; the bound is 4 of them above chance.
const ABOVE_CHANCE: f64 = 0.095;

#[test]
fn colour_says_nothing_of_the_class() {
    for (name, statistic) in [("mean colour", mean_colour as fn(&RgbImage) -> [f64; 3]), ("chroma", chroma)] {
        let accuracy = nearest_mean_accuracy(&config(), statistic);
        assert!(accuracy < ABOVE_CHANCE, "{name}: {accuracy}");
    }
}

/// The control of the test above: a statistic as simple, of edges in place of colour, passes the bound.
#[test]
fn classes_differ_in_their_pattern() {
    let accuracy = nearest_mean_accuracy(&config(), edge_density);
    assert!(accuracy > ABOVE_CHANCE, "edges: {accuracy}");
}

fn nearest_mean_accuracy(config: &SynthConfig, statistic: impl Fn(&RgbImage) -> [f64; 3]) -> f64 {
    let half = config.images_per_class / 2;
    let means: Vec<[f64; 3]> = (0..config.classes)
        .map(|class| {
            let statistics: Vec<_> = (0..half).map(|index| statistic(&draw(config, class, index))).collect();
            std::array::from_fn(|c| statistics.iter().map(|s| s[c]).sum::<f64>() / half as f64)
        })
        .collect();
    let distance = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>();
    let nearest = |s: [f64; 3]| {
        (0..means.len()).min_by(|&a, &b| distance(&means[a], &s).total_cmp(&distance(&means[b], &s)))
    };
    let tests =
        (0..config.classes).flat_map(|class| (half..config.images_per_class).map(move |i| (class, i)));
    let correct =
        tests.filter(|&(class, i)| nearest(statistic(&draw(config, class, i))) == Some(class)).count();
    correct as f64 / (config.classes * half) as f64
}

fn mean_colour(image: &RgbImage) -> [f64; 3] {
    let count = f64::from(image.width() * image.height());
    std::array::from_fn(|c| image.pixels().map(|p| f64::from(p.0[c])).sum::<f64>() / count)
}

/// The mean colour less its grey.
fn chroma(image: &RgbImage) -> [f64; 3] {
    let mean = mean_colour(image);
    let grey = mean.iter().sum::<f64>() / 3.0;
    mean.map(|c| c - grey)
}

/// Mean absolute difference of green between neighbours along rows, along columns, and between pixels two columns
/// apart.
fn edge_density(image: &RgbImage) -> [f64; 3] {
    [(1, 0), (0, 1), (2, 0)].map(|(dx, dy)| {
        let (width, height) = (image.width() - dx, image.height() - dy);
        let differences = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| {
            let [a, b] = [(x, y), (x + dx, y + dy)].map(|(x, y)| f64::from(image.get_pixel(x, y).0[1]));
            (a - b).abs()
        });
        differences.sum::<f64>() / f64::from(width * height)
    })
}
