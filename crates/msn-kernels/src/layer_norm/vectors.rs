//! Layer normalisation on vectors.

use crate::element::Element;
use crate::gemm::Base;
use crate::simd::{Simd, Task, for_vectors, sum_vectors};

/// The mean of a row and `1 / sqrt(var + eps)`. Two passes: the variance is that of the differences from
/// the mean, which loses no digits when the mean is large.
#[inline(always)]
fn statistics<S: Simd>(s: S, x: &[f32], eps: f32) -> (S::V, S::V) {
    let d = x.len() as f32;
    let sums = sum_vectors(
        s,
        x.len(),
        #[inline(always)]
        |sum, range| s.add(sum, s.load(&x[range])),
    );
    let mean = s.splat(s.sum(sums) / d);
    let squares = sum_vectors(
        s,
        x.len(),
        #[inline(always)]
        |squares, range| {
            let x = &x[range];
            let difference = s.keep_first(s.sub(s.load(x), mean), x.len(), 0.0);
            s.mul_add(difference, difference, squares)
        },
    );
    (mean, s.splat(1.0 / (s.sum(squares) / d + eps).sqrt()))
}

pub(super) struct Forward<'a, Y> {
    pub(super) x: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) eps: f32,
    pub(super) y: &'a mut [Y],
}

impl<Y: Element> Task for Forward<'_, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.gamma.len();
        for (x, y) in self.x.chunks_exact(d).zip(self.y.chunks_exact_mut(d)) {
            let (mean, inverse) = statistics(s, x, self.eps);
            for_vectors(
                s,
                d,
                #[inline(always)]
                |range| {
                    let normalised = s.mul(s.sub(s.load(&x[range.clone()]), mean), inverse);
                    let (gamma, beta) =
                        (s.load(&self.gamma[range.clone()]), s.load(&self.beta[range.clone()]));
                    Y::store(s, s.mul_add(normalised, gamma, beta), &mut y[range]);
                },
            );
        }
    }
}

pub(super) struct Backward<'a, G> {
    pub(super) x: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) eps: f32,
    pub(super) dy: &'a [G],
    pub(super) base: Base<'a>,
    pub(super) dx: &'a mut [f32],
    /// Added to, as is `dbeta`.
    pub(super) dgamma: &'a mut [f32],
    pub(super) dbeta: &'a mut [f32],
}

impl<G: Element> Task for Backward<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.gamma.len();
        let rows = self.x.chunks_exact(d).zip(self.dy.chunks_exact(d)).zip(self.dx.chunks_exact_mut(d));
        for (row, ((x, dy), dx)) in rows.enumerate() {
            let (mean, inverse) = statistics(s, x, self.eps);
            let (mut sum, mut along) = (s.splat(0.0), s.splat(0.0));
            for_vectors(
                s,
                d,
                #[inline(always)]
                |range| {
                    let normalised = s.mul(s.sub(s.load(&x[range.clone()]), mean), inverse);
                    let dy = G::load(s, &dy[range.clone()]);
                    let scaled = s.mul(dy, s.load(&self.gamma[range.clone()]));
                    sum = s.add(sum, scaled);
                    // Lanes after the end hold a zero of `scaled`.
                    along = s.mul_add(scaled, normalised, along);
                    let dgamma = &mut self.dgamma[range.clone()];
                    s.store(s.mul_add(dy, normalised, s.load(dgamma)), dgamma);
                    let dbeta = &mut self.dbeta[range];
                    s.store(s.add(dy, s.load(dbeta)), dbeta);
                },
            );
            let mean_gradient = s.splat(s.sum(sum) / d as f32);
            let along = s.splat(s.sum(along) / d as f32);
            for_vectors(
                s,
                d,
                #[inline(always)]
                |range| {
                    let normalised = s.mul(s.sub(s.load(&x[range.clone()]), mean), inverse);
                    let scaled = s.mul(G::load(s, &dy[range.clone()]), s.load(&self.gamma[range.clone()]));
                    let centred = s.sub(s.sub(scaled, mean_gradient), s.mul(normalised, along));
                    let gradient = s.mul(inverse, centred);
                    let gradient = match self.base {
                        Base::Zero => gradient,
                        Base::Output => s.add(s.load(&dx[range.clone()]), gradient),
                        Base::Slice(base) => s.add(s.load(&base[row * d..][range.clone()]), gradient),
                    };
                    s.store(gradient, &mut dx[range]);
                },
            );
        }
    }
}
