//! Which training images a low-shot evaluation may use.

mod draw;
mod file;

pub use draw::draw;
pub use file::SplitFile;
