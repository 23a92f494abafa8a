//! Layer normalisation on vectors.

use crate::element::Element;
use crate::gemm::Base;
use crate::simd::{Simd, Task};

/// The mean of a row and `1 / sqrt(var + eps)`. Two passes: the variance is that of the differences from
/// the mean, which loses no digits when the mean is large.
#[inline(always)]
fn statistics<S: Simd>(s: S, x: &[f32], eps: f32) -> (S::V, S::V) {
    let d = x.len() as f32;
    let mut sum = s.splat(0.0);
    for x in x.chunks(S::LANES) {
        sum = s.add(sum, s.load(x));
    }
    let mean = s.splat(s.sum(sum) / d);
    let mut squares = s.splat(0.0);
    for x in x.chunks(S::LANES) {
        let difference = s.keep_first(s.sub(s.load(x), mean), x.len(), 0.0);
        squares = s.mul_add(difference, difference, squares);
    }
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
            let affine = self.gamma.chunks(S::LANES).zip(self.beta.chunks(S::LANES));
            for ((x, y), (gamma, beta)) in x.chunks(S::LANES).zip(y.chunks_mut(S::LANES)).zip(affine) {
                let normalised = s.mul(s.sub(s.load(x), mean), inverse);
                Y::store(s, s.mul_add(normalised, s.load(gamma), s.load(beta)), y);
            }
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
            for at in (0..d).step_by(S::LANES) {
                let end = d.min(at + S::LANES);
                let normalised = s.mul(s.sub(s.load(&x[at..end]), mean), inverse);
                let dy = G::load(s, &dy[at..end]);
                let scaled = s.mul(dy, s.load(&self.gamma[at..end]));
                sum = s.add(sum, scaled);
                // Lanes after the end hold a zero of `scaled`.
                along = s.mul_add(scaled, normalised, along);
                let dgamma = &mut self.dgamma[at..end];
                s.store(s.mul_add(dy, normalised, s.load(dgamma)), dgamma);
                let dbeta = &mut self.dbeta[at..end];
                s.store(s.add(dy, s.load(dbeta)), dbeta);
            }
            let mean_gradient = s.splat(s.sum(sum) / d as f32);
            let along = s.splat(s.sum(along) / d as f32);
            for at in (0..d).step_by(S::LANES) {
                let end = d.min(at + S::LANES);
                let normalised = s.mul(s.sub(s.load(&x[at..end]), mean), inverse);
                let scaled = s.mul(G::load(s, &dy[at..end]), s.load(&self.gamma[at..end]));
                let centred = s.sub(s.sub(scaled, mean_gradient), s.mul(normalised, along));
                let gradient = s.mul(inverse, centred);
                let dx = &mut dx[at..end];
                let gradient = match self.base {
                    Base::Zero => gradient,
                    Base::Output => s.add(s.load(dx), gradient),
                    Base::Slice(base) => s.add(s.load(&base[row * d..][at..end]), gradient),
                };
                s.store(gradient, dx);
            }
        }
    }
}
