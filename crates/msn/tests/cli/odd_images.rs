//! Every odd kind of image that people have, all in one folder.

use std::fs;
use std::io::Cursor;

use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use crate::support::Scratch;

/// 32 x 24 px, upright: no two quarters alike, and smooth, so that JPEG keeps it.
fn picture() -> RgbImage {
    RgbImage::from_fn(32, 24, |x, y| Rgb([(x * 7) as u8, (y * 10) as u8, (200 - x * 3 - y * 3) as u8]))
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Turned so that a viewer who obeys the EXIF orientation shows `picture` upright.
fn stored_for(orientation: u8, picture: &RgbImage) -> RgbImage {
    match orientation {
        2 => flip_horizontal(picture),
        3 => rotate180(picture),
        4 => flip_vertical(picture),
        5 => flip_horizontal(&rotate90(picture)),
        6 => rotate270(picture),
        7 => flip_horizontal(&rotate270(picture)),
        8 => rotate90(picture),
        _ => picture.clone(),
    }
}

/// A JPEG file with an EXIF segment that holds nothing but the orientation (CIPA DC-008: APP1, "Exif", a TIFF header
/// and one directory entry of tag 0x0112).
fn jpeg_of_orientation(orientation: u8, picture: &RgbImage) -> Vec<u8> {
    let jpeg = encoded(&stored_for(orientation, picture).into(), ImageFormat::Jpeg);
    let mut segment = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    segment.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut file = jpeg[..2].to_vec();
    file.extend([0xFF, 0xE1]);
    file.extend((segment.len() as u16 + 2).to_be_bytes());
    file.extend(segment);
    file.extend(&jpeg[2..]);
    file
}

fn odd_images() -> Vec<(String, Vec<u8>)> {
    let picture = picture();
    let grey16 = ImageBuffer::<Luma<u16>, _>::from_fn(20, 30, |x, y| Luma([(x * 2000 + y * 500) as u16]));
    let rgb16 =
        ImageBuffer::<Rgb<u16>, _>::from_fn(20, 20, |x, y| Rgb([x as u16 * 3000, y as u16 * 3000, 9]));
    let rgba = RgbaImage::from_fn(25, 25, |x, y| Rgba([200, x as u8, y as u8, (x * 10) as u8]));
    let grey = GrayImage::from_fn(40, 20, |x, y| Luma([(x * 3 + y) as u8]));
    let one_pixel: DynamicImage = RgbImage::from_pixel(1, 1, Rgb([250, 10, 90])).into();
    let fixture = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../msn-data/tests/fixtures");
        fs::read(format!("{folder}/{name}")).unwrap()
    };
    let png = |image: DynamicImage| encoded(&image, ImageFormat::Png);
    let mut images = vec![
        ("grey.png", png(grey.clone().into())),
        ("grey.jpg", encoded(&grey.into(), ImageFormat::Jpeg)),
        ("grey-16-bit.png", png(grey16.into())),
        ("rgb-16-bit.png", png(rgb16.into())),
        ("palette.png", fixture("palette.png")),
        ("transparent-palette.png", fixture("transparent-palette.png")),
        ("rgba.png", png(rgba.into())),
        ("cmyk.jpg", fixture("cmyk.jpg")),
        ("one-pixel.jpg", encoded(&one_pixel, ImageFormat::Jpeg)),
        ("one-pixel.png", png(one_pixel)),
        ("a-png.jpg", png(picture.clone().into())),
    ];
    images.sort();
    let turned = (1..=8).map(|turn| (format!("turned-{turn}.jpg"), jpeg_of_orientation(turn, &picture)));
    images.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).chain(turned).collect()
}

#[test]
fn odd_images_of_all_kinds_together_are_trained_on_without_a_skip() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("odd")).unwrap();
    let images = odd_images();
    for (name, bytes) in &images {
        fs::write(scratch.path("odd").join(name), bytes).unwrap();
    }
    let pretrain = ["pretrain", "--data", "odd", "--out", "run", "--config", "tiny.toml"];
    // Every image in every epoch, and none may be skipped.
    let settings = ["train.batch_size=19", "data.max_skipped=0"];
    assert_eq!(images.len(), 19);
    let finished = scratch.msn(&[&pretrain[..], &settings].concat()).success();
    assert!(!finished.stderr.contains("skipped"), "{}", finished.stderr);
    assert!(scratch.read("run/skipped.jsonl").is_empty());
    assert!(scratch.lines_of_json("run/metrics.jsonl").iter().all(|line| line["loss"].is_number()));

    scratch.msn(&["embed", "--checkpoint", "run", "--data", "odd", "--out", "features.npy"]).success();
    assert_eq!(scratch.read("features.txt").lines().count(), 19);
}

#[test]
fn every_exif_orientation_is_seen_upright() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("turned")).unwrap();
    for orientation in 1..=8 {
        let bytes = jpeg_of_orientation(orientation, &picture());
        fs::write(scratch.path("turned").join(format!("{orientation}.jpg")), bytes).unwrap();
    }
    let arguments =
        ["embed", "--checkpoint", "raw-pixels", "--data", "turned", "--out", "pixels.safetensors"];
    scratch.msn(&arguments).success();
    let file = fs::read(scratch.path("pixels.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let pixels: Vec<f32> = tensors
        .tensor("features")
        .unwrap()
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let rows: Vec<&[f32]> = pixels.chunks(pixels.len() / 8).collect();
    for (row, orientation) in rows.iter().zip(1..) {
        let difference: f32 =
            row.iter().zip(rows[0]).map(|(a, b)| (a - b).abs()).sum::<f32>() / row.len() as f32;
        // JPEG codes other blocks once the picture is turned: a few of 255 levels, which are 0.02 each after
        // normalisation. The picture the wrong way round is off by 0.5 or more.
        assert!(difference < 0.1, "orientation {orientation}: off by {difference} on average");
    }
}

/// Two classes that differ by 40 of 4,096 samples, which are one of 256 levels where 16 bits are.
fn faint(scratch: &Scratch, folder: &str, stretched: bool) {
    for (class, left) in [("a", true), ("b", false)] {
        fs::create_dir_all(scratch.path(folder).join(class)).unwrap();
        for index in 0..8 {
            let image = ImageBuffer::<Luma<u16>, Vec<u16>>::from_fn(16, 16, |x, _| {
                let sample = 2050 + index + if (x < 8) == left { 40 } else { 0 };
                Luma([if stretched { ((sample * 65_535 + 2047) / 4095) as u16 } else { sample as u16 }])
            });
            image.save(scratch.path(folder).join(format!("{class}/{index}.png"))).unwrap();
        }
    }
}

#[test]
fn every_command_sees_the_range_of_samples_that_an_encoder_was_trained_with() {
    let scratch = Scratch::new();
    faint(&scratch, "narrow", false);
    faint(&scratch, "wide", true);
    let pixels = |data: &str, out: &str, more: &[&str]| {
        let embed = ["embed", "--checkpoint", "raw-pixels", "--data", data, "--out", out];
        scratch.msn(&[&embed[..], more].concat()).success();
        fs::read(scratch.path(out)).unwrap()
    };
    let wide = pixels("wide", "wide.npy", &[]);
    assert_eq!(pixels("narrow", "narrow.npy", &["--levels", "0,4095"]), wide);
    assert_ne!(pixels("narrow", "dark.npy", &[]), wide);

    let data =
        ["pretrain", "--data", "narrow", "--config", "tiny.toml", "--out", "run", "train.batch_size=4"];
    scratch.msn(&[&data[..], &["data.levels=[0, 4095]"]].concat()).success();
    let compare = ["compare", "run", "--train", "narrow", "--test", "narrow", "--shots", "1", "--json", "-"];
    let raw_pixels = |more: &[&str]| {
        let printed = scratch.msn(&[&compare[..], more].concat()).success().stdout;
        let results: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(results["encoders"][0]["checkpoint"], "raw-pixels");
        results["encoders"][0]["amounts"]["1"]["mean"].as_f64().unwrap()
    };
    assert_eq!(raw_pixels(&[]), 100.0);
    assert_eq!(raw_pixels(&["--levels", "0,65535"]), 50.0, "all images are alike");

    let tune =
        ["eval", "finetune", "--checkpoint", "run", "--train", "narrow", "--test", "narrow", "--epochs", "1"];
    scratch.msn(&[&tune[..], &["--out", "tuned"]].concat()).success();
    assert!(scratch.read("tuned/config.toml").contains("4095"), "{}", scratch.read("tuned/config.toml"));
    scratch
        .msn(&[&data[..4], &["tiny.toml", "--out", "next", "--init", "run", "train.batch_size=4"]].concat())
        .success();
    assert!(scratch.read("next/config.toml").contains("4095"), "{}", scratch.read("next/config.toml"));
}
