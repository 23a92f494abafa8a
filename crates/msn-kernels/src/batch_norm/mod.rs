//! Batch normalisation (Ioffe and Szegedy 2015) of groups of rows, each by its own statistics:
//! `y = gamma (x - mean) / sqrt(var + eps) + beta`, with the mean and the biased variance of each column.

mod plain;
mod vectors;

use crate::element::SharedMut;
use crate::isa::{self, Isa};
use crate::parallel;
use crate::shape;
use crate::simd::{self, Simd, Task};

/// The rows and columns of a matrix, the rows in groups that are normalised apart.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// The number of consecutive rows of each group, at least 1; N is their sum.
    pub groups: &'a [usize],
    /// The number of columns C, at least 1.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
}

fn check(what: &str, found: usize, shape: &[usize]) {
    shape::check("batch_norm", what, found, shape);
}

impl BatchNorm<'_> {
    /// Groups G and rows N.
    fn shape(&self) -> [usize; 2] {
        assert!(self.channels > 0, "batch_norm: no columns");
        assert!(!self.groups.contains(&0), "batch_norm: a group has no row");
        [self.groups.len(), shape::total("batch_norm: rows", self.groups)]
    }

    /// `y = batch_norm(x)`.
    ///
    /// `x`, `y`: `[N, C]`; `gamma`, `beta`: `[C]`; `statistics`: `[G, 2, C]`, receives the mean and the biased variance
    /// of each group.
    ///
    /// # Panics
    /// If a slice does not have the length of its shape, there is no column, or a group is empty.
    pub fn forward(&self, x: &[f32], gamma: &[f32], beta: &[f32], y: &mut [f32], statistics: &mut [f32]) {
        let ([groups, n], c) = (self.shape(), self.channels);
        check("x", x.len(), &[n, c]);
        check("gamma", gamma.len(), &[c]);
        check("beta", beta.len(), &[c]);
        check("y", y.len(), &[n, c]);
        check("the statistics", statistics.len(), &[groups, 2, c]);
        match isa::current() {
            Isa::Plain => plain::forward(self, x, gamma, beta, y, statistics),
            isa => {
                let (y, statistics) = (SharedMut::new(y), SharedMut::new(statistics));
                simd::dispatch(
                    isa,
                    vectors::Forward { norm: self, x, gamma, beta, y, statistics }.by_strips(c),
                );
            }
        }
    }

    /// The gradients of [`BatchNorm::forward`], all overwritten, from `dy`, that of its result.
    ///
    /// `x`, `dy`, `dx`: `[N, C]`; `gamma`, `dgamma`, `dbeta`: `[C]`; `statistics`: `[G, 2, C]`, those of the forward pass.
    ///
    /// # Panics
    /// As [`BatchNorm::forward`].
    #[expect(clippy::too_many_arguments, reason = "the operands of one formula")]
    pub fn backward(
        &self,
        x: &[f32],
        gamma: &[f32],
        statistics: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let ([groups, n], c) = (self.shape(), self.channels);
        check("x", x.len(), &[n, c]);
        check("gamma", gamma.len(), &[c]);
        check("the statistics", statistics.len(), &[groups, 2, c]);
        check("dy", dy.len(), &[n, c]);
        check("dx", dx.len(), &[n, c]);
        check("dgamma", dgamma.len(), &[c]);
        check("dbeta", dbeta.len(), &[c]);
        match isa::current() {
            Isa::Plain => plain::backward(self, x, gamma, statistics, dy, dx, dgamma, dbeta),
            isa => {
                let (dx, dgamma, dbeta) = (SharedMut::new(dx), SharedMut::new(dgamma), SharedMut::new(dbeta));
                let all = vectors::Backward { norm: self, x, gamma, statistics, dy, dx, dgamma, dbeta };
                simd::dispatch(isa, all.by_strips(c));
            }
        }
    }
}

/// What is done with a strip of columns.
trait Strip: Sync + Sized {
    /// Works on `width` columns from `first` on, at most [`STRIP_VECTORS`] vectors.
    ///
    /// # Safety
    /// Meanwhile no other thread uses these columns of the outputs.
    unsafe fn run<S: Simd>(&self, s: S, first: usize, width: usize);

    /// All strips of `channels` columns.
    fn by_strips(self, channels: usize) -> EachStrip<Self> {
        EachStrip { strip: self, channels }
    }
}

/// Vectors of columns in a strip: as many sums run side by side.
const STRIP_VECTORS: usize = 4;

struct EachStrip<K> {
    strip: K,
    channels: usize,
}

impl<K: Strip> Task for EachStrip<K> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        struct One<'a, K> {
            strip: &'a K,
            first: usize,
            width: usize,
        }
        impl<K: Strip> Task for One<'_, K> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                // SAFETY: each strip is the only task that uses its columns.
                unsafe { self.strip.run(s, self.first, self.width) };
            }
        }
        let width = STRIP_VECTORS * S::LANES;
        parallel::for_each(self.channels.div_ceil(width), |strip| {
            let first = strip * width;
            s.call(One { strip: &self.strip, first, width: width.min(self.channels - first) });
        });
    }
}
