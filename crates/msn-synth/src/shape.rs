//! Silhouettes, in a frame where each has its centre at the origin and reaches to about 1.

use crate::geometry::{Vec2, polygon_distance};

/// A family of silhouettes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Disc,
    Triangle,
    Cross,
    Ring,
    Star,
}

impl Shape {
    /// Signed distance from `p` to the outline, negative inside.
    pub(crate) fn distance(self, p: Vec2) -> f32 {
        match self {
            Self::Disc => p.length() - 0.9,
            Self::Triangle => polygon_distance(p, &TRIANGLE),
            Self::Cross => polygon_distance(p, &CROSS),
            Self::Ring => (p.length() - 0.7).abs() - 0.27,
            Self::Star => polygon_distance(p, &STAR),
        }
    }
}

/// Equilateral, with corners beyond 1 so that its area comes nearer to that of the others.
const TRIANGLE: [Vec2; 3] = [Vec2::new(0.0, -1.2), Vec2::new(1.039, 0.6), Vec2::new(-1.039, 0.6)];

const CROSS: [Vec2; 12] = {
    const ARM: f32 = 0.95;
    const HALF: f32 = 0.36;
    [
        Vec2::new(HALF, -ARM),
        Vec2::new(HALF, -HALF),
        Vec2::new(ARM, -HALF),
        Vec2::new(ARM, HALF),
        Vec2::new(HALF, HALF),
        Vec2::new(HALF, ARM),
        Vec2::new(-HALF, ARM),
        Vec2::new(-HALF, HALF),
        Vec2::new(-ARM, HALF),
        Vec2::new(-ARM, -HALF),
        Vec2::new(-HALF, -HALF),
        Vec2::new(-HALF, -ARM),
    ]
};

/// Five points: corners in turn at 1.1 and 0.5 from the centre, every 36 degrees.
const STAR: [Vec2; 10] = {
    const OUTER: f32 = 1.1;
    const INNER: f32 = 0.5;
    // Sine and cosine of 18, 36, 54 and 72 degrees; those functions are not const.
    const S18: f32 = 0.309_017;
    const S36: f32 = 0.587_785_25;
    const S54: f32 = 0.809_017;
    const S72: f32 = 0.951_056_5;
    [
        Vec2::new(0.0, -OUTER),
        Vec2::new(S36 * INNER, -S54 * INNER),
        Vec2::new(S72 * OUTER, -S18 * OUTER),
        Vec2::new(S72 * INNER, S18 * INNER),
        Vec2::new(S36 * OUTER, S54 * OUTER),
        Vec2::new(0.0, INNER),
        Vec2::new(-S36 * OUTER, S54 * OUTER),
        Vec2::new(-S72 * INNER, S18 * INNER),
        Vec2::new(-S72 * OUTER, -S18 * OUTER),
        Vec2::new(-S36 * INNER, -S54 * INNER),
    ]
};
