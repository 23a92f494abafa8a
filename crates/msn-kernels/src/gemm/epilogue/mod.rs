//! What becomes of a finished piece of a product, before it reaches memory.

mod tile;

pub(super) use tile::{Finished, IntoBuffer, Shared};

use crate::element::{Output, Source};
use crate::gelu;
use crate::shape;

/// What a result is added to.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// Nothing: the output is overwritten.
    Zero,
    /// The output itself: it is updated in place.
    Output,
    /// Numbers of the shape of the output.
    Slice(&'a [f32]),
}

/// What is done with a product `C` of shape `[m, n]`. A bias has `n` elements, a row scale `m` (one
/// factor a row, as stochastic depth needs), every other slice `m * n`.
#[derive(Debug)]
pub enum Epilogue<'a> {
    /// `out = row_scale (C + bias)`.
    Store {
        /// Added to each row.
        bias: Option<&'a [f32]>,
        /// Multiplies each row.
        row_scale: Option<&'a [f32]>,
        /// Where the result goes.
        out: Output<'a>,
    },
    /// `out = base + row_scale (C + bias)`.
    Add {
        /// Added to each row.
        bias: Option<&'a [f32]>,
        /// Multiplies each row, before the base is added.
        row_scale: Option<&'a [f32]>,
        /// What it is added to, such as the residual stream.
        base: Base<'a>,
        /// Where the result goes.
        out: &'a mut [f32],
    },
    /// `pre = C + bias; act = GELU(pre)`; where `act` is bf16, within 1.2e-5 before it is rounded.
    Gelu {
        /// Added to each row.
        bias: Option<&'a [f32]>,
        /// Where the argument of GELU goes, if the backward pass needs it.
        pre: Option<Output<'a>>,
        /// Where the result goes.
        act: Output<'a>,
    },
    /// `out = row_scale C GELU'(pre)`, element by element, and `act = GELU(pre)` once more; where both are bf16, GELU' within
    /// 2e-5 and GELU within 1.3e-5 of |pre| before they are rounded.
    GeluGrad {
        /// The argument that the forward pass gave to GELU.
        pre: Source<'a>,
        /// Multiplies each row.
        row_scale: Option<&'a [f32]>,
        /// Where the result goes.
        out: Output<'a>,
        /// Where GELU's result goes, so that it need not be kept from the forward pass.
        act: Output<'a>,
    },
}

impl<'a> Epilogue<'a> {
    /// [`Epilogue::Store`] without bias or scale.
    pub fn store(out: impl Into<Output<'a>>) -> Self {
        Self::Store { bias: None, row_scale: None, out: out.into() }
    }

    /// [`Epilogue::Store`] with a bias.
    pub fn bias(bias: &'a [f32], out: impl Into<Output<'a>>) -> Self {
        Self::Store { bias: Some(bias), row_scale: None, out: out.into() }
    }

    /// Checks every length against `[m, n]`.
    pub(super) fn check(&self, m: usize, n: usize) {
        let check = |what: &str, found: Option<usize>, shape: &[usize]| {
            if let Some(found) = found {
                shape::check("gemm", what, found, shape);
            }
        };
        let (bias, row_scale, out) = match self {
            Self::Store { bias, row_scale, out } => (*bias, *row_scale, out.len()),
            Self::Add { bias, row_scale, base, out } => {
                if let Base::Slice(base) = base {
                    check("the base", Some(base.len()), &[m, n]);
                }
                (*bias, *row_scale, out.len())
            }
            Self::Gelu { bias, pre, act } => {
                check("pre", pre.as_ref().map(Output::len), &[m, n]);
                (*bias, None, act.len())
            }
            Self::GeluGrad { pre, row_scale, out, act } => {
                check("pre", Some(pre.len()), &[m, n]);
                check("act", Some(act.len()), &[m, n]);
                (None, *row_scale, out.len())
            }
        };
        check("the bias", bias.map(<[f32]>::len), &[n]);
        check("the row scale", row_scale.map(<[f32]>::len), &[m]);
        check("the output", Some(out), &[m, n]);
    }

    /// Applies it to element (`row`, `column`) of a product with rows of `n` elements; the plain twin.
    pub(super) fn apply_plain(&mut self, row: usize, column: usize, n: usize, c: f32) {
        let at = row * n + column;
        let scaled = |row_scale: &Option<&[f32]>, x: f32| row_scale.map_or(x, |scale| scale[row] * x);
        let biased = |bias: &Option<&[f32]>| bias.map_or(c, |bias| c + bias[column]);
        match self {
            Self::Store { bias, row_scale, out } => out.set(at, scaled(row_scale, biased(bias))),
            Self::Add { bias, row_scale, base, out } => {
                let base = match base {
                    Base::Zero => 0.0,
                    Base::Output => out[at],
                    Base::Slice(base) => base[at],
                };
                out[at] = base + scaled(row_scale, biased(bias));
            }
            Self::Gelu { bias, pre, act } => {
                let x = biased(bias);
                if let Some(pre) = pre {
                    pre.set(at, x);
                }
                act.set(at, gelu::plain::gelu(x));
            }
            Self::GeluGrad { pre, row_scale, out, act } => {
                out.set(at, scaled(row_scale, c) * gelu::plain::gelu_grad(pre.get(at)));
                act.set(at, gelu::plain::gelu(pre.get(at)));
            }
        }
    }
}
