//! Augmentations of supervised training: erasing, mixing, and the loader that augments.

use msn_data::rng::Rng;
use msn_data::{
    CropBox, Error, EvalConfig, EvalTransform, Limits, Mix, Mixing, Normalization, RandAugment, RandomCrops,
    RandomErasing, load_crops,
};

use crate::common::Memory;

const SIZE: usize = 48;
const PLANE: usize = SIZE * SIZE;

/// Least and largest row and column, the latter excluded, of the pixels for which `changed` holds: rows, columns.
fn bounds(changed: impl Fn(usize) -> bool) -> Option<[std::ops::Range<usize>; 2]> {
    let places: Vec<usize> = (0..PLANE).filter(|&i| changed(i)).collect();
    let range = |of: fn(usize) -> usize| {
        let all = || places.iter().map(|&i| of(i));
        Some(all().min()?..all().max()? + 1)
    };
    Some([range(|i| i / SIZE)?, range(|i| i % SIZE)?])
}

fn inside(part: &[std::ops::Range<usize>; 2], i: usize) -> bool {
    part[0].contains(&(i / SIZE)) && part[1].contains(&(i % SIZE))
}

#[test]
fn erasing_puts_noise_into_one_box_of_the_size_asked_for() {
    let erasing = RandomErasing::default();
    let (mut erased, mut areas, mut noise) = (0, Vec::new(), Vec::new());
    for image in 0..2000 {
        let mut view = vec![7.0f32; 3 * PLANE];
        erasing.apply(&mut view, SIZE, &mut Rng::for_erasing(3, 0, image));
        let Some(part) = bounds(|i| view[i] != 7.0) else {
            assert!(view.iter().all(|x| *x == 7.0));
            continue;
        };
        for plane in view.chunks(PLANE) {
            assert!(
                (0..PLANE).all(|i| (plane[i] != 7.0) == inside(&part, i)),
                "one box, alike in all channels"
            );
            noise.extend(plane.iter().filter(|x| **x != 7.0).map(|x| f64::from(*x)));
        }
        let (height, width) = (part[0].len() as f64, part[1].len() as f64);
        // Whole pixels move an area of 2% of 48 x 48 pixels, 4 x 12 at the longest, by up to an eighth and a 24th.
        let aspect = width / height;
        assert!((0.25..4.0).contains(&aspect), "{width} x {height}");
        areas.push(width * height / PLANE as f64);
        erased += 1;
    }
    // Standard deviation: sqrt(2000 * 1/4 * 3/4) = 19; five of them.
    assert!((405..595).contains(&erased), "{erased}");
    let (least, largest) =
        (areas.iter().copied().fold(1.0, f64::min), areas.iter().copied().fold(0.0, f64::max));
    let mean = areas.iter().sum::<f64>() / areas.len() as f64;
    assert!(least > 0.016 && largest < 0.35, "{least} {largest}");
    // Uniform from 0.02 to 1/3: mean 0.177, deviation 0.09 / sqrt(500) = 0.004.
    assert!((mean - 0.177).abs() < 0.02, "{mean}");
    let variance = noise.iter().map(|x| x * x).sum::<f64>() / noise.len() as f64;
    let mean = noise.iter().sum::<f64>() / noise.len() as f64;
    assert!(
        mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01,
        "{mean} {variance} of {} values",
        noise.len()
    );
}

/// Images of one value each: 1, 2, 4, 8, ..
fn batch(images: usize) -> Vec<f32> {
    (0..images).flat_map(|image| vec![(1 << image) as f32; 3 * PLANE]).collect()
}

#[test]
fn mixup_weighs_an_image_and_the_one_from_the_other_end() {
    let mut pixels = batch(4);
    Mix::Mixup { kept: 0.75 }.apply(&mut pixels, SIZE);
    let values: Vec<f32> = pixels.chunks(3 * PLANE).map(|image| image[0]).collect();
    assert_eq!(values, [2.75, 2.5, 3.5, 6.25]);
    assert!(pixels.chunks(3 * PLANE).all(|image| image.iter().all(|x| *x == image[0])));
}

#[test]
fn cutmix_pastes_the_box_of_the_other_image_and_nothing_else() {
    let part = CropBox { left: 5, top: 40, width: 20, height: 8 };
    let mut pixels = batch(5);
    Mix::CutMix { part }.apply(&mut pixels, SIZE);
    for (image, values) in pixels.chunks(3 * PLANE).enumerate() {
        for (i, &x) in values.iter().enumerate() {
            let (row, column) = (i % PLANE / SIZE, i % SIZE);
            let pasted = (40..48).contains(&row) && (5..25).contains(&column);
            let expected = if pasted { 1 << (4 - image) } else { 1 << image };
            assert_eq!(x, expected as f32, "image {image}, row {row}, column {column}");
        }
    }
}

#[test]
fn targets_are_shared_out_as_the_pixels_are() {
    let mixing = Mixing::default();
    let labels = [2, 0, 1];
    for step in 0..300 {
        let mix = mixing.draw(SIZE, 1, 0, step);
        let targets = mix.targets(&labels, 4, SIZE, 0.0);
        let mut pixels = batch(3);
        mix.apply(&mut pixels, SIZE);
        let mean = pixels[..3 * PLANE].iter().map(|x| f64::from(*x)).sum::<f64>() / (3 * PLANE) as f64;
        // The first image is all 1, the last all 4: the share of the last is (mean - 1) / 3.
        let other = (mean - 1.0) / 3.0;
        assert!((f64::from(targets[1]) - other).abs() < 1e-5, "{mix:?}: {targets:?} {other}");
        assert!((f64::from(targets[2]) - (1.0 - other)).abs() < 1e-5, "{mix:?}: {targets:?}");
        assert_eq!(targets[4..8], [1.0, 0.0, 0.0, 0.0], "the one in the middle is mixed with itself");
        assert_eq!([targets[9], targets[10]], [targets[2], targets[1]]);
    }
}

#[test]
fn smoothed_targets_are_those_of_the_formula_and_their_sum_is_one() {
    let plain = Mix::None.targets(&[1, 0], 5, SIZE, 0.1);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&plain, &[0.02, 0.92, 0.02, 0.02, 0.02, 0.92, 0.02, 0.02, 0.02, 0.02]), "{plain:?}");
    let mixed = Mix::Mixup { kept: 0.7 }.targets(&[1, 0], 5, SIZE, 0.1);
    assert!(close(&mixed, &[0.29, 0.65, 0.02, 0.02, 0.02, 0.65, 0.29, 0.02, 0.02, 0.02]), "{mixed:?}");
    for step in 0..100 {
        let targets = Mixing::default().draw(SIZE, 0, 0, step).targets(&[3, 3, 99, 7], 100, SIZE, 0.1);
        for row in targets.chunks(100) {
            // A hundred roundings of numbers below 1.
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn batches_are_mixed_in_the_way_and_as_much_as_the_settings_say() {
    let draw = |mixing: Mixing| (0..4000).map(move |step| mixing.draw(224, 5, 1, step));
    let share = |mixing, of: fn(&Mix) -> bool| draw(mixing).filter(of).count() as f64 / 4000.0;
    let cutmix = |mix: &Mix| matches!(mix, Mix::CutMix { .. });
    let none = |mix: &Mix| matches!(mix, Mix::None);
    let default = Mixing::default();
    // Five standard deviations of 4000 draws: 0.04. CutMix leaves all where its box has no pixel, which is rare.
    assert!((share(default, cutmix) - 0.5).abs() < 0.04);
    assert!(share(default, none) < 0.01);
    assert!((share(Mixing { probability: 0.3, ..default }, none) - 0.7).abs() < 0.04);
    assert_eq!(share(Mixing { mixup: 0.0, cutmix: 0.0, ..default }, none), 1.0);
    assert_eq!(share(Mixing { cutmix: 0.0, ..default }, cutmix), 0.0);
    assert_eq!(share(Mixing { cutmix: 0.0, ..default }, none), 0.0);
    assert!(share(Mixing { mixup: 0.0, ..default }, cutmix) > 0.98);
    let kept: Vec<f64> = draw(Mixing { mixup: 0.0, ..default }).map(|mix| mix.kept(224)).collect();
    // A share of pixels u uniform in (0, 1) is cut around a point uniform in the image. Along each axis the box reaches
    // beyond the edge by a quarter of its side squared, so that sqrt(u) (1 - sqrt(u) / 4) remains: with s = sqrt(u), of
    // density 2 s, the mean of s^2 (1 - s / 4)^2 is 1/2 - 1/5 + 1/48 = 0.3208.
    let mean = kept.iter().sum::<f64>() / 4000.0;
    assert!((mean - (1.0 - 0.3208)).abs() < 0.02, "{mean}");
    for step in 0..20 {
        assert_eq!(default.draw(224, 5, 1, step), default.draw(224, 5, 1, step));
        assert_ne!(default.draw(224, 5, 1, step), default.draw(224, 5, 2, step));
        assert_ne!(default.draw(224, 5, 1, step), default.draw(224, 6, 1, step));
    }
}

/// Crops of 48 px of the images, one after the other.
fn load(crops: &RandomCrops, workers: usize) -> Vec<f32> {
    let dataset = Memory::with_broken(40, &[3]);
    let transform = EvalTransform { resize: None, crop: SIZE, normalization: Normalization::default() };
    let config =
        EvalConfig { transform, corruption: None, batch_size: 16, workers, limits: Limits::default() };
    let order: Vec<usize> = (0..40).rev().collect();
    let (mut images, mut pixels) = (Vec::new(), Vec::new());
    let skipped = load_crops(&*dataset, &order, &config, crops, |batch| {
        images.extend(batch.images);
        pixels.extend(batch.pixels);
        Ok::<(), Error>(())
    });
    assert_eq!(skipped.unwrap().len(), 1, "the broken one");
    assert_eq!(images, order.into_iter().filter(|&image| image != 3).collect::<Vec<_>>());
    pixels
}

const PLAIN: RandomCrops = RandomCrops {
    scale: [0.3, 1.0],
    flip: 0.5,
    rotation: 0.0,
    rand_augment: None,
    erasing: None,
    seed: 4,
    epoch: 2,
};

#[test]
fn augmented_crops_do_not_depend_on_the_number_of_workers() {
    let all = RandomCrops {
        rand_augment: Some(RandAugment::default()),
        erasing: Some(RandomErasing::default()),
        ..PLAIN
    };
    let pixels = load(&all, 1);
    assert_eq!(load(&all, 3), pixels);
    assert_ne!(load(&RandomCrops { epoch: 3, ..all }, 1), pixels);
    assert_ne!(load(&RandomCrops { seed: 5, ..all }, 1), pixels);
}

#[test]
fn an_augmentation_leaves_the_draws_of_the_others_as_they_are() {
    let plain = load(&PLAIN, 2);
    let erasing = RandomErasing { probability: 0.5, ..RandomErasing::default() };
    let erased = load(&RandomCrops { erasing: Some(erasing), ..PLAIN }, 2);
    let never = RandAugment { probability: 0.0, ..RandAugment::default() };
    assert_eq!(load(&RandomCrops { rand_augment: Some(never), ..PLAIN }, 2), plain);
    let images = (0..40).rev().filter(|image| *image != 3);
    for ((image, plain), erased) in images.zip(plain.chunks(3 * PLANE)).zip(erased.chunks(3 * PLANE)) {
        let mut expected = plain.to_vec();
        erasing.apply(&mut expected, SIZE, &mut Rng::for_erasing(PLAIN.seed, PLAIN.epoch, image));
        assert_eq!(erased, expected, "image {image}");
    }
    // With both, the same boxes are erased, of changed images.
    let augment = Some(RandAugment { probability: 1.0, ..RandAugment::default() });
    let augmented = load(&RandomCrops { rand_augment: augment, ..PLAIN }, 2);
    let both = load(&RandomCrops { rand_augment: augment, erasing: Some(erasing), ..PLAIN }, 2);
    for i in 0..plain.len() {
        let expected = if plain[i] != erased[i] { erased[i] } else { augmented[i] };
        assert_eq!(both[i], expected, "value {i}");
    }
    let different = plain.chunks(3 * PLANE).zip(augmented.chunks(3 * PLANE)).filter(|(a, b)| a != b).count();
    assert!(different > 30, "two operations change nearly every image: {different} of 39");
}

#[test]
fn each_setting_out_of_range_is_named_with_its_value() {
    let augment = RandAugment::default();
    let erasing = RandomErasing::default();
    let mixing = Mixing::default();
    let with_augment = |augment| RandomCrops { rand_augment: Some(augment), ..PLAIN }.validate();
    let with_erasing = |erasing| RandomCrops { erasing: Some(erasing), ..PLAIN }.validate();
    PLAIN.validate().unwrap();
    with_augment(augment).unwrap();
    with_erasing(erasing).unwrap();
    mixing.validate().unwrap();
    for (result, name, value) in [
        (RandomCrops { scale: [0.0, 1.0], ..PLAIN }.validate(), "crops.scale", "[0.0, 1.0]"),
        (RandomCrops { flip: 1.5, ..PLAIN }.validate(), "crops.flip", "1.5"),
        (RandomCrops { rotation: 1.1, ..PLAIN }.validate(), "crops.rotation", "1.1"),
        (with_augment(RandAugment { magnitude: 11.0, ..augment }), "rand_augment.magnitude", "11.0"),
        (with_augment(RandAugment { deviation: f64::NAN, ..augment }), "rand_augment.deviation", "NaN"),
        (with_augment(RandAugment { probability: -0.1, ..augment }), "rand_augment.probability", "-0.1"),
        (with_erasing(RandomErasing { probability: 2.0, ..erasing }), "erasing.probability", "2.0"),
        (with_erasing(RandomErasing { area: [0.5, 0.1], ..erasing }), "erasing.area", "[0.5, 0.1]"),
        (with_erasing(RandomErasing { aspect: [0.0, 1.0], ..erasing }), "erasing.aspect", "[0.0, 1.0]"),
        (Mixing { mixup: -1.0, ..mixing }.validate(), "mixing.mixup", "-1.0"),
        (Mixing { cutmix: f64::INFINITY, ..mixing }.validate(), "mixing.cutmix", "inf"),
        (Mixing { probability: 1.1, ..mixing }.validate(), "mixing.probability", "1.1"),
        (Mixing { switch: f64::NAN, ..mixing }.validate(), "mixing.switch", "NaN"),
    ] {
        match result {
            Err(Error::Config { field, found, .. }) => assert_eq!((field, found.as_str()), (name, value)),
            other => panic!("{name}: {other:?}"),
        }
    }
}
