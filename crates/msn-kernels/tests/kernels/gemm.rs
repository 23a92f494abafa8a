use msn_kernels::gemm::{self, Base, Epilogue, TnOptions};
use msn_kernels::{Bf16, Dims, Isa, Precision, Source};

use crate::support::{BF16_ROUNDING, F32_ROUNDING, assert_close, fast_paths, on, to_bf16, to_f32, uniform};

/// One row, column and term; primes; around the tiles (12 x 32, 6 x 16, 6 x 8); over the blocks of the
/// inner dimension (256 words, 768 in the gradients of weights); many rows; whole tiles of rows, which are read in place
/// unless they are a multiple of 2 KiB long.
const SIZES: [[usize; 3]; 23] = [
    [1, 1, 1],
    [1, 7, 2],
    [2, 1, 3],
    [3, 16, 1],
    [5, 17, 31],
    [6, 32, 32],
    [7, 33, 64],
    [12, 32, 256],
    [13, 31, 257],
    [25, 65, 511],
    [11, 48, 513],
    [4, 5, 1031],
    [37, 13, 1537],
    [121, 97, 19],
    [241, 40, 7],
    [12, 331, 9],
    [24, 33, 514],
    [28, 40, 700],
    [12, 16, 1024],
    [3, 4, 0],
    [3, 0, 5],
    [0, 3, 5],
    [12, 32, 0],
];

/// For Miri, a million times slower than a processor: around the tile of its vectors (6 x 8), over every block of the
/// inner dimension; whole tiles, which are finished in registers, of one block and of more.
const MIRI_SIZES: [[usize; 3]; 7] =
    [[1, 1, 1], [7, 3, 2], [2, 9, 3], [1, 2, 771], [3, 4, 0], [6, 8, 3], [6, 8, 520]];

fn sizes() -> impl Iterator<Item = Dims> {
    let sizes = if cfg!(miri) { &MIRI_SIZES[..] } else { &SIZES };
    sizes.iter().map(|&[m, n, k]| Dims { m, n, k })
}

/// Operands in both types.
struct Operand {
    f32: Vec<f32>,
    bf16: Vec<Bf16>,
}

impl Operand {
    fn new(seed: u64, len: usize) -> Self {
        let f32 = uniform(seed, len);
        let bf16 = to_bf16(&f32);
        Self { f32, bf16 }
    }

    fn sources(&self) -> [Source<'_>; 2] {
        [Source::F32(&self.f32), Source::Bf16(&self.bf16)]
    }
}

/// Bound on the error of a sum of `k` products below 1 in magnitude: partial sums are near sqrt(k) / 3
/// and each of the k additions rounds at random, which makes k roundings / 6; six times that.
fn tolerance(k: usize) -> f32 {
    (k as f32 + 4.0) * F32_ROUNDING
}

/// Calls `f` for all sizes, precisions, element types of the operands and fast paths.
fn for_each_case(mut f: impl FnMut(Isa, Precision, Dims, Source<'_>, Source<'_>, &str)) {
    for dims in sizes() {
        let (a, b) = (Operand::new(1, dims.m * dims.k), Operand::new(2, dims.n * dims.k));
        for precision in [Precision::F32, Precision::Bf16] {
            for a in a.sources() {
                for b in b.sources() {
                    for isa in fast_paths() {
                        let kind = |s: &Source| if matches!(s, Source::F32(_)) { "f32" } else { "bf16" };
                        let what = format!("{isa:?} {precision:?} {dims:?} {} {}", kind(&a), kind(&b));
                        f(isa, precision, dims, a, b, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn products_agree_with_the_plain_twin() {
    type Form = fn(Precision, Dims, Source<'_>, Source<'_>, &mut [f32]);
    let forms: [(&str, Form); 3] = [
        ("nt", |p, d, a, b, out| {
            gemm::nt(p, d, a, b, Epilogue::Store { bias: None, row_scale: None, out: out.into() })
        }),
        ("nn", |p, d, a, b, out| {
            gemm::nn(p, d, a, b, Epilogue::Store { bias: None, row_scale: None, out: out.into() })
        }),
        ("tn", |p, d, a, b, out| gemm::tn(p, d, a, b, TnOptions::default(), out)),
    ];
    for_each_case(|isa, precision, dims, a, b, what| {
        for (name, form) in forms {
            let run = |isa| {
                let mut out = vec![f32::NAN; dims.m * dims.n];
                on(isa, || form(precision, dims, a, b, &mut out));
                out
            };
            let what = format!("{name} {what}");
            assert_close(&run(isa), &run(Isa::Plain), tolerance(dims.k), F32_ROUNDING, &what);
        }
    });
}

#[test]
fn the_plain_product_is_the_sum_over_the_inner_dimension() {
    // C = [[1, 2, 3], [4, 5, 6]] [[7, 10], [8, 11], [9, 12]], by hand; all numbers are exact in bf16.
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0_f32], [7.0, 10.0, 8.0, 11.0, 9.0, 12.0_f32]);
    let (a_t, b_t) = ([1.0, 4.0, 2.0, 5.0, 3.0, 6.0_f32], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0_f32]);
    let dims = Dims { m: 2, n: 2, k: 3 };
    for isa in Isa::supported() {
        for precision in [Precision::F32, Precision::Bf16] {
            on(isa, || {
                let mut c = [[0.0; 4]; 3];
                let [nn, nt, tn] = &mut c;
                gemm::nn(precision, dims, &a[..], &b[..], Epilogue::store(&mut nn[..]));
                gemm::nt(precision, dims, &a[..], &b_t[..], Epilogue::store(&mut nt[..]));
                gemm::tn(precision, dims, &a_t[..], &b[..], TnOptions::default(), tn);
                assert_eq!(c, [[50.0, 68.0, 122.0, 167.0]; 3], "{isa:?} {precision:?}");
            });
        }
    }
}

/// The results of all epilogues for one product, in `f32` and in bf16.
fn epilogues(
    precision: Precision,
    dims: Dims,
    a: Source<'_>,
    b: Source<'_>,
) -> Vec<(&'static str, Vec<f32>, Vec<f32>)> {
    let Dims { m, n, .. } = dims;
    let (bias, scale, base) = (uniform(3, n), uniform(4, m), Operand::new(5, m * n));
    let (bias, row_scale) = (Some(&bias[..]), Some(&scale[..]));
    let run = |epilogue: Epilogue<'_>| gemm::nt(precision, dims, a, b, epilogue);
    let mut results = vec![];
    let (mut out, mut half) = (vec![f32::NAN; m * n], vec![Bf16::NAN; m * n]);
    let (mut pre, mut half_pre) = (out.clone(), half.clone());

    run(Epilogue::Store { bias, row_scale, out: out[..].as_mut().into() });
    run(Epilogue::Store { bias, row_scale, out: half[..].as_mut().into() });
    results.push(("store", out.clone(), to_f32(&half)));

    run(Epilogue::Gelu { bias, pre: Some(pre[..].as_mut().into()), act: out[..].as_mut().into() });
    run(Epilogue::Gelu { bias, pre: Some(half_pre[..].as_mut().into()), act: half[..].as_mut().into() });
    results.push(("pre", pre.clone(), to_f32(&half_pre)));
    results.push(("gelu", out.clone(), to_f32(&half)));
    out.fill(f32::NAN);
    half.fill(Bf16::NAN);
    run(Epilogue::Gelu { bias, pre: None, act: out[..].as_mut().into() });
    run(Epilogue::Gelu { bias, pre: None, act: half[..].as_mut().into() });
    results.push(("gelu alone", out.clone(), to_f32(&half)));

    let gelu_grad = |pre, out, act| Epilogue::GeluGrad { pre, row_scale, out, act };
    run(gelu_grad(base.sources()[0], out[..].as_mut().into(), pre[..].as_mut().into()));
    run(gelu_grad(base.sources()[1], half[..].as_mut().into(), half_pre[..].as_mut().into()));
    results.push(("gelu grad", out.clone(), to_f32(&half)));
    results.push(("gelu again", pre, to_f32(&half_pre)));

    let mut in_place = base.f32.clone();
    run(Epilogue::Add { bias, row_scale, base: Base::Slice(&base.f32), out: &mut out });
    run(Epilogue::Add { bias, row_scale, base: Base::Output, out: &mut in_place });
    results.push(("add", out.clone(), in_place));
    run(Epilogue::Add { bias: None, row_scale: None, base: Base::Zero, out: &mut out });
    results.push(("add to zero", out.clone(), out));
    results
}

#[test]
fn epilogues_agree_with_the_plain_twin() {
    for_each_case(|isa, precision, dims, a, b, what| {
        let found = on(isa, || epilogues(precision, dims, a, b));
        let expected = on(Isa::Plain, || epilogues(precision, dims, a, b));
        // Beside the sum, the approximation of Phi (1e-7) times an argument of about sqrt(k) at most.
        let absolute = tolerance(dims.k) * 1.2 + 2e-7 * (1.0 + (dims.k as f32).sqrt());
        for ((name, found, found_half), (_, expected, expected_half)) in found.iter().zip(&expected) {
            let what = format!("{name} {what}");
            assert_close(found, expected, absolute, 4.0 * F32_ROUNDING, &what);
            // What is rounded anyway is computed to 3e-5, times the element of the product where it is a slope. Numbers
            // on either side of a tie round to neighbours, two roundings apart.
            let coarse = match *name {
                "gelu grad" => 3e-5 * (1.0 + (dims.k as f32).sqrt()),
                "gelu" | "gelu alone" | "gelu again" => 3e-5,
                _ => 0.0,
            };
            assert_close(found_half, expected_half, absolute + coarse, 2.0 * BF16_ROUNDING, &what);
        }
    });
}

#[test]
fn weight_gradients_scale_rows_and_sum_columns() {
    for_each_case(|isa, precision, dims, a, b, what| {
        let scale = uniform(6, dims.k);
        let run = |isa| {
            let (mut out, mut sums) = (vec![f32::NAN; dims.m * dims.n], vec![f32::NAN; dims.m]);
            let options = TnOptions { row_scale: Some(&scale), column_sums: Some(&mut sums) };
            on(isa, || gemm::tn(precision, dims, a, b, options, &mut out));
            (out, sums)
        };
        let ((found, found_sums), (expected, sums)) = (run(isa), run(Isa::Plain));
        assert_close(&found, &expected, tolerance(dims.k), F32_ROUNDING, what);
        assert_close(&found_sums, &sums, tolerance(dims.k), F32_ROUNDING, what);
    });
}

#[test]
#[cfg_attr(miri, ignore = "a statement about rounding, on a large product")]
fn bf16_products_differ_from_f32_ones_by_the_rounding_of_the_operands() {
    let dims = Dims { m: 40, n: 50, k: 384 };
    let (a, b) = (uniform(1, dims.m * dims.k), uniform(2, dims.n * dims.k));
    let run = |precision| {
        let mut out = vec![0.0; dims.m * dims.n];
        gemm::nt(precision, dims, &a[..], &b[..], Epilogue::store(&mut out[..]));
        out
    };
    let (half, single) = (run(Precision::Bf16), run(Precision::F32));
    assert_ne!(half, single);
    // Two operands a product, each off by up to 2^-9 of its magnitude, about 0.2 of that at random; the
    // sum of 384 such errors of products of about 1/3 is sqrt(384) * 2 * 2^-9 / 3 * 0.6 = 0.015; six times.
    assert_close(&half, &single, 0.09, 0.0, "bf16 against f32");
}

#[test]
#[should_panic(expected = "gemm: B has 5 elements, expected [2, 3]")]
fn an_operand_of_the_wrong_length_is_refused() {
    let (a, b, mut out) = ([0.0_f32; 3], [0.0_f32; 5], [0.0; 2]);
    gemm::nt(Precision::F32, Dims { m: 1, n: 2, k: 3 }, &a[..], &b[..], Epilogue::store(&mut out[..]));
}

#[test]
#[should_panic(expected = "gemm: the bias has 1 elements, expected [2]")]
fn a_bias_of_the_wrong_length_is_refused() {
    let (a, b, mut out) = ([0.0_f32; 3], [0.0_f32; 6], [0.0; 2]);
    gemm::nt(Precision::F32, Dims { m: 1, n: 2, k: 3 }, &a[..], &b[..], Epilogue::bias(&[0.0], &mut out[..]));
}

#[test]
#[should_panic(expected = "gemm: A has 0 elements, expected [")]
fn dimensions_whose_product_wraps_to_the_length_are_refused() {
    let (huge, mut out) = (1 << (usize::BITS / 2), [0.0; 0]);
    let dims = Dims { m: huge, n: 0, k: huge };
    gemm::nt(Precision::F32, dims, &[0.0_f32; 0][..], &[0.0_f32; 0][..], Epilogue::store(&mut out[..]));
}

#[test]
#[should_panic(expected = "gemm: the output has 0 elements, expected [")]
fn an_output_whose_length_wraps_is_refused() {
    let (huge, mut out) = (1 << (usize::BITS / 2), [0.0; 0]);
    let (dims, empty) = (Dims { m: huge, n: huge, k: 0 }, &[0.0_f32; 0][..]);
    // Where nothing refuses it, this path ends at the first element, the others at each slice of work.
    on(Isa::Plain, || gemm::nt(Precision::F32, dims, empty, empty, Epilogue::store(&mut out[..])));
}
