//! Vectors as arrays of four, left to the compiler: one register of NEON or SSE2.

use super::{Simd, Task};
use crate::Bf16;
use crate::gemm::product::WidenedBf16Product;

/// No instructions beyond those that the crate is compiled for.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const LANES: usize = 4;

/// `mul_add` is a call of a library function where the target has no instruction for it.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

#[inline(always)]
fn map<T: Copy + Default, U: Copy + Default>(a: [T; LANES], f: impl Fn(T) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for (o, a) in out.iter_mut().zip(a) {
        *o = f(a);
    }
    out
}

#[inline(always)]
fn zip<T: Copy, U: Copy + Default>(a: [T; LANES], b: [T; LANES], f: impl Fn(T, T) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
        *o = f(a, b);
    }
    out
}

/// Up to `LANES` elements of `src`, mapped; zeros after its end.
#[inline(always)]
fn gather<T: Copy, U: Copy + Default>(src: &[T], f: impl Fn(T) -> U) -> [U; LANES] {
    let mut out = [U::default(); LANES];
    for (o, x) in out.iter_mut().zip(src) {
        *o = f(*x);
    }
    out
}

impl Simd for Portable {
    type V = [f32; LANES];
    type W = [u32; LANES];
    type Bf16Product = WidenedBf16Product;
    const LANES: usize = LANES;
    const MR: usize = 6;
    // 256 KiB: processors of telephones and small boards have little more.
    const CACHED_WORDS: usize = 64 * 1024;

    #[inline(never)]
    fn call<T: Task>(self, task: T) -> T::Output {
        task.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, src: &[f32]) -> Self::V {
        gather(src, |x| x)
    }
    #[inline(always)]
    fn store(self, v: Self::V, dst: &mut [f32]) {
        for (d, x) in dst.iter_mut().zip(v) {
            *d = x;
        }
    }
    #[inline(always)]
    fn load_bf16(self, src: &[Bf16]) -> Self::V {
        gather(src, Bf16::to_f32)
    }
    #[inline(always)]
    fn store_bf16(self, v: Self::V, dst: &mut [Bf16]) {
        for (d, x) in dst.iter_mut().zip(v) {
            *d = Bf16::from_f32(x);
        }
    }
    #[inline(always)]
    fn round_to_bf16(self, v: Self::V) -> Self::V {
        map(v, |x| Bf16::from_f32(x).to_f32())
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn abs(self, a: Self::V) -> Self::V {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let mut out = c;
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = if FUSED { a.mul_add(b, *o) } else { a * b + *o };
        }
        out
    }
    #[inline(always)]
    fn recip(self, a: Self::V) -> Self::V {
        map(a, |a| 1.0 / a)
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        // Adding 1.5 * 2^23 leaves no bits for a fraction; exact for |a| < 2^22.
        const SHIFT: f32 = 12_582_912.0;
        map(a, |a| (a + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn scale_by_power_of_two(self, a: Self::V, n: Self::V) -> Self::V {
        zip(a, n, |a, n| a * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn select_negative(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V {
        let mut out = b;
        for ((o, x), a) in out.iter_mut().zip(x).zip(a) {
            if x < 0.0 {
                *o = a;
            }
        }
        out
    }
    #[inline(always)]
    fn keep_first(self, mut v: Self::V, n: usize, fill: f32) -> Self::V {
        for x in v.iter_mut().skip(n) {
            *x = fill;
        }
        v
    }
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn store_words(self, w: Self::W, dst: &mut [u32]) {
        for (d, x) in dst.iter_mut().zip(w) {
            *d = x;
        }
    }
    #[inline(always)]
    fn floats_as_words(self, v: Self::V) -> Self::W {
        map(v, f32::to_bits)
    }
    #[inline(always)]
    fn words_as_floats(self, w: Self::W) -> Self::V {
        map(w, f32::from_bits)
    }
    #[inline(always)]
    fn transpose(self, src: &[u32], src_stride: usize, dst: &mut [u32], dst_stride: usize, rows: usize) {
        assert!(super::transpose_fits(LANES, src, src_stride, dst, dst_stride, rows));
        for j in 0..rows {
            for i in 0..LANES {
                dst[j * dst_stride + i] = src[i * src_stride + j];
            }
        }
    }

    #[inline(always)]
    unsafe fn load_words(self, p: *const u32) -> Self::W {
        // SAFETY: the caller promises LANES readable words.
        unsafe { p.cast::<Self::W>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat_word(self, p: *const u32) -> Self::W {
        // SAFETY: the caller promises one readable word.
        [unsafe { p.read() }; LANES]
    }
    #[inline(always)]
    unsafe fn load_ptr(self, p: *const f32) -> Self::V {
        // SAFETY: the caller promises LANES readable numbers.
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: Self::V, p: *mut f32) {
        // SAFETY: the caller promises LANES writable numbers.
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
}
