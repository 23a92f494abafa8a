//! The table of classes.

use crate::shape::Shape;
use crate::texture::Texture;

/// What makes an image belong to its class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// `SHAPE-TEXTURE`.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) texture: Texture,
}

/// Number of kinds there are, the most classes that a set can have.
pub const CLASSES: usize = 30;

/// Every pair of the five shapes and six textures once. Both advance by one from row to row, so that the first `n`
/// classes use all shapes and textures about equally often for any `n`: neither alone decides the class.
#[rustfmt::skip]
pub(crate) const KINDS: [Kind; CLASSES] = [
    kind("disc-stripes", Shape::Disc, Texture::Stripes),
    kind("triangle-dots", Shape::Triangle, Texture::Dots),
    kind("cross-checks", Shape::Cross, Texture::Checks),
    kind("ring-ripples", Shape::Ring, Texture::Ripples),
    kind("star-zigzag", Shape::Star, Texture::Zigzag),
    kind("disc-grid", Shape::Disc, Texture::Grid),
    kind("triangle-stripes", Shape::Triangle, Texture::Stripes),
    kind("cross-dots", Shape::Cross, Texture::Dots),
    kind("ring-checks", Shape::Ring, Texture::Checks),
    kind("star-ripples", Shape::Star, Texture::Ripples),
    kind("disc-zigzag", Shape::Disc, Texture::Zigzag),
    kind("triangle-grid", Shape::Triangle, Texture::Grid),
    kind("cross-stripes", Shape::Cross, Texture::Stripes),
    kind("ring-dots", Shape::Ring, Texture::Dots),
    kind("star-checks", Shape::Star, Texture::Checks),
    kind("disc-ripples", Shape::Disc, Texture::Ripples),
    kind("triangle-zigzag", Shape::Triangle, Texture::Zigzag),
    kind("cross-grid", Shape::Cross, Texture::Grid),
    kind("ring-stripes", Shape::Ring, Texture::Stripes),
    kind("star-dots", Shape::Star, Texture::Dots),
    kind("disc-checks", Shape::Disc, Texture::Checks),
    kind("triangle-ripples", Shape::Triangle, Texture::Ripples),
    kind("cross-zigzag", Shape::Cross, Texture::Zigzag),
    kind("ring-grid", Shape::Ring, Texture::Grid),
    kind("star-stripes", Shape::Star, Texture::Stripes),
    kind("disc-dots", Shape::Disc, Texture::Dots),
    kind("triangle-checks", Shape::Triangle, Texture::Checks),
    kind("cross-ripples", Shape::Cross, Texture::Ripples),
    kind("ring-zigzag", Shape::Ring, Texture::Zigzag),
    kind("star-grid", Shape::Star, Texture::Grid),
];

const fn kind(name: &'static str, shape: Shape, texture: Texture) -> Kind {
    Kind { name, shape, texture }
}
