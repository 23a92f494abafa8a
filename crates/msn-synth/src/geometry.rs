//! Points, frames and signed distances in the plane.
//!
//! Everything is drawn from signed distances, negative inside: an edge is antialiased exactly at any size by
//! [`coverage`], without supersampling.

/// A point or vector in the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Vec2 {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

impl Vec2 {
    pub(crate) const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The unit vector at `angle` radians from the x axis.
    pub(crate) fn unit(angle: f32) -> Self {
        Self::new(angle.cos(), angle.sin())
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }

    pub(crate) fn times(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }

    pub(crate) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub(crate) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
}

/// A coordinate system: origin, direction of its x axis and length of its unit, given in an outer system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) origin: Vec2,
    /// Unit vector along the x axis.
    pub(crate) axis: Vec2,
    pub(crate) unit: f32,
}

impl Frame {
    /// Coordinates in this system of the point `p` of the outer system.
    pub(crate) fn local(&self, p: Vec2) -> Vec2 {
        let p = p.minus(self.origin);
        let Vec2 { x: cos, y: sin } = self.axis;
        Vec2::new(cos * p.x + sin * p.y, cos * p.y - sin * p.x).times(1.0 / self.unit)
    }
}

/// Distance from `p` to the segment from `a` to `b`.
pub(crate) fn segment_distance(p: Vec2, a: Vec2, b: Vec2) -> f32 {
    let along = b.minus(a);
    let from_a = p.minus(a);
    let t = (from_a.dot(along) / along.dot(along)).clamp(0.0, 1.0);
    from_a.minus(along.times(t)).length()
}

/// Signed distance from `p` to the closed polygon through `corners`. A point is inside if a ray from it to the right
/// crosses an odd number of sides.
pub(crate) fn polygon_distance(p: Vec2, corners: &[Vec2]) -> f32 {
    let mut distance = f32::INFINITY;
    let mut inside = false;
    let mut a = corners[corners.len() - 1];
    for &b in corners {
        distance = distance.min(segment_distance(p, a, b));
        let straddles = (a.y > p.y) != (b.y > p.y);
        if straddles && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x) {
            inside = !inside;
        }
        a = b;
    }
    if inside { -distance } else { distance }
}

/// Fraction of a pixel inside an edge at signed distance `distance` from its centre, both in the same unit: linear
/// over one pixel, exact for a straight edge along the pixel grid.
pub(crate) fn coverage(distance: f32, pixel: f32) -> f32 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}
