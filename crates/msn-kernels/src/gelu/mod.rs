//! GELU, exact: `GELU(x) = x Phi(x)` with Phi the standard normal distribution (Hendrycks and Gimpel
//! 2016), not its approximation by tanh.

pub(crate) mod plain;
mod vectors;

use crate::element::{Output, SharedOutput, Source, with_elements};
use crate::isa::{self, Isa};
use crate::{parallel, simd};

/// Elements that one thread computes at a time.
const CHUNK: usize = 16 * 1024;

/// `y = GELU(x)`. The error of the vector paths is below 4e-7 max(1, |x|).
///
/// # Panics
/// If the lengths differ.
pub fn gelu<'a>(x: impl Into<Source<'a>>, y: impl Into<Output<'a>>) {
    forward(x.into(), y.into());
}

fn forward(x: Source<'_>, mut y: Output<'_>) {
    assert!(x.len() == y.len(), "gelu: x has {} elements, y {}", x.len(), y.len());
    match isa::current() {
        Isa::Plain => (0..x.len()).for_each(|i| y.set(i, plain::gelu(x.get(i)))),
        isa => {
            let (len, y) = (x.len(), SharedOutput::from(y));
            parallel::for_each(len.div_ceil(CHUNK), |chunk| {
                let range = chunk * CHUNK..len.min((chunk + 1) * CHUNK);
                with_elements!(Source, x, x => with_elements!(SharedOutput, &y, y => {
                    // SAFETY: chunks do not overlap.
                    let y = unsafe { y.part(range.start, range.len()) };
                    simd::run(isa, vectors::Forward { x: &x[range], y });
                }));
            });
        }
    }
}

/// `dx = dy GELU'(x)`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_backward<'a>(x: impl Into<Source<'a>>, dy: impl Into<Source<'a>>, dx: impl Into<Output<'a>>) {
    backward(x.into(), dy.into(), dx.into());
}

fn backward(x: Source<'_>, dy: Source<'_>, mut dx: Output<'_>) {
    assert!(
        x.len() == dy.len() && x.len() == dx.len(),
        "gelu_backward: x has {} elements, dy {}, dx {}",
        x.len(),
        dy.len(),
        dx.len()
    );
    match isa::current() {
        Isa::Plain => (0..x.len()).for_each(|i| dx.set(i, dy.get(i) * plain::gelu_grad(x.get(i)))),
        isa => {
            let (len, dx) = (x.len(), SharedOutput::from(dx));
            parallel::for_each(len.div_ceil(CHUNK), |chunk| {
                let range = chunk * CHUNK..len.min((chunk + 1) * CHUNK);
                with_elements!(Source, x, x => with_elements!(Source, dy, dy => {
                    with_elements!(SharedOutput, &dx, dx => {
                        // SAFETY: chunks do not overlap.
                        let dx = unsafe { dx.part(range.start, range.len()) };
                        simd::run(isa, vectors::Backward { x: &x[range.clone()], dy: &dy[range], dx });
                    })
                }));
            });
        }
    }
}
