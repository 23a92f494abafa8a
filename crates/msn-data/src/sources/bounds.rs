//! Where the parts of a source begin.

#[cfg(feature = "remote")]
use std::ops::Range;

/// Images that are numbered through several parts, by where each part ends.
#[derive(Default)]
pub(super) struct Bounds(Vec<usize>);

impl Bounds {
    /// Adds a part of so many images.
    pub(super) fn push(&mut self, images: usize) {
        self.0.push(self.len() + images);
    }

    /// Images of all parts.
    pub(super) fn len(&self) -> usize {
        self.0.last().copied().unwrap_or(0)
    }

    /// The part that holds an image, and its index there.
    pub(super) fn locate(&self, image: usize) -> (usize, usize) {
        let part = self.0.partition_point(|&end| end <= image);
        (part, image - self.start(part))
    }

    /// The images of each part.
    #[cfg(feature = "remote")]
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.0.len()).map(|part| self.start(part)..self.0[part])
    }

    fn start(&self, part: usize) -> usize {
        if part == 0 { 0 } else { self.0[part - 1] }
    }
}

impl FromIterator<usize> for Bounds {
    fn from_iter<I: IntoIterator<Item = usize>>(parts: I) -> Self {
        let mut bounds = Self::default();
        parts.into_iter().for_each(|images| bounds.push(images));
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_in_their_parts_and_never_in_empty_ones() {
        let bounds: Bounds = [0, 2, 0, 0, 1, 0].into_iter().collect();
        assert_eq!(bounds.len(), 3);
        assert_eq!([0, 1, 2].map(|image| bounds.locate(image)), [(1, 0), (1, 1), (4, 0)]);
        #[cfg(feature = "remote")]
        assert_eq!(bounds.ranges().collect::<Vec<_>>(), [0..0, 0..2, 2..2, 2..2, 2..3, 3..3]);
    }
}
