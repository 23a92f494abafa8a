//! Resizing a part of an 8-bit image into planes of floats, by weights along either axis.
//!
//! Rows are blended first, all columns side by side, then columns, whose neighbours lie apart in memory; where an image
//! is reduced, that leaves less to do for the columns. Everything is integers, sums are exact and are rounded once in
//! between, to 1/128 of a grey level. So all paths give the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;

use crate::isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Isa;
use crate::shape;

/// The weight 1.
pub const ONE: i16 = 1 << 14;

/// Blended rows are kept in 1/128: sums of bytes and weights, with half a unit added, shifted by this.
const SHIFT: u32 = 7;
const HALF_UNIT: i32 = 1 << (SHIFT - 1);
/// What sums of blended rows and weights are in.
const UNIT: f32 = 1.0 / (128.0 * ONE as f32);

/// For each target of an axis, which sources it is made of, and how much of each.
#[derive(Clone, Copy, Debug)]
pub struct Taps<'a> {
    starts: &'a [u32],
    weights: &'a [i16],
    taps: usize,
}

impl<'a> Taps<'a> {
    /// `starts` has the first source of each target, `[size]`, and `weights`, `[size, taps]`, the weights of that and
    /// the next ones, in units of 1 / [`ONE`].
    ///
    /// # Panics
    /// If there is no target or no tap, the lengths do not fit, a weight is negative, or those of a target do not sum
    /// to [`ONE`].
    pub fn new(starts: &'a [u32], weights: &'a [i16]) -> Self {
        let size = starts.len();
        assert!(
            size > 0 && !weights.is_empty() && weights.len().is_multiple_of(size),
            "resize: {} weights of {size} targets",
            weights.len()
        );
        let taps = weights.len() / size;
        // The bounds that sums are free of overflow by.
        for (target, weights) in weights.chunks_exact(taps).enumerate() {
            let sum: i64 = weights.iter().map(|w| i64::from(*w)).sum();
            let least = weights.iter().fold(0, |least, w| *w.min(&least));
            assert!(
                sum == i64::from(ONE) && least == 0,
                "resize: target {target} has weights with the sum {sum} and the minimum {least}"
            );
        }
        Self { starts, weights, taps }
    }

    fn size(&self) -> usize {
        self.starts.len()
    }

    fn target(&self, target: usize) -> (usize, &'a [i16]) {
        (self.starts[target] as usize, &self.weights[target * self.taps..][..self.taps])
    }

    /// One more than the last source that any target is made of.
    fn end(&self) -> usize {
        self.starts.iter().max().map_or(0, |start| *start as usize + self.taps)
    }
}

/// One or two weights in the halves of a word. None of them is negative.
#[cfg(target_arch = "x86_64")]
fn word(weights: &[i16]) -> u32 {
    weights.iter().rev().fold(0, |word, weight| word << 16 | u32::from(weight.cast_unsigned()))
}

/// A part of an 8-bit image: rows of interleaved RGB.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// From the first byte of the part on.
    pub bytes: &'a [u8],
    /// Bytes from a row to the next.
    pub stride: usize,
    /// Pixels in a row of the part.
    pub width: usize,
}

/// Pixels in a row of a part, at most: their bytes are counted in words of 32 bits.
const MAX_WIDTH: usize = (u32::MAX / 3) as usize;

/// Makes `[rows, columns]` pixels of a part of an image: red, green and blue planes of grey levels, 0 to 255.
///
/// # Panics
/// If taps lie outside the part, the planes have not `rows x columns` values, or a row of the part has more than 4 GiB.
pub fn resize(part: Part<'_>, columns: Taps<'_>, rows: Taps<'_>, planes: [&mut [f32]; 3]) {
    for plane in &planes {
        shape::check("resize", "a plane", plane.len(), &[rows.size(), columns.size()]);
    }
    assert!(part.width <= MAX_WIDTH, "resize: rows of {} pixels, expected at most {MAX_WIDTH}", part.width);
    assert!(columns.end() <= part.width, "resize: a column {} of {}", columns.end() - 1, part.width);
    let needed = 3 * part.width;
    let last = (rows.end() - 1).checked_mul(part.stride).and_then(|start| start.checked_add(needed));
    assert!(
        needed <= part.stride && last.is_some_and(|last| last <= part.bytes.len()),
        "resize: {} rows of {needed} bytes, {} apart, in {} bytes",
        rows.end(),
        part.stride,
        part.bytes.len()
    );
    match isa::current() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 if avx512::serves(columns) => {
            // SAFETY: the processor has AVX-512 F and BW, as `isa::current` says; the checks above are those asked for.
            unsafe { avx512::resize(part, columns, rows, planes) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 if avx2::serves(part) => {
            // SAFETY: the processor has AVX2, as `isa::current` says; the checks above are those asked for.
            unsafe { avx2::resize(part, columns, rows, planes) }
        }
        // Integers and plain loops are what a compiler needs to find vectors by itself.
        _ => plain::resize(part, columns, rows, planes),
    }
}
