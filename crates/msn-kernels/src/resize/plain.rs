//! The readable twin.

use super::{HALF_UNIT, Part, SHIFT, Taps, UNIT};

pub(super) fn resize(part: Part<'_>, columns: Taps<'_>, rows: Taps<'_>, planes: [&mut [f32]; 3]) {
    let width = columns.size();
    let mut blended = vec![0; 3 * part.width];
    for y in 0..rows.size() {
        let (start, weights) = rows.target(y);
        blended.fill(HALF_UNIT);
        for (k, weight) in weights.iter().enumerate() {
            let row = &part.bytes[(start + k) * part.stride..];
            for (sum, byte) in blended.iter_mut().zip(row) {
                *sum += i32::from(*weight) * i32::from(*byte);
            }
        }
        blended.iter_mut().for_each(|sum| *sum >>= SHIFT);
        for x in 0..width {
            let (start, weights) = columns.target(x);
            let mut sums = [0; 3];
            for (weight, pixel) in weights.iter().zip(blended[3 * start..].as_chunks::<3>().0) {
                for c in 0..3 {
                    sums[c] += i32::from(*weight) * pixel[c];
                }
            }
            for c in 0..3 {
                planes[c][y * width + x] = sums[c] as f32 * UNIT;
            }
        }
    }
}
