//! Resizing, to the same bits on every path.

use msn_kernels::Isa;
use msn_kernels::resize::{ONE, Part, Taps, resize};

use crate::support::{fast_paths, on, uniform};

/// Pixels of the part, and targets, along one axis: one; primes; around the blocks of 21 pixels and the groups of 16
/// targets; enlarged; reduced further than a window of 64 words takes; an odd number of taps.
const AXES: [[usize; 2]; 14] = [
    [1, 1],
    [1, 7],
    [2, 3],
    [7, 5],
    [10, 4],
    [11, 16],
    [21, 16],
    [22, 17],
    [43, 33],
    [64, 31],
    [107, 48],
    [130, 15],
    [251, 96],
    [997, 20],
];

fn axes() -> impl Iterator<Item = [usize; 2]> {
    let largest = if cfg!(miri) { 11 } else { usize::MAX };
    AXES.into_iter().filter(move |[source, _]| *source <= largest)
}

/// First sources and weights of an axis: as many taps as an antialiased reduction has, of weights that differ, and that
/// begin anywhere, ever later or, as of a mirrored image, ever earlier.
fn axis(source: usize, size: usize, mirrored: bool, seed: u64) -> (Vec<u32>, Vec<i16>) {
    let taps = (2 * source).div_ceil(size).max(2).min(source);
    let place = |i: usize| (i * (source - taps) / size.max(2)) as u32;
    let starts = (0..size).map(|i| place(if mirrored { size - 1 - i } else { i })).collect();
    let weights = uniform(seed, size * taps).chunks_exact(taps).flat_map(weights).collect();
    (starts, weights)
}

/// Weights that sum to one, some of them 0.
fn weights(random: &[f32]) -> Vec<i16> {
    let heights: Vec<f32> = random.iter().map(|x| x.max(0.0)).collect();
    let sum: f32 = heights.iter().sum();
    let mut weights: Vec<i16> = heights.iter().map(|h| (h / sum * f32::from(ONE)) as i16).collect();
    weights[0] += ONE - weights.iter().sum::<i16>();
    weights
}

/// The bytes of a part with a margin on all sides but the end, which is the end of the memory, and its stride.
fn bytes(width: usize, height: usize) -> (Vec<u8>, usize) {
    let stride = 3 * width + 5;
    let mut bytes: Vec<u8> =
        uniform(7, stride * height).into_iter().map(|x| (x * 200.0 + 128.0) as u8).collect();
    bytes.truncate(stride * (height - 1) + 3 * width);
    (bytes, stride)
}

fn resized(isa: Isa, [columns, rows]: [[usize; 2]; 2], mirrored: bool) -> [Vec<f32>; 3] {
    let ((starts, weights), (row_starts, row_weights)) =
        (axis(columns[0], columns[1], mirrored, 1), axis(rows[0], rows[1], false, 2));
    let (bytes, stride) = bytes(columns[0], rows[0]);
    let mut planes = [(); 3].map(|()| vec![f32::NAN; columns[1] * rows[1]]);
    on(isa, || {
        resize(
            Part { bytes: &bytes, stride, width: columns[0] },
            Taps::new(&starts, &weights),
            Taps::new(&row_starts, &row_weights),
            planes.each_mut().map(|plane| &mut plane[..]),
        );
    });
    planes
}

#[test]
fn resizing_has_the_same_bits_on_every_path() {
    for columns in axes() {
        // Four rows a band, and what is left over; an odd and an even number of taps.
        for rows in [[1, 1], [5, 3], [9, 4], [13, 9]] {
            for mirrored in [false, true] {
                let expected = resized(Isa::Plain, [columns, rows], mirrored);
                for isa in fast_paths() {
                    let found = resized(isa, [columns, rows], mirrored);
                    assert!(found == expected, "{isa:?} {columns:?} {rows:?} mirrored {mirrored}");
                }
            }
        }
    }
}

#[test]
fn resizing_is_the_weighted_mean_of_the_pixels() {
    for columns in axes() {
        let rows = [9, 4];
        let ((starts, weights), (row_starts, row_weights)) =
            (axis(columns[0], columns[1], false, 1), axis(rows[0], rows[1], false, 2));
        let (bytes, stride) = bytes(columns[0], rows[0]);
        let found = resized(Isa::Plain, [columns, rows], false);
        let share = |weight: i16| f64::from(weight) / f64::from(ONE);
        for (place, channel) in (0..columns[1] * rows[1]).flat_map(|place| [0, 1, 2].map(|c| (place, c))) {
            let (x, y) = (place % columns[1], place / columns[1]);
            let (taps, row_taps) = (weights.len() / columns[1], row_weights.len() / rows[1]);
            let mut mean = 0.0;
            for (j, i) in (0..row_taps).flat_map(|j| (0..taps).map(move |i| (j, i))) {
                let (row, column) = (row_starts[y] as usize + j, starts[x] as usize + i);
                let level = f64::from(bytes[row * stride + 3 * column + channel]);
                mean += share(row_weights[y * row_taps + j]) * share(weights[x * taps + i]) * level;
            }
            let off = (f64::from(found[channel][place]) - mean).abs();
            // Rounded once, to 1/128 of a level, and to f32.
            assert!(off <= 1.0 / 256.0 + 2e-5, "{columns:?} at {x}, {y}: off by {off}");
        }
    }
}

#[test]
fn the_largest_levels_do_not_overflow() {
    // The largest sums: white pixels, one weight of one, and equal weights.
    for weights in [&[ONE][..], &[ONE / 2; 2], &[ONE / 8; 8], &[1; ONE as usize]] {
        let taps = weights.len();
        let bytes = vec![255; 3 * taps * taps.min(8)];
        for isa in Isa::supported() {
            let mut planes = [[f32::NAN]; 3];
            let row_weights = &weights[..taps.min(8)];
            let row_weights = if taps <= 8 { row_weights } else { &[ONE / 8; 8] };
            on(isa, || {
                let columns = Taps::new(&[0], weights);
                let part = Part { bytes: &bytes, stride: 3 * taps, width: taps };
                resize(part, columns, Taps::new(&[0], row_weights), planes.each_mut().map(|p| &mut p[..]));
            });
            assert_eq!(planes, [[255.0]; 3], "{isa:?}, {taps} taps");
        }
    }
}

#[test]
#[should_panic(expected = "resize: a column 4 of 4")]
fn taps_outside_the_part_are_refused() {
    let mut planes = [[0.0]; 3];
    let part = Part { bytes: &[0; 12], stride: 12, width: 4 };
    let columns = [ONE / 2, ONE / 2];
    resize(part, Taps::new(&[3], &columns), Taps::new(&[0], &[ONE]), planes.each_mut().map(|p| &mut p[..]));
}

#[test]
#[should_panic(expected = "resize: 2 rows of 12 bytes, 12 apart, in 23 bytes")]
fn rows_outside_the_part_are_refused() {
    let mut planes = [[0.0]; 3];
    let part = Part { bytes: &[0; 23], stride: 12, width: 4 };
    resize(part, Taps::new(&[0], &[ONE]), Taps::new(&[1], &[ONE]), planes.each_mut().map(|p| &mut p[..]));
}

#[test]
#[should_panic(expected = "the sum 16383")]
fn weights_that_do_not_sum_to_one_are_refused() {
    Taps::new(&[0], &[ONE - 1]);
}

#[test]
#[should_panic(expected = "pixels, expected at most 1431655765")]
fn a_width_whose_bytes_wrap_is_refused() {
    // Three times as many wrap to 2.
    let width = usize::MAX / 3 + 1;
    let part = Part { bytes: &[0; 100], stride: 100, width };
    let mut planes = [[0.0]; 3];
    resize(part, Taps::new(&[0], &[ONE]), Taps::new(&[0], &[ONE]), planes.each_mut().map(|p| &mut p[..]));
}
