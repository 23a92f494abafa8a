//! Turning, shearing and shifting an image.

use crate::simd::vectorized;
use crate::views::planes::Planes;

/// Pixels of its border that are repeated around an image, as far as a cubic reaches beyond the last pixel centre.
const REACH: usize = 2;
/// Pixels that a cubic weighs along each axis.
const TAPS: usize = 4;

/// Where in an image the pixel with the centre (x, y) comes from: a x + b y + c along each axis, in pixels from the left
/// and from the top.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine([[f64; 3]; 2]);

impl Affine {
    /// A turn around the middle, counterclockwise.
    pub(super) fn rotation(degrees: f64, width: usize, height: usize) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
        Self([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])
    }

    /// Every row comes from `factor` of a pixel further right than the one above it; the top edge stays.
    pub(super) fn shear_x(factor: f64) -> Self {
        Self([[1.0, factor, 0.0], [0.0, 1.0, 0.0]])
    }

    /// Every column comes from `factor` of a pixel further down than the one left of it; the left edge stays.
    pub(super) fn shear_y(factor: f64) -> Self {
        Self([[1.0, 0.0, 0.0], [factor, 1.0, 0.0]])
    }

    /// A shift to the left and up, in pixels.
    pub(super) fn translation(x: f64, y: f64) -> Self {
        Self([[1.0, 0.0, x], [0.0, 1.0, y]])
    }

    /// Where the pixel of a row and a column comes from.
    #[inline(always)]
    fn source(self, column: usize, row: usize) -> [f64; 2] {
        let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
        self.0.map(|[a, b, c]| a * x + b * y + c)
    }

    /// Moves the pixels of an image of `width` columns. fill: what comes from outside, a level for each channel. spare:
    /// working space.
    ///
    /// Cubic convolution (Keys, 1981) with the parameter -1 and the border repeated, which is PIL's bicubic transform.
    pub(super) fn apply(self, planes: &mut Planes<'_>, width: usize, fill: [f32; 3], spare: &mut Vec<f32>) {
        spare.clear();
        for plane in planes.each() {
            pad(plane, width, spare);
        }
        resample(spare, self, width, fill, planes);
    }
}

/// Appends a plane with its border repeated on all sides.
fn pad(plane: &[f32], width: usize, out: &mut Vec<f32>) {
    let height = plane.len() / width;
    for row in 0..height + 2 * REACH {
        let row = row.saturating_sub(REACH).min(height - 1);
        let row = &plane[row * width..(row + 1) * width];
        out.extend([row[0]; REACH]);
        out.extend(row);
        out.extend([row[width - 1]; REACH]);
    }
}

vectorized! {
    /// padded: the three planes one after the other.
    fn resample(padded: &[f32], places: Affine, width: usize, fill: [f32; 3], planes: &mut Planes<'_>) {
        let pixels = planes.red.len();
        let height = pixels / width;
        let stride = width + 2 * REACH;
        let length = padded.len() / 3;
        let mut planes = planes.each();
        for row in 0..height {
            for column in 0..width {
                let [x, y] = places.source(column, row);
                let inside = x >= 0.0 && x < width as f64 && y >= 0.0 && y < height as f64;
                // The pixel whose centre lies before the place is the second of four; padding moves it by two.
                let (left, right_part) = split(x + 0.5);
                let (top, lower_part) = split(y + 0.5);
                let (across, down) = (cubic(right_part), cubic(lower_part));
                for (channel, plane) in planes.iter_mut().enumerate() {
                    plane[row * width + column] = if inside {
                        let source = &padded[channel * length + top * stride + left..];
                        weighed(source, stride, &across, &down)
                    } else {
                        fill[channel]
                    };
                }
            }
        }
    }
}

/// Whole and fractional part of a number of at least 0.
#[inline(always)]
fn split(place: f64) -> (usize, f32) {
    let whole = place as usize;
    (whole, (place - whole as f64) as f32)
}

/// Weights of the two pixels before and the two after a place; `t`: its distance from the nearest one before.
#[inline(always)]
fn cubic(t: f32) -> [f32; TAPS] {
    let (square, cube) = (t * t, t * t * t);
    [2.0 * square - cube - t, cube - 2.0 * square + 1.0, square - cube + t, cube - square]
}

/// Sum of 4 x 4 pixels from the start of `source` on, cut off to the levels that there are.
#[inline(always)]
fn weighed(source: &[f32], stride: usize, across: &[f32; TAPS], down: &[f32; TAPS]) -> f32 {
    let mut columns = [0.0; TAPS];
    for (row, weight) in down.iter().enumerate() {
        let row = &source[row * stride..row * stride + TAPS];
        columns.iter_mut().zip(row).for_each(|(sum, pixel)| *sum += weight * pixel);
    }
    let sum: f32 = columns.iter().zip(across).map(|(column, weight)| column * weight).sum();
    sum.clamp(0.0, 255.0)
}
