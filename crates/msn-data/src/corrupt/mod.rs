//! Corruptions of images, to see what a shift of the test images costs.
//!
//! Kinds and strengths follow Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions
//! and perturbations", 2019: six of their kinds, at five severities, on the image as the network gets it, before it is
//! normalised. Their images have 224 px; lengths in pixels are scaled to the side of ours. JPEG is written without
//! subsampling of the colours, which is milder than theirs, and blur mirrors at the border: the figures are not those of
//! ImageNet-C.

mod blur;
mod jpeg;
mod noise;
mod pixelate;
mod tone;

use std::str::FromStr;

use crate::rng::Rng;

/// Severities there are: 1 to 5.
pub const SEVERITIES: usize = 5;

/// Side in pixels of the images that the strengths in pixels are meant for.
const REFERENCE_SIDE: f64 = 224.0;

/// A kind of corruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorruptionKind {
    /// Gaussian noise on every channel of every pixel.
    Noise,
    /// Gaussian blur.
    Blur,
    /// Less contrast around the mean colour.
    Contrast,
    /// More brightness, as the value of HSV.
    Brightness,
    /// Fewer, larger pixels.
    Pixelate,
    /// JPEG compression.
    Jpeg,
}

/// A corruption of some severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// What is done to the image.
    pub kind: CorruptionKind,
    /// How strongly, 1 to 5.
    pub severity: usize,
}

impl CorruptionKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Noise, Self::Blur, Self::Contrast, Self::Brightness, Self::Pixelate, Self::Jpeg];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Blur => "blur",
            Self::Contrast => "contrast",
            Self::Brightness => "brightness",
            Self::Pixelate => "pixelate",
            Self::Jpeg => "jpeg",
        }
    }

    /// Strength at each severity, in the unit of the kind: see its file.
    fn strengths(self) -> [f64; SEVERITIES] {
        match self {
            Self::Noise => [0.08, 0.12, 0.18, 0.26, 0.38],
            Self::Blur => [1.0, 2.0, 3.0, 4.0, 6.0],
            Self::Contrast => [0.4, 0.3, 0.2, 0.1, 0.05],
            Self::Brightness => [0.1, 0.2, 0.3, 0.4, 0.5],
            Self::Pixelate => [0.6, 0.5, 0.4, 0.3, 0.25],
            Self::Jpeg => [25.0, 18.0, 15.0, 10.0, 7.0],
        }
    }
}

impl FromStr for CorruptionKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name.trim())
            .ok_or(format!("expected one of {names}"))
    }
}

impl Corruption {
    /// Corrupts the image of the given number in its set. rgb: `[side, side, 3]`, red, green, blue.
    ///
    /// The draw of the noise depends on the image's number, the kind and the severity, and on nothing else.
    ///
    /// # Panics
    /// If the severity is not in 1 to 5, or `rgb` has not `3 * side * side` values.
    pub fn apply(self, rgb: &mut [u8], side: usize, image: usize) {
        assert!((1..=SEVERITIES).contains(&self.severity), "severities are 1 to {SEVERITIES}: {self:?}");
        assert_eq!(rgb.len(), 3 * side * side, "values of an image of {side} x {side} pixels");
        let strength = self.kind.strengths()[self.severity - 1];
        match self.kind {
            CorruptionKind::Noise => {
                noise::apply(
                    rgb,
                    strength,
                    &mut Rng::for_corruption(self.kind as u32, self.severity as u64, image),
                );
            }
            CorruptionKind::Blur => blur::apply(rgb, side, strength * side as f64 / REFERENCE_SIDE),
            CorruptionKind::Contrast => tone::contrast(rgb, strength),
            CorruptionKind::Brightness => tone::brightness(rgb, strength),
            CorruptionKind::Pixelate => pixelate::apply(rgb, side, strength),
            CorruptionKind::Jpeg => jpeg::apply(rgb, side, strength as u8),
        }
    }
}

/// [0, 1] -> 0..=255, rounded; what lies outside is cut off.
fn to_byte(value: f64) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}
