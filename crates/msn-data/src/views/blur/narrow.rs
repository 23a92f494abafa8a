//! The three passes as one, for radii 0 and 1: reaches of 3 and 6 pixels.

use super::{BoxFilter, PASSES};
use crate::simd::vectorized;
use crate::views::normalize::Scale;

/// Offsets on each side that three passes of a radius reach together.
pub(super) const fn reach(radius: usize) -> usize {
    PASSES * (radius + 1)
}

/// Largest radius of a pass that is served here.
pub(super) const MAX_RADIUS: usize = 1;
const MAX_REACH: usize = reach(MAX_RADIUS);
/// Places near an end that are computed side by side, at least the reach.
const LANES: usize = 8;

/// What the places of a line are made of.
pub(crate) struct Weights {
    /// Of one pass.
    radius: usize,
    /// In the middle: weight of the offset k on either side, 0 beyond the reach.
    middle: [f32; MAX_REACH + 1],
    /// Near the ends: weight of the j-th value of the line in place i, `[j, i]` for i up to the reach and j up to
    /// twice that. The last places mirror the first ones.
    ends: [[f32; LANES]; 2 * MAX_REACH],
}

impl Weights {
    pub(super) fn of(filter: BoxFilter) -> Self {
        let mut weights =
            Self { radius: filter.radius, middle: [0.0; MAX_REACH + 1], ends: [[0.0; LANES]; 2 * MAX_REACH] };
        let reach = reach(filter.radius);
        // So far from the end, every pass finds all its neighbours.
        let spread = three_passes(filter, 2 * reach);
        weights.middle[..=reach].copy_from_slice(&spread[2 * reach..=3 * reach]);
        for place in 0..reach {
            for (end, weight) in weights.ends.iter_mut().zip(three_passes(filter, place)) {
                end[place] = weight;
            }
        }
        weights
    }
}

/// The weights of the values of a line in the value at `place` after three passes. Pass for pass backwards, each
/// weight is handed to the values that it comes from; the end of the line stands in for those beyond it.
fn three_passes(filter: BoxFilter, place: usize) -> [f32; 3 * MAX_REACH + 1] {
    let mut weights = [0.0; 3 * MAX_REACH + 1];
    weights[place] = 1.0;
    for _ in 0..PASSES {
        let mut before = [0.0; 3 * MAX_REACH + 1];
        for (at, w) in weights.into_iter().enumerate().filter(|(_, w)| *w != 0.0) {
            before[at] += filter.weight * w;
            for k in 1..=filter.radius + 1 {
                let of_box = if k <= filter.radius { filter.weight } else { filter.edge };
                before[at.saturating_sub(k)] += of_box * w;
                before[at + k] += of_box * w;
            }
        }
        weights = before;
    }
    weights
}

/// See [`Blur::apply`](super::Blur::apply). Both sides are at least twice the reach.
pub(super) fn blur(
    plane: &mut [f32],
    width: usize,
    weights: &Weights,
    scale: Scale,
    buffers: &mut [Vec<f32>; 2],
) {
    let between = &mut buffers[0];
    between.resize(plane.len().max(between.len()), 0.0);
    blur_plane(plane, width, weights, scale, between);
}

vectorized! {
    fn blur_plane(
        plane: &mut [f32],
        width: usize,
        weights: &Weights,
        scale: Scale,
        between: &mut [f32],
    ) {
        // The reach is a constant in either, so that the loops over offsets are unrolled.
        if weights.radius == 0 {
            both_axes::<{ reach(0) }>(plane, width, weights, scale, between);
        } else {
            both_axes::<{ reach(1) }>(plane, width, weights, scale, between);
        }
    }
}

#[inline(always)]
fn both_axes<const R: usize>(
    plane: &mut [f32],
    width: usize,
    weights: &Weights,
    scale: Scale,
    between: &mut [f32],
) {
    let pixels = plane.len();
    let between = &mut between[..pixels];
    for (row, out) in plane.chunks_exact(width).zip(between.chunks_exact_mut(width)) {
        along_row::<R>(row, weights, out);
    }
    let height = pixels / width;
    let row = |y: usize| -> &[f32] { &between[y * width..(y + 1) * width] };
    for (y, out) in plane.chunks_exact_mut(width).enumerate() {
        if (R..height - R).contains(&y) {
            let lines: [&[f32]; MAX_REACH] =
                std::array::from_fn(|k| if k < R { row(y - R + k) } else { row(y) });
            let after: [&[f32]; MAX_REACH] =
                std::array::from_fn(|k| if k < R { row(y + R - k) } else { row(y) });
            middle::<R>(row(y), &lines, &after, weights, scale, out);
        } else {
            // Counted from the end that is nearer.
            let place = y.min(height - 1 - y);
            out.fill(0.0);
            for (j, end) in weights.ends.iter().enumerate().take(2 * R) {
                let line = row(if y < R { j } else { height - 1 - j });
                for (sum, x) in out.iter_mut().zip(line) {
                    *sum += end[place] * x;
                }
            }
            for x in out {
                *x = scale.of(*x);
            }
        }
    }
}

#[inline(always)]
fn along_row<const R: usize>(row: &[f32], weights: &Weights, out: &mut [f32]) {
    let width = row.len();
    let length = width - 2 * R;
    // Before and after the centre, the farthest first.
    let before: [&[f32]; MAX_REACH] = std::array::from_fn(|k| &row[k.min(R)..][..length]);
    let after: [&[f32]; MAX_REACH] = std::array::from_fn(|k| &row[2 * R - k.min(R)..][..length]);
    middle::<R>(&row[R..R + length], &before, &after, weights, Scale::NONE, &mut out[R..R + length]);
    let (mut first, mut last) = ([0.0; LANES], [0.0; LANES]);
    for (j, end) in weights.ends.iter().enumerate().take(2 * R) {
        for i in 0..LANES {
            first[i] += end[i] * row[j];
            last[i] += end[i] * row[width - 1 - j];
        }
    }
    out[..R].copy_from_slice(&first[..R]);
    for (out, x) in out[width - R..].iter_mut().rev().zip(last) {
        *out = x;
    }
}

/// The values at the same place of 2 R + 1 lines, weighed by their distance from the one in the centre.
#[inline(always)]
fn middle<const R: usize>(
    centre: &[f32],
    before: &[&[f32]; MAX_REACH],
    after: &[&[f32]; MAX_REACH],
    weights: &Weights,
    scale: Scale,
    out: &mut [f32],
) {
    let length = out.len();
    let centre = &centre[..length];
    let before = before.map(|line| &line[..length]);
    let after = after.map(|line| &line[..length]);
    for i in 0..length {
        let mut sum = weights.middle[0] * centre[i];
        for k in 0..R {
            sum += weights.middle[R - k] * (before[k][i] + after[k][i]);
        }
        out[i] = scale.of(sum);
    }
}
