//! Every kind of image that people have, and broken ones.

use std::io::Cursor;

use image::{
    DynamicImage, GrayAlphaImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
};
use msn_data::{DecodeError, FULL_RANGE, Image, Limits, decode};

use crate::common::{encoded, picture, truncated_jpeg};

const RED: [u8; 3] = [200, 40, 30];
const BLUE: [u8; 3] = [20, 60, 210];
const GREEN: [u8; 3] = [30, 180, 50];
const YELLOW: [u8; 3] = [240, 230, 60];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(crate::common::fixture(name)).unwrap()
}

fn ok(bytes: &[u8]) -> Image {
    decode(bytes, &Limits::default()).unwrap()
}

fn pixel(image: &Image, x: u32, y: u32) -> [u8; 3] {
    image.pixels()[((y * image.width() + x) * 3) as usize..][..3].try_into().unwrap()
}

/// The four fields, at a point well inside each: above left, above right, below left, below right.
fn assert_fields(name: &str, image: &Image, expected: [[u8; 3]; 4], tolerance: u8) {
    let (w, h) = (image.width(), image.height());
    let points = [(w / 4, h / 4), (3 * w / 4, h / 4), (w / 4, 3 * h / 4), (3 * w / 4, 3 * h / 4)];
    for ((x, y), expected) in points.into_iter().zip(expected) {
        let found = pixel(image, x, y);
        let far = found.iter().zip(expected).any(|(f, e)| f.abs_diff(e) > tolerance);
        assert!(!far, "{name}: {found:?} at ({x}, {y}) of {w} x {h}, expected {expected:?}");
    }
}

fn write(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn fixtures_of_every_kind_show_their_four_fields() {
    // JPEG at quality 95 is off by a level or two in uniform fields; lossless forms are exact.
    let upright = [RED, BLUE, GREEN, YELLOW];
    for (name, fields, tolerance) in [
        ("cmyk.jpg", upright, 3),
        ("progressive.jpg", upright, 3),
        ("exif-rotated.jpg", [GREEN, RED, YELLOW, BLUE], 3),
        ("grey.jpg", [[87; 3], [65; 3], [120; 3], [214; 3]], 3),
        ("palette.png", upright, 0),
        ("transparent-palette.png", [RED, BLUE, GREEN, [255; 3]], 0),
        ("animated.gif", upright, 0),
        ("transparent.gif", [RED, BLUE, GREEN, [255; 3]], 0),
        ("animated.webp", upright, 0),
        ("lossy-alpha.webp", [RED, BLUE, GREEN, [255; 3]], 3),
        ("exif-rotated.webp", [GREEN, RED, YELLOW, BLUE], 0),
        ("exif-rotated.png", [GREEN, RED, YELLOW, BLUE], 0),
        ("grey-alpha.png", [[87; 3], [65; 3], [120; 3], [214; 3]], 0),
        ("palette.bmp", upright, 0),
        ("cmyk.tif", upright, 1),
        ("jpeg.tif", upright, 3),
        ("transparent.tif", [RED, BLUE, GREEN, [255; 3]], 0),
        ("palette.tif", upright, 0),
    ] {
        assert_fields(name, &ok(&fixture(name)), fields, tolerance);
    }
    for name in ["exif-rotated.jpg", "exif-rotated.png", "exif-rotated.webp"] {
        let turned = ok(&fixture(name));
        assert_eq!((turned.width(), turned.height()), (16, 32), "{name}");
    }
    for name in ["bilevel.png", "bilevel.tif"] {
        let image = ok(&fixture(name));
        assert_eq!((pixel(&image, 8, 4), pixel(&image, 24, 12)), ([0; 3], [255; 3]), "{name}");
    }
}

/// A TIFF of one strip with a palette, by hand: three colours by two rows of five indices, which do not end with a byte.
fn palette_tiff(big_endian: bool, bits: u16, levels: [u16; 3]) -> Vec<u8> {
    let short = |x: u16| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
    let long = |x: u32| if big_endian { x.to_be_bytes() } else { x.to_le_bytes() };
    let row = |indices: [u64; 5]| {
        let number = indices.iter().fold(0, |number, index| number << bits | index) << (64 - 5 * bits);
        number.to_be_bytes()[..usize::from(5 * bits).div_ceil(8)].to_vec()
    };
    let strip = [row([0, 1, 2, 1, 0]), row([2, 2, 1, 0, 1])].concat();
    let colors = 1usize << bits;
    // Colour i has the i-th level as its red; green is the next one, blue the one after.
    let map = (0..3).flat_map(|channel| (0..colors).map(move |color| levels[(color + channel) % 3]));
    let map: Vec<u8> = map.flat_map(short).collect();
    let at = 8 + 2 + 9 * 12 + 4;
    let mut file = if big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    file.extend(long(8));
    file.extend(short(9));
    let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
        file.extend([short(tag), short(kind)].concat());
        file.extend(long(count));
        match (kind, count) {
            (3, 1) => file.extend([short(value as u16), [0; 2]].concat()),
            _ => file.extend(long(value)),
        }
    };
    entry(256, 3, 1, 5);
    entry(257, 3, 1, 2);
    entry(258, 3, 1, u32::from(bits));
    entry(259, 3, 1, 1);
    entry(262, 3, 1, 3);
    entry(273, 4, 1, at);
    entry(278, 3, 1, 2);
    entry(279, 4, 1, strip.len() as u32);
    entry(320, 3, 3 * colors as u32, at + strip.len() as u32);
    file.extend(long(0));
    file.extend(strip);
    file.extend(map);
    file
}

#[test]
fn palettes_of_tiff_files_are_looked_up() {
    let rows = [[0usize, 1, 2, 1, 0], [2, 2, 1, 0, 1]].concat();
    for bits in [2, 4, 8] {
        for big_endian in [false, true] {
            // By the standard levels have 16 bits; some programs write 8.
            for (levels, expected) in
                [([0x1234, 0x80FF, 0xFFFF], [0x12, 0x80, 0xFF]), ([7, 80, 255], [7, 80, 255])]
            {
                let image = ok(&palette_tiff(big_endian, bits, levels));
                assert_eq!((image.width(), image.height()), (5, 2));
                let pixels = rows.iter().flat_map(|&i| [0, 1, 2].map(|c| expected[(i + c) % 3]));
                assert_eq!(
                    image.pixels(),
                    pixels.collect::<Vec<u8>>(),
                    "{bits} bits, big endian {big_endian}"
                );
            }
        }
    }
    let mut short = palette_tiff(false, 8, [1, 2, 3]);
    short.truncate(short.len() - 2);
    assert!(matches!(decode(&short, &Limits::default()), Err(DecodeError::Malformed { .. })));
    let limits = Limits { max_pixels: 9, ..Limits::default() };
    let too_many = Err(DecodeError::TooManyPixels { limit: 9, width: 5, height: 2 });
    assert_eq!(decode(&palette_tiff(false, 8, [1, 2, 3]), &limits), too_many);
}

#[test]
fn lossless_formats_give_their_pixels_whatever_they_are_called() {
    let source = picture(4, 19, 11);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        let image = ok(&encoded(&source, format));
        assert_eq!(image, Image::new(19, 11, source.as_raw().clone()), "{format:?}");
    }
}

#[test]
fn sixteen_bits_are_scaled_to_eight() {
    let grey = ImageBuffer::<Luma<u16>, _>::from_fn(3, 1, |x, _| Luma([[0, 32_768, 65_535][x as usize]]));
    assert_eq!(ok(&write(&grey.into(), ImageFormat::Png)).pixels(), [0, 0, 0, 128, 128, 128, 255, 255, 255]);
    let color = ImageBuffer::<Rgb<u16>, _>::from_pixel(1, 1, Rgb([257 * 9, 257 * 100, 257 * 254]));
    assert_eq!(ok(&write(&color.into(), ImageFormat::Png)).pixels(), [9, 100, 254]);
}

#[test]
fn transparency_is_composed_on_white() {
    let alphas = [0, 51, 255];
    let rgba = RgbaImage::from_fn(3, 1, |x, _| Rgba([100, 0, 200, alphas[x as usize]]));
    let expected = [255, 255, 255, 224, 204, 244, 100, 0, 200];
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        assert_eq!(ok(&write(&rgba.clone().into(), format)).pixels(), expected, "{format:?}");
    }
    let grey = GrayAlphaImage::from_pixel(1, 1, LumaA([0, 51]));
    assert_eq!(ok(&write(&grey.into(), ImageFormat::Png)).pixels(), [204, 204, 204]);
}

#[test]
fn portable_pixmaps_are_read_as_written_by_hand() {
    let image = ok(b"P6 2 1\n255\n\x01\x02\x03\xFF\x20\n");
    assert_eq!(image, Image::new(2, 1, vec![1, 2, 3, 255, 32, 10]));
    assert_eq!(ok(b"P5 # made\n# by hand\n1 2 255 \x07\x09"), Image::new(1, 2, vec![7, 7, 7, 9, 9, 9]));
    for (broken, word) in [
        (&b"P6 2 1 255 \x01"[..], "expected 6 bytes of pixels, found 1"),
        (b"P5 0 3 255 ", "size 0 x 3"),
        (b"P5 1 1 65535 ab", "values up to 255, found 65535"),
        (b"P5 1 ", "a height"),
        (b"P6 #", "a width"),
        (b"P5 4294967295 4294967295 255 ", "at most"),
    ] {
        let message = decode(broken, &Limits::default()).unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

#[test]
fn one_pixel_images_decode() {
    let source = RgbImage::from_pixel(1, 1, Rgb([120, 120, 120]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::WebP]
    {
        let image = ok(&encoded(&source, format));
        assert_eq!((image.width(), image.height()), (1, 1));
        // JPEG rounds the one coefficient of a uniform block.
        assert!(image.pixels().iter().all(|x| x.abs_diff(120) <= 1), "{format:?}: {:?}", image.pixels());
    }
}

#[test]
fn a_truncated_jpeg_is_refused_wherever_it_is_cut() {
    assert_eq!(
        decode(&truncated_jpeg(), &Limits::default()),
        Err(DecodeError::Truncated { found: truncated_jpeg().len() })
    );
    let rotated = fixture("exif-rotated.jpg");
    for whole in [encoded(&picture(1, 64, 64), ImageFormat::Jpeg), fixture("progressive.jpg"), rotated] {
        for length in 2..whole.len() {
            assert!(
                decode(&whole[..length], &Limits::default()).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
        let mut followed = whole.clone();
        followed.extend(b"a video that a camera adds");
        assert_eq!(ok(&followed), ok(&whole));
    }
}

#[test]
fn cut_files_of_other_formats_are_refused() {
    let source = picture(2, 40, 40);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        let whole = encoded(&source, format);
        let result = decode(&whole[..whole.len() / 2], &Limits::default());
        assert!(matches!(result, Err(DecodeError::Malformed { .. })), "{format:?}: {result:?}");
    }
}

#[test]
fn what_is_no_image_is_named_by_its_first_bytes() {
    assert_eq!(decode(&[], &Limits::default()), Err(DecodeError::Empty));
    let error = decode(b"<html><body>", &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("JPEG") && error.contains("3c 68 74 6d"), "{error}");
}

#[test]
fn limits_in_the_units_of_a_configuration_do_not_overflow() {
    let levels = [0, 4095];
    let limits = Limits { max_bytes: 2_097_152, max_pixels: 3_000_000, levels };
    assert_eq!(Limits::of(2, 3, levels), limits);
    let none = Limits { max_bytes: usize::MAX, max_pixels: u64::MAX, levels };
    assert_eq!(Limits::of(usize::MAX, u64::MAX, levels), none);
}

/// Red values of a row of pixels of 12-bit samples in a 16-bit file.
fn reds_of_12_bits(levels: [u16; 2], image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    image.write_to(&mut bytes, format).unwrap();
    let limits = Limits { levels, ..Limits::default() };
    decode(&bytes.into_inner(), &limits).unwrap().pixels().iter().step_by(3).copied().collect()
}

#[test]
fn samples_of_16_bits_are_spread_between_the_levels_given() {
    let samples = vec![0, 100, 2100, 4095, 65535];
    let grey = ImageBuffer::<Luma<u16>, _>::from_raw(5, 1, samples.clone()).unwrap();
    let opaque = samples.iter().flat_map(|&sample| [sample, sample, sample, u16::MAX]).collect();
    let opaque = ImageBuffer::<Rgba<u16>, _>::from_raw(5, 1, opaque).unwrap();
    for (image, format) in [
        (DynamicImage::from(grey.clone()), ImageFormat::Png),
        (grey.into(), ImageFormat::Tiff),
        (opaque.into(), ImageFormat::Png),
    ] {
        // 255 (v - black) / (white - black), rounded: 2100 is 8.17, 130.77 and 127.66.
        assert_eq!(reds_of_12_bits(FULL_RANGE, &image, format), [0, 0, 8, 16, 255], "{format:?}");
        assert_eq!(reds_of_12_bits([0, 4095], &image, format), [0, 6, 131, 255, 255], "{format:?}");
        assert_eq!(reds_of_12_bits([100, 4095], &image, format), [0, 0, 128, 255, 255], "{format:?}");
    }
    let eight = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb([7, 7, 7])));
    assert_eq!(reds_of_12_bits([0, 4095], &eight, ImageFormat::Png), [7], "8 bits are what they are");
}

#[test]
fn limits_are_checked_before_pixels_are_made() {
    let limits = Limits { max_bytes: 100_000, max_pixels: 99, ..Limits::default() };
    let too_many = Err(DecodeError::TooManyPixels { limit: 99, width: 10, height: 10 });
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp]
    {
        assert_eq!(decode(&encoded(&picture(0, 10, 10), format), &limits), too_many, "{format:?}");
    }
    assert_eq!(decode(b"P6 10 10 255 ", &limits), too_many, "PPM");
    let limits = Limits { max_bytes: 10, ..limits };
    assert_eq!(decode(&[0; 11], &limits), Err(DecodeError::TooManyBytes { limit: 10, found: 11 }));
    // A PNG header that claims 60,000 x 60,000 pixels over a few bytes.
    let mut bomb = encoded(&picture(0, 10, 10), ImageFormat::Png);
    bomb[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    assert!(decode(&bomb, &Limits::default()).is_err());
}

#[test]
fn damaged_bytes_never_bring_the_program_down() {
    let formats =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::WebP];
    let mut failed = 0;
    for format in formats {
        let whole = encoded(&picture(9, 24, 24), format);
        for position in (0..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x55;
            match decode(&damaged, &Limits { max_pixels: 1 << 20, ..Limits::default() }) {
                Ok(image) => assert_eq!(image.pixels().len() as u32, 3 * image.width() * image.height()),
                Err(_) => failed += 1,
            }
        }
    }
    assert!(failed > 0, "some of these bytes matter");
}

/// As ImageJ saves measurements.
#[test]
fn a_tiff_of_32_bits_is_no_damaged_file() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
    encoder.write_image::<tiff::encoder::colortype::Gray32Float>(2, 2, &[0.0, 0.5, 1.0, 7.5]).unwrap();
    let error = decode(file.get_ref(), &Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Unsupported { format: "TIFF", .. }), "{error}");
    assert!(error.to_string().contains("expected another, such as PNG of 8 or 16 bits"), "{error}");
}
