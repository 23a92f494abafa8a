//! AVX-512 F and BW: blended rows in planes of words, columns 16 at a time.
//!
//! The words that 16 neighbouring targets are made of lie in two vectors, from which one instruction picks two taps of
//! each target, and another multiplies and adds them.

use std::arch::x86_64::*;

use super::{HALF_UNIT, Part, SHIFT, Taps, UNIT, word};
use crate::scratch::Scratch;

/// Target rows that are made together.
const ROWS: usize = 4;
/// Targets in a vector.
const GROUP: usize = 16;
/// Words that the targets of a group are picked from: two vectors.
const WINDOW: usize = 64;
/// Pixels of 64 bytes of a row.
const PIXELS: usize = 21;
/// Words that are written together.
const LANES: usize = 32;

/// Where 64 blended bytes have the values of a plane. They come in two vectors of words: the first and the second half
/// of each 16 bytes.
const fn picks(channel: usize) -> [i16; LANES] {
    let mut picks = [0; LANES];
    let mut pixel = 0;
    while pixel < PIXELS {
        let byte = 3 * pixel + channel;
        let (sixteen, within) = (byte / 16, byte % 16);
        picks[pixel] = (8 * sixteen + within % 8 + LANES * (within / 8)) as i16;
        pixel += 1;
    }
    picks
}

const PICKS: [[i16; LANES]; 3] = [picks(0), picks(1), picks(2)];

/// The first source of a group of targets.
fn first_source(starts: &[u32]) -> u32 {
    starts.iter().fold(u32::MAX, |first, start| first.min(*start))
}

/// True if all groups lie in their windows: up to reductions of about 3.6 times.
pub(super) fn serves(columns: Taps<'_>) -> bool {
    columns.starts.chunks(GROUP).all(|starts| {
        let last = starts.iter().fold(0, |last, start| last.max(*start));
        (last - first_source(starts)) as usize + columns.taps <= WINDOW
    })
}

/// What picks the targets of an axis from their windows.
struct Picker<'a> {
    /// Where the window of a group begins, `[group]`.
    firsts: &'a [u32],
    /// Where the window has two taps of each target, and their weights: `[group, pair, 2]`.
    tables: &'a [[i16; LANES]],
    /// Pairs of taps.
    pairs: usize,
    /// Targets.
    size: usize,
}

/// # Safety
/// The processor has AVX-512 F and BW; `columns` are [served](serves), and all taps lie in the part.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn resize(part: Part<'_>, columns: Taps<'_>, rows: Taps<'_>, mut planes: [&mut [f32]; 3]) {
    let size = columns.size();
    let (groups, pairs) = (size.div_ceil(GROUP), columns.taps.div_ceil(2));
    // Windows and blocks reach beyond the end of a row.
    let length = part.width + WINDOW;
    let (mut firsts, mut tables) = (Scratch::new(groups), Scratch::new(groups * pairs * LANES));
    let mut blended = Scratch::new((ROWS * 3 * length).div_ceil(2));
    let (firsts, tables) = (firsts.words(), tables.halves().as_chunks_mut().0);
    fill(columns, firsts, tables);
    let picker = Picker { firsts, tables, pairs, size };
    let blended = blended.halves();
    for top in (0..rows.size()).step_by(ROWS) {
        let count = ROWS.min(rows.size() - top);
        for (r, row) in blended.chunks_exact_mut(3 * length).enumerate().take(count) {
            let (start, weights) = rows.target(top + r);
            // SAFETY: as promised to this function.
            unsafe { blend_rows(&part, start, weights, row, length) };
        }
        for (c, plane) in planes.iter_mut().enumerate() {
            let lines = std::array::from_fn(|r| &blended[(3 * r + c) * length..][..length]);
            picker.blend_columns(lines, &mut plane[top * size..(top + count) * size]);
        }
    }
}

/// Fills in `firsts` and `tables` of a [`Picker`].
fn fill(columns: Taps<'_>, firsts: &mut [u32], tables: &mut [[i16; LANES]]) {
    let taps = columns.taps;
    let groups = columns.starts.chunks(GROUP).zip(columns.weights.chunks(GROUP * taps));
    let tables = tables.chunks_exact_mut(taps.div_ceil(2) * 2);
    for (((starts, weights), first), table) in groups.zip(firsts).zip(tables) {
        *first = first_source(starts);
        table.fill([0; LANES]);
        for (lane, (start, weights)) in starts.iter().zip(weights.chunks_exact(taps)).enumerate() {
            let offset = (start - *first) as usize;
            for (tap, weight) in weights.iter().enumerate() {
                let (pair, half) = (tap / 2, tap % 2);
                table[2 * pair][2 * lane + half] = (offset + tap) as i16;
                table[2 * pair + 1][2 * lane + half] = *weight;
            }
        }
    }
}

impl Picker<'_> {
    /// Target pixels of as many of the blended rows as `out`, `[rows, size]`, has.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn blend_columns(&self, lines: [&[i16]; ROWS], out: &mut [f32]) {
        let tables = self.tables.chunks_exact(2 * self.pairs);
        for ((group, first), table) in self.firsts.iter().enumerate().zip(tables) {
            // Not by `map`, which is compiled without these instructions and then not inlined.
            let mut windows = [[_mm512_setzero_si512(); 2]; ROWS];
            for (window, line) in windows.iter_mut().zip(lines) {
                let words = &line[*first as usize..][..WINDOW];
                *window = [load(&words[..LANES]), load(&words[LANES..])];
            }
            let mut sums = [_mm512_setzero_si512(); ROWS];
            for [picks, weights] in table.as_chunks().0 {
                let (picks, weights) = (load(picks), load(weights));
                for (sum, [low, high]) in sums.iter_mut().zip(windows) {
                    let taps = _mm512_permutex2var_epi16(low, picks, high);
                    *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(taps, weights));
                }
            }
            for (sum, line) in sums.into_iter().zip(out.chunks_exact_mut(self.size)) {
                let levels = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(UNIT));
                let line = &mut line[GROUP * group..];
                let mask = if line.len() < GROUP { (1 << line.len()) - 1 } else { u16::MAX };
                // SAFETY: the mask has no more than the elements of the slice.
                unsafe { _mm512_mask_storeu_ps(line.as_mut_ptr(), mask, levels) };
            }
        }
    }
}

/// A target row before its columns are resized: three planes of `length` words.
///
/// # Safety
/// The processor has AVX-512 F and BW; the rows from `start` on that have weights lie in the part; `out` has three
/// planes of a length of at least the part's width and [`WINDOW`].
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn blend_rows(part: &Part<'_>, start: usize, weights: &[i16], out: &mut [i16], length: usize) {
    let row = 3 * part.width;
    let picks: [__m512i; 3] = std::array::from_fn(|c| load(&PICKS[c]));
    for block in 0..part.width.div_ceil(PIXELS) {
        let at = 3 * PIXELS * block;
        let left = row - at;
        let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        let source = part.bytes[start * part.stride + at..].as_ptr();
        // SAFETY: those bytes of the row that the mask has lie in the part, for each of the rows that have weights.
        let bytes =
            |k: usize| unsafe { _mm512_maskz_loadu_epi8(mask, source.wrapping_add(k * part.stride).cast()) };
        let mut sums = [_mm512_set1_epi32(HALF_UNIT); 4];
        let (pairs, last) = weights.as_chunks::<2>();
        for (k, weights) in pairs.iter().enumerate() {
            add_rows(&mut sums, bytes(2 * k), bytes(2 * k + 1), weights);
        }
        if !last.is_empty() {
            add_rows(&mut sums, bytes(weights.len() - 1), _mm512_setzero_si512(), last);
        }
        let level = |sum: usize| _mm512_srai_epi32::<SHIFT>(sums[sum]);
        let first_halves = _mm512_packs_epi32(level(0), level(1));
        let second_halves = _mm512_packs_epi32(level(2), level(3));
        for (plane, picks) in out.chunks_exact_mut(length).zip(picks) {
            let values = _mm512_permutex2var_epi16(first_halves, picks, second_halves);
            // What follows the block's pixels is overwritten by the next block, or lies behind the row.
            store(&mut plane[PIXELS * block..], values);
        }
    }
}

/// Adds two rows of bytes, weighed. Each 16 bytes are spread over the four sums, four bytes each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_rows(sums: &mut [__m512i; 4], a: __m512i, b: __m512i, weights: &[i16]) {
    let (weights, zero) = (_mm512_set1_epi32(word(weights).cast_signed()), _mm512_setzero_si512());
    let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
    let words = [
        _mm512_unpacklo_epi8(low, zero),
        _mm512_unpackhi_epi8(low, zero),
        _mm512_unpacklo_epi8(high, zero),
        _mm512_unpackhi_epi8(high, zero),
    ];
    for (sum, words) in sums.iter_mut().zip(words) {
        *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(words, weights));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(words: &[i16]) -> __m512i {
    let words = &words[..LANES];
    // SAFETY: the slice has the 64 bytes that are read.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(words: &mut [i16], values: __m512i) {
    let words = &mut words[..LANES];
    // SAFETY: the slice has the 64 bytes that are written.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), values) }
}
