//! GELU on vectors.

use crate::element::Element;
use crate::simd::{Simd, Task, math};

pub(super) struct Forward<'a, X, Y> {
    pub(super) x: &'a [X],
    pub(super) y: &'a mut [Y],
}

impl<X: Element, Y: Element> Task for Forward<'_, X, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.x.chunks(S::LANES).zip(self.y.chunks_mut(S::LANES)) {
            Y::store(s, math::gelu(s, X::load(s, x)), y);
        }
    }
}

pub(super) struct Backward<'a, X, G, Y> {
    pub(super) x: &'a [X],
    pub(super) dy: &'a [G],
    pub(super) dx: &'a mut [Y],
}

impl<X: Element, G: Element, Y: Element> Task for Backward<'_, X, G, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let inputs = self.x.chunks(S::LANES).zip(self.dy.chunks(S::LANES));
        for ((x, dy), dx) in inputs.zip(self.dx.chunks_mut(S::LANES)) {
            Y::store(s, s.mul(G::load(s, dy), math::gelu_grad(s, X::load(s, x))), dx);
        }
    }
}
