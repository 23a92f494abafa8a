//! AVX2 and FMA vectors of 8.

use std::arch::x86_64::*;

use super::{Simd, Task, register_operations};
use crate::Bf16;
use crate::gemm::product::WidenedBf16Product;

const LANES: usize = 8;

/// The proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor has AVX2 and FMA.
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn call_with_features<T: Task>(s: Avx2, task: T) -> T::Output {
    task.run(s)
}

/// All bits set in the first `n` lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: AVX2 by the caller's promise; only registers are touched.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n.min(LANES) as i32), lane)
    }
}

/// The `n` numbers at `src`, fewer than all lanes, and zeros after them, piece by piece: products whose operand is packed
/// six numbers at a time take 7% longer with masked loads on an AMD EPYC of family 25.
///
/// # Safety
/// The processor has AVX2, and `n` numbers can be read at `src`.
#[inline(always)]
unsafe fn load_first(src: *const f32, n: usize) -> __m256 {
    // SAFETY: AVX2 by the caller's promise; the pieces of 4, 2 and 1 numbers that `n` consists of follow one another.
    unsafe {
        let (mut last, mut at) = (_mm_setzero_ps(), n);
        if n & 1 != 0 {
            at -= 1;
            last = _mm_load_ss(src.add(at));
        }
        if n & 2 != 0 {
            at -= 2;
            let pair = _mm_castsi128_ps(_mm_loadl_epi64(src.add(at).cast()));
            last = _mm_movelh_ps(pair, last);
        }
        if n & 4 != 0 {
            _mm256_set_m128(last, _mm_loadu_ps(src))
        } else {
            _mm256_set_m128(_mm_setzero_ps(), last)
        }
    }
}

/// Stores the first `n` lanes, fewer than all, piece by piece: a masked store takes tens of cycles on
/// AMD's processors.
///
/// # Safety
/// The processor has AVX2, and `n` words can be written at `dst`.
#[inline(always)]
unsafe fn store_first(w: __m256i, dst: *mut u32, n: usize) {
    // SAFETY: AVX2 by the caller's promise; the pieces of 4, 2 and 1 words that `n` consists of follow one another.
    unsafe {
        let (mut piece, mut dst) = (_mm256_castsi256_si128(w), dst);
        if n & 4 != 0 {
            _mm_storeu_si128(dst.cast(), piece);
            piece = _mm256_extracti128_si256::<1>(w);
            dst = dst.add(4);
        }
        if n & 2 != 0 {
            _mm_storel_epi64(dst.cast(), piece);
            piece = _mm_unpackhi_epi64(piece, piece);
            dst = dst.add(2);
        }
        if n & 1 != 0 {
            dst.write_unaligned(_mm_cvtsi128_si32(piece).cast_unsigned());
        }
    }
}

/// Rounds to bf16, in the lower halves of the words.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn narrow(v: __m256) -> __m256i {
    // SAFETY: AVX2 by the caller's promise; only registers are touched.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let upper = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
        let bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, bias));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
        _mm256_blendv_epi8(rounded, quiet, nan)
    }
}

/// Up to 8 bf16 in the lower halves of the words, zeros after the end of `src`.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn load_halves(src: &[Bf16]) -> __m256i {
    let mut copy = [Bf16::ZERO; LANES];
    let p = if src.len() >= LANES {
        src.as_ptr()
    } else {
        copy[..src.len()].copy_from_slice(src);
        copy.as_ptr()
    };
    // SAFETY: AVX2 by the caller's promise; `p` points at 8 bf16, which are transparent u16.
    unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())) }
}

impl Simd for Avx2 {
    type V = __m256;
    type W = __m256i;
    type Bf16Product = WidenedBf16Product;
    const LANES: usize = LANES;
    const MR: usize = 6;
    // 256 KiB: half the second-level cache of AMD's processors without AVX-512.
    const CACHED_WORDS: usize = 64 * 1024;

    #[inline(always)]
    fn call<T: Task>(self, task: T) -> T::Output {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { call_with_features(self, task) }
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m256 {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `src` are read.
        unsafe {
            if src.len() >= LANES {
                _mm256_loadu_ps(src.as_ptr())
            } else {
                load_first(src.as_ptr(), src.len())
            }
        }
    }
    #[inline(always)]
    fn store(self, v: __m256, dst: &mut [f32]) {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `dst` are written.
        unsafe {
            if dst.len() >= LANES {
                _mm256_storeu_ps(dst.as_mut_ptr(), v);
            } else {
                store_first(_mm256_castps_si256(v), dst.as_mut_ptr().cast(), dst.len());
            }
        }
    }
    #[inline(always)]
    fn load_bf16(self, src: &[Bf16]) -> __m256 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(load_halves(src))) }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m256, dst: &mut [Bf16]) {
        // SAFETY: `self` proves the instructions; 8 bf16, which are transparent u16, are written to `dst`
        // if it has that length, else to a copy.
        unsafe {
            let words = narrow(v);
            let pairs = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(words, words));
            let halves = _mm256_castsi256_si128(pairs);
            if dst.len() >= LANES {
                _mm_storeu_si128(dst.as_mut_ptr().cast(), halves);
            } else {
                let mut copy = [Bf16::ZERO; LANES];
                _mm_storeu_si128(copy.as_mut_ptr().cast(), halves);
                dst.copy_from_slice(&copy[..dst.len()]);
            }
        }
    }
    #[inline(always)]
    fn store_words(self, w: __m256i, dst: &mut [u32]) {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `dst` are written.
        unsafe {
            if dst.len() >= LANES {
                _mm256_storeu_si256(dst.as_mut_ptr().cast(), w);
            } else {
                store_first(w, dst.as_mut_ptr(), dst.len());
            }
        }
    }

    register_operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        recip(a: __m256) -> __m256 = _mm256_div_ps(_mm256_set1_ps(1.0), a);
        round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        scale_by_power_of_two(a: __m256, n: __m256) -> __m256 = {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        };
        select_negative(x: __m256, a: __m256, b: __m256) -> __m256 =
            _mm256_blendv_ps(b, a, _mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_setzero_ps()));
        keep_first(v: __m256, n: usize, fill: f32) -> __m256 =
            _mm256_blendv_ps(_mm256_set1_ps(fill), v, _mm256_castsi256_ps(first(n)));
        sum(v: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        largest(v: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        round_to_bf16(v: __m256) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(narrow(v)));
        floats_as_words(v: __m256) -> __m256i = _mm256_castps_si256(v);
        words_as_floats(w: __m256i) -> __m256 = _mm256_castsi256_ps(w);
    }

    #[inline(always)]
    fn transpose(self, src: &[u32], src_stride: usize, dst: &mut [u32], dst_stride: usize, rows: usize) {
        assert!(super::transpose_fits(LANES, src, src_stride, dst, dst_stride, rows));
        // SAFETY: `self` proves the instructions; by the assertion each of the 8 rows read and of the
        // `rows` rows written lies inside its slice.
        unsafe {
            let mut block = [_mm256_setzero_si256(); LANES];
            for (i, row) in block.iter_mut().enumerate() {
                *row = _mm256_loadu_si256(src.as_ptr().add(i * src_stride).cast());
            }
            let block = transposed(block);
            for (j, row) in block.iter().enumerate().take(rows) {
                _mm256_storeu_si256(dst.as_mut_ptr().add(j * dst_stride).cast(), *row);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u32) -> __m256i {
        // SAFETY: `self` proves the instructions; the caller promises 8 readable words.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(self, p: *const u32) -> __m256i {
        // SAFETY: `self` proves the instructions; the caller promises a readable word.
        unsafe { _mm256_set1_epi32(p.read().cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller promises 8 readable numbers.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: __m256, p: *mut f32) {
        // SAFETY: `self` proves the instructions; the caller promises 8 writable numbers.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn prefetch<T>(self, p: *const T) {
        // SAFETY: `self` proves the instructions; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_l2<T>(self, p: *const T) {
        // SAFETY: `self` proves the instructions; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
}

/// Transposes a block of 8 x 8 words: first inside groups of 4 x 4, then the groups.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn transposed(rows: [__m256i; LANES]) -> [__m256i; LANES] {
    // SAFETY: AVX2 by the caller's promise; only registers are touched.
    unsafe {
        let mut quads = rows;
        for quad in quads.chunks_exact_mut(4) {
            let [a, b, c, d] = [quad[0], quad[1], quad[2], quad[3]];
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            quad[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
            quad[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
            quad[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
            quad[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
        }
        let mut out = rows;
        for c in 0..4 {
            out[c] = _mm256_permute2x128_si256::<0x20>(quads[c], quads[4 + c]);
            out[4 + c] = _mm256_permute2x128_si256::<0x31>(quads[c], quads[4 + c]);
        }
        out
    }
}
