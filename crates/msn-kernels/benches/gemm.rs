//! GFLOP/s of the matrix products by shape, beside the `gemm` crate in `f32`, on the current number of
//! threads (`RAYON_NUM_THREADS`). The shapes are the linear layers of ViT-S at 4296 tokens (8 images of
//! 224 px: a large view of 166 patches and ten focal ones of 36, each with [CLS]) and of ViT-Ti at 4480.

#![expect(unsafe_code, reason = "the interface of the gemm crate takes pointers")]

use std::hint::black_box;
use std::time::Instant;

use msn_kernels::gemm::{self as ours, Epilogue, TnOptions};
use msn_kernels::{Bf16, Dims, Isa, Precision, Source, on_worker, with_isa};

#[global_allocator]
static ALLOCATOR: msn_kernels::LineAligned = msn_kernels::LineAligned;

/// Rounds, in each of which every contender runs once, so that all meet the same state of the machine.
const ROUNDS: usize = 15;

/// One way to compute a product.
type Contender<'a> = Box<dyn FnMut(&mut [f32]) + Send + 'a>;

/// The best round of each contender, in GFLOP/s; a first round warms up. On a thread of the pool, as in training: handed over
/// from outside, small products take half as long again.
fn measure(Dims { m, n, k }: Dims, contenders: &mut [Contender<'_>]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    let mut best = vec![f64::INFINITY; contenders.len()];
    for round in 0..=ROUNDS {
        for (contender, best) in contenders.iter_mut().zip(&mut best) {
            let start = Instant::now();
            contender(&mut c);
            if round > 0 {
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
    }
    best.into_iter().map(|seconds| 2.0 * (m * n * k) as f64 / seconds / 1e9).collect()
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
    print!("{:20}{:>16}", "form m n k", "gemm crate f32");
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
                let (a, b) = (&numbers(m * k)[..], &numbers(n * k)[..]);
                let [half_a, half_b] =
                    [a, b].map(|x| x.iter().map(|x| Bf16::from_f32(*x)).collect::<Vec<_>>());
                // What is stored in bf16: activations and their gradients, which are both operands of `tn`; not weights.
                let (half_a, half_b) = (Source::Bf16(&half_a), Source::Bf16(&half_b));
                let bf16_b = if form == Form::Tn { half_b } else { Source::F32(b) };
                let mut contenders: Vec<Contender<'_>> =
                    vec![Box::new(|c: &mut [f32]| run_peer(form, dims, a, b, c))];
                for &isa in &isas {
                    for (precision, a, b) in
                        [(Precision::F32, Source::F32(a), Source::F32(b)), (Precision::Bf16, half_a, bf16_b)]
                    {
                        contenders.push(Box::new(move |c: &mut [f32]| {
                            with_isa(isa, || run_ours(form, precision, dims, a, b, c))
                                .expect("one of Isa::supported");
                        }));
                    }
                }
                print!("{:20}", format!("{name} {m} {n} {k}"));
                for rate in on_worker(|| measure(dims, &mut contenders)) {
                    print!("{rate:16.0}");
                }
                println!();
            }
        }
    }
}
