//! The three passes one after the other, for every width of the filter and every size of the plane.

use super::BoxFilter;
use crate::simd::vectorized;
use crate::views::normalize::Scale;

/// Columns that are blurred together: one cache line of floats a row.
const STRIP: usize = 16;

pub(super) fn blur(
    plane: &mut [f32],
    width: usize,
    filter: BoxFilter,
    scale: Scale,
    buffers: &mut [Vec<f32>; 2],
) {
    let height = plane.len() / width;
    let padded = (height * STRIP).max(width) + 2 * (filter.radius + 1) * STRIP;
    let [a, b] = buffers;
    a.resize(padded.max(a.len()), 0.0);
    b.resize(padded.max(b.len()), 0.0);
    blur_plane(plane, width, filter, scale, a, b);
}

vectorized! {
    fn blur_plane(plane: &mut [f32], width: usize, filter: BoxFilter, scale: Scale, a: &mut [f32], b: &mut [f32]) {
        let reach = filter.radius + 1;
        for row in plane.chunks_exact_mut(width) {
            a[reach..reach + width].copy_from_slice(row);
            blur_line(width, 1, filter, a, b);
            row.copy_from_slice(&b[reach..reach + width]);
        }
        let height = plane.len() / width;
        for left in (0..width).step_by(STRIP) {
            let columns = STRIP.min(width - left);
            let (start, length) = (reach * columns, height * columns);
            for (line, row) in a[start..start + length].chunks_exact_mut(columns).zip(plane.chunks_exact(width)) {
                line.copy_from_slice(&row[left..left + columns]);
            }
            blur_line(length, columns, filter, a, b);
            for (line, row) in b[start..start + length].chunks_exact(columns).zip(plane.chunks_exact_mut(width)) {
                for (out, x) in row[left..left + columns].iter_mut().zip(line) {
                    *out = scale.of(*x);
                }
            }
        }
    }
}

/// All passes over `length` values in `a`, which start after the padding of `radius + 1` strides and end in `b` at
/// the same place. Neighbours are `stride` values apart.
#[inline(always)]
fn blur_line(length: usize, stride: usize, filter: BoxFilter, a: &mut [f32], b: &mut [f32]) {
    box_pass(length, stride, filter, a, b);
    box_pass(length, stride, filter, b, a);
    box_pass(length, stride, filter, a, b);
}

#[inline(always)]
fn box_pass(length: usize, stride: usize, filter: BoxFilter, from: &mut [f32], to: &mut [f32]) {
    let BoxFilter { radius, weight, edge } = filter;
    let start = (radius + 1) * stride;
    for offset in (0..start).step_by(stride) {
        from.copy_within(start..start + stride, offset);
        from.copy_within(start + length - stride..start + length, start + length + offset);
    }
    let out = &mut to[start..start + length];
    let centre = &from[start..start + length];
    let (before, after) = (&from[..length], &from[2 * start..2 * start + length]);
    for (((out, centre), before), after) in out.iter_mut().zip(centre).zip(before).zip(after) {
        *out = weight * centre + edge * (before + after);
    }
    for offset in (1..=radius).map(|k| k * stride) {
        let (before, after) = (&from[start - offset..][..length], &from[start + offset..][..length]);
        for ((out, before), after) in out.iter_mut().zip(before).zip(after) {
            *out += weight * (before + after);
        }
    }
}
