//! Pickles, as far as checkpoints need them, read without executing anything.
//!
//! A pickle is a program for a small stack machine, and one of its instructions calls any function of Python. Here a
//! call builds a tensor's description or a dictionary, or nothing at all, and only [what is known](globals) can be
//! named. Memory and time are bounded whatever the program says: every instruction makes a bounded number of values,
//! values are counted, objects lie side by side in a heap, and nothing recurses.

mod bytes;
mod error;
mod globals;
mod machine;
mod value;

pub use error::PickleError;
pub(crate) use value::{Heap, Storage, Tensor, Value, shown};

/// Values that a pickle may make. A checkpoint of ViT-H with its optimizer has about a tenth; together they take at
/// most about 200 MiB.
const MAX_VALUES: usize = 1 << 20;

/// Dimensions that a tensor may have.
const MAX_DIMENSIONS: usize = 16;

/// The result of a pickle, the objects that it refers to, and the pickle's length in bytes; what follows in `pickle`
/// is not looked at.
///
/// # Errors
/// [`PickleError`] for anything but the pickle of a checkpoint.
pub(crate) fn read(pickle: &[u8]) -> Result<(Value<'_>, Heap<'_>, usize), PickleError> {
    machine::Machine::new(pickle).run()
}

#[cfg(test)]
mod tests;
