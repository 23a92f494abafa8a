//! Effective rank of features.

use faer::MatRef;

use crate::product::clear_upper_registers;

/// RankMe, the effective rank of features: exp(-sum_k p_k ln p_k) with p_k = s_k / sum_j s_j over the singular values
/// s of the rows as they are (Garrido et al. 2023, eq. 1; without its 1e-7, since p ln p is taken as 0 at p = 0).
///
/// features: [rows, dim], row-major. The result lies in [1, min(rows, dim)]; 0 if all values are zero. In `f64`, one
/// thread, O(rows * dim * min(rows, dim)).
///
/// # Panics
/// If `features` is not rows * dim long or has a value that is not finite.
pub fn effective_rank(rows: usize, dim: usize, features: &[f32]) -> f64 {
    assert_eq!(features.len(), rows * dim, "features are [rows, dim]");
    assert!(features.iter().all(|x| x.is_finite()), "features are finite");
    let wide: Vec<f64> = features.iter().map(|&x| f64::from(x)).collect();
    let singular = MatRef::from_row_major_slice(&wide, rows, dim)
        .singular_values()
        .expect("the iteration for singular values converges on finite input");
    clear_upper_registers();
    let sum: f64 = singular.iter().sum();
    if sum == 0.0 {
        return 0.0;
    }
    let entropy: f64 = singular.iter().map(|s| s / sum).filter(|&p| p > 0.0).map(|p| -p * p.ln()).sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_rows_of_equal_length_have_full_rank() {
        let identity = [3.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0];
        assert!((effective_rank(3, 4, &identity) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn parallel_rows_have_rank_one() {
        assert!((effective_rank(3, 2, &[1.0, 2.0, 2.0, 4.0, -1.0, -2.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn unequal_singular_values_count_by_their_entropy() {
        // s = (3, 1): p = (3/4, 1/4), exp(H) = (4/3)^(3/4) * 4^(1/4).
        let expected = (4f64 / 3.0).powf(0.75) * 4f64.powf(0.25);
        assert!((effective_rank(2, 2, &[0.0, 3.0, 1.0, 0.0]) - expected).abs() < 1e-12);
    }

    #[test]
    fn zero_features_have_rank_zero() {
        assert_eq!(effective_rank(2, 3, &[0.0; 6]), 0.0);
    }

    #[test]
    #[should_panic(expected = "finite")]
    fn nan_is_a_callers_bug() {
        effective_rank(1, 2, &[1.0, f32::NAN]);
    }
}
