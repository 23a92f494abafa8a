//! The same bits with any number of threads.

use msn_kernels::gemm::{self, Base, Epilogue, TnOptions};
use msn_kernels::{
    AdamW, Attention, BatchNorm, Bf16, Dims, Ema, Isa, Precision, gelu, gelu_backward, join, join_all,
    layer_norm, layer_norm_backward, on_worker, selected_isa, softmax_rows, sum_of_squares,
};

use crate::support::{fast_paths, on, to_bf16, uniform};

/// Few enough slices of work for Miri, which is a million times slower than a processor.
const MIRI: bool = cfg!(miri);

/// The bits of results, one after the other.
#[derive(Default, PartialEq)]
struct Bits(Vec<u32>);

impl Bits {
    fn record(&mut self, x: &[f32]) {
        self.0.extend(x.iter().map(|x| x.to_bits()));
    }

    fn record_bf16(&mut self, x: &[Bf16]) {
        self.0.extend(x.iter().map(|x| x.to_f32().to_bits()));
    }
}

/// The bits of the results of every kernel whose work is cut into several slices.
fn all_results() -> Bits {
    let mut bits = Bits::default();
    for precision in [Precision::F32, Precision::Bf16] {
        products(precision, &mut bits);
        fused_products(precision, &mut bits);
        attention(precision, &mut bits);
    }
    elements(&mut bits);
    rows(&mut bits);
    optimizer(&mut bits);
    bits
}

fn products(precision: Precision, bits: &mut Bits) {
    let dims = if MIRI { Dims { m: 13, n: 9, k: 70 } } else { Dims { m: 301, n: 131, k: 517 } };
    let (a, b) = (uniform(1, dims.m * dims.k), uniform(2, dims.n * dims.k));
    let half_b = to_bf16(&b);
    let mut c = vec![0.0; dims.m * dims.n];
    gemm::nt(precision, dims, &a[..], &half_b[..], Epilogue::store(&mut c[..]));
    bits.record(&c);
    gemm::nn(precision, dims, &a[..], &b[..], Epilogue::store(&mut c[..]));
    bits.record(&c);
    let mut sums = vec![0.0; dims.m];
    let options = TnOptions { row_scale: None, column_sums: Some(&mut sums) };
    gemm::tn(precision, dims, &a[..], &b[..], options, &mut c);
    bits.record(&c);
    bits.record(&sums);
}

/// What a block does with its products before they reach memory.
fn fused_products(precision: Precision, bits: &mut Bits) {
    let dims = if MIRI { Dims { m: 13, n: 9, k: 20 } } else { Dims { m: 301, n: 131, k: 97 } };
    let (a, b) = (uniform(1, dims.m * dims.k), uniform(2, dims.n * dims.k));
    let (bias, scale) = (uniform(3, dims.n), uniform(4, dims.m));
    let size = dims.m * dims.n;
    let mut pre = vec![Bf16::ZERO; size];
    let mut act = vec![Bf16::ZERO; size];
    let forward =
        Epilogue::Gelu { bias: Some(&bias), pre: Some((&mut pre[..]).into()), act: (&mut act[..]).into() };
    gemm::nt(precision, dims, &a[..], &b[..], forward);
    bits.record_bf16(&pre);
    bits.record_bf16(&act);
    let mut out = vec![Bf16::ZERO; size];
    let backward = Epilogue::GeluGrad {
        pre: (&pre[..]).into(),
        row_scale: Some(&scale),
        out: (&mut out[..]).into(),
        act: (&mut act[..]).into(),
    };
    gemm::nn(precision, dims, &a[..], &b[..], backward);
    bits.record_bf16(&out);
    bits.record_bf16(&act);
    let mut sum = uniform(5, size);
    let residual =
        Epilogue::Add { bias: Some(&bias), row_scale: Some(&scale), base: Base::Output, out: &mut sum };
    gemm::nt(precision, dims, &a[..], &b[..], residual);
    bits.record(&sum);
}

fn attention(precision: Precision, bits: &mut Bits) {
    let lengths: &[usize] = if MIRI { &[5, 2, 1] } else { &[101, 7, 33, 1] };
    let (heads, head_dim) = if MIRI { (2, 5) } else { (3, 16) };
    let attention = Attention { lengths, heads, head_dim };
    let size = lengths.iter().sum::<usize>() * heads * head_dim;
    let qkv = uniform(3, 3 * size);
    let mut out = vec![Bf16::ZERO; size];
    attention.forward(precision, &qkv[..], &mut out[..]);
    bits.record_bf16(&out);
    let mut d_qkv = vec![0.0; 3 * size];
    attention.backward(precision, &qkv[..], &out[..], &mut d_qkv[..]);
    bits.record(&d_qkv);

    // Of [CLS] alone: [heads, S, D] queries, [N, D] tokens.
    let of_cls = heads * lengths.len() * heads * head_dim;
    let (queries, tokens) = (uniform(6, of_cls), uniform(7, size));
    let (mut met, mut d_queries) = (vec![0.0; of_cls], vec![0.0; of_cls]);
    let mut d_tokens = vec![0.0; size];
    attention.cls_forward(precision, &queries, &tokens[..], &mut met);
    bits.record(&met);
    attention.cls_backward(precision, &queries, &tokens[..], &met, &mut d_queries, &mut d_tokens);
    bits.record(&d_queries);
    bits.record(&d_tokens);
}

fn elements(bits: &mut Bits) {
    let n = if MIRI { 70 } else { 100_003 };
    let (x, dy) = (uniform(8, n), uniform(9, n));
    let mut y = vec![0.0; n];
    gelu(&x[..], &mut y[..]);
    bits.record(&y);
    gelu_backward(&x[..], &dy[..], &mut y[..]);
    bits.record(&y);
    bits.record(&[sum_of_squares(&x) as f32]);
}

fn rows(bits: &mut Bits) {
    let [n, d] = if MIRI { [70, 5] } else { [997, 96] };
    let (x, dy, gamma) = (uniform(4, n * d), uniform(5, n * d), uniform(6, d));
    let (mut y, mut dx) = (vec![0.0; n * d], vec![0.0; n * d]);
    let (mut dgamma, mut dbeta) = (vec![0.0; d], vec![0.0; d]);
    layer_norm(&x, &gamma, &gamma, 1e-6, &mut y[..]);
    bits.record(&y);
    layer_norm_backward(&x, &gamma, 1e-6, &dy[..], Base::Zero, &mut dx, &mut dgamma, &mut dbeta);
    bits.record(&dx);
    bits.record(&dgamma);
    bits.record(&dbeta);
    let groups = [n / 3, n - n / 3];
    let norm = BatchNorm { groups: &groups, channels: d, eps: 1e-5 };
    let mut statistics = vec![0.0; groups.len() * 2 * d];
    norm.forward(&x, &gamma, &gamma, &mut y, &mut statistics);
    bits.record(&y);
    bits.record(&statistics);
    norm.backward(&x, &gamma, &statistics, &dy, &mut y, &mut dgamma, &mut dbeta);
    bits.record(&y);
    bits.record(&dgamma);
    bits.record(&dbeta);
    softmax_rows(&mut dx, d, 3.0);
    bits.record(&dx);
}

fn optimizer(bits: &mut Bits) {
    let n = if MIRI { 350 } else { 95_712 };
    let (mut p, gradients) = (uniform(10, n), uniform(11, n));
    let (mut m, mut v, mut average) = (vec![0.0; n], vec![0.0; n], p.clone());
    let step =
        AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 1.0 };
    step.update(&mut p, &gradients, &mut m, &mut v, None);
    step.update(&mut p, &gradients, &mut m, &mut v, Some(Ema { average: &mut average, momentum: 0.99 }));
    [p, m, v, average].iter().for_each(|x| bits.record(x));
}

#[test]
fn the_number_of_threads_leaves_no_trace_in_the_bits() {
    for isa in fast_paths() {
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| on(isa, all_results))
        };
        let one = with_threads(1);
        // Few threads get the slices of one, and take them in another order; for more of them products are cut finer.
        for threads in [3, 8, 32] {
            assert!(one == with_threads(threads), "{isa:?}: {threads} threads differ from one");
        }
    }
}

#[test]
fn a_forced_instruction_set_goes_along_to_other_threads_and_with_nothing_else() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    let selected = || selected_isa().expect("supported");
    let unforced = selected();
    pool.install(|| {
        let both = on(Isa::Portable, || join(selected, selected));
        assert_eq!(both, (Isa::Portable, Isa::Portable));
        assert_eq!(on(Isa::Portable, || on_worker(selected)), Isa::Portable);
        assert_eq!(join(selected, selected), (unforced, unforced));
        let of_all = || {
            let mut found = [None; 4];
            join_all(found.iter_mut().collect(), |found| *found = Some(selected()));
            found
        };
        assert_eq!(on(Isa::Portable, of_all), [Some(Isa::Portable); 4]);
        assert_eq!(of_all(), [Some(unforced); 4]);
    });
    // From a thread that is none of the pool's, which has to hand both over.
    assert_eq!(on(Isa::Portable, || join(selected, selected)), (Isa::Portable, Isa::Portable));
    assert_eq!(on_worker(selected), unforced);
}
