//! How many images of each class are labelled.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A number of images of each class, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So many of each class, at least 1. Written `5`.
    Shots(usize),
    /// So many percent of each class, (0, 100], rounded to the nearest number of images and at least 1. Written `10%`.
    Percent(f64),
}

impl Amount {
    /// Images to draw of a class that has `images`.
    pub fn of(self, images: usize) -> usize {
        match self {
            Self::Shots(shots) => shots,
            Self::Percent(percent) => {
                ((percent / 100.0 * images as f64).round() as usize).clamp(1, images.max(1))
            }
        }
    }

    /// Images without which a class is too small.
    pub(crate) fn needed(self) -> usize {
        match self {
            Self::Shots(shots) => shots,
            Self::Percent(_) => 1,
        }
    }

    /// Fails for 0 shots and for a percentage that is not in (0, 100].
    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Self::Shots(0) => Err(Error::Setting { field: "shots", expected: "at least 1", found: 0.0 }),
            Self::Percent(found) if !(found > 0.0 && found <= 100.0) => {
                Err(Error::Setting { field: "percent", expected: "above 0 and at most 100", found })
            }
            _ => Ok(()),
        }
    }
}

impl From<usize> for Amount {
    fn from(shots: usize) -> Self {
        Self::Shots(shots)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shots(shots) => write!(f, "{shots}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let amount = match text.strip_suffix('%') {
            Some(percent) => percent.trim_end().parse().ok().map(Self::Percent),
            None => text.parse().ok().map(Self::Shots),
        };
        amount
            .filter(|amount| amount.check().is_ok())
            .ok_or_else(|| "expected a whole number of at least 1, or a percentage such as 1%".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_and_takes_at_least_one() {
        let of = |percent: f64, images| Amount::Percent(percent).of(images);
        assert_eq!([of(1.0, 1300), of(1.0, 732), of(1.0, 10), of(10.0, 25), of(100.0, 3)], [13, 7, 1, 3, 3]);
    }

    #[test]
    fn amounts_are_written_and_read_alike() {
        for amount in [Amount::Shots(5), Amount::Percent(10.0), Amount::Percent(0.5)] {
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        for wrong in ["0", "-1", "0%", "101%", "x", "", "%", "NaN%", "1.5"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }
}
