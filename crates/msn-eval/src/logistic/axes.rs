//! The principal axes of the training rows, in which the regression is solved.

use faer::{MatRef, Side};

use crate::Features;
use crate::product::{clear_upper_registers, rows_by_rows, transposed};

/// Training rows in the basis of their principal axes: X = coordinates * basis, r = min(n, D) axes.
///
/// The change of basis is exact. The loss sees the weights only through X w, and the penalty does not grow under a
/// rotation, so the optimum lies in the span of the rows: n unknowns a class instead of D where there are fewer rows
/// than columns. Along the axes X^T X is diagonal, which makes the solver's preconditioner a division.
pub(super) struct Axes {
    /// [n, r].
    pub(super) coordinates: Vec<f64>,
    /// [r, D], orthonormal rows.
    basis: Vec<f64>,
    /// Eigenvalues of X^T X / n, [r], at least 0.
    pub(super) variances: Vec<f64>,
}

impl Axes {
    /// `None` if the eigenvalue iteration does not converge.
    pub(super) fn of(features: &Features) -> Option<Self> {
        let (n, dim) = (features.rows(), features.dim());
        let rows: Vec<f64> = features.data().iter().map(|&x| f64::from(x)).collect();
        if n >= dim {
            let (axes, variances) = principal(&transposed(&rows, dim), dim, n)?;
            let mut coordinates = vec![0.0; n * dim];
            rows_by_rows(&rows, &axes, dim, &mut coordinates);
            return Some(Self { coordinates, basis: axes, variances });
        }
        // X^T = Q R, so that X = R^T Q^T: the n rows of R^T are the images in the basis Q of their span.
        let qr = MatRef::from_row_major_slice(&rows, n, dim).transpose().qr();
        let (q, r) = (row_major(qr.compute_thin_Q().as_ref()), row_major(qr.thin_R()));
        clear_upper_registers();
        let (axes, variances) = principal(&r, n, n)?;
        let mut coordinates = vec![0.0; n * n];
        rows_by_rows(&transposed(&r, n), &axes, n, &mut coordinates);
        let mut basis = vec![0.0; n * dim];
        rows_by_rows(&axes, &q, n, &mut basis);
        Some(Self { coordinates, basis, variances })
    }

    /// Number of axes, r.
    pub(super) fn len(&self) -> usize {
        self.variances.len()
    }

    /// Number of columns of the features, D.
    pub(super) fn dim(&self) -> usize {
        self.basis.len() / self.len()
    }

    /// Mean of the rows of each class along the axes, [C, r]; zero for a class without rows.
    pub(super) fn class_means(&self, labels: &[usize], classes: usize) -> Vec<f64> {
        let r = self.len();
        let mut means = vec![0.0; classes * r];
        let mut counts = vec![0.0; classes];
        for (row, &class) in self.coordinates.chunks(r).zip(labels) {
            counts[class] += 1.0;
            for (mean, x) in means[class * r..][..r].iter_mut().zip(row) {
                *mean += (x - *mean) / counts[class];
            }
        }
        means
    }

    /// Weights along the axes, [C, r] -> weights for the features as given, [C, D].
    pub(super) fn weights(&self, along: &[f64]) -> Vec<f64> {
        let (r, dim) = (self.len(), self.dim());
        let mut weights = vec![0.0; along.len() / r * dim];
        rows_by_rows(along, &transposed(&self.basis, dim), r, &mut weights);
        weights
    }
}

/// columns: X^T, [r, n] -> eigenvectors of X^T X / n as rows, [r, r], and eigenvalues, [r].
fn principal(columns: &[f64], r: usize, n: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut gram = vec![0.0; r * r];
    rows_by_rows(columns, columns, n, &mut gram);
    let eigen = MatRef::from_row_major_slice(&gram, r, r).self_adjoint_eigen(Side::Lower);
    clear_upper_registers();
    let eigen = eigen.ok()?;
    // Rounding makes zero eigenvalues slightly negative.
    let variances = eigen.S().column_vector().iter().map(|v| v.max(0.0) / n as f64).collect();
    Some((row_major(eigen.U().transpose()), variances))
}

fn row_major(matrix: MatRef<'_, f64>) -> Vec<f64> {
    matrix.row_iter().flat_map(|row| row.iter().copied()).collect()
}
