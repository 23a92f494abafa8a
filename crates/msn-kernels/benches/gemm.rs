//! GFLOP/s of the matrix products by shape, beside the `gemm` crate in `f32`, on the current number of
//! threads (`RAYON_NUM_THREADS`). The shapes are the linear layers of ViT-S at 4296 tokens (8 images of
//! 224 px: a large view of 166 patches and ten focal ones of 36, each with [CLS]) and of ViT-Ti at 4480.

#![expect(unsafe_code, reason = "the interface of the gemm crate takes pointers")]

use std::hint::black_box;
use std::time::Instant;

use msn_kernels::gemm::{self as ours, Epilogue, TnOptions};
use msn_kernels::{Bf16, Dims, Isa, Precision, Source, with_isa};

/// The best of several rounds, in GFLOP/s.
fn measure(Dims { m, n, k }: Dims, mut f: impl FnMut()) -> f64 {
    let flops = 2.0 * (m * n * k) as f64;
    f();
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    flops / best / 1e9
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Nt,
    Nn,
    Tn,
}

fn run_ours(form: Form, precision: Precision, dims: Dims, a: Source<'_>, b: Source<'_>, c: &mut [f32]) {
    match form {
        Form::Nt => ours::nt(precision, dims, a, b, Epilogue::store(&mut *c)),
        Form::Nn => ours::nn(precision, dims, a, b, Epilogue::store(&mut *c)),
        Form::Tn => ours::tn(precision, dims, a, b, TnOptions::default(), c),
    }
    black_box(c);
}

fn run_peer(form: Form, Dims { m, n, k }: Dims, a: &[f32], b: &[f32], c: &mut [f32]) {
    let (a_row, a_column) = if form == Form::Tn { (1, m) } else { (k, 1) };
    let (b_row, b_column) = if form == Form::Nt { (1, k) } else { (n, 1) };
    let threads = gemm::Parallelism::Rayon(rayon::current_num_threads());
    // SAFETY: the strides are those of the row-major matrices, whose lengths `main` takes from `dims`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
    black_box(c);
}

fn main() {
    let isas: Vec<Isa> = Isa::supported().filter(|isa| *isa > Isa::Portable).collect();
    print!("{:28}{:>10}", "form m n k", "gemm f32");
    for isa in &isas {
        print!("{:>16}{:>16}", format!("{} f32", isa.name()), format!("{} bf16", isa.name()));
    }
    println!("   GFLOP/s, {} threads", rayon::current_num_threads());
    for (tokens, width) in [(4296, 384), (4480, 192)] {
        for [input, output] in [[1, 3], [1, 1], [1, 4], [4, 1]] {
            let (input, output) = (input * width, output * width);
            for (form, name, [m, n, k]) in [
                (Form::Nt, "nt", [tokens, output, input]),
                (Form::Nn, "nn", [tokens, input, output]),
                (Form::Tn, "tn", [output, input, tokens]),
            ] {
                let dims = Dims { m, n, k };
                let (a, b, mut c) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
                let half = |x: &[f32]| x.iter().map(|x| Bf16::from_f32(*x)).collect::<Vec<_>>();
                let half_a = half(&a);
                let peer = measure(dims, || run_peer(form, dims, &a, &b, &mut c));
                print!("{:28}{peer:10.0}", format!("{name} {m} {n} {k}"));
                for isa in &isas {
                    for (precision, a) in
                        [(Precision::F32, Source::F32(&a)), (Precision::Bf16, Source::Bf16(&half_a))]
                    {
                        let run = || run_ours(form, precision, dims, a, Source::F32(&b), &mut c);
                        let rate = with_isa(*isa, || measure(dims, run)).expect("one of Isa::supported");
                        print!("{rate:16.0}");
                    }
                }
                println!();
            }
        }
    }
}
