use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use msn_kernels::zeros;
use rayon::prelude::*;

/// One view of every image of a batch, cut into the patches that the encoder will see.
///
/// Patches that the mask drops are left out here already, on the host: they are never copied to the device.
#[derive(Clone, Debug)]
pub struct View {
    /// Flattened patches, image by image: [B * n, 3 * P * P], channel-major within a patch.
    pub(crate) patches: Tensor<2>,
    /// Which patches of the grid are present.
    pub(crate) kept: Kept,
    /// Number of images B.
    pub(crate) batch: usize,
    /// Patches along a side of the whole view.
    pub(crate) grid: usize,
}

/// Places in the grid of the patches that a view still has.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// Every patch of the grid.
    All,
    /// The same places in every image: [n].
    Shared(Arc<[u32]>),
    /// Places of each image, one image after the other: [B * n].
    PerImage(Arc<[u32]>),
}

impl View {
    /// Cuts views into patches.
    ///
    /// pixels: [batch, 3, size, size], row-major. `keep` holds the kept patches' places in the grid (row by row
    /// from the top left): one list for all images, or a list an image, all equally long.
    ///
    /// # Panics
    /// If `pixels` has not `batch * 3 * size^2` elements, `size` is no multiple of `patch_size`, or `keep` has
    /// neither one list nor `batch` lists of equal length with places inside the grid.
    pub fn new(
        pixels: &[f32],
        batch: usize,
        size: usize,
        patch_size: usize,
        keep: Option<&[Vec<u32>]>,
        device: &Device,
    ) -> Self {
        assert_eq!(pixels.len(), batch * 3 * size * size, "View: pixels of [{batch}, 3, {size}, {size}]");
        assert!(size > 0 && size.is_multiple_of(patch_size), "View: {size} px in patches of {patch_size} px");
        let grid = size / patch_size;
        let all: Vec<u32> = (0..(grid * grid) as u32).collect();
        let lists = keep.unwrap_or(std::slice::from_ref(&all));
        let count = lists.first().map_or(0, Vec::len);
        assert!(lists.len() == 1 || lists.len() == batch, "View: {} masks for {batch} images", lists.len());
        assert!(count > 0 && lists.iter().all(|list| list.len() == count), "View: masks of unequal lengths");
        assert!(
            lists.iter().flatten().all(|&place| (place as usize) < grid * grid),
            "View: mask outside grid"
        );

        let width = 3 * patch_size * patch_size;
        let mut patches = zeros(batch * count * width);
        let images =
            patches.par_chunks_exact_mut(count * width).zip(pixels.par_chunks_exact(3 * size * size));
        images.enumerate().for_each(|(image, (patches, pixels))| {
            for (patch, &place) in patches.chunks_exact_mut(width).zip(&lists[image % lists.len()]) {
                let (row, column) = (place as usize / grid, place as usize % grid);
                for (line, patch) in patch.chunks_exact_mut(patch_size).enumerate() {
                    let (channel, y) = (line / patch_size, row * patch_size + line % patch_size);
                    let start = (channel * size + y) * size + column * patch_size;
                    patch.copy_from_slice(&pixels[start..start + patch_size]);
                }
            }
        });
        let places = || lists.iter().flatten().copied().collect();
        let kept = match keep {
            None => Kept::All,
            Some([_]) => Kept::Shared(places()),
            Some(_) => Kept::PerImage(places()),
        };
        let patches = Tensor::from_data(TensorData::new(patches, [batch * count, width]), device);
        Self { patches, kept, batch, grid }
    }

    /// Number of images B.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Number of patches n that the encoder sees of each image.
    pub fn patches_per_image(&self) -> usize {
        self.patches.dims()[0] / self.batch
    }
}
