//! What to draw, and the bounds of it.

use std::ops::RangeInclusive;

use crate::kinds::CLASSES;

/// An image set to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthConfig {
    /// Number of classes, the first of the table of kinds, [2, [`CLASSES`]].
    pub classes: usize,
    /// Images of each class, at least 1.
    pub images_per_class: usize,
    /// Width and height of an image in pixels, [16, 256].
    pub size: usize,
    /// Seed of every random draw. Another seed gives other images of the same classes.
    pub seed: u64,
}

/// What can be wrong with a [`SynthConfig`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    OutOfRange {
        /// The field by its name.
        field: &'static str,
        /// Its range.
        expected: String,
        /// Its value.
        found: usize,
    },
}

impl SynthConfig {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        within("classes", self.classes, 2..=CLASSES)?;
        within("images_per_class", self.images_per_class, 1..=usize::MAX)?;
        within("size", self.size, 16..=256)
    }
}

fn within(field: &'static str, found: usize, range: RangeInclusive<usize>) -> Result<(), Error> {
    if range.contains(&found) {
        return Ok(());
    }
    let expected = match (range.start(), range.end()) {
        (low, &usize::MAX) => format!("at least {low}"),
        (low, high) => format!("{low} to {high}"),
    };
    Err(Error::OutOfRange { field, expected, found })
}
