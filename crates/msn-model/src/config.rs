use serde::{Deserialize, Serialize};

use crate::{Error, Variant};

/// Section `[encoder]`: the vision transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// A name such as `vit-s16` that sets `dim`, `depth`, `heads` and `patch_size`; empty to set them freely.
    pub variant: String,
    /// Side of the large views, pixels; a multiple of `patch_size`, at most 4096.
    pub image_size: usize,
    /// Side of a patch, pixels; 1 to 4096.
    pub patch_size: usize,
    /// Embedding dimension D; a multiple of `heads`, at most 65,536.
    pub dim: usize,
    /// Number of transformer blocks; 1 to 1024.
    pub depth: usize,
    /// Number of attention heads; at least 1.
    pub heads: usize,
    /// Hidden units of a block's MLP, as a multiple of `dim`; 1 to 64.
    pub mlp_ratio: usize,
    /// Deviation of the truncated normal that the weights of the blocks start from, above 0. ViT and DeiT use 0.02,
    /// which suits the widths they come in; small widths, whose sums have fewer terms, learn sooner with more:
    /// about 1 / sqrt(dim).
    pub init_std: f64,
    /// Deviation of the truncated normal that the patch embedding starts from, at least 0. 0 for 1 / sqrt(3 P^2) with
    /// patches of side P, whose sums have as many terms: what a patch shows then reaches its token in its own size, be the
    /// patch small or large (LeCun et al., "Efficient BackProp", 1998, section 4.6).
    pub patch_std: f64,
    /// Stochastic depth (Huang et al., 2016): probability that the last block's branches are dropped for an
    /// image, rising linearly from 0 at the first block, [0, 1).
    pub drop_path: f64,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self {
            variant: "vit-s16".to_owned(),
            image_size: 224,
            patch_size: 16,
            dim: 384,
            depth: 12,
            heads: 6,
            mlp_ratio: 4,
            init_std: 0.02,
            patch_std: 0.0,
            drop_path: 0.0,
        }
    }
}

impl EncoderConfig {
    /// Writes the dimensions of the named variant into the fields; does nothing without a name.
    ///
    /// # Errors
    /// [`Error::UnknownVariant`] if the name is not in the table.
    pub fn resolve(mut self) -> Result<Self, Error> {
        if !self.variant.is_empty() {
            let (variant, patch_size) = Variant::parse(&self.variant)?;
            Variant { dim: self.dim, depth: self.depth, heads: self.heads, .. } = variant;
            self.patch_size = patch_size;
        }
        Ok(self)
    }

    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        within("encoder.image_size", MAX_SIZE, self.image_size)?;
        within("encoder.patch_size", MAX_SIZE, self.patch_size)?;
        within("encoder.dim", MAX_WIDTH, self.dim)?;
        within("encoder.depth", MAX_DEPTH, self.depth)?;
        within("encoder.heads", MAX_WIDTH, self.heads)?;
        within("encoder.mlp_ratio", MAX_MLP_RATIO, self.mlp_ratio)?;
        multiple("encoder.image_size", self.image_size, "encoder.patch_size", self.patch_size)?;
        multiple("encoder.dim", self.dim, "encoder.heads", self.heads)?;
        if !(0.0..1.0).contains(&self.drop_path) {
            return Err(Error::Config {
                field: "encoder.drop_path",
                expected: "a number in [0, 1)".to_owned(),
                found: self.drop_path.to_string(),
            });
        }
        if !(self.init_std > 0.0 && self.init_std.is_finite()) {
            return Err(Error::Config {
                field: "encoder.init_std",
                expected: "a number above 0".to_owned(),
                found: self.init_std.to_string(),
            });
        }
        if !(self.patch_std >= 0.0 && self.patch_std.is_finite()) {
            return Err(Error::Config {
                field: "encoder.patch_std",
                expected: "a number of at least 0".to_owned(),
                found: self.patch_std.to_string(),
            });
        }
        Ok(())
    }

    /// Deviation that the patch embedding starts from.
    pub(crate) fn patch_deviation(&self) -> f64 {
        match self.patch_std {
            0.0 => 1.0 / ((3 * self.patch_size * self.patch_size) as f64).sqrt(),
            std => std,
        }
    }

    /// Number of patches along one side of a view of `size` pixels.
    pub fn grid(&self, size: usize) -> usize {
        size / self.patch_size
    }
}

/// Section `[head]`: the projection head, three linear layers with GELU between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Units of the two hidden layers; 1 to 65,536.
    pub hidden_dim: usize,
    /// Dimension of the projection that meets the prototypes; 1 to 65,536.
    pub output_dim: usize,
    /// Whether batch norm follows each hidden layer.
    pub batch_norm: bool,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { hidden_dim: 2048, output_dim: 256, batch_norm: true }
    }
}

impl HeadConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        within("head.hidden_dim", MAX_WIDTH, self.hidden_dim)?;
        within("head.output_dim", MAX_WIDTH, self.output_dim)
    }
}

/// Ten times and more what published vision transformers have, so that a slip of the keyboard is told from a wish.
const MAX_DEPTH: usize = 1024;
const MAX_WIDTH: usize = 65_536;
const MAX_MLP_RATIO: usize = 64;
/// Of the sides of views, pixels.
const MAX_SIZE: usize = 4096;

/// From 1 to `most`.
fn within(field: &'static str, most: usize, found: usize) -> Result<(), Error> {
    if (1..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::Config { field, expected: format!("1 to {most}"), found: found.to_string() })
}

fn multiple(field: &'static str, found: usize, of: &str, divisor: usize) -> Result<(), Error> {
    if found > 0 && found.is_multiple_of(divisor) {
        return Ok(());
    }
    let expected = format!("a positive multiple of {of} = {divisor}");
    Err(Error::Config { field, expected, found: found.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_sets_the_dimensions() {
        let config = EncoderConfig { variant: "vit-l7".to_owned(), image_size: 224, ..Default::default() };
        let config = config.resolve().expect("in the table");
        assert_eq!((config.dim, config.depth, config.heads, config.patch_size), (1024, 24, 16, 7));
        config.validate().expect("224 is a multiple of 7");
    }

    #[test]
    fn a_patch_size_that_does_not_divide_the_image_is_refused_by_name() {
        let config = EncoderConfig { image_size: 230, ..Default::default() };
        let message = config.validate().expect_err("230 is no multiple of 16").to_string();
        assert!(message.contains("encoder.image_size") && message.contains("230"), "{message}");
    }

    #[test]
    fn sizes_that_no_one_means_are_refused() {
        let free = EncoderConfig { variant: String::new(), ..Default::default() };
        for (field, config) in [
            ("encoder.depth", EncoderConfig { depth: 1_000_000, ..free.clone() }),
            ("encoder.dim", EncoderConfig { dim: 4_800_000, ..free.clone() }),
            ("encoder.mlp_ratio", EncoderConfig { mlp_ratio: 0, ..free.clone() }),
            ("encoder.image_size", EncoderConfig { image_size: 1 << 20, ..free.clone() }),
        ] {
            let message = config.validate().expect_err("out of range").to_string();
            assert!(message.starts_with(field) && message.contains("expected 1 to"), "{message}");
        }
    }

    #[test]
    fn heads_must_divide_the_dimension() {
        let config = EncoderConfig { heads: 5, variant: String::new(), ..Default::default() };
        assert!(config.validate().expect_err("384 is no multiple of 5").to_string().contains("encoder.dim"));
    }
}
