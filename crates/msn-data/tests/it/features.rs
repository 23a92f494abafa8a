//! The evaluation transform and its loader.

use image::ImageFormat;
use msn_data::{
    Corruption, CorruptionKind, Error, EvalBatch, EvalConfig, EvalTransform, Image, Limits, Normalization,
    RandomCrops, Scratch, check_image, decode, load_crops, load_eval, load_unknown,
};

use crate::common::{Faulty, Memory, encoded, failing_disk, failing_server, picture};

fn config(workers: usize) -> EvalConfig {
    let transform = EvalTransform { resize: Some(24), crop: 20, normalization: Normalization::default() };
    EvalConfig { transform, corruption: None, batch_size: 4, workers, limits: Limits::default() }
}

/// Grey levels of one crop.
fn levels(transform: &EvalTransform, image: &Image) -> Vec<f32> {
    let mut out = vec![0.0; 3 * transform.crop * transform.crop];
    transform.apply(image, &mut Scratch::default(), &mut out);
    let identity = |x: &f32| (x * 255.0).round();
    out.iter().map(identity).collect()
}

fn without_normalization(resize: Option<usize>, crop: usize) -> EvalTransform {
    EvalTransform { resize, crop, normalization: Normalization { mean: [0.0; 3], std: [1.0; 3] } }
}

fn load(workers: usize, broken: &[usize], indices: &[usize]) -> (Vec<EvalBatch>, Vec<String>) {
    let dataset = Memory::with_broken(11, broken);
    let mut batches = Vec::new();
    let skipped = load_eval(&*dataset, indices, &config(workers), |batch| {
        batches.push(batch);
        Ok::<(), Error>(())
    });
    (batches, skipped.unwrap().into_iter().map(|s| s.path).collect())
}

#[test]
fn images_come_in_the_order_asked_for_with_any_number_of_workers() {
    let indices = [10, 3, 4, 0, 9, 9, 1];
    let (batches, skipped) = load(1, &[], &indices);
    let order: Vec<usize> = batches.iter().flat_map(|b| b.images.clone()).collect();
    assert_eq!(order, indices);
    assert!(skipped.is_empty());
    assert_eq!(batches[0].pixels.len(), 4 * 3 * 20 * 20);
    assert_eq!(batches[1].pixels[..1200], batches[1].pixels[1200..2400], "image 9 comes twice");
    assert_eq!(load(3, &[], &indices).0, batches);
}

#[test]
fn the_part_that_becomes_the_crop_lies_in_images_of_every_size() {
    // Sizes whose quotients round up, such as 28.0 * (29.0 / 28.0), among them.
    for crop in [1, 7, 28, 32, 50, 96] {
        let transform = without_normalization(Some(crop), crop);
        for side in 1..=256 {
            for (width, height) in [(side, side), (side, side + 3), (2 * side, side)] {
                let image =
                    decode(&encoded(&picture(1, width, height), ImageFormat::Bmp), &Limits::default());
                let levels = levels(&transform, &image.unwrap());
                assert!(
                    levels.iter().all(|level| (0.0..=255.0).contains(level)),
                    "{width} x {height}, {crop}"
                );
            }
        }
    }
}

#[test]
fn broken_images_are_left_out_and_reported() {
    let all: Vec<usize> = (0..11).collect();
    let (batches, skipped) = load(2, &[1, 8, 9, 10], &all);
    assert_eq!(skipped, ["0001.png", "0008.png", "0009.png", "0010.png"]);
    let order: Vec<Vec<usize>> = batches.iter().map(|b| b.images.clone()).collect();
    assert_eq!(order, [vec![0, 2, 3], vec![4, 5, 6, 7]]);
    let before = |batch: &EvalBatch| batch.skipped.iter().map(|s| s.image).collect::<Vec<_>>();
    assert_eq!(batches.iter().map(before).collect::<Vec<_>>(), [vec![1], vec![]]);
    let (alone, _) = load(2, &[], &[2]);
    assert_eq!(batches[0].pixels[1200..2400], alone[0].pixels, "pixels moved along with their image");
    // Batches of broken images alone do not come; the next one tells of them.
    let (batches, skipped) = load(2, &[0, 1, 2, 3, 4, 5, 6, 7, 9], &all);
    assert_eq!((skipped.len(), before(&batches[0])), (9, vec![0, 1, 2, 3, 4, 5, 6, 7, 9]));
}

#[test]
fn images_that_are_known_are_not_decoded_and_keep_their_place() {
    // Were it decoded, image 1 would be broken.
    let dataset = Memory::with_broken(11, &[1]);
    let encoded = |image: usize| dataset.read(image, usize::MAX).unwrap();
    let known = [1, 2, 8, 9, 10].map(encoded);
    // The known ones by their place in that list, the others by their length.
    let recall = |bytes: &[u8]| known.iter().position(|known| known == bytes).ok_or(bytes.len());
    let all: Vec<usize> = (0..11).collect();
    let mut batches = Vec::new();
    let skipped = load_unknown(&*dataset, &all, &config(2), recall, |batch| {
        batches.push(batch);
        Ok::<(), Error>(())
    });
    assert!(skipped.unwrap().is_empty());
    let images: Vec<Vec<usize>> = batches.iter().map(|batch| batch.images.clone()).collect();
    assert_eq!(images, [vec![0, 3], vec![4, 5, 6, 7], vec![]], "a batch of known images alone comes too");
    let places = |batch: &EvalBatch<usize, usize>| -> Vec<(usize, usize)> {
        batch.recalled.iter().map(|recalled| (recalled.place, recalled.image)).collect()
    };
    let places: Vec<_> = batches.iter().map(places).collect();
    assert_eq!(places, [vec![(1, 1), (2, 2)], vec![], vec![(0, 8), (1, 9), (2, 10)]]);
    let recalled: Vec<usize> =
        batches.iter().flat_map(|batch| &batch.recalled).map(|recalled| recalled.known).collect();
    assert_eq!(recalled, [0, 1, 2, 3, 4]);
    let keys: Vec<usize> = batches.iter().flat_map(|batch| batch.keys.clone()).collect();
    assert_eq!(keys, [0, 3, 4, 5, 6, 7].map(|image| encoded(image).len()));
    let (alone, _) = load(2, &[], &[3]);
    assert_eq!(batches[0].pixels[1200..], alone[0].pixels, "pixels have no gaps");
}

#[test]
fn an_image_is_left_out_for_what_it_holds_alone_and_never_for_a_disk_or_a_server_that_fails() {
    let all: Vec<usize> = (0..11).collect();
    let load_from = |dataset: &Faulty| {
        let mut batches = Vec::new();
        let skipped = load_eval(dataset, &all, &config(2), |batch| {
            batches.push(batch);
            Ok::<(), Error>(())
        });
        skipped.map(|skipped| (batches, skipped.into_iter().map(|s| s.path).collect()))
    };
    let images = || Memory::with_broken(11, &[1]);
    let for_a_while = Faulty::new(images(), failing_disk, [(1, 1), (5, 2)]);
    assert_eq!(load_from(&for_a_while).unwrap(), load(2, &[1], &all));
    let for_good = Faulty::new(images(), failing_server, [(5, usize::MAX)]);
    let error = load_from(&for_good).unwrap_err();
    assert!(matches!(&error, Error::OutOfReach { image, .. } if image.image == 5), "{error}");
    for part in ["memory: 0005.png: ", "does not answer"] {
        assert!(error.to_string().contains(part), "expected `{part}` in: {error}");
    }
    let check = |image| check_image(&*for_good, image, &Limits::default());
    assert_eq!(check(0).unwrap(), None);
    assert_eq!(check(1).unwrap().unwrap().path, "0001.png");
    assert!(matches!(check(5), Err(Error::OutOfReach { .. })));
}

#[test]
fn an_error_of_the_consumer_ends_the_loading() {
    let dataset = Memory::with_broken(11, &[]);
    let mut calls = 0;
    let stop = || Error::Workers { workers: 0, reason: "enough".to_owned() };
    let result = load_eval(&*dataset, &[0; 40], &config(2), |_| {
        calls += 1;
        if calls == 2 { Err(stop()) } else { Ok(()) }
    });
    assert_eq!(result.unwrap_err().to_string(), stop().to_string());
    assert_eq!(calls, 2);
}

#[test]
fn small_images_are_padded_with_black_around_the_centre() {
    let image = Image::new(2, 1, vec![10, 20, 30, 40, 50, 60]);
    let found = levels(&without_normalization(None, 4), &image);
    let red: Vec<f32> = found[..16].to_vec();
    #[rustfmt::skip]
    assert_eq!(red, [
        0.0, 0.0, 0.0, 0.0,
        0.0, 10.0, 40.0, 0.0,
        0.0, 0.0, 0.0, 0.0,
        0.0, 0.0, 0.0, 0.0,
    ]);
}

#[test]
fn without_resize_the_centre_is_cut_out_unchanged() {
    let source = picture(3, 9, 7);
    let image = Image::new(9, 7, source.as_raw().clone());
    let found = levels(&without_normalization(None, 5), &image);
    for (i, level) in found.iter().enumerate() {
        let (c, y, x) = (i / 25, i / 5 % 5, i % 5);
        assert_eq!(*level, f32::from(source.get_pixel(x as u32 + 2, y as u32 + 1)[c]));
    }
}

#[test]
fn very_long_and_one_pixel_images_fill_the_crop() {
    for (width, height) in [(1, 1), (1, 30_000), (30_000, 1), (2, 9000)] {
        let image = Image::new(width, height, vec![77; (width * height * 3) as usize]);
        let found = levels(&without_normalization(Some(256), 224), &image);
        assert!(found.iter().all(|&x| x == 77.0), "{width} x {height}");
    }
}

#[test]
fn decoded_files_and_made_images_agree() {
    let source = picture(5, 33, 21);
    let bytes = encoded(&source, ImageFormat::Bmp);
    let decoded = msn_data::decode(&bytes, &Limits::default()).unwrap();
    assert_eq!(decoded, Image::new(33, 21, source.into_raw()));
}

#[test]
fn a_corruption_spoils_the_crop_before_it_is_normalised() {
    let corruption = Corruption { kind: CorruptionKind::Noise, severity: 3 };
    let transform = without_normalization(Some(24), 20);
    let spoilt = EvalConfig { transform, corruption: Some(corruption), ..config(2) };
    let dataset = Memory::with_broken(3, &[]);
    let decoded = |image: usize| decode(&dataset.read(image, 1 << 20).unwrap(), &Limits::default()).unwrap();
    let check = |batch: EvalBatch| {
        for (&image, pixels) in batch.images.iter().zip(batch.pixels.chunks(1200)) {
            // The planes of the clean crop as bytes, pixel by pixel.
            let clean = levels(&transform, &decoded(image));
            let mut expected: Vec<u8> = (0..1200).map(|i| clean[i % 3 * 400 + i / 3] as u8).collect();
            corruption.apply(&mut expected, 20, image);
            let found: Vec<u8> =
                (0..1200).map(|i| (pixels[i % 3 * 400 + i / 3] * 255.0).round() as u8).collect();
            assert_eq!(found, expected);
        }
        Ok::<(), Error>(())
    };
    assert!(load_eval(&*dataset, &[2, 0, 1], &spoilt, check).unwrap().is_empty());
}

#[test]
fn random_crops_repeat_with_their_seed_and_epoch_and_keep_their_order() {
    let dataset = Memory::with_broken(6, &[3]);
    let load = |workers: usize, seed: u64, epoch: u64, scale: [f64; 2], [flip, rotation]: [f64; 2]| {
        let (mut images, mut pixels) = (Vec::new(), Vec::new());
        let crops = RandomCrops { scale, flip, rotation, seed, epoch, rand_augment: None, erasing: None };
        let skipped = load_crops(&*dataset, &[5, 3, 0, 2, 4], &config(workers), &crops, |batch| {
            images.extend(batch.images);
            pixels.extend(batch.pixels);
            Ok::<(), Error>(())
        });
        assert_eq!(skipped.unwrap().len(), 1);
        assert_eq!((images, pixels.len()), (vec![5, 0, 2, 4], 4 * 1200));
        pixels
    };
    let first = load(1, 1, 0, [0.2, 1.0], [0.5, 0.0]);
    assert_eq!(load(3, 1, 0, [0.2, 1.0], [0.5, 0.0]), first);
    assert_ne!(load(1, 1, 1, [0.2, 1.0], [0.5, 0.0]), first);
    assert_ne!(load(1, 2, 0, [0.2, 1.0], [0.5, 0.0]), first);
    // Of images of 40 x 30 pixels a crop of the whole area fits only as a whole: a flip mirrors it.
    let (whole, flipped) = (load(1, 0, 0, [1.0, 1.0], [0.0, 0.0]), load(1, 0, 0, [1.0, 1.0], [1.0, 0.0]));
    for (plain, flipped) in whole.chunks(20).zip(flipped.chunks(20)) {
        let close = plain.iter().zip(flipped.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(close, "{plain:?} {flipped:?}");
    }
    // And a rotation is one of three.
    let rotated = load(1, 0, 0, [1.0, 1.0], [0.0, 1.0]);
    let mut seen = std::collections::BTreeSet::new();
    for (plain, rotated) in whole.chunks(400).zip(rotated.chunks(400)) {
        let equals = |place: fn(usize, usize) -> [usize; 2]| {
            (0..400).all(|i| {
                let [y, x] = place(i / 20, i % 20);
                (rotated[i] - plain[20 * y + x]).abs() < 1e-4
            })
        };
        let counterclockwise = equals(|y, x| [x, 19 - y]);
        let turns = [counterclockwise, equals(|y, x| [19 - y, 19 - x]), equals(|y, x| [19 - x, y])];
        seen.insert(turns);
        assert!(turns.contains(&true), "{plain:?} {rotated:?}");
    }
    assert!(seen.len() > 1, "{seen:?}");
}
