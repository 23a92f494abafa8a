//! Surface patterns of two tones, ink and paper, that fill the plane.

use crate::geometry::Vec2;

/// A family of patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Texture {
    /// Parallel straight bars.
    Stripes,
    /// Round spots, each with six neighbours.
    Dots,
    /// A chessboard.
    Checks,
    /// Concentric circles around the origin.
    Ripples,
    /// Parallel bars bent by a right angle at every step.
    Zigzag,
    /// Two sets of thin lines at right angles.
    Grid,
}

impl Texture {
    /// Distance from one element of the pattern to the next, as a fraction of the radius of the object. A tenth to
    /// a quarter of the object's width: some pixels at 64, so that a patch of 8 sees it, and several repetitions in
    /// any crop.
    pub(crate) fn period(self) -> f32 {
        match self {
            Self::Stripes | Self::Ripples | Self::Zigzag => 0.36,
            Self::Dots | Self::Grid => 0.42,
            Self::Checks => 0.56,
        }
    }

    /// Signed distance in periods from `p`, also in periods, to the nearest edge of the ink, negative in the ink.
    pub(crate) fn distance(self, p: Vec2) -> f32 {
        match self {
            Self::Stripes => bar(p.x),
            Self::Dots => {
                // Two rectangular lattices of 1 by sqrt(3), one shifted by half a cell, are a hexagonal one.
                let row = 3f32.sqrt();
                let spot = |x: f32, y: f32| Vec2::new(fold(x), fold(y / row) * row).length();
                spot(p.x, p.y).min(spot(p.x + 0.5, p.y + row / 2.0)) - 0.3
            }
            Self::Checks => {
                let (x, y) = (bar(p.x), bar(p.y));
                x.abs().min(y.abs()).copysign(x * y)
            }
            Self::Ripples => bar(p.length()),
            // Slope 1 either way, one bend per period along x: the root makes it a distance again.
            Self::Zigzag => bar((p.y + 2.0 * fold(p.x / 2.0)) / std::f32::consts::SQRT_2),
            Self::Grid => fold(p.x).min(fold(p.y)) - 0.14,
        }
    }
}

/// Distance to the nearest whole number, [0, 0.5].
fn fold(x: f32) -> f32 {
    (x - x.round()).abs()
}

/// Signed distance to bars half a period wide, centred on the whole numbers.
fn bar(x: f32) -> f32 {
    fold(x) - 0.25
}
