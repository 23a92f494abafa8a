//! An encoder for images of another size.

use msn_model::{Array, bicubic_matrix, take_tensor};

use super::SavedEncoder;

/// [CLS] first, then the patches row by row: [1, 1 + N, D].
const POSITIONS: &str = "pos_embed";

impl SavedEncoder {
    /// The encoder for images of `size` pixels: positions of patches are interpolated bicubically to the new grid, as
    /// for focal views ([`bicubic_matrix`]); that of [CLS] and all other weights stay.
    ///
    /// # Errors
    /// [`msn_model::Error::Config`] unless the size is a multiple of the patch size and in range;
    /// [`msn_model::Error::MissingTensor`] or [`msn_model::Error::TensorShape`] if the positions are not those of the
    /// architecture.
    pub fn with_image_size(mut self, size: usize) -> Result<Self, msn_model::Error> {
        self.config.validate()?;
        let from = self.config.grid(self.config.image_size);
        self.config.image_size = size;
        self.config.validate()?;
        let (to, dim) = (self.config.grid(size), self.config.dim);
        if from == to {
            return Ok(self);
        }
        let old = take_tensor(&mut self.weights, "", POSITIONS, &[1, 1 + from * from, dim])?;
        let (cls, patches) = old.data.split_at(dim);
        let mut positions = cls.to_vec();
        positions.resize((1 + to * to) * dim, 0.0);
        let weights = bicubic_matrix(from, to);
        for (row, weights) in positions[dim..].chunks_mut(dim).zip(weights.chunks(from * from)) {
            for (old, weight) in patches.chunks(dim).zip(weights) {
                row.iter_mut().zip(old).for_each(|(sum, old)| *sum += weight * old);
            }
        }
        self.weights.insert(POSITIONS.to_owned(), Array::new(vec![1, 1 + to * to, dim], positions));
        Ok(self)
    }
}
