//! The model against reference values and its own plain forms.

mod common;
mod encoder;
mod head;
