//! Random splits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::classes::members;
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
    for (class, mut images) in members(labels, classes.len()).into_iter().enumerate() {
        let (count, first) = (images.len(), drawn.len());
        let (shots, needed) = (amount.of(count), amount.needed());
        let too_few = |unusable: usize| {
            let (class, count) = (classes.names()[class].clone(), count - unusable);
            Error::TooFewImages { class, shots: needed, count, unusable }
        };
        if count < needed {
            return Err(too_few(0).into());
        }
        let mut rng = stream(seed, split, class as u64);
        for i in 0..count {
            images.swap(i, i + below(&mut rng, (count - i) as u64));
            if usable(images[i])? {
                drawn.push(images[i]);
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

/// A stream whose 256-bit key holds the three numbers unmixed.
pub(crate) fn stream(seed: u64, split: u64, class: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, split, class]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in [0, 1), in steps of 2^-53.
pub(crate) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform in 0..n; written out so that an update of a dependency cannot change a split. Draws from the incomplete
/// last interval are made again (Lemire, "Fast random integer generation in an interval", 2019).
pub(crate) fn below(rng: &mut ChaCha8Rng, n: u64) -> usize {
    let rejected = n.wrapping_neg() % n;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= rejected {
            return (product >> 64) as usize;
        }
    }
}
