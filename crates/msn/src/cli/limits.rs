//! What is taken of image files: how large they may be, and which of their samples are black and white.

use clap::Args;
use msn_data::{FULL_RANGE, Limits};

use super::at_least_one;

/// Guards against huge images, as data.max_file_mib and data.max_megapixels are in training.
#[derive(Args)]
pub(crate) struct SizeLimits {
    /// Largest image file, MiB.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least_one)]
    max_file_mib: usize,

    /// Largest image, millions of pixels.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    max_megapixels: u64,
}

impl SizeLimits {
    /// With this range of 16-bit samples.
    pub(crate) fn with_levels(&self, levels: [u16; 2]) -> Limits {
        Limits::of(self.max_file_mib, self.max_megapixels, levels)
    }
}

/// Which samples of 16-bit images an encoder sees as black and white.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct SampleRange {
    /// The samples of 16-bit images that become black and white [default: those that the encoder was trained with; for
    /// raw pixels and encoders of other programs 0,65535].
    #[arg(long, value_name = "BLACK,WHITE", value_parser = levels)]
    pub(crate) levels: Option<Levels>,
}

/// The samples of 16-bit images that become black and white, the lower one first.
pub(crate) type Levels = [u16; 2];

pub(super) fn levels(text: &str) -> Result<Levels, String> {
    let [_, largest] = FULL_RANGE;
    let parts =
        text.split_once(',').map(|(black, white)| [black, white].map(|part| part.trim().parse().ok()));
    match parts {
        Some([Some(black), Some(white)]) if black < white => Ok([black, white]),
        _ => Err(format!("expected two whole numbers up to {largest}, the lower one first, such as 0,4095")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_two_numbers_the_lower_one_first() {
        assert_eq!(levels("0,4095"), Ok([0, 4095]));
        assert_eq!(levels("100, 65535"), Ok([100, 65535]));
        for text in ["", "5", "7,7", "9,3", "0,65536", "-1,5", "a,b"] {
            assert!(levels(text).is_err(), "{text}");
        }
    }
}
