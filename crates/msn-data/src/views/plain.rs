//! The plain twin of each augmentation: 8-bit images in, 8-bit images out, one obvious loop each, with the roundings
//! of PIL. What the fast path is compared with.

use super::ViewParams;
use super::color::Adjustment;
use super::crop::CropBox;
use crate::Normalization;

/// 8-bit interleaved RGB.
#[derive(Clone)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub(super) fn new(width: usize, height: usize, pixel: impl FnMut((usize, usize)) -> [u8; 3]) -> Self {
        let places = (0..width * height).map(|i| (i % width, i / width));
        Self { width, height, pixels: places.map(pixel).collect() }
    }

    pub(super) fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[y * self.width + x]
    }

    fn map(&self, f: impl Fn([u8; 3]) -> [u8; 3]) -> Self {
        Self { pixels: self.pixels.iter().map(|&p| f(p)).collect(), ..*self }
    }
}

/// A whole view, `[3, size, size]`: each augmentation made of the whole view before the next one begins.
pub(super) fn render(
    p: &Picture,
    params: &ViewParams,
    size: usize,
    normalization: &Normalization,
) -> Vec<f32> {
    let CropBox { left, top, width, height } = params.crop;
    let [left, top, width, height] = [left, top, width, height].map(|x| x as usize);
    let mut view = crop_resize(p, left, top, width, height, size);
    if params.orientation.flip {
        view = flip(&view);
    }
    for _ in 0..params.orientation.quarter_turns {
        view = quarter_turn(&view);
    }
    for adjustment in params.jitter.iter().flat_map(|jitter| jitter.0) {
        view = adjust(&view, adjustment);
    }
    if params.grayscale {
        view = grayscale(&view);
    }
    if let Some(sigma) = params.blur {
        view = gaussian_blur(&view, sigma);
    }
    normalize(&view, normalization)
}

/// `(level / 255 - mean) / std`, channel by channel.
fn normalize(p: &Picture, Normalization { mean, std }: &Normalization) -> Vec<f32> {
    let channel =
        |c: usize| p.pixels.iter().map(move |pixel| (f32::from(pixel[c]) / 255.0 - mean[c]) / std[c]);
    [0, 1, 2].into_iter().flat_map(channel).collect()
}

/// Weights of a triangle filter that reduces or enlarges `from` pixels to `to`: for each of the `to`, the weight of
/// each of the `from`. The triangle's half width is one target pixel or one source pixel, whichever is larger.
fn triangle(from: usize, to: usize) -> Vec<Vec<f64>> {
    let scale = from as f64 / to as f64;
    let half_width = scale.max(1.0);
    let row = |target: usize| {
        let centre = (target as f64 + 0.5) * scale;
        let weight = |source: usize| (1.0 - ((source as f64 + 0.5 - centre) / half_width).abs()).max(0.0);
        let weights: Vec<f64> = (0..from).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect()
    };
    (0..to).map(row).collect()
}

pub(super) fn crop_resize(
    p: &Picture,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    size: usize,
) -> Picture {
    let (columns, rows) = (triangle(width, size), triangle(height, size));
    Picture::new(size, size, |(x, y)| {
        let mut sum = [0.0; 3];
        for (j, wy) in rows[y].iter().enumerate().filter(|(_, w)| **w > 0.0) {
            for (i, wx) in columns[x].iter().enumerate().filter(|(_, w)| **w > 0.0) {
                let pixel = p.at(left + i, top + j);
                (0..3).for_each(|c| sum[c] += wx * wy * f64::from(pixel[c]));
            }
        }
        sum.map(|s| s.round() as u8)
    })
}

pub(super) fn flip(p: &Picture) -> Picture {
    Picture::new(p.width, p.height, |(x, y)| p.at(p.width - 1 - x, y))
}

/// A quarter turn counterclockwise.
pub(super) fn quarter_turn(p: &Picture) -> Picture {
    Picture::new(p.height, p.width, |(x, y)| p.at(p.width - 1 - y, x))
}

/// PIL's integer grey: weights in 1/65536, rounded.
fn grey(p: [u8; 3]) -> u8 {
    let [r, g, b] = p.map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
}

pub(super) fn grayscale(p: &Picture) -> Picture {
    p.map(|pixel| [grey(pixel); 3])
}

/// `from + factor (x - from)` on 8-bit values, cut off to 0..255 and truncated.
fn away(from: u8, x: u8, factor: f64) -> u8 {
    (f64::from(from) + factor * (f64::from(x) - f64::from(from))).clamp(0.0, 255.0) as u8
}

pub(super) fn adjust(p: &Picture, adjustment: Adjustment) -> Picture {
    match adjustment {
        Adjustment::Brightness(factor) => brightness(p, f64::from(factor)),
        Adjustment::Contrast(factor) => contrast(p, f64::from(factor)),
        Adjustment::Saturation(factor) => saturation(p, f64::from(factor)),
        Adjustment::Hue(turn) => hue(p, f64::from(turn)),
    }
}

pub(super) fn brightness(p: &Picture, factor: f64) -> Picture {
    p.map(|pixel| pixel.map(|x| away(0, x, factor)))
}

pub(super) fn contrast(p: &Picture, factor: f64) -> Picture {
    let sum: f64 = p.pixels.iter().map(|&pixel| f64::from(grey(pixel))).sum();
    let mean = (sum / p.pixels.len() as f64).round() as u8;
    p.map(|pixel| pixel.map(|x| away(mean, x, factor)))
}

pub(super) fn saturation(p: &Picture, factor: f64) -> Picture {
    p.map(|pixel| pixel.map(|x| away(grey(pixel), x, factor)))
}

pub(super) fn hue(p: &Picture, turn: f64) -> Picture {
    let shift = (turn * 255.0) as i32;
    p.map(|pixel| {
        let [h, s, v] = to_hsv(pixel);
        from_hsv([(i32::from(h) + shift).rem_euclid(256) as u8, s, v])
    })
}

/// Hexcone model with each of the three scaled to 255 and truncated.
fn to_hsv(pixel: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = pixel.map(f64::from);
    let (value, least) = (r.max(g).max(b), r.min(g).min(b));
    let chroma = value - least;
    if chroma == 0.0 {
        return [0, 0, value as u8];
    }
    let sixths = match value {
        v if v == r => (g - b) / chroma,
        v if v == g => 2.0 + (b - r) / chroma,
        _ => 4.0 + (r - g) / chroma,
    };
    [(sixths / 6.0).rem_euclid(1.0) * 255.0, chroma / value * 255.0, value].map(|x| x as u8)
}

fn from_hsv([h, s, v]: [u8; 3]) -> [u8; 3] {
    let sixths = f64::from(h) * 6.0 / 255.0;
    let (sector, within) = (sixths.floor(), sixths - sixths.floor());
    let (value, s) = (f64::from(v), f64::from(s) / 255.0);
    let low = value * (1.0 - s);
    let falling = value * (1.0 - s * within);
    let rising = value * (1.0 - s * (1.0 - within));
    let rgb = match sector as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    };
    rgb.map(|x| x.round() as u8)
}

/// Three passes of the extended box filter along rows, then along columns, in f64 without rounding between.
pub(super) fn gaussian_blur(p: &Picture, sigma: f64) -> Picture {
    let mut planes: Vec<Vec<f64>> =
        (0..3).map(|c| p.pixels.iter().map(|pixel| f64::from(pixel[c])).collect()).collect();
    for plane in &mut planes {
        for _ in 0..3 {
            let at = |x: i64, y: i64| plane[y as usize * p.width + x.clamp(0, p.width as i64 - 1) as usize];
            *plane = box_filter(p.width, p.height, sigma, |x, y, k| at(x + k, y));
        }
        for _ in 0..3 {
            let at = |x: i64, y: i64| plane[y.clamp(0, p.height as i64 - 1) as usize * p.width + x as usize];
            *plane = box_filter(p.width, p.height, sigma, |x, y, k| at(x, y + k));
        }
    }
    Picture::new(p.width, p.height, |(x, y)| {
        [0, 1, 2].map(|c: usize| planes[c][y * p.width + x].round() as u8)
    })
}

fn box_filter(width: usize, height: usize, sigma: f64, at: impl Fn(i64, i64, i64) -> f64) -> Vec<f64> {
    // The whole width L of a box of the wanted variance (L^2 - 1) / 12 = sigma^2 / 3 (Gwosdek et al., equation 8),
    // and the extended box: 2 l + 1 full weights and two of a fraction a, such that the variance is met exactly.
    let variance = sigma * sigma / 3.0;
    let l = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
    let a = (2.0 * l + 1.0) * (l * (l + 1.0) - 3.0 * variance) / (6.0 * (variance - (l + 1.0).powi(2)));
    let whole = 2.0 * l + 1.0 + 2.0 * a;
    let l = l as i64;
    let place = |i: usize| ((i % width) as i64, (i / width) as i64);
    let value = |(x, y)| {
        let inner: f64 = (-l..=l).map(|k| at(x, y, k)).sum();
        (inner + a * (at(x, y, -l - 1) + at(x, y, l + 1))) / whole
    };
    (0..width * height).map(place).map(value).collect()
}
