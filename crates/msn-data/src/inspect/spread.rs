//! Smallest, middle and largest of some numbers.

use serde::Serialize;

/// How numbers are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread<T> {
    /// The smallest.
    pub min: T,
    /// The middle one: of an even number the larger of the two in the middle.
    pub median: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy + Ord> Spread<T> {
    /// Of these numbers; `None` of none.
    pub(super) fn of(mut numbers: Vec<T>) -> Option<Self> {
        let (min, max) = (*numbers.iter().min()?, *numbers.iter().max()?);
        let middle = numbers.len() / 2;
        let (_, &mut median, _) = numbers.select_nth_unstable(middle);
        Some(Self { min, median, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_in_any_order() {
        assert_eq!(Spread::of(vec![7, 1, 9]), Some(Spread { min: 1, median: 7, max: 9 }));
        assert_eq!(Spread::of(vec![4, 3, 2, 1]), Some(Spread { min: 1, median: 3, max: 4 }));
        assert_eq!(Spread::<u32>::of(Vec::new()), None);
    }
}
