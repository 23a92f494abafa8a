//! AVX-512 vectors of 16, with and without instructions for products of bf16.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::{Simd, Task, register_operations};
use crate::Bf16;
use crate::gemm::product::{Bf16Product, Product, WidenedBf16Product};

const LANES: usize = 16;

/// The part of the instruction set that [`Widened`] and [`Native`] differ in.
pub(crate) trait Bf16Unit: Copy + Send + Sync + 'static {
    /// How bf16 are multiplied.
    type Product: Product;
    /// # Safety
    /// The processor has the instructions of `Self`.
    unsafe fn dot(_acc: __m512, _a: __m512i, _b: __m512i) -> __m512 {
        unreachable!("no words of two bf16 here")
    }
    /// Rounds to 16 bf16.
    ///
    /// # Safety
    /// The processor has the instructions of `Self`.
    unsafe fn narrow(v: __m512) -> __m256i;
    /// # Safety
    /// The processor has the instructions of `Self`.
    unsafe fn call<T: Task>(s: Avx512<Self>, task: T) -> T::Output;
}

/// Bf16 products by AVX-512 F, as products of `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Widened;

/// Bf16 products by AVX512_BF16. Its instructions take subnormal numbers for zero.
#[derive(Clone, Copy)]
pub(crate) struct Native;

impl Bf16Unit for Widened {
    type Product = WidenedBf16Product;

    #[inline(always)]
    unsafe fn narrow(v: __m512) -> __m256i {
        // SAFETY: AVX-512 F by the caller's promise; only registers are touched.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let upper = _mm512_srli_epi32::<16>(bits);
            let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
            let bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, bias));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
            _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet))
        }
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn call<T: Task>(s: Avx512<Self>, task: T) -> T::Output {
        task.run(s)
    }
}

impl Bf16Unit for Native {
    type Product = Bf16Product;

    #[inline(always)]
    unsafe fn dot(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: AVX512_BF16 by the caller's promise; the transmutes only rename 64 bytes of bf16.
        unsafe {
            let pairs = |w| std::mem::transmute::<__m512i, __m512bh>(w);
            _mm512_dpbf16_ps(acc, pairs(a), pairs(b))
        }
    }

    #[inline(always)]
    unsafe fn narrow(v: __m512) -> __m256i {
        // SAFETY: AVX512_BF16 by the caller's promise; the transmute only renames 32 bytes of bf16.
        unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
    unsafe fn call<T: Task>(s: Avx512<Self>, task: T) -> T::Output {
        task.run(s)
    }
}

/// The proof that the processor has AVX-512 F, BW, DQ, VL and the instructions of `B`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<B>(PhantomData<B>);

impl<B> Avx512<B> {
    /// # Safety
    /// The processor has the instructions that the value stands for.
    pub(super) unsafe fn new() -> Self {
        Self(PhantomData)
    }
}

/// The first `n` lanes, all of them from 16 on.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    if n >= LANES { !0 } else { (1 << n) - 1 }
}

impl<B: Bf16Unit> Simd for Avx512<B> {
    type V = __m512;
    type W = __m512i;
    type Bf16Product = B::Product;
    const LANES: usize = LANES;
    const MR: usize = 12;
    // 512 KiB: processors with AVX-512 have 1 MiB or more.
    const CACHED_WORDS: usize = 128 * 1024;

    #[inline(always)]
    fn call<T: Task>(self, task: T) -> T::Output {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { B::call(self, task) }
    }

    #[inline(always)]
    fn load(self, src: &[f32]) -> __m512 {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `src` are read.
        unsafe { _mm512_maskz_loadu_ps(first(src.len()), src.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, dst: &mut [f32]) {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `dst` are written.
        unsafe { _mm512_mask_storeu_ps(dst.as_mut_ptr(), first(dst.len()), v) }
    }
    #[inline(always)]
    fn load_bf16(self, src: &[Bf16]) -> __m512 {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `src` are read, and
        // Bf16 is a transparent u16.
        unsafe {
            let halves = _mm256_maskz_loadu_epi16(first(src.len()), src.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }
    #[inline(always)]
    fn store_bf16(self, v: __m512, dst: &mut [Bf16]) {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `dst` are written, and
        // Bf16 is a transparent u16.
        unsafe { _mm256_mask_storeu_epi16(dst.as_mut_ptr().cast(), first(dst.len()), B::narrow(v)) }
    }
    #[inline(always)]
    fn store_words(self, w: __m512i, dst: &mut [u32]) {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside `dst` are written.
        unsafe { _mm512_mask_storeu_epi32(dst.as_mut_ptr().cast(), first(dst.len()), w) }
    }
    #[inline(always)]
    fn pair_bf16(self, lo: &[Bf16], hi: &[Bf16]) -> __m512i {
        // SAFETY: `self` proves the instructions; only the lanes that lie inside the slices are read, and
        // Bf16 is a transparent u16.
        unsafe {
            let lo = _mm256_maskz_loadu_epi16(first(lo.len()), lo.as_ptr().cast());
            let hi = _mm256_maskz_loadu_epi16(first(hi.len()), hi.as_ptr().cast());
            let upper = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(hi));
            _mm512_or_si512(_mm512_cvtepu16_epi32(lo), upper)
        }
    }

    register_operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        // An estimate to 14 bits and one step of Newton's method.
        recip(a: __m512) -> __m512 = {
            let estimate = _mm512_rcp14_ps(a);
            _mm512_mul_ps(estimate, _mm512_fnmadd_ps(a, estimate, _mm512_set1_ps(2.0)))
        };
        round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        scale_by_power_of_two(a: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(a, n);
        select_negative(x: __m512, a: __m512, b: __m512) -> __m512 =
            _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps()), a);
        keep_first(v: __m512, n: usize, fill: f32) -> __m512 =
            _mm512_mask_mov_ps(_mm512_set1_ps(fill), first(n), v);
        sum(v: __m512) -> f32 = _mm512_reduce_add_ps(v);
        largest(v: __m512) -> f32 = _mm512_reduce_max_ps(v);
        round_to_bf16(v: __m512) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(B::narrow(v))));
        pair(lo: __m512, hi: __m512) -> __m512i = {
            let upper = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(B::narrow(hi)));
            _mm512_or_si512(_mm512_cvtepu16_epi32(B::narrow(lo)), upper)
        };
        floats_as_words(v: __m512) -> __m512i = _mm512_castps_si512(v);
        words_as_floats(w: __m512i) -> __m512 = _mm512_castsi512_ps(w);
        dot_bf16(acc: __m512, a: __m512i, b: __m512i) -> __m512 = B::dot(acc, a, b);
    }

    #[inline(always)]
    fn transpose(self, src: &[u32], src_stride: usize, dst: &mut [u32], dst_stride: usize, rows: usize) {
        assert!(super::transpose_fits(LANES, src, src_stride, dst, dst_stride, rows));
        // SAFETY: `self` proves the instructions; by the assertion each of the 16 rows read and of the
        // `rows` rows written lies inside its slice.
        unsafe {
            let mut block = [_mm512_setzero_si512(); LANES];
            for (i, row) in block.iter_mut().enumerate() {
                *row = _mm512_loadu_si512(src.as_ptr().add(i * src_stride).cast());
            }
            let block = transposed(block);
            for (j, row) in block.iter().enumerate().take(rows) {
                _mm512_storeu_si512(dst.as_mut_ptr().add(j * dst_stride).cast(), *row);
            }
        }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u32) -> __m512i {
        // SAFETY: `self` proves the instructions; the caller promises 16 readable words.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(self, p: *const u32) -> __m512i {
        // SAFETY: `self` proves the instructions; the caller promises a readable word.
        unsafe { _mm512_set1_epi32(p.read().cast_signed()) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller promises 16 readable numbers.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: __m512, p: *mut f32) {
        // SAFETY: `self` proves the instructions; the caller promises 16 writable numbers.
        unsafe { _mm512_storeu_ps(p, v) }
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

/// Transposes a block of 16 x 16 words: first inside groups of 4 x 4, then the groups.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
unsafe fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    // SAFETY: AVX-512 F by the caller's promise; only registers are touched.
    unsafe {
        let mut quads = rows;
        for quad in quads.chunks_exact_mut(4) {
            let [a, b, c, d] = [quad[0], quad[1], quad[2], quad[3]];
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            quad[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
            quad[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
            quad[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
            quad[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
        }
        // quads[4 * g + c] holds, in its 128-bit lane l, column 4 * l + c of the rows 4 * g .. 4 * g + 4.
        let mut out = rows;
        for c in 0..4 {
            const EVEN: i32 = 0b10_00_10_00;
            const ODD: i32 = 0b11_01_11_01;
            let upper_even = _mm512_shuffle_i32x4::<EVEN>(quads[c], quads[4 + c]);
            let upper_odd = _mm512_shuffle_i32x4::<ODD>(quads[c], quads[4 + c]);
            let lower_even = _mm512_shuffle_i32x4::<EVEN>(quads[8 + c], quads[12 + c]);
            let lower_odd = _mm512_shuffle_i32x4::<ODD>(quads[8 + c], quads[12 + c]);
            out[c] = _mm512_shuffle_i32x4::<EVEN>(upper_even, lower_even);
            out[4 + c] = _mm512_shuffle_i32x4::<EVEN>(upper_odd, lower_odd);
            out[8 + c] = _mm512_shuffle_i32x4::<ODD>(upper_even, lower_even);
            out[12 + c] = _mm512_shuffle_i32x4::<ODD>(upper_odd, lower_odd);
        }
        out
    }
}
