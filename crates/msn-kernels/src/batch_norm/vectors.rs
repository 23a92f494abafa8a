//! Batch normalisation on vectors: neighbouring columns side by side in the lanes, so that nothing is done across them.
//!
//! A strip of a group is copied while it is read for the first time: rows of a matrix whose width is a power of two
//! share few cache sets, so that what was read would be gone again by the next pass.

use super::{BatchNorm, STRIP_VECTORS, Strip};
use crate::element::SharedMut;
use crate::scratch::Scratch;
use crate::simd::Simd;

/// Rows that are added up before their sum is added to that of the rows before, which bounds the rounding of long sums.
const BLOCK: usize = 64;

/// A number for each column of a strip.
type Row<S> = [<S as Simd>::V; STRIP_VECTORS];

/// The columns of vector `v` of a strip of `width` columns.
#[inline(always)]
fn columns<S: Simd>(v: usize, width: usize) -> std::ops::Range<usize> {
    width.min(v * S::LANES)..width.min((v + 1) * S::LANES)
}

/// A row of up to a strip's width, filled up with zeros.
#[inline(always)]
fn load<S: Simd>(s: S, row: &[f32]) -> Row<S> {
    let mut values = [s.splat(0.0); STRIP_VECTORS];
    for (v, value) in values.iter_mut().enumerate() {
        *value = s.load(&row[columns::<S>(v, row.len())]);
    }
    values
}

#[inline(always)]
fn store<S: Simd>(s: S, values: Row<S>, row: &mut [f32]) {
    let width = row.len();
    for (v, value) in values.into_iter().enumerate() {
        s.store(value, &mut row[columns::<S>(v, width)]);
    }
}

/// The sum of rows, block by block.
struct Sum<S: Simd> {
    blocks: Row<S>,
    block: Row<S>,
    rows: usize,
}

impl<S: Simd> Sum<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = [s.splat(0.0); STRIP_VECTORS];
        Self { blocks: zero, block: zero, rows: 0 }
    }

    #[inline(always)]
    fn add(&mut self, s: S, row: Row<S>) {
        if self.rows == BLOCK {
            self.blocks = self.total(s);
            (self.block, self.rows) = (row, 1);
            return;
        }
        for (sum, x) in self.block.iter_mut().zip(row) {
            *sum = s.add(*sum, x);
        }
        self.rows += 1;
    }

    #[inline(always)]
    fn total(&self, s: S) -> Row<S> {
        let mut total = self.blocks;
        for (sum, block) in total.iter_mut().zip(self.block) {
            *sum = s.add(*sum, block);
        }
        total
    }

    /// The total divided by `count`.
    #[inline(always)]
    fn mean(&self, s: S, count: usize) -> Row<S> {
        let mut mean = self.total(s);
        for x in &mut mean {
            *x = s.div(*x, s.splat(count as f32));
        }
        mean
    }
}

/// `x - mean`.
#[inline(always)]
fn centred<S: Simd>(s: S, mut x: Row<S>, mean: Row<S>) -> Row<S> {
    for (x, mean) in x.iter_mut().zip(mean) {
        *x = s.sub(*x, mean);
    }
    x
}

#[inline(always)]
fn product<S: Simd>(s: S, mut a: Row<S>, b: Row<S>) -> Row<S> {
    for (a, b) in a.iter_mut().zip(b) {
        *a = s.mul(*a, b);
    }
    a
}

/// `1 / sqrt(variance + eps)`.
#[inline(always)]
fn inverse_deviation<S: Simd>(s: S, mut variance: Row<S>, eps: f32) -> Row<S> {
    for x in &mut variance {
        *x = s.div(s.splat(1.0), s.sqrt(s.add(*x, s.splat(eps))));
    }
    variance
}

pub(super) struct Forward<'a> {
    pub(super) norm: &'a BatchNorm<'a>,
    pub(super) x: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) y: SharedMut<'a, f32>,
    pub(super) statistics: SharedMut<'a, f32>,
}

impl Strip for Forward<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, s: S, first: usize, width: usize) {
        let c = self.norm.channels;
        let stride = STRIP_VECTORS * S::LANES;
        let (gamma, beta) = (load(s, &self.gamma[first..][..width]), load(s, &self.beta[first..][..width]));
        let mut start = 0;
        for (group, &count) in self.norm.groups.iter().enumerate() {
            let mut copy = Scratch::new(count * stride);
            let copy = copy.floats();
            let mut sum = Sum::new(s);
            for (row, copy) in copy.chunks_exact_mut(stride).enumerate() {
                let x = load(s, &self.x[(start + row) * c + first..][..width]);
                store(s, x, copy);
                sum.add(s, x);
            }
            let mean = sum.mean(s, count);
            let mut squares = Sum::new(s);
            for row in copy.chunks_exact(stride) {
                let x = centred(s, load(s, row), mean);
                squares.add(s, product(s, x, x));
            }
            let variance = squares.mean(s, count);
            let inverse = inverse_deviation(s, variance, self.norm.eps);
            for (row, copy) in copy.chunks_exact(stride).enumerate() {
                let mut y = product(s, centred(s, load(s, copy), mean), inverse);
                for ((y, gamma), beta) in y.iter_mut().zip(gamma).zip(beta) {
                    *y = s.mul_add(*y, gamma, beta);
                }
                // SAFETY: these columns, which the caller lends to this call.
                store(s, y, unsafe { self.y.part((start + row) * c + first, width) });
            }
            for (at, row) in [(2 * group, mean), (2 * group + 1, variance)] {
                // SAFETY: these columns, which the caller lends to this call.
                store(s, row, unsafe { self.statistics.part(at * c + first, width) });
            }
            start += count;
        }
    }
}

pub(super) struct Backward<'a> {
    pub(super) norm: &'a BatchNorm<'a>,
    pub(super) x: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) statistics: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) dx: SharedMut<'a, f32>,
    pub(super) dgamma: SharedMut<'a, f32>,
    pub(super) dbeta: SharedMut<'a, f32>,
}

impl Strip for Backward<'_> {
    /// With g the gradients and n the normalised numbers of a column: `dx = gamma / sqrt(var + eps) (g - mean(g) - n
    /// mean(g n))`, `dgamma = sum(g n)`, `dbeta = sum(g)`.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, s: S, first: usize, width: usize) {
        let c = self.norm.channels;
        let stride = STRIP_VECTORS * S::LANES;
        let gamma = load(s, &self.gamma[first..][..width]);
        let (mut dgamma, mut dbeta) = (Sum::new(s), Sum::new(s));
        let mut start = 0;
        for (group, &count) in self.norm.groups.iter().enumerate() {
            let statistics = &self.statistics[2 * group * c + first..];
            let (mean, variance) = (load(s, &statistics[..width]), load(s, &statistics[c..][..width]));
            let inverse = inverse_deviation(s, variance, self.norm.eps);
            // The normalised row and its gradient side by side.
            let mut copy = Scratch::new(count * 2 * stride);
            let copy = copy.floats();
            let (mut sum, mut along) = (Sum::new(s), Sum::new(s));
            for (row, copy) in copy.chunks_exact_mut(2 * stride).enumerate() {
                let at = (start + row) * c + first;
                let normalised = product(s, centred(s, load(s, &self.x[at..][..width]), mean), inverse);
                let dy = load(s, &self.dy[at..][..width]);
                let (left, right) = copy.split_at_mut(stride);
                store(s, normalised, left);
                store(s, dy, right);
                sum.add(s, dy);
                along.add(s, product(s, dy, normalised));
            }
            let (mean_gradient, mean_along) = (sum.mean(s, count), along.mean(s, count));
            let factor = product(s, gamma, inverse);
            for (row, copy) in copy.chunks_exact(2 * stride).enumerate() {
                let (normalised, dy) = copy.split_at(stride);
                let past = product(s, load(s, normalised), mean_along);
                let dx = centred(s, centred(s, load(s, dy), mean_gradient), past);
                let at = (start + row) * c + first;
                // SAFETY: these columns, which the caller lends to this call.
                store(s, product(s, dx, factor), unsafe { self.dx.part(at, width) });
            }
            dgamma.add(s, along.total(s));
            dbeta.add(s, sum.total(s));
            start += count;
        }
        for (sum, out) in [(dgamma, &self.dgamma), (dbeta, &self.dbeta)] {
            // SAFETY: these columns, which the caller lends to this call.
            store(s, sum.total(s), unsafe { out.part(first, width) });
        }
    }
}
