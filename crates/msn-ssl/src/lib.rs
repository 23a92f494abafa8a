//! Objectives of self-supervised learning over two encoders' outputs, and what they need around them: targets,
//! schedules, and the signs of collapse.

mod collapse;
mod cosine;
pub mod msn;
mod schedule;
mod targets;

pub use collapse::{Collapse, CollapseWatch, Sign};
pub use cosine::cosine_similarity;
pub use msn::{MsnConfig, MsnLoss, msn_loss};
pub use schedule::{Schedule, ScheduleConfig, Steps};
pub use targets::{sharpened_log_targets, sinkhorn};

use thiserror::Error;

/// What can be wrong with an objective's or a schedule's settings.
#[derive(Debug, Error)]
pub enum Error {
    /// A configuration field is out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// Name of the field, such as `objective.temperature`.
        field: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that was given.
        found: String,
    },
}

/// `Ok` if `holds`, else the error that names the field.
fn check(holds: bool, field: &'static str, expected: &str, found: impl ToString) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config { field, expected: expected.to_owned(), found: found.to_string() })
    }
}
