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

use self::cls::Cls;
use self::operand::Strided;
use crate::element::{Element, Output, SharedMut, SharedOutput, Source, with_elements};
use crate::gemm::Precision;
use crate::gemm::product::{F32Product, Product};
use crate::isa::{self, Isa};
use crate::parallel;
use crate::shape;
use crate::simd::{self, Simd, Task};

/// The sequences that attention runs inside of, and its heads.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The number of tokens of each sequence, at least 1.
    pub lengths: &'a [usize],
    /// The number of heads.
    pub heads: usize,
    /// The dimension of a head; D is `heads * head_dim`.
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
    /// Its queries, keys and values in `[N, 3 D]`.
    #[inline(always)]
    fn parts<E>(self, qkv: &[E]) -> [Strided<'_, E>; 3] {
        let ld = 3 * self.width;
        let start = self.sequence.first * ld + self.column;
        std::array::from_fn(|part| Strided {
            src: &qkv[start + part * self.width..],
            ld,
            rows: self.sequence.tokens,
        })
    }

    fn scale(self) -> f32 {
        scale(self.dim)
    }
}

/// 1 / sqrt(head_dim), the factor of all scores.
fn scale(head_dim: usize) -> f32 {
    1.0 / (head_dim as f32).sqrt()
}

fn check(what: &str, found: usize, shape: &[usize]) {
    shape::check("attention", what, found, shape);
}

impl Attention<'_> {
    /// D
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Sequences S, tokens N and D.
    fn shape(&self) -> [usize; 3] {
        assert!(!self.lengths.contains(&0), "attention: a sequence has no token");
        let tokens = shape::total("attention: tokens", self.lengths);
        [self.lengths.len(), tokens, shape::area("attention: columns", [self.heads, self.head_dim])]
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
        let (dim, width) = (self.head_dim, self.width());
        let heads =
            |sequence| (0..self.heads).map(move |head| Head { sequence, column: head * dim, dim, width });
        self.sequences().into_iter().flat_map(heads).collect()
    }

    /// `out = attention(qkv)`.
    ///
    /// `qkv`: `[N, 3 D]`; `out`: `[N, D]`. Products are computed in `precision`, softmax in `f32`.
    ///
    /// # Panics
    /// If a slice does not have the length of its shape or a sequence is empty.
    pub fn forward<'a>(&self, precision: Precision, qkv: impl Into<Source<'a>>, out: impl Into<Output<'a>>) {
        self.forward_into(precision, qkv.into(), out.into());
    }

    fn forward_into(&self, precision: Precision, qkv: Source<'_>, mut out: Output<'_>) {
        let [_, n, d] = self.shape();
        check("qkv", qkv.len(), &[n, 3, d]);
        check("out", out.len(), &[n, d]);
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
        check("qkv", qkv.len(), &[n, 3, d]);
        check("d_out", d_out.len(), &[n, d]);
        check("d_qkv", d_qkv.len(), &[n, 3, d]);
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

    /// Attention of the first token ([CLS]) of each sequence alone, without keys and values. Of a head with query `q`, key
    /// weights `K` and value weights `V` (`[head_dim, D]`), the scores of tokens `x` are `q (K x) = (K^T q) x`, and
    /// its result is `sum p V x = V (sum p x)`: so `K^T q` is all that the tokens need to meet, and the products with `K` and
    /// `V` are of one row a sequence instead of one a token. (Biases of keys change nothing, those of values are added.)
    ///
    /// `queries`: the `K^T q`, `[heads, S, D]`; `tokens`: `[N, D]`; `out`: the `sum p x`, `[heads, S, D]`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn cls_forward<'a>(
        &self,
        precision: Precision,
        queries: &[f32],
        tokens: impl Into<Source<'a>>,
        out: &mut [f32],
    ) {
        let (tokens, [s, n, d]) = (tokens.into(), self.shape());
        check("queries", queries.len(), &[self.heads, s, d]);
        check("tokens", tokens.len(), &[n, d]);
        check("out", out.len(), &[self.heads, s, d]);
        let sequences = self.sequences();
        match isa::current() {
            Isa::Plain => plain::cls_forward(self, precision, &sequences, queries, tokens, out),
            isa => {
                let pass = Pass::Forward { out: Output::from(out).into() };
                simd::dispatch(isa, EachCls { attention: self, precision, sequences, queries, tokens, pass });
            }
        }
    }

    /// The gradients of [`Attention::cls_forward`].
    ///
    /// `queries`, `d_out`, `d_queries`: `[heads, S, D]`; `tokens`, `d_tokens`: `[N, D]`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn cls_backward<'a>(
        &self,
        precision: Precision,
        queries: &[f32],
        tokens: impl Into<Source<'a>>,
        d_out: &[f32],
        d_queries: &mut [f32],
        d_tokens: &mut [f32],
    ) {
        let (tokens, [s, n, d]) = (tokens.into(), self.shape());
        check("queries", queries.len(), &[self.heads, s, d]);
        check("tokens", tokens.len(), &[n, d]);
        check("d_out", d_out.len(), &[self.heads, s, d]);
        check("d_queries", d_queries.len(), &[self.heads, s, d]);
        check("d_tokens", d_tokens.len(), &[n, d]);
        let sequences = self.sequences();
        match isa::current() {
            Isa::Plain => {
                plain::cls_backward(self, precision, &sequences, queries, tokens, d_out, d_queries, d_tokens);
            }
            isa => {
                let (d_queries, d_tokens) = (Output::from(d_queries).into(), SharedMut::new(d_tokens));
                let pass = Pass::Backward { d_out, d_queries, d_tokens };
                simd::dispatch(isa, EachCls { attention: self, precision, sequences, queries, tokens, pass });
            }
        }
    }
}

/// Attention of [CLS] in all sequences.
struct EachCls<'a> {
    attention: &'a Attention<'a>,
    precision: Precision,
    sequences: Vec<Sequence>,
    queries: &'a [f32],
    tokens: Source<'a>,
    pass: Pass<'a>,
}

enum Pass<'a> {
    Forward { out: SharedOutput<'a> },
    Backward { d_out: &'a [f32], d_queries: SharedOutput<'a>, d_tokens: SharedMut<'a, f32> },
}

impl Task for EachCls<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        with_elements!(Source, self.tokens, tokens => match self.precision {
            Precision::F32 => self.each::<S, F32Product, _>(s, tokens),
            Precision::Bf16 => self.each::<S, S::Bf16Product, _>(s, tokens),
        });
    }
}

impl EachCls<'_> {
    fn each<S: Simd, P: Product, E: Element>(&self, s: S, tokens: &[E]) {
        parallel::for_each(self.sequences.len(), |index| {
            let &Self { attention, queries, ref sequences, .. } = self;
            let sequence = sequences[index];
            let cls = Cls::<P, E> { attention, index, sequence, queries, tokens, product: PhantomData };
            match &self.pass {
                Pass::Forward { out } => s.call(cls::Forward { cls, out }),
                Pass::Backward { d_out, d_queries, d_tokens } => {
                    s.call(cls::Backward { cls, d_out, d_queries, d_tokens });
                }
            }
        });
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
