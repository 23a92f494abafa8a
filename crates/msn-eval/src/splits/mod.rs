//! Which training images a low-shot evaluation may use.

mod amount;
mod draw;
mod file;

pub use amount::Amount;
pub use draw::{draw, draw_usable};
pub use file::SplitFile;
