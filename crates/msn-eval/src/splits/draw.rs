//! Random splits.

use msn_data::rng::Rng;

use crate::classes::members;
use crate::permutation::permuted;
use crate::{Amount, Classes, Error};

/// Draws images of each class, `amount` of them: their numbers, class by class in the order of the table, ascending
/// within.
///
/// The draw depends on the seed, the split, the class number and the number of images of the class, and on nothing
/// else. The images of a smaller amount are among those of a larger one, so that their scores differ by the added
/// images.
///
/// # Errors
/// [`Error::TooFewImages`] for the first class that has fewer images than shots; [`Error::Setting`] for an amount out
/// of range.
///
/// # Panics
/// If a label is no class of the table.
pub fn draw(
    labels: &[usize],
    classes: &Classes,
    amount: impl Into<Amount>,
    seed: u64,
    split: u64,
) -> Result<Vec<usize>, Error> {
    draw_usable(labels, classes, amount, seed, split, |_| Ok::<_, Error>(true))
}

/// As [`draw`], with the next of the class's permutation in the place of an image that is not `usable`: all other
/// images stay the drawn ones. `usable` is asked about drawn images alone. A percentage is content with fewer images
/// than it asks for where too few of a class are usable, since it says no number.
///
/// # Errors
/// [`Error::TooFewImages`] for the first class that has fewer usable images than are to be drawn; [`Error::Setting`]
/// for an amount out of range; the first error of `usable`.
///
/// # Panics
/// If a label is no class of the table.
pub fn draw_usable<E: From<Error>>(
    labels: &[usize],
    classes: &Classes,
    amount: impl Into<Amount>,
    seed: u64,
    split: u64,
    mut usable: impl FnMut(usize) -> Result<bool, E>,
) -> Result<Vec<usize>, E> {
    let amount = amount.into();
    amount.check()?;
    let mut drawn = Vec::new();
    for (class, images) in members(labels, classes.len()).into_iter().enumerate() {
        let (count, first) = (images.len(), drawn.len());
        let (shots, needed) = (amount.of(count), amount.needed());
        let too_few = |unusable: usize| {
            let (class, count) = (classes.names()[class].clone(), count - unusable);
            Error::TooFewImages { class, shots: needed, count, unusable }
        };
        if count < needed {
            return Err(too_few(0).into());
        }
        let mut rng = Rng::for_labels(seed, split, class);
        for image in permuted(images, &mut rng) {
            if usable(image)? {
                drawn.push(image);
            }
            if drawn.len() - first == shots {
                break;
            }
        }
        let found = drawn.len() - first;
        if found < needed {
            return Err(too_few(count - found).into());
        }
        drawn[first..].sort_unstable();
    }
    Ok(drawn)
}
