//! Position embeddings for views whose grid of patches differs from the encoder's.

use burn::tensor::{Tensor, TensorData};

/// Coefficient of the cubic convolution kernel (Keys, 1981) that PyTorch's bicubic mode uses.
const CUBIC_A: f64 = -0.75;

/// The matrix of bicubic interpolation from a grid of `from` x `from` points to one of `to` x `to`:
/// `to^2` rows of `from^2` weights, row-major, both grids row by row.
///
/// Equals `torch.nn.functional.interpolate(scale_factor=to/from, mode="bicubic", align_corners=False)`: output
/// point i is read at `(i + 1/2) from / to - 1/2`, and points outside the grid repeat its border.
///
/// # Panics
/// If a grid is empty.
pub fn bicubic_matrix(from: usize, to: usize) -> Vec<f32> {
    assert!(from > 0 && to > 0, "bicubic_matrix: empty grid ({from} -> {to})");
    let line = bicubic_line(from, to);
    let mut matrix = vec![0.0; to * to * from * from];
    for (row, weights) in matrix.chunks_exact_mut(from * from).enumerate() {
        let (y, x) = (row / to, row % to);
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = (line[y * from + column / from] * line[x * from + column % from]) as f32;
        }
    }
    matrix
}

/// One dimension of [`bicubic_matrix`]: [to, from].
fn bicubic_line(from: usize, to: usize) -> Vec<f64> {
    let mut line = vec![0.0; to * from];
    for (i, weights) in line.chunks_exact_mut(from).enumerate() {
        let source = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        for tap in -1..=2 {
            let point = source.floor() + f64::from(tap);
            let clamped = point.clamp(0.0, (from - 1) as f64) as usize;
            weights[clamped] += cubic(source - point);
        }
    }
    line
}

/// The cubic convolution kernel at distance `x`.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        CUBIC_A * (((x - 5.0) * x + 8.0) * x - 4.0)
    } else {
        0.0
    }
}

/// Patch positions for a view of `grid` x `grid` patches.
///
/// patches: [from^2, D] -> [grid^2, D]; the same tensor where the grids agree.
pub fn focal_positions(patches: Tensor<2>, grid: usize) -> Tensor<2> {
    let from = patches.dims()[0].isqrt();
    if from == grid {
        return patches;
    }
    let weights = TensorData::new(bicubic_matrix(from, grid), [grid * grid, from * from]);
    Tensor::<2>::from_data(weights, &patches.device()).matmul(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_an_affine_combination() {
        for (from, to) in [(14, 6), (8, 4), (4, 2), (7, 3), (3, 7), (1, 5)] {
            for weights in bicubic_matrix(from, to).chunks_exact(from * from) {
                let sum: f32 = weights.iter().sum();
                assert!((sum - 1.0).abs() < 1e-6, "{from} -> {to}: weights sum to {sum}");
            }
        }
    }

    #[test]
    fn equal_grids_give_the_identity() {
        let matrix = bicubic_matrix(5, 5);
        for (i, weight) in matrix.iter().enumerate() {
            assert_eq!(*weight, if i / 25 == i % 25 { 1.0 } else { 0.0 });
        }
    }
}
