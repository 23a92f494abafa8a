//! What is drawn from each stream of random numbers. A run that is resumed goes on with the draws that it began with,
//! whichever version began it: no number here may change. They are those of `fixtures/make_streams.py`, which has ChaCha8
//! and everything after it in Python.

use std::sync::Arc;

use msn_data::rng::Rng;
use msn_data::{
    Adjustment, Corruption, CorruptionKind, CropBox, Cursor, Dataset, EvalConfig, EvalTransform, Limits,
    Loader, LoaderConfig, MaskMode, Masking, Mix, Mixing, Normalization, Orientation, RandomCrops,
    RandomErasing, Scratch, ViewKind, ViewParams, Views, decode, load_crops, random_mask, render,
};

use crate::common::Memory;

/// The logarithm and the sine of another system may differ in their last place, of numbers up to 3; the beta
/// distribution takes a dozen of them after each other.
const LAST_PLACES: f64 = 1e-13;

fn view() -> Rng {
    Rng::for_view(7, 2, 3, 4)
}

#[test]
fn every_stream_begins_with_the_number_of_its_key() {
    for (purpose, mut stream, first) in [
        ("labels", Rng::for_labels(7, 2, 3), 0.554120275160014),
        ("order", Rng::for_order(7, 2), 0.2637064244666033),
        ("view", view(), 0.04142611230880244),
        ("batch mask", Rng::for_batch_mask(7, 2, 3, 4), 0.3469011675540832),
        ("image mask", Rng::for_image_mask(7, 2, 3, 4), 0.5378590878159152),
        ("window", Rng::for_window(7, 2, 3), 0.5289954640058552),
        ("corruption", Rng::for_corruption(4, 2, 3), 0.31885194445181),
        ("RandAugment", Rng::for_rand_augment(7, 2, 3), 0.0035257191086991435),
        ("erasing", Rng::for_erasing(7, 2, 3), 0.40925394399574033),
        ("mixing", Rng::for_mixing(7, 2, 3), 0.7816262056977468),
    ] {
        assert_eq!(stream.unit(), first, "{purpose}");
    }
}

#[test]
fn bits_become_the_numbers_of_a_script_in_python() {
    let mut rng = view();
    let uniform = [(); 3].map(|()| rng.uniform(-1.5, 2.5));
    assert_eq!(uniform, [-1.3342955507647902, 2.085011484778563, -0.6852644503050569]);
    let mut rng = view();
    let chances = [(); 12].map(|()| u8::from(rng.chance(0.5)));
    assert_eq!(chances, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
    let mut rng = view();
    assert_eq!([(); 10].map(|()| rng.below(10)), [5, 0, 7, 8, 2, 2, 3, 0, 5, 8]);
    // A third of the words is rejected.
    let large = [(); 5].map(|()| rng.below(3_000_000_000));
    assert_eq!(large, [1242017419, 1595978452, 1157794658, 2772279844, 2233694143]);
    let mut rng = view();
    assert_eq!([(); 6].map(|()| rng.index_below(1000)), [41, 896, 203, 6, 805, 531]);
    let large = [(); 3].map(|()| rng.index_below(3 << 62));
    assert_eq!(large, [7277364579030093508, 10301096055502866545, 13067148907367333411]);
    let (mut rng, mut items) = (view(), [0, 1, 2, 3, 4, 5, 6, 7]);
    rng.shuffle_front(&mut items, 5);
    assert_eq!((&items[..5], rng.unit()), (&[4, 1, 6, 7, 0][..], 0.35938004129652024));
}

#[test]
fn bits_become_the_distributed_numbers_of_the_script() {
    let mut rng = view();
    let normal = [(); 2].map(|()| rng.normal_pair()).concat();
    let expected = [0.23124491999503016, -0.17647394234054142, 0.6743640521450073, 0.027408327447888146];
    let mut rng = view();
    let beta = [rng.beta(0.8), rng.beta(1.0)];
    let found = normal.into_iter().chain(beta);
    for (found, expected) in found.zip(expected.into_iter().chain([0.9800015728333383, 0.09760416539719456]))
    {
        assert!((found - expected).abs() < LAST_PLACES, "{found} for {expected}");
    }
}

fn drawn(views: &Views, kind: ViewKind, image: usize, view: u32) -> ViewParams {
    ViewParams::sample(views, kind, 500, 375, &mut Rng::for_view(7, 2, image, view))
}

fn assert_jitter(found: &ViewParams, expected: [(&str, f64); 4]) {
    let found = found.jitter.as_ref().expect("colours are adjusted").0;
    for (found, (name, factor)) in found.into_iter().zip(expected) {
        let (found_name, found) = match found {
            Adjustment::Brightness(factor) => ("brightness", factor),
            Adjustment::Contrast(factor) => ("contrast", factor),
            Adjustment::Saturation(factor) => ("saturation", factor),
            Adjustment::Hue(turn) => ("hue", turn),
        };
        assert_eq!(found_name, name);
        // Kept as f32.
        assert!((f64::from(found) - factor).abs() < 1e-7, "{name}: {found} for {factor}");
    }
}

#[test]
fn a_view_is_drawn_in_the_order_of_the_script() {
    let with_rotations = drawn(&Views { rotation: 0.75, ..Views::default() }, ViewKind::Random, 0, 1);
    assert_eq!(with_rotations.crop, CropBox { left: 117, top: 85, width: 352, height: 269 });
    assert_eq!(with_rotations.orientation, Orientation { flip: true, quarter_turns: 3 });
    assert_jitter(
        &with_rotations,
        [
            ("hue", 0.0932886558099818),
            ("brightness", 1.3546874436347962),
            ("contrast", 1.074713509035755),
            ("saturation", 1.3715962598317628),
        ],
    );
    assert!(with_rotations.grayscale);
    assert_eq!(with_rotations.blur, Some(0.7597882374909932));

    let without = drawn(&Views::default(), ViewKind::Focal, 2, 2);
    assert_eq!(without.crop, CropBox { left: 208, top: 148, width: 180, height: 221 });
    assert_eq!(without.orientation, Orientation::default());
    assert_jitter(
        &without,
        [
            ("saturation", 1.0979479500080191),
            ("brightness", 1.171768437409973),
            ("contrast", 1.3630609992260703),
            ("hue", -0.08643140326924291),
        ],
    );
    assert!(!without.grayscale);
    assert_eq!(without.blur, Some(0.8346546966426247));
}

#[test]
fn masks_keep_the_patches_of_the_script() {
    let batch = random_mask(16, 11, &mut Rng::for_batch_mask(7, 2, 3, 1));
    assert_eq!(batch, [0, 2, 3, 4, 5, 9, 10, 11, 12, 13, 15]);
    let image = random_mask(16, 11, &mut Rng::for_image_mask(7, 2, 3, 1));
    assert_eq!(image, [0, 1, 2, 4, 5, 8, 10, 11, 12, 13, 14]);
}

#[test]
fn what_is_erased_is_what_the_script_erases() {
    const SIZE: usize = 48;
    let mut image = vec![7.0; 3 * SIZE * SIZE];
    RandomErasing::default().apply(&mut image, SIZE, &mut Rng::for_erasing(7, 2, 6));
    let erased: Vec<usize> = (0..SIZE * SIZE).filter(|&i| image[i] != 7.0).collect();
    let expected: Vec<usize> =
        (32..43).flat_map(|row| (20..33).map(move |column| row * SIZE + column)).collect();
    assert_eq!(erased, expected);
    for (found, expected) in image[erased[0]..].iter().zip([1.751070478053462, -0.4839724292754472]) {
        // Kept as f32.
        assert!((f64::from(*found) - expected).abs() < 2e-7, "{found} for {expected}");
    }
}

#[test]
fn batches_are_mixed_as_by_the_script() {
    let part = CropBox { left: 4, top: 23, width: 40, height: 25 };
    assert_eq!(Mixing::default().draw(48, 7, 2, 0), Mix::CutMix { part });
    let Mix::Mixup { kept } = Mixing::default().draw(48, 7, 2, 2) else { panic!("batch 2 has no mixup") };
    assert!((kept - 0.5013334110058578).abs() < LAST_PLACES, "{kept}");
}

#[test]
fn the_noise_of_a_corruption_is_that_of_the_script() {
    let mut rgb = [128; 12];
    Corruption { kind: CorruptionKind::Noise, severity: 2 }.apply(&mut rgb, 2, 3);
    assert_eq!(rgb, [161, 110, 201, 92, 86, 107, 127, 133, 131, 148, 148, 96]);
}

/// Which streams a loader takes for what: [`render`] and [`random_mask`] are told the numbers of epoch, batch, image and
/// view here.
#[test]
fn a_loader_draws_views_by_their_image_and_masks_by_their_image_or_batch() {
    let dataset = Memory::with_broken(6, &[]);
    let views = Views { random_views: 1, focal_views: 1, random_size: 16, focal_size: 8, ..Views::default() };
    for mask in [MaskMode::PerBatch, MaskMode::PerImage] {
        let masking = Masking { patch_drop: 0.3, mask };
        let config = LoaderConfig { views: views.clone(), masking, ..LoaderConfig::new(2, 4, 7) };
        let cursor = Cursor { epoch: 2, step_in_epoch: 1, ..Cursor::default() };
        let batch = Loader::start(Arc::clone(&dataset), config.clone(), cursor).unwrap().next().unwrap();
        for (place, &image) in batch.images.iter().enumerate() {
            for (view, found) in (0..).zip([&batch.target, &batch.random[0], &batch.focal[0]]) {
                let length = 3 * found.size * found.size;
                let expected = rendered(&dataset, &config, image, view, found.size);
                assert!(found.pixels[place * length..][..length] == expected, "view {view} of image {image}");
            }
        }
        let of_image = |&image: &usize| random_mask(16, 11, &mut Rng::for_image_mask(7, 2, image, 1));
        let expected = match mask {
            MaskMode::PerBatch => vec![random_mask(16, 11, &mut Rng::for_batch_mask(7, 2, 1, 1))],
            MaskMode::PerImage => batch.images.iter().map(of_image).collect(),
        };
        assert_eq!(batch.random[0].keep, Some(expected));
    }
}

/// The view of that number of an image in epoch 2.
fn rendered(
    dataset: &Arc<dyn Dataset>,
    config: &LoaderConfig,
    image: usize,
    view: u32,
    size: usize,
) -> Vec<f32> {
    let kind = [ViewKind::Target, ViewKind::Random, ViewKind::Focal][view as usize];
    let picture = decode(&dataset.read(image, usize::MAX).unwrap(), &Limits::default()).unwrap();
    let mut rng = Rng::for_view(7, 2, image, view);
    let params = ViewParams::sample(&config.views, kind, picture.width(), picture.height(), &mut rng);
    let mut pixels = vec![0.0; 3 * size * size];
    render(&picture, &params, size, &config.normalization, &mut Scratch::default(), &mut pixels);
    pixels
}

#[test]
fn crops_for_a_classifier_are_drawn_as_view_0() {
    let dataset = Memory::with_broken(3, &[]);
    let transform = EvalTransform { resize: None, crop: 16, normalization: Normalization::default() };
    let config =
        EvalConfig { transform, corruption: None, batch_size: 3, workers: 1, limits: Limits::default() };
    let crops = RandomCrops {
        scale: [0.3, 1.0],
        flip: 0.0,
        rotation: 0.0,
        rand_augment: None,
        erasing: None,
        seed: 7,
        epoch: 2,
    };
    // Views of a recipe that has nothing else.
    let views =
        Views { flip: 0.0, color_jitter_probability: 0.0, grayscale: 0.0, blur: 0.0, ..Views::default() };
    let same = LoaderConfig { views, ..LoaderConfig::new(1, 4, 7) };
    let loaded = load_crops(&*dataset, &[2, 0, 1], &config, &crops, |batch| {
        for (image, found) in batch.images.iter().zip(batch.pixels.chunks(3 * 16 * 16)) {
            assert!(found == rendered(&dataset, &same, *image, 0, 16), "image {image}");
        }
        Ok::<(), msn_data::Error>(())
    });
    assert!(loaded.unwrap().is_empty());
}
