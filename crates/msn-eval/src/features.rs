//! Rows of numbers, one an image.

use rayon::prelude::*;

use crate::Error;

/// Finite features, row-major: one row an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    rows: usize,
    dim: usize,
    data: Vec<f32>,
}

impl Features {
    /// data: [rows, dim], row-major.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or columns, [`Error::Length`] if `data` is not rows x dim long,
    /// [`Error::NotFinite`] for the first value that is NaN or infinite.
    pub fn new(rows: usize, dim: usize, data: Vec<f32>) -> Result<Self, Error> {
        if rows == 0 || dim == 0 {
            return Err(Error::Empty { rows, dim });
        }
        if rows.checked_mul(dim) != Some(data.len()) {
            return Err(Error::Length { rows, dim, found: data.len() });
        }
        if let Some(at) = data.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite { row: at / dim, column: at % dim, found: data[at] });
        }
        Ok(Self { rows, dim, data })
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, at least 1.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, [rows, dim] row-major.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// [`data`](Self::data), without a copy.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// One row, [dim].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.dim..][..self.dim]
    }

    /// The rows of the given numbers in the given order.
    ///
    /// # Panics
    /// If `rows` is empty or names a row that there is not.
    pub fn select(&self, rows: &[usize]) -> Self {
        assert!(!rows.is_empty(), "a selection of no row");
        let data = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self { rows: rows.len(), dim: self.dim, data }
    }

    /// All rows, some at a time.
    ///
    /// # Panics
    /// If `rows` is 0.
    pub(crate) fn blocks(&self, rows: usize) -> impl Iterator<Item = Self> {
        let block = |data: &[f32]| Self { rows: data.len() / self.dim, dim: self.dim, data: data.to_vec() };
        self.data.chunks(rows * self.dim).map(block)
    }

    /// Subtracts from each row its own mean and divides it by its L2 norm; a row of equal values becomes zero.
    ///
    /// This is the preprocessing of the low-shot protocol: it makes one penalty fit encoders of any scale.
    pub fn normalise(mut self) -> Self {
        normalise_rows(&mut self.data, self.dim);
        self
    }

    /// Fails unless `other` has as many columns.
    pub(crate) fn check_dim(&self, other: &Self) -> Result<(), Error> {
        if self.dim == other.dim {
            return Ok(());
        }
        Err(Error::Dimension { expected: self.dim, found: other.dim })
    }
}

/// [`Features::normalise`] on rows of `dim` columns.
pub(crate) fn normalise_rows(data: &mut [f32], dim: usize) {
    data.par_chunks_mut(dim).for_each(|row| {
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64;
        // What rounding leaves of a row of equal values is no direction.
        let largest = row.iter().fold(0f32, |m, x| m.max(x.abs()));
        let floor = f64::from(largest) * f64::from(f32::EPSILON) * (row.len() as f64).sqrt();
        scale_to_unit(row, mean, floor);
    });
}

/// Fills `out` with the rows of `data`, [rows, dim], divided by their L2 norms; zero rows stay zero.
pub(crate) fn unit_rows_into(data: &[f32], dim: usize, out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(data);
    out.chunks_mut(dim).for_each(|row| scale_to_unit(row, 0.0, 0.0));
}

/// row = (row - mean) / |row - mean|, or zero where that norm is at most `floor`.
fn scale_to_unit(row: &mut [f32], mean: f64, floor: f64) {
    let centred = |x: f32| f64::from(x) - mean;
    let norm = row.iter().map(|&x| centred(x).powi(2)).sum::<f64>().sqrt();
    let inverse = if norm > floor { 1.0 / norm } else { 0.0 };
    for x in row {
        *x = (centred(*x) * inverse) as f32;
    }
}

/// Features with the class name of each row.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    features: Features,
    labels: Vec<String>,
}

impl Labelled {
    /// labels: class names, one a row of `features`.
    ///
    /// # Errors
    /// [`Error::LabelCount`] if their numbers differ.
    pub fn new(features: Features, labels: Vec<String>) -> Result<Self, Error> {
        if features.rows() != labels.len() {
            return Err(Error::LabelCount { rows: features.rows(), found: labels.len() });
        }
        Ok(Self { features, labels })
    }

    /// The rows of the given numbers in the given order, with their classes.
    ///
    /// # Panics
    /// As [`Features::select`].
    pub fn select(&self, rows: &[usize]) -> Self {
        let labels = rows.iter().map(|&row| self.labels[row].clone()).collect();
        Self { features: self.features.select(rows), labels }
    }

    /// The rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The class name of each row.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }
}
