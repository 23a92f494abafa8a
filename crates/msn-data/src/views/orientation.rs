//! Flips and rotations.

use super::planes::Planes;
use crate::rng::Rng;

/// How a view or crop is flipped and rotated: one of eight ways. It is drawn; that of a file (EXIF) is undone by decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// True to mirror it left to right, before it is rotated.
    pub flip: bool,
    /// Quarter turns counterclockwise, 0 to 3.
    pub quarter_turns: u32,
}

/// An orientation as a resize does it: it gives the target pixels of an axis in reverse, and then exchanges the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AxisOrder {
    pub(super) reverse_columns: bool,
    pub(super) reverse_rows: bool,
    pub(super) transpose: bool,
}

impl Orientation {
    /// Draws one, given the probabilities of a flip and of a rotation by 90, 180 or 270 degrees. Where the latter is 0 it draws
    /// nothing for it, so that what is drawn afterwards is what it was before there were rotations.
    pub(crate) fn sample(flip: f64, rotation: f64, rng: &mut Rng) -> Self {
        let flip = rng.chance(flip);
        let rotated = rotation > 0.0 && rng.chance(rotation);
        Self { flip, quarter_turns: if rotated { 1 + rng.below(3) } else { 0 } }
    }

    pub(super) fn axes(self) -> AxisOrder {
        let Self { flip, quarter_turns } = self;
        let [reverse_columns, reverse_rows, transpose] = match quarter_turns % 4 {
            0 => [flip, false, false],
            1 => [!flip, false, true],
            2 => [!flip, true, false],
            _ => [flip, true, true],
        };
        AxisOrder { reverse_columns, reverse_rows, transpose }
    }
}

/// Exchanges rows and columns of square planes.
pub(super) fn transpose(planes: &mut Planes<'_>, side: usize) {
    /// Rows and columns of a part: two of them stay in the first-level cache while they change places.
    const PART: usize = 16;
    for plane in planes.each() {
        assert_eq!(plane.len(), side * side, "pixels of a square of {side}");
        for top in (0..side).step_by(PART) {
            for left in (top..side).step_by(PART) {
                for y in top..side.min(top + PART) {
                    for x in left.max(y + 1)..side.min(left + PART) {
                        plane.swap(y * side + x, x * side + y);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_any_side_are_transposed() {
        for side in [1, 2, 15, 16, 17, 50] {
            let number = |channel: usize, y: usize, x: usize| ((channel * side + y) * side + x) as f32;
            let mut view: Vec<f32> = (0..3 * side * side).map(|i| i as f32).collect();
            transpose(&mut Planes::of(&mut view), side);
            for (i, found) in view.iter().enumerate() {
                let (channel, y, x) = (i / (side * side), i / side % side, i % side);
                assert_eq!(*found, number(channel, x, y), "{side}");
            }
        }
    }

    #[test]
    fn rotations_come_with_their_probability_and_are_equally_likely() {
        let draw = |rotation: f64| -> [usize; 4] {
            let mut counts = [0; 4];
            for image in 0..4000 {
                let drawn = Orientation::sample(0.5, rotation, &mut Rng::for_view(3, 0, image, 0));
                counts[drawn.quarter_turns as usize] += 1;
            }
            counts
        };
        assert_eq!(draw(0.0), [4000, 0, 0, 0]);
        // Five standard deviations of a count of 4000 tries at a quarter are 137.
        assert!(draw(0.75).iter().all(|count| count.abs_diff(1000) < 137), "{:?}", draw(0.75));
        assert_eq!(draw(1.0)[0], 0);
    }

    #[test]
    fn a_recipe_without_rotations_draws_what_it_drew_before_there_were_any() {
        for image in 0..50 {
            let [mut now, mut before] = [(); 2].map(|()| Rng::for_view(1, 2, image, 4));
            assert_eq!(Orientation::sample(0.5, 0.0, &mut now).flip, before.chance(0.5));
            assert_eq!(now.unit(), before.unit());
        }
    }
}
