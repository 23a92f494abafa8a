//! Vectors of `f32`: one trait, implemented once an instruction set, so that each kernel is written once.
//!
//! A value of a type that implements [`Simd`] proves that the processor has its instructions: the only
//! way to obtain one is [`dispatch`], which asks the processor.
//!
//! The instructions inline only into functions compiled for them. A kernel is therefore a [`Task`]
//! whose `run` is `#[inline(always)]`, as is all that it calls, entered through [`Simd::call`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod math;
mod portable;

use std::ops::Range;

use crate::gemm::product::Product;
use crate::{Bf16, Isa};

/// Methods of [`Simd`] whose body is a safe use of intrinsics, given the instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! register_operations {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            // SAFETY: `self` proves that the processor has the instructions; only registers are touched.
            unsafe { $body }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
use register_operations;

/// Work that is generic over the instruction set.
pub(crate) trait Task {
    /// What the work gives back.
    type Output;
    /// Does the work with the instructions of `s`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The operations on vectors of [`Simd::LANES`] numbers.
///
/// Loads and stores on slices take up to `LANES` elements from their start: a shorter slice fills the
/// remaining lanes of a load with zeros, and receives only its own length from a store.
///
/// A *word* is 32 bits of packed operand of a matrix product: an `f32`, or two bf16 with the one of the
/// lower index in the lower half. Words of two are for processors that multiply them; their operations have no meaning
/// elsewhere, and nothing calls them there.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of `f32`.
    type V: Copy;
    /// A vector of words.
    type W: Copy;
    /// Products of bf16, in the words that the processor multiplies fastest.
    type Bf16Product: Product;
    /// Numbers in a vector.
    const LANES: usize;
    /// Rows in a register tile of a matrix product, 12 or 6; it is two vectors wide.
    const MR: usize;
    /// Words of packed A that are to stay in the second-level cache meanwhile.
    const CACHED_WORDS: usize;
    /// Columns in a register tile.
    const NR: usize = 2 * Self::LANES;

    /// Runs `task` inside a function compiled for these instructions; never inlined.
    fn call<T: Task>(self, task: T) -> T::Output;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, src: &[f32]) -> Self::V;
    fn store(self, v: Self::V, dst: &mut [f32]);
    fn load_bf16(self, src: &[Bf16]) -> Self::V;
    /// Stores rounded to the nearest bf16, ties to even.
    fn store_bf16(self, v: Self::V, dst: &mut [Bf16]);
    /// Rounds to the nearest bf16, ties to even, and widens again.
    fn round_to_bf16(self, v: Self::V) -> Self::V;

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// The larger of both; `b` if either is a NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of both; `b` if either is a NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `1 / a` within 2 units in the last place, for normal `a`.
    fn recip(self, a: Self::V) -> Self::V;
    /// To the nearest integer.
    fn round(self, a: Self::V) -> Self::V;
    /// `a * 2^n`, for integral `n` in [-126, 127].
    fn scale_by_power_of_two(self, a: Self::V, n: Self::V) -> Self::V;
    /// `if x < 0 { a } else { b }`, lane by lane.
    fn select_negative(self, x: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// Keeps the first `n` lanes and sets the others to `fill`.
    fn keep_first(self, v: Self::V, n: usize, fill: f32) -> Self::V;
    /// The sum over all lanes, in an order that depends on `LANES` alone.
    fn sum(self, v: Self::V) -> f32;
    /// The largest of all lanes.
    fn largest(self, v: Self::V) -> f32;

    /// Words of two bf16: `lo` rounded in the lower halves, `hi` in the upper.
    fn pair(self, _lo: Self::V, _hi: Self::V) -> Self::W {
        unreachable!("no words of two bf16 here")
    }
    /// [`Simd::pair`] of numbers that are bf16 already.
    fn pair_bf16(self, _lo: &[Bf16], _hi: &[Bf16]) -> Self::W {
        unreachable!("no words of two bf16 here")
    }
    fn store_words(self, w: Self::W, dst: &mut [u32]);
    /// The bits of `f32` as words.
    fn floats_as_words(self, v: Self::V) -> Self::W;
    /// Words as the `f32` whose bits they are.
    fn words_as_floats(self, w: Self::W) -> Self::V;
    /// `acc + lo(a) * lo(b) + hi(a) * hi(b)`, lane by lane, on words of two bf16.
    fn dot_bf16(self, _acc: Self::V, _a: Self::W, _b: Self::W) -> Self::V {
        unreachable!("no words of two bf16 here")
    }
    /// Transposes a block of `LANES` x `LANES` words, whose row `i` starts at `src[i * src_stride]`, and
    /// writes its first `rows` (at most `LANES`) rows, row `j` at `dst[j * dst_stride]`.
    ///
    /// # Panics
    /// If a row reaches past the end of its slice.
    fn transpose(self, src: &[u32], src_stride: usize, dst: &mut [u32], dst_stride: usize, rows: usize);

    /// # Safety
    /// `p` is valid for reading `LANES` words.
    unsafe fn load_words(self, p: *const u32) -> Self::W;
    /// # Safety
    /// `p` is valid for reading one word.
    unsafe fn splat_word(self, p: *const u32) -> Self::W;
    /// # Safety
    /// `p` is valid for reading `LANES` numbers.
    unsafe fn load_ptr(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is valid for writing `LANES` numbers.
    unsafe fn store_ptr(self, v: Self::V, p: *mut f32);
    /// Asks for the cache line of `p`, which may point anywhere.
    fn prefetch<T>(self, _p: *const T) {}
    /// [`Simd::prefetch`] into the second-level cache alone.
    fn prefetch_l2<T>(self, _p: *const T) {}
}

/// Calls `f` with the ranges of the whole vectors in `len` elements, and then with what is left. The compiler knows the
/// length of a whole vector, so that a load or store of it needs no mask.
///
/// A closure given to this or to the functions below is written with `#[inline(always)]`: it is called at two places,
/// and where the compiler does not inline it, each vector instruction in it becomes the call of a function.
#[inline(always)]
pub(crate) fn for_vectors<S: Simd>(_s: S, len: usize, mut f: impl FnMut(Range<usize>)) {
    let whole = len - len % S::LANES;
    for at in (0..whole).step_by(S::LANES) {
        f(at..at + S::LANES);
    }
    if whole < len {
        f(whole..len);
    }
}

/// Folds the vectors in `len` elements, with four running results that `join` brings together: one alone would wait
/// for each addition to end before the next can start.
#[inline(always)]
pub(crate) fn fold_vectors<S: Simd>(
    s: S,
    len: usize,
    start: f32,
    mut f: impl FnMut(S::V, Range<usize>) -> S::V,
    join: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    const RUNNING: usize = 4;
    let mut running = [s.splat(start); RUNNING];
    let stride = RUNNING * S::LANES;
    let together = len - len % stride;
    for at in (0..together).step_by(stride) {
        for (i, result) in running.iter_mut().enumerate() {
            let from = at + i * S::LANES;
            *result = f(*result, from..from + S::LANES);
        }
    }
    for (i, at) in (together..len).step_by(S::LANES).enumerate() {
        running[i] = f(running[i], at..len.min(at + S::LANES));
    }
    let [a, b, c, d] = running;
    join(join(a, b), join(c, d))
}

/// [`fold_vectors`] by addition, from zero.
#[inline(always)]
pub(crate) fn sum_vectors<S: Simd>(s: S, len: usize, f: impl FnMut(S::V, Range<usize>) -> S::V) -> S::V {
    fold_vectors(
        s,
        len,
        0.0,
        f,
        #[inline(always)]
        |a, b| s.add(a, b),
    )
}

/// Hands the instruction set to `task`, which enters it with [`Simd::call`].
///
/// # Panics
/// For [`Isa::Plain`], which has no vectors, and for an instruction set that the processor lacks.
pub(crate) fn dispatch<T: Task>(isa: Isa, task: T) -> T::Output {
    assert!(isa.is_supported(), "this processor has no {}", isa.name());
    match isa {
        Isa::Portable => task.run(portable::Portable),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the assertion above found its instructions.
        Isa::Avx2 => task.run(unsafe { avx2::Avx2::new() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the assertion above found its instructions.
        Isa::Avx512 => task.run(unsafe { avx512::Avx512::<avx512::Widened>::new() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the assertion above found its instructions.
        Isa::Avx512Bf16 => task.run(unsafe { avx512::Avx512::<avx512::Native>::new() }),
        _ => panic!("{} has no vectors", isa.name()),
    }
}

/// [`dispatch`] of a task that is entered at once.
pub(crate) fn run<T: Task>(isa: Isa, task: T) -> T::Output {
    struct Enter<T>(T);
    impl<T: Task> Task for Enter<T> {
        type Output = T::Output;
        fn run<S: Simd>(self, s: S) -> T::Output {
            s.call(self.0)
        }
    }
    dispatch(isa, Enter(task))
}

/// Whether the block that [`Simd::transpose`] reads and the rows that it writes lie inside their slices.
#[inline(always)]
fn transpose_fits(
    lanes: usize,
    src: &[u32],
    src_stride: usize,
    dst: &[u32],
    dst_stride: usize,
    rows: usize,
) -> bool {
    (lanes - 1) * src_stride + lanes <= src.len()
        && rows <= lanes
        && (rows == 0 || (rows - 1) * dst_stride + lanes <= dst.len())
}
