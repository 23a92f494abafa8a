//! Where a tensor's numbers are in a file, and how to get them out.

use std::io::{self, Read, SeekFrom};
use std::path::Path;

use safetensors::Dtype;

use super::Input;
use crate::checksum::Summed;
use crate::error::{Result, StoreError};
use crate::tensors::{self, Array};

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) bytes: u64,
    /// Their checksum, where the file has one.
    pub(super) crc32: Option<u32>,
}

/// A tensor in a file: a view of the numbers in one place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    dtype: Dtype,
    place: Place,
    /// Number in that place that comes first.
    offset: usize,
    pub(super) shape: Vec<usize>,
    /// Numbers from one element of a dimension to the next; `None` for an array without gaps, last dimension fastest.
    strides: Option<Vec<usize>>,
}

impl Slot {
    /// All the numbers in a place, last dimension fastest.
    pub(super) fn contiguous(dtype: Dtype, shape: Vec<usize>, place: Place) -> Self {
        Self { dtype, place, offset: 0, shape, strides: None }
    }

    /// A view whose elements all lie in the place.
    pub(super) fn view(
        dtype: Dtype,
        place: Place,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Self {
        let strides = (!is_contiguous(&shape, &strides)).then_some(strides);
        Self { dtype, place, offset, shape, strides }
    }

    /// Reads the tensor. `name` and `path` are for messages.
    pub(super) fn read(&self, path: &Path, name: &str, input: &mut Box<dyn Input>) -> Result<Array> {
        let Some(convert) = tensors::converter(self.dtype) else {
            return Err(StoreError::Dtype { path: path.into(), tensor: name.into(), found: self.dtype });
        };
        let read_error = || StoreError::io(path, "read");
        let elements: usize = self.shape.iter().product();
        if elements == 0 {
            return Ok(Array::new(self.shape.clone(), Vec::new()));
        }
        // As far as the last element of the view.
        let span = match &self.strides {
            None => elements,
            Some(strides) => {
                1 + self.shape.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>()
            }
        };
        let size = (self.dtype.bitsize() / 8) as u64;
        let (skipped, wanted) = (self.offset as u64 * size, span as u64 * size);
        input.seek(SeekFrom::Start(self.place.start)).map_err(read_error())?;
        let mut bytes = Summed::new(input.by_ref().take(self.place.bytes));
        io::copy(&mut bytes.by_ref().take(skipped), &mut io::sink()).map_err(read_error())?;
        let values = tensors::read_values(&mut bytes, wanted as usize, span, convert).map_err(read_error())?;
        if let Some(expected) = self.place.crc32 {
            io::copy(&mut bytes.by_ref(), &mut io::sink()).map_err(read_error())?;
            let (_, found) = bytes.finish();
            if found != expected {
                return Err(StoreError::Checksum { path: path.into(), expected, found });
            }
        }
        let data = match &self.strides {
            None => values,
            Some(strides) => gather(&values, &self.shape, strides),
        };
        Ok(Array::new(self.shape.clone(), data))
    }
}

fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        // The stride of a dimension of one element is never used.
        let fits = size == 1 || stride == expected;
        expected = expected.saturating_mul(size);
        fits
    })
}

/// The elements of a view, last dimension fastest.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let elements = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut data = Vec::with_capacity(elements);
    while data.len() < elements {
        data.push(values[at]);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            at += strides[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            at -= index[dimension] * strides[dimension];
            index[dimension] = 0;
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_gathered_row_by_row() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        // [[0, 1, 2], [3, 4, 5]] transposed.
        assert!(!is_contiguous(&[3, 2], &[1, 3]));
        assert_eq!(gather(&values, &[3, 2], &[1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // Every second column.
        assert_eq!(gather(&values, &[2, 2], &[3, 2]), [0.0, 2.0, 3.0, 5.0]);
        assert!(is_contiguous(&[2, 1, 3], &[3, 77, 1]));
    }
}
