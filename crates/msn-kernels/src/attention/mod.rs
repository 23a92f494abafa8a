//! Multi-head attention (Vaswani et al. 2017) inside each of several sequences of different lengths,
//! whose tokens are packed one sequence after the other: `softmax(q k^T / sqrt(head_dim)) v`.
//!
//! The queries, keys and values of a token stand side by side, each all heads after one another:
//! `[q | k | v]`, 3 D elements. The backward pass computes the probabilities anew from them.

mod backward;
mod cls;
mod forward;
mod operand;
mod plain;
mod scores;

use std::marker::PhantomData;

use crate::element::{Output, SharedOutput, Source, with_elements};
use crate::gemm::Precision;
use crate::gemm::kernel::KC;
use crate::gemm::product::{F32Product, Product};
use crate::isa::{self, Isa};
use crate::parallel;
use crate::simd::{self, Simd, Task};

/// The largest head dimension that [`Attention`] takes, so that a head fits a block of the matrix product.
pub const MAX_HEAD_DIM: usize = KC;

/// The sequences that attention runs inside of, and its heads.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The number of tokens of each sequence, at least 1.
    pub lengths: &'a [usize],
    /// The number of heads.
    pub heads: usize,
    /// The dimension of a head, at most [`MAX_HEAD_DIM`]; D is `heads * head_dim`.
    pub head_dim: usize,
}

/// A sequence: its first token among all, and its number of tokens.
#[derive(Clone, Copy)]
struct Sequence {
    first: usize,
    tokens: usize,
}

/// The part of one head in one sequence.
#[derive(Clone, Copy)]
struct Head {
    sequence: Sequence,
    /// The head's first element of D.
    column: usize,
    dim: usize,
    /// D
    width: usize,
}

impl Head {
    /// 1 / sqrt(head_dim).
    fn scale(self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

fn check(what: &str, found: usize, [rows, columns]: [usize; 2]) {
    assert!(found == rows * columns, "attention: {what} has {found} elements, expected [{rows}, {columns}]");
}

impl Attention<'_> {
    /// Sequences S, tokens N and D.
    fn shape(&self) -> [usize; 3] {
        assert!(
            self.head_dim <= MAX_HEAD_DIM,
            "attention: head_dim is {}, expected at most {MAX_HEAD_DIM}",
            self.head_dim
        );
        assert!(!self.lengths.contains(&0), "attention: a sequence has no token");
        [self.lengths.len(), self.lengths.iter().sum(), self.heads * self.head_dim]
    }

    fn sequences(&self) -> Vec<Sequence> {
        let mut first = 0;
        let next = |tokens: &usize| {
            let sequence = Sequence { first, tokens: *tokens };
            first += tokens;
            sequence
        };
        self.lengths.iter().map(next).collect()
    }

    /// All heads of all sequences.
    fn all_heads(&self) -> Vec<Head> {
        let (dim, width) = (self.head_dim, self.heads * self.head_dim);
        let heads =
            |sequence| (0..self.heads).map(move |head| Head { sequence, column: head * dim, dim, width });
        self.sequences().into_iter().flat_map(heads).collect()
    }

    /// `out = attention(qkv)`.
    ///
    /// `qkv`: `[N, 3 D]`; `out`: `[N, D]`. Products are computed in `precision`, softmax in `f32`.
    ///
    /// # Panics
    /// If a slice does not have the length of its shape, a sequence is empty, or a head is too large.
    pub fn forward<'a>(&self, precision: Precision, qkv: impl Into<Source<'a>>, out: impl Into<Output<'a>>) {
        self.forward_into(precision, qkv.into(), out.into());
    }

    fn forward_into(&self, precision: Precision, qkv: Source<'_>, mut out: Output<'_>) {
        let [_, n, d] = self.shape();
        check("qkv", qkv.len(), [n, 3 * d]);
        check("out", out.len(), [n, d]);
        let isa = isa::current();
        if isa == Isa::Plain {
            return self.all_heads().into_iter().for_each(|head| {
                plain::forward(precision, head, qkv, &mut out);
            });
        }
        let heads = self.all_heads();
        let out = SharedOutput::from(out);
        with_elements!(Source, qkv, qkv => {
            let each = forward::Forward { qkv, out: &out };
            simd::dispatch(isa, EachHead { precision, heads: &heads, each });
        });
    }

    /// `d_qkv`, the gradient of [`Attention::forward`], from `d_out`, that of its result.
    ///
    /// `qkv`, `d_qkv`: `[N, 3 D]`; `d_out`: `[N, D]`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn backward<'a>(
        &self,
        precision: Precision,
        qkv: impl Into<Source<'a>>,
        d_out: impl Into<Source<'a>>,
        d_qkv: impl Into<Output<'a>>,
    ) {
        self.backward_into(precision, qkv.into(), d_out.into(), d_qkv.into());
    }

    fn backward_into(&self, precision: Precision, qkv: Source<'_>, d_out: Source<'_>, mut d_qkv: Output<'_>) {
        let [_, n, d] = self.shape();
        check("qkv", qkv.len(), [n, 3 * d]);
        check("d_out", d_out.len(), [n, d]);
        check("d_qkv", d_qkv.len(), [n, 3 * d]);
        let isa = isa::current();
        if isa == Isa::Plain {
            return self.all_heads().into_iter().for_each(|head| {
                plain::backward(precision, head, qkv, d_out, &mut d_qkv);
            });
        }
        let heads = self.all_heads();
        let d_qkv = SharedOutput::from(d_qkv);
        with_elements!(Source, qkv, qkv => with_elements!(Source, d_out, d_out => {
            let each = backward::Backward { qkv, d_out, d_qkv: &d_qkv };
            simd::dispatch(isa, EachHead { precision, heads: &heads, each });
        }));
    }

    /// Attention of the first token ([CLS]) of each sequence alone, to all tokens of its sequence; in
    /// `f32` whatever the type of the elements.
    ///
    /// `q`: `[S, D]`; `kv`: `[N, 2 D]`, `[k | v]`; `out`: `[S, D]`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn cls_forward<'a>(
        &self,
        q: impl Into<Source<'a>>,
        kv: impl Into<Source<'a>>,
        out: impl Into<Output<'a>>,
    ) {
        self.cls_forward_into(q.into(), kv.into(), out.into());
    }

    fn cls_forward_into(&self, q: Source<'_>, kv: Source<'_>, mut out: Output<'_>) {
        let [s, n, d] = self.shape();
        check("q", q.len(), [s, d]);
        check("kv", kv.len(), [n, 2 * d]);
        check("out", out.len(), [s, d]);
        let (isa, sequences) = (isa::current(), self.sequences());
        if isa == Isa::Plain {
            return plain::cls_forward(self, &sequences, q, kv, &mut out);
        }
        let out = SharedOutput::from(out);
        with_elements!(Source, q, q => with_elements!(Source, kv, kv => {
            parallel::for_each(s, |index| {
                let (attention, sequence) = (self, sequences[index]);
                simd::run(isa, cls::Forward { attention, index, sequence, q, kv, out: &out });
            });
        }));
    }

    /// The gradients of [`Attention::cls_forward`].
    ///
    /// `q`, `d_out`, `d_q`: `[S, D]`; `kv`, `d_kv`: `[N, 2 D]`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn cls_backward<'a>(
        &self,
        q: impl Into<Source<'a>>,
        kv: impl Into<Source<'a>>,
        d_out: impl Into<Source<'a>>,
        d_q: impl Into<Output<'a>>,
        d_kv: impl Into<Output<'a>>,
    ) {
        self.cls_backward_into([q.into(), kv.into(), d_out.into()], d_q.into(), d_kv.into());
    }

    fn cls_backward_into(&self, [q, kv, d_out]: [Source<'_>; 3], mut d_q: Output<'_>, mut d_kv: Output<'_>) {
        let [s, n, d] = self.shape();
        check("q", q.len(), [s, d]);
        check("kv", kv.len(), [n, 2 * d]);
        check("d_out", d_out.len(), [s, d]);
        check("d_q", d_q.len(), [s, d]);
        check("d_kv", d_kv.len(), [n, 2 * d]);
        let (isa, sequences) = (isa::current(), self.sequences());
        if isa == Isa::Plain {
            return plain::cls_backward(self, &sequences, [q, kv, d_out], &mut d_q, &mut d_kv);
        }
        let (d_q, d_kv) = (SharedOutput::from(d_q), SharedOutput::from(d_kv));
        with_elements!(Source, q, q => with_elements!(Source, kv, kv => with_elements!(Source, d_out, d_out => {
            parallel::for_each(s, |index| {
                let (attention, sequence) = (self, sequences[index]);
                let (d_q, d_kv) = (&d_q, &d_kv);
                simd::run(isa, cls::Backward { attention, index, sequence, q, kv, d_out, d_q, d_kv });
            });
        })));
    }
}

/// What is done with one head.
trait HeadKernel: Sync {
    /// # Safety
    /// Meanwhile no other thread uses the head's part of the outputs.
    unsafe fn run<S: Simd, P: Product>(&self, s: S, head: Head);
}

/// Tokens whose heads are a task, at least: the heads of a short sequence are over too soon to be shared out one by one.
const TASK_TOKENS: usize = 256;

/// A kernel on all heads.
struct EachHead<'a, K> {
    precision: Precision,
    heads: &'a [Head],
    each: K,
}

impl<K: HeadKernel> Task for EachHead<'_, K> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        /// A kernel on one head.
        struct One<'a, K, P> {
            each: &'a K,
            head: Head,
            product: PhantomData<P>,
        }
        impl<K: HeadKernel, P: Product> Task for One<'_, K, P> {
            type Output = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                // SAFETY: each head is the only task that uses its tokens and columns.
                unsafe { self.each.run::<S, P>(s, self.head) };
            }
        }
        let each = &self.each;
        let tasks = tasks(self.heads);
        parallel::for_each(tasks.len(), |task| {
            for &head in tasks[task] {
                match self.precision {
                    Precision::F32 => s.call(One::<K, F32Product> { each, head, product: PhantomData }),
                    Precision::Bf16 => s.call(One::<K, S::Bf16Product> { each, head, product: PhantomData }),
                }
            }
        });
    }
}

/// Cuts the heads, which follow one another, into tasks.
fn tasks(heads: &[Head]) -> Vec<&[Head]> {
    let mut tasks = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (i, head) in heads.iter().enumerate() {
        tokens += head.sequence.tokens;
        if tokens >= TASK_TOKENS || i + 1 == heads.len() {
            tasks.push(&heads[start..=i]);
            (start, tokens) = (i + 1, 0);
        }
    }
    tasks
}
