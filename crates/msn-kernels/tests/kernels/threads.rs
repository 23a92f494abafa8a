//! The same bits with any number of threads.

use msn_kernels::gemm::{self, Base, Epilogue, TnOptions};
use msn_kernels::{
    AdamW, Attention, BatchNorm, Bf16, Dims, Isa, Precision, join, join_all, layer_norm_backward, on_worker,
    selected_isa, softmax_rows, sum_of_squares,
};

use crate::support::{fast_paths, on, to_bf16, uniform};

/// The bits of the results of every kernel whose work is cut into several slices.
fn all_results(isa: Isa) -> Vec<u32> {
    let mut bits = vec![];
    let mut record = |x: &[f32]| bits.extend(x.iter().map(|x| x.to_bits()));
    // Several slices of work everywhere; few enough of them for Miri, a million times slower than a processor.
    let miri = cfg!(miri);
    let dims = if miri { Dims { m: 13, n: 9, k: 70 } } else { Dims { m: 301, n: 131, k: 517 } };
    let lengths: &[usize] = if miri { &[5, 2, 1] } else { &[101, 7, 33, 1] };
    let (heads, head_dim) = if miri { (2, 5) } else { (3, 16) };
    let [n, d] = if miri { [70, 5] } else { [997, 96] };
    let (a, b) = (uniform(1, dims.m * dims.k), uniform(2, dims.n * dims.k));
    let half_b = to_bf16(&b);
    for precision in [Precision::F32, Precision::Bf16] {
        let mut c = vec![0.0; dims.m * dims.n];
        gemm::nt(precision, dims, &a[..], &half_b[..], Epilogue::store(&mut c[..]));
        record(&c);
        gemm::nn(precision, dims, &a[..], &b[..], Epilogue::store(&mut c[..]));
        record(&c);
        let mut sums = vec![0.0; dims.m];
        let options = TnOptions { row_scale: None, column_sums: Some(&mut sums) };
        gemm::tn(precision, dims, &a[..], &b[..], options, &mut c);
        record(&c);
        record(&sums);

        let attention = Attention { lengths, heads, head_dim };
        let size = lengths.iter().sum::<usize>() * heads * head_dim;
        let qkv = uniform(3, 3 * size);
        let mut out = vec![Bf16::ZERO; size];
        attention.forward(precision, &qkv[..], &mut out[..]);
        let mut d_qkv = vec![0.0; 3 * size];
        attention.backward(precision, &qkv[..], &out[..], &mut d_qkv[..]);
        record(&d_qkv);
    }
    let (x, dy, gamma) = (uniform(4, n * d), uniform(5, n * d), uniform(6, d));
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; n * d], vec![0.0; d], vec![0.0; d]);
    layer_norm_backward(&x, &gamma, 1e-6, &dy[..], Base::Zero, &mut dx, &mut dgamma, &mut dbeta);
    record(&dx);
    record(&dgamma);
    record(&dbeta);
    let groups = [n / 3, n - n / 3];
    let norm = BatchNorm { groups: &groups, channels: d, eps: 1e-5 };
    let mut statistics = vec![0.0; groups.len() * 2 * d];
    let mut y = vec![0.0; n * d];
    norm.forward(&x, &gamma, &gamma, &mut y, &mut statistics);
    record(&y);
    record(&statistics);
    norm.backward(&x, &gamma, &statistics, &dy, &mut y, &mut dgamma, &mut dbeta);
    record(&y);
    record(&dgamma);
    record(&dbeta);
    softmax_rows(&mut dx, d, 3.0);
    record(&dx);
    record(&[sum_of_squares(&x) as f32]);
    let (mut p, mut m, mut v) = (x.clone(), dy.clone(), dx.clone());
    let step =
        AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 1.0 };
    on(isa, || step.update(&mut p, &dy, &mut m, &mut v, None));
    record(&p);
    bits
}

#[test]
fn the_number_of_threads_leaves_no_trace_in_the_bits() {
    for isa in fast_paths() {
        let with_threads = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| on(isa, || all_results(isa)))
        };
        let one = with_threads(1);
        assert!(one == with_threads(2), "{isa:?}: two threads differ from one");
        assert!(one == with_threads(3), "{isa:?}: three threads differ from one");
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
