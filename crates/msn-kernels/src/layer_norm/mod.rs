//! Layer normalisation (Ba, Kiros and Hinton 2016): `y = gamma (x - mean) / sqrt(var + eps) + beta` over
//! each row, with the biased variance.

mod plain;
mod vectors;

use crate::element::{Output, SharedMut, SharedOutput, Source, with_elements};
use crate::gemm::Base;
use crate::isa::{self, Isa};
use crate::{parallel, shape, simd};

/// Rows that one thread normalises at a time.
const FORWARD_ROWS: usize = 32;
/// Slices that the rows of a backward pass are cut into, at most: each has gradients of gamma and beta of
/// its own.
const BACKWARD_SLICES: usize = 64;

fn check(what: &str, found: usize, shape: &[usize]) {
    shape::check("layer_norm", what, found, shape);
}

fn rows(x: &[f32], gamma: &[f32]) -> usize {
    let d = gamma.len();
    assert!(
        d > 0 && x.len().is_multiple_of(d),
        "layer_norm: x has {} elements, not rows of {d}, the length of gamma",
        x.len()
    );
    x.len() / d
}

/// `y = layer_norm(x)`.
///
/// `x`, `y`: `[n, d]`; `gamma`, `beta`: `[d]`; `eps` is added to the variance.
///
/// # Panics
/// If a slice does not have the length of its shape.
pub fn layer_norm<'a>(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: impl Into<Output<'a>>) {
    forward(x, gamma, beta, eps, y.into());
}

fn forward(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, mut y: Output<'_>) {
    let (n, d) = (rows(x, gamma), gamma.len());
    check("beta", beta.len(), &[d]);
    check("y", y.len(), &[n, d]);
    match isa::current() {
        Isa::Plain => plain::forward(x, gamma, beta, eps, &mut y),
        isa => {
            let y = SharedOutput::from(y);
            parallel::for_each(n.div_ceil(FORWARD_ROWS), |chunk| {
                let range = chunk * FORWARD_ROWS * d..n.min((chunk + 1) * FORWARD_ROWS) * d;
                with_elements!(SharedOutput, &y, y => {
                    // SAFETY: chunks of rows do not overlap.
                    let y = unsafe { y.part(range.start, range.len()) };
                    simd::run(isa, vectors::Forward { x: &x[range], gamma, beta, eps, y });
                });
            });
        }
    }
}

/// The gradients of [`layer_norm`]: `dx = base + d loss / dx`, and `dgamma`, `dbeta`, overwritten. Mean
/// and variance are computed anew.
///
/// `x`, `dy`, `dx`: `[n, d]`; `gamma`, `dgamma`, `dbeta`: `[d]`. The base is the gradient that reaches `x`
/// past the norm, along the residual connection.
///
/// # Panics
/// If a slice does not have the length of its shape.
#[expect(clippy::too_many_arguments, reason = "the operands of one formula")]
pub fn layer_norm_backward<'a>(
    x: &[f32],
    gamma: &[f32],
    eps: f32,
    dy: impl Into<Source<'a>>,
    base: Base<'_>,
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    backward(x, gamma, eps, dy.into(), base, dx, [dgamma, dbeta]);
}

fn backward(
    x: &[f32],
    gamma: &[f32],
    eps: f32,
    dy: Source<'_>,
    base: Base<'_>,
    dx: &mut [f32],
    [dgamma, dbeta]: [&mut [f32]; 2],
) {
    let (n, d) = (rows(x, gamma), gamma.len());
    check("dy", dy.len(), &[n, d]);
    check("dx", dx.len(), &[n, d]);
    check("dgamma", dgamma.len(), &[d]);
    check("dbeta", dbeta.len(), &[d]);
    if let Base::Slice(base) = base {
        check("the base", base.len(), &[n, d]);
    }
    let isa = isa::current();
    if isa == Isa::Plain {
        return plain::backward(x, gamma, eps, dy, base, dx, dgamma, dbeta);
    }
    let slice_rows = n.div_ceil(BACKWARD_SLICES).max(1);
    let slices = n.div_ceil(slice_rows);
    let mut partial = vec![0.0; slices * 2 * d];
    let (shared_dx, shared_partial) = (SharedMut::new(dx), SharedMut::new(&mut partial));
    parallel::for_each(slices, |slice| {
        let range = slice * slice_rows * d..n.min((slice + 1) * slice_rows) * d;
        // SAFETY: slices of rows do not overlap.
        let dx = unsafe { shared_dx.part(range.start, range.len()) };
        // SAFETY: each slice has partial sums of its own.
        let (dgamma, dbeta) = unsafe { shared_partial.part(slice * 2 * d, 2 * d) }.split_at_mut(d);
        let base = match base {
            Base::Slice(base) => Base::Slice(&base[range.clone()]),
            other => other,
        };
        with_elements!(Source, dy, dy => {
            let (x, dy) = (&x[range.clone()], &dy[range]);
            simd::run(isa, vectors::Backward { x, gamma, eps, dy, base, dx, dgamma, dbeta });
        });
    });
    dgamma.fill(0.0);
    dbeta.fill(0.0);
    for slice in partial.chunks_exact(2 * d) {
        let sums = dgamma.iter_mut().chain(&mut *dbeta);
        sums.zip(slice).for_each(|(sum, part)| *sum += part);
    }
}
