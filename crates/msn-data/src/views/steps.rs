//! What is done to each pixel by itself: collected, and done in as few passes over the view as possible.

use super::color::{Adjustment, from_constant, from_luma};
use super::grayscale::{grayscale, luma};
use super::hue::turn_hue;
use super::normalize::{Normalization, Scale, scale_all};
use super::planes::Planes;
use crate::simd::vectorized;

/// Pixels that go through all steps before the next ones: 3 planes x 1024 x 4 bytes, a quarter of a first-level
/// cache.
const CHUNK: usize = 1024;
/// Sums that run side by side, so that the order of additions is the same for every vector length.
const LANES: usize = 16;
/// Four adjustments, greyscale, normalisation.
const MOST: usize = 6;

/// One operation on a pixel, once everything that depends on the whole view is known.
#[derive(Clone, Copy)]
enum Step {
    /// `c * factor + constant * (1 - factor)`: brightness away from black, contrast away from the mean grey.
    FromConstant { factor: f32, constant: f32 },
    /// The same with the grey of the pixel.
    FromLuma { factor: f32 },
    /// Adds to the hue, in steps of 1/255 of the circle.
    Hue { shift: f32 },
    /// Replaces every channel by the grey.
    Gray,
    /// Scales each channel by itself.
    Scale([Scale; 3]),
}

/// The steps of a view that are not yet done. All must be [`run`](Self::run) in the end.
pub(crate) struct Steps {
    steps: [Step; MOST],
    count: usize,
}

impl Steps {
    pub(crate) fn none() -> Self {
        Self { steps: [Step::Gray; MOST], count: 0 }
    }

    fn push(&mut self, step: Step) {
        self.steps[self.count] = step;
        self.count += 1;
    }

    /// Adds a colour adjustment. A pass over the pixels ends before a change of contrast, which needs the mean of what
    /// comes before it.
    pub(crate) fn adjust(&mut self, planes: &mut Planes<'_>, adjustment: Adjustment) {
        let step = match adjustment {
            Adjustment::Brightness(factor) => Step::FromConstant { factor, constant: 0.0 },
            Adjustment::Contrast(factor) => {
                let mean = run_and_mean(planes, &self.steps[..self.count]);
                self.count = 0;
                // PIL's mean grey is a whole level.
                Step::FromConstant { factor, constant: mean.round() }
            }
            Adjustment::Saturation(factor) => Step::FromLuma { factor },
            // 8-bit hues: truncated, and turned modulo 256, as by torchvision.
            Adjustment::Hue(turn) => Step::Hue { shift: (turn * 255.0).trunc().rem_euclid(256.0) },
        };
        self.push(step);
    }

    /// Drops the colours.
    pub(crate) fn grayscale(&mut self) {
        self.push(Step::Gray);
    }

    /// Normalises.
    pub(crate) fn normalize(&mut self, normalization: &Normalization) {
        self.push(Step::Scale(normalization.scales()));
    }

    /// Does what is left to do.
    pub(crate) fn run(self, planes: &mut Planes<'_>) {
        if self.count > 0 {
            run(planes, &self.steps[..self.count]);
        }
    }
}

vectorized! {
    /// Takes all steps.
    fn run(planes: &mut Planes<'_>, steps: &[Step]) {
        for mut chunk in planes.chunks(CHUNK) {
            run_chunk(&mut chunk, steps);
        }
    }
}

vectorized! {
    /// Takes all steps; the mean grey afterwards.
    fn run_and_mean(planes: &mut Planes<'_>, steps: &[Step]) -> f32 {
        let mut sums = [0.0f32; LANES];
        for mut chunk in planes.chunks(CHUNK) {
            run_chunk(&mut chunk, steps);
            add_lumas(&chunk, &mut sums);
        }
        sums.iter().sum::<f32>() / planes.red.len() as f32
    }
}

#[inline(always)]
fn run_chunk(chunk: &mut Planes<'_>, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::FromConstant { factor, constant } => from_constant(chunk, factor, constant),
            Step::FromLuma { factor } => from_luma(chunk, factor),
            Step::Hue { shift } => turn_hue(chunk, shift),
            Step::Gray => grayscale(chunk),
            Step::Scale(scales) => scale_all(chunk, scales),
        }
    }
}

#[inline(always)]
fn add_lumas(chunk: &Planes<'_>, sums: &mut [f32; LANES]) {
    let (red, red_rest) = chunk.red.as_chunks::<LANES>();
    let (green, green_rest) = chunk.green.as_chunks::<LANES>();
    let (blue, blue_rest) = chunk.blue.as_chunks::<LANES>();
    for ((r, g), b) in red.iter().zip(green).zip(blue) {
        for lane in 0..LANES {
            sums[lane] += luma(r[lane], g[lane], b[lane]);
        }
    }
    for (((sum, r), g), b) in sums.iter_mut().zip(red_rest).zip(green_rest).zip(blue_rest) {
        *sum += luma(*r, *g, *b);
    }
}
