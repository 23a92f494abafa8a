//! The recipe for views: which there are, what is drawn for each, and how a drawn view is rendered.
//!
//! For each image one target view and the anchor views: `random_views` large crops and `focal_views` small ones
//! (Assran et al., "Masked Siamese Networks for Label-Efficient Learning", ECCV 2022, section 3). An augmentation is
//! a file here: it says how its parameters are drawn and how they are applied.

mod axis;
mod blur;
pub(crate) mod color;
pub(crate) mod crop;
mod grayscale;
mod hue;
pub(crate) mod normalize;
pub(crate) mod orientation;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod plain;
pub(crate) mod planes;
pub(crate) mod render;
mod resize;
pub(crate) mod steps;
pub(crate) mod validate;

use crate::rng::Rng;
use color::Jitter;
use crop::CropBox;
use orientation::Orientation;

/// The `[views]` section of a configuration.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Large anchor views of an image, 0 or more; the target view comes on top.
    pub random_views: usize,
    /// Small anchor views of an image, 0 or more; at least one anchor view is needed in all.
    pub focal_views: usize,
    /// Side of the target and large anchor views in pixels, 1 or more, a multiple of the patch size.
    pub random_size: usize,
    /// Side of the focal views in pixels, 1 or more, a multiple of the patch size.
    pub focal_size: usize,
    /// Least and largest area of a large crop as a fraction of the image, in (0, 1].
    pub random_scale: [f64; 2],
    /// Least and largest area of a focal crop as a fraction of the image, in (0, 1].
    pub focal_scale: [f64; 2],
    /// Least and largest width / height of a crop before it is resized to a square, above 0.
    pub aspect: [f64; 2],
    /// Probability of a horizontal flip, [0, 1].
    pub flip: f64,
    /// Probability of a rotation by 90, 180 or 270 degrees, each equally likely, [0, 1]. Where images have no up, as from a
    /// microscope or a satellite, 0.75 makes all four directions equally likely, with a flip of 0.5 all eight orientations.
    pub rotation: f64,
    /// Strength s of the colour jitter, [0, 2.5]: brightness, contrast and saturation are multiplied by factors
    /// within 1 +- 0.8 s (not below 0), the hue turns by up to 0.2 s of the circle.
    pub color_jitter: f64,
    /// Probability of the colour jitter, [0, 1].
    pub color_jitter_probability: f64,
    /// Probability of dropping the colours, [0, 1].
    pub grayscale: f64,
    /// Probability of a Gaussian blur, [0, 1].
    pub blur: f64,
    /// Least and largest standard deviation of the blur in pixels of the view, [0, 32].
    pub blur_radius: [f64; 2],
}

impl Default for Views {
    fn default() -> Self {
        Self {
            random_views: 1,
            focal_views: 10,
            random_size: 224,
            focal_size: 96,
            random_scale: [0.3, 1.0],
            focal_scale: [0.05, 0.3],
            aspect: [3.0 / 4.0, 4.0 / 3.0],
            flip: 0.5,
            rotation: 0.0,
            color_jitter: 0.5,
            color_jitter_probability: 0.8,
            grayscale: 0.2,
            blur: 0.5,
            blur_radius: [0.1, 2.0],
        }
    }
}

/// The three kinds of views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewKind {
    /// The large view that the momentum encoder sees whole.
    Target,
    /// A large anchor view, of which patches are dropped.
    Random,
    /// A small anchor view, seen whole.
    Focal,
}

impl Views {
    /// Views of one image: the target, the large and the focal ones.
    pub fn count(&self) -> usize {
        1 + self.random_views + self.focal_views
    }

    /// Kind of the view of the given number: the target is number 0, then come the large anchors, then the focal
    /// ones.
    pub fn kind(&self, view: usize) -> ViewKind {
        match view {
            0 => ViewKind::Target,
            v if v <= self.random_views => ViewKind::Random,
            _ => ViewKind::Focal,
        }
    }

    /// Side in pixels of the views of a kind.
    pub fn size(&self, kind: ViewKind) -> usize {
        match kind {
            ViewKind::Target | ViewKind::Random => self.random_size,
            ViewKind::Focal => self.focal_size,
        }
    }
}

/// Everything that is drawn for one view of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewParams {
    /// The part of the image that is resized to the view.
    pub crop: CropBox,
    /// How it is flipped and rotated.
    pub orientation: Orientation,
    /// Colour adjustments, if any.
    pub jitter: Option<Jitter>,
    /// True to drop the colours.
    pub grayscale: bool,
    /// Standard deviation of the Gaussian blur in pixels of the view, if any.
    pub blur: Option<f64>,
}

impl ViewParams {
    /// Draws a view of an image of `width` x `height` pixels. The order of the draws is part of what makes runs
    /// reproducible.
    pub fn sample(views: &Views, kind: ViewKind, width: u32, height: u32, rng: &mut Rng) -> Self {
        let scale = match kind {
            ViewKind::Target | ViewKind::Random => views.random_scale,
            ViewKind::Focal => views.focal_scale,
        };
        Self {
            crop: CropBox::sample(width, height, scale, views.aspect, rng),
            orientation: Orientation::sample(views.flip, views.rotation, rng),
            jitter: rng
                .chance(views.color_jitter_probability)
                .then(|| Jitter::sample(views.color_jitter, rng)),
            grayscale: rng.chance(views.grayscale),
            blur: rng.chance(views.blur).then(|| rng.uniform(views.blur_radius[0], views.blur_radius[1])),
        }
    }
}
