//! AVX2: blended rows interleaved, columns two at a time.
//!
//! The red, green and blue of two neighbouring pixels are shuffled into pairs, which one instruction multiplies with two
//! weights and adds.

use std::arch::x86_64::*;

use super::{HALF_UNIT, Part, SHIFT, Taps, UNIT, word};
use crate::scratch::Scratch;

/// Bytes of a vector.
const BLOCK: usize = 32;
/// Targets whose columns are blended together.
const GROUP: usize = 4;
/// Words that are read for two pixels.
const WORDS: usize = 8;

/// True if a row has enough bytes for a vector.
pub(super) fn serves(part: Part<'_>) -> bool {
    3 * part.width >= BLOCK
}

/// What blends the columns of an axis.
struct Blender<'a> {
    /// Where a blended row has the first source of each target, `[group, 4]`; targets that do not exist repeat the last
    /// one.
    starts: &'a [[u32; GROUP]],
    /// Pairs of weights, one in either half of a word, four times for the values of a pixel: those of targets 0 and 2
    /// of a group, then those of 1 and 3, `[group, pair, 2]`.
    weights: &'a [[u32; WORDS]],
    /// Pairs of taps.
    pairs: usize,
}

/// # Safety
/// The processor has AVX2; the part is [served](serves), and all taps lie in it.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn resize(part: Part<'_>, columns: Taps<'_>, rows: Taps<'_>, mut planes: [&mut [f32]; 3]) {
    let size = columns.size();
    let (groups, pairs) = (size.div_ceil(GROUP), columns.taps.div_ceil(2));
    // What is read for the last pixels reaches beyond them.
    let length = 3 * part.width + WORDS;
    let (mut starts, mut weights) = (Scratch::new(groups * GROUP), Scratch::new(groups * pairs * 2 * WORDS));
    let mut line = Scratch::new(length.div_ceil(2));
    let (starts, weights) = (starts.words().as_chunks_mut().0, weights.words().as_chunks_mut().0);
    fill(columns, starts, weights);
    let blender = Blender { starts, weights, pairs };
    let line = &mut line.halves()[..length];
    for y in 0..rows.size() {
        let (start, row_weights) = rows.target(y);
        // SAFETY: as promised to this function.
        unsafe { blend_rows(&part, start, row_weights, line) };
        blender.blend_columns(line, planes.each_mut().map(|plane| &mut plane[y * size..(y + 1) * size]));
    }
}

/// Fills in `starts` and `weights` of a [`Blender`].
fn fill(columns: Taps<'_>, starts: &mut [[u32; GROUP]], weights: &mut [[u32; WORDS]]) {
    weights.fill([0; WORDS]);
    let pairs = columns.taps.div_ceil(2);
    for (group, (starts, table)) in starts.iter_mut().zip(weights.chunks_exact_mut(2 * pairs)).enumerate() {
        for (lane, start) in starts.iter_mut().enumerate() {
            let target = GROUP * group + lane;
            let (first, weights) = columns.target(target.min(columns.size() - 1));
            // The bytes of a row are at most as many as a word counts.
            *start = 3 * first as u32;
            for (pair, weights) in weights.chunks(2).enumerate().filter(|_| target < columns.size()) {
                let pixel = lane / 2 * 4;
                table[2 * pair + lane % 2][pixel..pixel + 4].fill(word(weights));
            }
        }
    }
}

impl Blender<'_> {
    /// A row of target pixels.
    #[target_feature(enable = "avx2")]
    fn blend_columns(&self, line: &[i16], mut out: [&mut [f32]; 3]) {
        for ((group, starts), weights) in
            self.starts.iter().enumerate().zip(self.weights.chunks_exact(2 * self.pairs))
        {
            let mut sums = [_mm256_setzero_si256(); 2];
            for (pair, weights) in weights.as_chunks::<2>().0.iter().enumerate() {
                let at = |target: usize| starts[target] as usize + 6 * pair;
                sums[0] = add_taps(sums[0], line, [at(0), at(2)], &weights[0]);
                sums[1] = add_taps(sums[1], line, [at(1), at(3)], &weights[1]);
            }
            let unit = _mm256_set1_ps(UNIT);
            let even = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), unit);
            let odd = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), unit);
            // Red and green of pixels 0 and 1 in the first half, of 2 and 3 in the second; likewise blue.
            let red_green = _mm256_castps_pd(_mm256_unpacklo_ps(even, odd));
            let blue = _mm256_castps_pd(_mm256_unpackhi_ps(even, odd));
            let values = [
                _mm256_permute4x64_pd::<0b10_00>(red_green),
                _mm256_permute4x64_pd::<0b11_01>(red_green),
                _mm256_permute4x64_pd::<0b10_00>(blue),
            ];
            for (plane, values) in out.iter_mut().zip(values) {
                let four = _mm256_castps256_ps128(_mm256_castpd_ps(values));
                store(&mut plane[GROUP * group..], four);
            }
        }
    }
}

/// Stores four values, or as many as there is room for.
#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [f32], values: __m128) {
    if let Some(four) = to.first_chunk_mut::<GROUP>() {
        // SAFETY: room for four floats.
        unsafe { _mm_storeu_ps(four.as_mut_ptr(), values) };
        return;
    }
    let mut four = [0.0; GROUP];
    // SAFETY: room for four floats.
    unsafe { _mm_storeu_ps(four.as_mut_ptr(), values) };
    for (to, value) in to.iter_mut().zip(four) {
        *to = value;
    }
}

/// Adds two taps of two target pixels, weighed: `[red, green, blue, -]` of one, then of the other.
#[inline]
#[target_feature(enable = "avx2")]
fn add_taps(sum: __m256i, line: &[i16], [first, second]: [usize; 2], weights: &[u32; WORDS]) -> __m256i {
    let (first, second) = (&line[first..][..WORDS], &line[second..][..WORDS]);
    // SAFETY: the slices have the 16 bytes, and the array the 32, that are read.
    let (first, second, weights) = unsafe {
        (
            _mm_loadu_si128(first.as_ptr().cast()),
            _mm_loadu_si128(second.as_ptr().cast()),
            _mm256_loadu_si256(weights.as_ptr().cast()),
        )
    };
    // Words 0 to 2 are a pixel and 3 to 5 the next one.
    let paired = _mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1);
    let words = _mm256_shuffle_epi8(_mm256_set_m128i(second, first), _mm256_broadcastsi128_si256(paired));
    _mm256_add_epi32(sum, _mm256_madd_epi16(words, weights))
}

/// A target row before its columns are resized, interleaved as the part is.
///
/// # Safety
/// The processor has AVX2; the rows from `start` on that have weights lie in the part, which is [served](serves);
/// `out` has at least as many words as a row bytes.
#[target_feature(enable = "avx2")]
unsafe fn blend_rows(part: &Part<'_>, start: usize, weights: &[i16], out: &mut [i16]) {
    let row = 3 * part.width;
    for block in 0..row.div_ceil(BLOCK) {
        // The last block overlaps the one before it.
        let at = (BLOCK * block).min(row - BLOCK);
        let source = part.bytes[start * part.stride + at..].as_ptr();
        // SAFETY: 32 bytes of a row lie in the part, for each of the rows that have weights.
        let bytes = |k: usize| unsafe { _mm256_loadu_si256(source.add(k * part.stride).cast()) };
        let mut sums = [_mm256_set1_epi32(HALF_UNIT); 4];
        let (pairs, last) = weights.as_chunks::<2>();
        for (k, weights) in pairs.iter().enumerate() {
            add_rows(&mut sums, bytes(2 * k), bytes(2 * k + 1), weights);
        }
        if !last.is_empty() {
            add_rows(&mut sums, bytes(weights.len() - 1), _mm256_setzero_si256(), last);
        }
        // The first and the second half of each 16 bytes. Not by `map`, which is compiled without these instructions and
        // then not inlined.
        let level = |sum: usize| _mm256_srai_epi32::<{ SHIFT as i32 }>(sums[sum]);
        let first = _mm256_packs_epi32(level(0), level(1));
        let second = _mm256_packs_epi32(level(2), level(3));
        let out = &mut out[at..at + BLOCK];
        // SAFETY: the slice has the 64 bytes that are written.
        unsafe {
            let to = out.as_mut_ptr().cast::<__m256i>();
            _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(first, second));
            _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x31>(first, second));
        }
    }
}

/// Adds two rows of bytes, weighed. Each 16 bytes are spread over the four sums, four bytes each.
#[inline]
#[target_feature(enable = "avx2")]
fn add_rows(sums: &mut [__m256i; 4], a: __m256i, b: __m256i, weights: &[i16]) {
    let (weights, zero) = (_mm256_set1_epi32(word(weights).cast_signed()), _mm256_setzero_si256());
    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let words = [
        _mm256_unpacklo_epi8(low, zero),
        _mm256_unpackhi_epi8(low, zero),
        _mm256_unpacklo_epi8(high, zero),
        _mm256_unpackhi_epi8(high, zero),
    ];
    for (sum, words) in sums.iter_mut().zip(words) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, weights));
    }
}
