//! Which patches of the large anchor views are dropped. Focal views and the target view keep every patch.

use crate::Error;
use crate::rng::Rng;

/// The `[mask]` section of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Masking {
    /// Fraction of the patches of a large anchor view that never enter the encoder, [0, 1).
    pub patch_drop: f64,
    /// Whether the images of a batch share their mask.
    pub mask: MaskMode,
}

impl Default for Masking {
    /// 15%, one mask a batch: what the paper's ViT-S/16 uses.
    fn default() -> Self {
        Self { patch_drop: 0.15, mask: MaskMode::PerBatch }
    }
}

/// Whether the images of a batch share their mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskMode {
    /// One permutation of the patches for all images of the batch. With several large views, each has its own.
    PerBatch,
    /// Each image its own.
    PerImage,
}

impl Masking {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field out of its range and its value.
    pub fn validate(&self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.patch_drop) {
            return Ok(());
        }
        let (field, found) = ("mask.patch_drop", self.patch_drop.to_string());
        Err(Error::Config { field, expected: "a number from 0 to below 1".to_owned(), found })
    }
}

/// Patches that stay of `total`: floor(total * (1 - patch_drop)), at least 1. A product that misses a whole number
/// by rounding alone, such as 10 * (1 - 0.3) = 7, counts as that number.
pub fn kept_patches(total: usize, patch_drop: f64) -> usize {
    // f64 has 16 digits; fractions written by people have fewer than nine.
    const ROUNDING: f64 = 1e-9;
    let kept = (total as f64 * (1.0 - patch_drop) + ROUNDING).floor() as usize;
    kept.clamp(1, total.max(1))
}

/// Indices of the `kept` patches that stay of `total`, in ascending order: the front of a uniform permutation.
///
/// # Panics
/// If `kept` exceeds `total`, or that exceeds `u32::MAX`.
pub fn random_mask(total: usize, kept: usize, rng: &mut Rng) -> Vec<u32> {
    let total = u32::try_from(total).expect("at most u32::MAX patches, as documented");
    let mut patches: Vec<u32> = (0..total).collect();
    rng.shuffle_front(&mut patches, kept);
    patches.truncate(kept);
    patches.sort_unstable();
    patches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_patches_are_floored_without_rounding_errors() {
        let cases =
            [(196, 0.15, 166), (10, 0.3, 7), (10, 0.1, 9), (100, 0.71, 29), (64, 0.3, 44), (196, 0.7, 58)];
        for (total, drop, kept) in cases {
            assert_eq!(kept_patches(total, drop), kept, "{total} patches, {drop} dropped");
        }
        for total in 1..300 {
            for percent in 0..100 {
                let exact = (total * (100 - percent) / 100).max(1);
                assert_eq!(kept_patches(total, percent as f64 / 100.0), exact, "{total}, {percent}%");
            }
        }
    }

    #[test]
    fn masks_are_ascending_distinct_and_uniform() {
        let mut counts = [0u32; 16];
        for image in 0..8000 {
            let mask = random_mask(16, 11, &mut Rng::for_image_mask(1, 0, image, 1));
            assert_eq!(mask.len(), 11);
            assert!(mask.is_sorted_by(|a, b| a < b) && mask[10] < 16, "{mask:?}");
            mask.iter().for_each(|&i| counts[i as usize] += 1);
        }
        // Each is kept 5500 times; standard deviation sqrt(8000 * 11/16 * 5/16) = 41, five of them.
        assert!(counts.iter().all(|c| c.abs_diff(5500) < 207), "{counts:?}");
    }

    #[test]
    fn a_drop_of_all_patches_is_refused() {
        for patch_drop in [1.0, -0.1, f64::NAN] {
            assert!(Masking { patch_drop, ..Masking::default() }.validate().is_err(), "{patch_drop}");
        }
        let parsed: Masking = toml::from_str("mask = \"per-image\"\npatch_drop = 0.7").unwrap();
        assert_eq!(parsed, Masking { patch_drop: 0.7, mask: MaskMode::PerImage });
    }
}
