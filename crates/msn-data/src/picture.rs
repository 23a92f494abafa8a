//! Pictures for people: a sheet of images of a source, and the views that a network sees.

mod canvas;
mod file;
mod fit;
mod sheet;
mod views;

pub use file::{encode_picture, is_picture};
pub use sheet::contact_sheet;
pub use views::picture_of_views;
