//! The fast path against reference values of torchvision on PIL images, and against its plain twin.
//!
//! Tolerances, everywhere: mean absolute difference below 1 and largest below 6 grey levels, the bound that comes with
//! the reference values. The fast path works in floats; the reference rounds or truncates to 8 bits after every
//! operation (up to 1 level each, and up to 6 for one step of 8-bit hue in a saturated pixel).

use msn_golden::{Array, Case};

use super::ViewParams;
use super::blur::Blur;
use super::color::{Adjustment, Jitter};
use super::crop::CropBox;
use super::normalize::Scale;
use super::orientation::Orientation;
use super::plain::{self, Picture};
use super::planes::{Planes, unpack};
use super::render::render;
use super::resize::Resize;
use super::steps::Steps;
use crate::rng::Rng;
use crate::{EvalTransform, Image, Normalization, Scratch};

const MEAN_BOUND: f64 = 1.0;
const MAX_BOUND: f64 = 6.0;

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_close_after(1, what, found, expected);
}

/// The reference rounds after each of so many operations, so the floats may lie that many times as far off.
fn assert_close_after(operations: u32, what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differences =
        || found.iter().zip(expected).map(|(f, e)| f64::from((f - e).abs()) / f64::from(operations));
    let (mean, max) = (differences().sum::<f64>() / found.len() as f64, differences().fold(0.0, f64::max));
    println!("{what}: mean {mean:.3} max {max:.3}");
    assert!(mean < MEAN_BOUND && max < MAX_BOUND, "{what}: mean {mean}, max {max} grey levels");
}

fn interleaved(planes: &[f32]) -> Vec<f32> {
    let pixels = planes.len() / 3;
    (0..pixels).flat_map(|i| [0, 1, 2].map(|c| planes[c * pixels + i])).collect()
}

/// Runs one operation of the fast path on interleaved 8-bit pixels.
fn on_planes(rgb: &[u8], operation: impl Fn(&mut Planes<'_>)) -> Vec<f32> {
    let mut view = vec![0.0; rgb.len()];
    let mut planes = Planes::of(&mut view);
    unpack(rgb, &mut planes);
    operation(&mut planes);
    interleaved(&view)
}

fn adjusted(rgb: &[u8], adjustments: &[Adjustment]) -> Vec<f32> {
    on_planes(rgb, |planes| {
        let mut steps = Steps::none();
        adjustments.iter().for_each(|adjustment| steps.adjust(planes, *adjustment));
        steps.run(planes);
    })
}

fn grayscale(rgb: &[u8]) -> Vec<f32> {
    on_planes(rgb, |planes| {
        let mut steps = Steps::none();
        steps.grayscale();
        steps.run(planes);
    })
}

fn blurred(rgb: &[u8], width: usize, sigma: f64) -> Vec<f32> {
    let blur = Blur::new(width, rgb.len() / (3 * width), sigma);
    on_planes(rgb, |planes| {
        for plane in planes.each() {
            blur.apply(plane, width, Scale::NONE, &mut Default::default());
        }
    })
}

/// The whole image, mirrored.
fn flipped(image: &Image) -> Vec<f32> {
    let (width, height) = (image.width(), image.height());
    let mut view = vec![0.0; image.pixels().len()];
    let whole = CropBox { left: 0, top: 0, width, height };
    let flip = Orientation { flip: true, quarter_turns: 0 };
    Resize::default().apply(image, &whole, width as usize, flip, &mut Planes::of(&mut view));
    interleaved(&view)
}

fn resized(image: &Image, crop: CropBox, orientation: Orientation, size: usize) -> Vec<f32> {
    let mut view = vec![0.0; 3 * size * size];
    Resize::default().apply(image, &crop, size, orientation, &mut Planes::of(&mut view));
    interleaved(&view)
}

fn image_of(array: &Array) -> Image {
    let pixels = array.data.iter().map(|&x| x as u8).collect();
    Image::new(array.shape[1] as u32, array.shape[0] as u32, pixels)
}

/// The fast path for an operation by the name that the reference values use.
fn fast(case: &Case, name: &str, image: &Image) -> Vec<f32> {
    let (rgb, width) = (image.pixels(), image.width() as usize);
    let meta = &case.meta["ops"][name];
    let number = |field: &str| meta[field].as_f64().unwrap_or_else(|| panic!("{name}: no number `{field}`"));
    let whole = |field: &str| number(field) as u32;
    let adjusted = |adjustment| adjusted(rgb, &[adjustment]);
    match name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_') {
        "crop_resize" => {
            let crop = CropBox {
                left: whole("left"),
                top: whole("top"),
                width: whole("width"),
                height: whole("height"),
            };
            resized(image, crop, Orientation::default(), number("size") as usize)
        }
        "hflip" => flipped(image),
        "grayscale" => grayscale(rgb),
        "brightness" => adjusted(Adjustment::Brightness(number("factor") as f32)),
        "contrast" => adjusted(Adjustment::Contrast(number("factor") as f32)),
        "saturation" => adjusted(Adjustment::Saturation(number("factor") as f32)),
        "hue" => adjusted(Adjustment::Hue(number("factor") as f32)),
        "gaussian_blur" => blurred(rgb, width, number("radius")),
        "resize_shorter_64_center" => evaluated(image, 64, 56),
        other => panic!("the reference values have an operation `{other}` that no test knows"),
    }
}

/// Grey levels that the evaluation transform gives.
fn evaluated(image: &Image, resize: usize, crop: usize) -> Vec<f32> {
    let normalization = Normalization::default();
    let transform = EvalTransform { resize: Some(resize), crop, normalization };
    let mut view = vec![0.0; 3 * crop * crop];
    transform.apply(image, &mut Scratch::default(), &mut view);
    levels(&view, &normalization)
}

/// The grey levels, not rounded, of a normalised view.
fn levels(view: &[f32], Normalization { mean, std }: &Normalization) -> Vec<f32> {
    let pixels = view.len() / 3;
    let level = |(i, x): (usize, &f32)| (x * std[i / pixels] + mean[i / pixels]) * 255.0;
    interleaved(&view.iter().enumerate().map(level).collect::<Vec<_>>())
}

#[test]
fn every_golden_image_operation_is_met() {
    for case in msn_golden::cases("image_ops") {
        let image = image_of(case.tensor("image"));
        for (name, expected) in case.tensors.iter().filter(|(name, _)| *name != "image") {
            assert_close(&format!("{}/{name}", case.name), &fast(&case, name, &image), &expected.data);
        }
    }
}

/// Noise, which has every colour and the sharpest edges there are, and a smooth picture.
fn pictures() -> [(&'static str, Picture); 3] {
    let mut rng = Rng::for_view(7, 0, 0, 0);
    let noise = Picture::new(67, 45, |_| [0; 3].map(|_: u8| rng.below(256) as u8));
    let smooth = Picture::new(53, 70, |(x, y)| [(x * 4) as u8, (y * 3) as u8, (255 - 2 * x - y) as u8]);
    let pure =
        Picture::new(48, 40, |(x, y)| [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [0; 3]][(x + y) % 5]);
    [("noise", noise), ("smooth", smooth), ("pure colours", pure)]
}

fn bytes(picture: &Picture) -> Vec<u8> {
    picture.pixels.as_flattened().to_vec()
}

fn floats(picture: &Picture) -> Vec<f32> {
    picture.pixels.as_flattened().iter().map(|&x| f32::from(x)).collect()
}

/// Every orientation, and what its plain twin makes of a square picture.
fn orientations(upright: &Picture) -> Vec<(Orientation, Picture)> {
    let mut all = vec![];
    for flip in [false, true] {
        let mut picture = if flip { plain::flip(upright) } else { upright.clone() };
        for quarter_turns in 0..4 {
            all.push((Orientation { flip, quarter_turns }, picture.clone()));
            picture = plain::quarter_turn(&picture);
        }
    }
    all
}

#[test]
fn a_flip_mirrors_left_to_right_and_a_quarter_turn_is_counterclockwise() {
    let picture = Picture::new(2, 2, |(x, y)| [(1 + x + 2 * y) as u8; 3]);
    let levels = |picture: &Picture| -> Vec<u8> { picture.pixels.iter().map(|pixel| pixel[0]).collect() };
    assert_eq!(levels(&picture), [1, 2, 3, 4]);
    assert_eq!(levels(&plain::quarter_turn(&picture)), [2, 4, 1, 3]);
    assert_eq!(levels(&plain::quarter_turn(&plain::flip(&picture))), [1, 3, 2, 4]);
}

#[test]
fn pixel_operations_equal_their_plain_twins() {
    for (name, picture) in pictures() {
        let (rgb, width) = (bytes(&picture), picture.width);
        let check = |what: String, found: Vec<f32>, expected: Picture| {
            assert_close(&format!("{name}, {what}"), &found, &floats(&expected));
        };
        let image = Image::new(width as u32, picture.height as u32, rgb.clone());
        let adjusted = |adjustment| adjusted(&rgb, &[adjustment]);
        check("flip".to_owned(), flipped(&image), plain::flip(&picture));
        check("grayscale".to_owned(), grayscale(&rgb), plain::grayscale(&picture));
        for factor in [0.0, 0.2, 0.6, 1.0, 1.4, 1.8, 3.0] {
            let (brightness, contrast, saturation) = (
                adjusted(Adjustment::Brightness(factor as f32)),
                adjusted(Adjustment::Contrast(factor as f32)),
                adjusted(Adjustment::Saturation(factor as f32)),
            );
            check(format!("brightness {factor}"), brightness, plain::brightness(&picture, factor));
            check(format!("contrast {factor}"), contrast, plain::contrast(&picture, factor));
            check(format!("saturation {factor}"), saturation, plain::saturation(&picture, factor));
        }
        for turn in [-0.5, -0.31, -0.1, 0.0, 0.05, 0.2, 0.5] {
            check(format!("hue {turn}"), adjusted(Adjustment::Hue(turn as f32)), plain::hue(&picture, turn));
        }
        for sigma in [0.0, 0.1, 0.7, 1.3, 1.42, 2.0, 3.7, 9.0] {
            let expected = plain::gaussian_blur(&picture, sigma);
            check(format!("blur {sigma}"), blurred(&rgb, width, sigma), expected);
        }
    }
}

#[test]
fn crop_and_resize_equals_its_plain_twin() {
    for (name, picture) in pictures() {
        let image = Image::new(picture.width as u32, picture.height as u32, bytes(&picture));
        for (left, top, width, height) in [(0, 0, 40, 40), (3, 5, 17, 31), (7, 2, 1, 1), (0, 10, 45, 3)] {
            for size in [1, 8, 31, 40, 64] {
                let crop = CropBox { left, top, width, height };
                let [l, t, w, h] = [left, top, width, height].map(|x| x as usize);
                for (orientation, expected) in orientations(&plain::crop_resize(&picture, l, t, w, h, size)) {
                    let found = resized(&image, crop, orientation, size);
                    let what = format!("{name}, {crop:?} to {size}, {orientation:?}");
                    assert_close(&what, &found, &floats(&expected));
                }
            }
        }
    }
}

#[test]
fn a_chain_of_adjustments_equals_its_plain_twin_in_every_order() {
    let adjustments = [
        Adjustment::Brightness(1.2),
        Adjustment::Contrast(0.7),
        Adjustment::Saturation(1.3),
        Adjustment::Hue(0.08),
    ];
    let (_, picture) = &pictures()[1];
    for seed in 0..24 {
        let mut order = adjustments;
        Rng::for_view(seed, 0, 0, 0).shuffle_front(&mut order, 4);
        let found = adjusted(&bytes(picture), &order);
        let expected = order.iter().fold(picture.clone(), |p, adjustment| plain::adjust(&p, *adjustment));
        assert_close_after(4, &format!("{order:?}"), &found, &floats(&expected));
    }
}

/// All that can be drawn for a view: with and without each augmentation, in eight orientations.
fn drawn_views() -> Vec<ViewParams> {
    let crop = CropBox { left: 4, top: 3, width: 40, height: 34 };
    // Bright and of high contrast, so that colours are cut off: a blur before that would give another picture.
    let jitter = Jitter([
        Adjustment::Brightness(1.8),
        Adjustment::Hue(0.3),
        Adjustment::Contrast(1.5),
        Adjustment::Saturation(0.6),
    ]);
    // The second is too wide for the narrow blur.
    let blurs = [None, Some(1.1), Some(2.9)];
    let mut all = vec![];
    for (number, blur) in (0..4).flat_map(|number| blurs.map(|blur| (number, blur))) {
        let [jittered, grayscale] = [number & 1 > 0, number & 2 > 0];
        for flip in [false, true] {
            for quarter_turns in 0..4 {
                let orientation = Orientation { flip, quarter_turns };
                let jitter = jittered.then(|| jitter.clone());
                all.push(ViewParams { crop, orientation, jitter, grayscale, blur });
            }
        }
    }
    all
}

#[test]
fn a_rendered_view_equals_its_plain_twin_whatever_was_drawn() {
    const SIZE: usize = 32;
    // As different as can be, so that no channel's can stand in for another's.
    let normalization = Normalization { mean: [0.2, 0.5, 0.8], std: [0.1, 0.3, 0.9] };
    let mut scratch = Scratch::default();
    for (name, picture) in pictures() {
        let image = Image::new(picture.width as u32, picture.height as u32, bytes(&picture));
        for params in drawn_views() {
            let mut found = vec![0.0; 3 * SIZE * SIZE];
            render(&image, &params, SIZE, &normalization, &mut scratch, &mut found);
            let expected = plain::render(&picture, &params, SIZE, &normalization);
            let operations = 1
                + 4 * u32::from(params.jitter.is_some())
                + u32::from(params.grayscale)
                + u32::from(params.blur.is_some());
            let [found, expected] = [found, expected].map(|view| levels(&view, &normalization));
            assert_close_after(operations, &format!("{name}, {params:?}"), &found, &expected);
        }
    }
}
