//! Which training images a low-shot evaluation may use.

mod draw;
mod file;

pub use draw::{draw, draw_usable};
pub use file::SplitFile;
