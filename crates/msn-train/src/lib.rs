//! The training step, the optimizer, the loop, and resuming it.

mod adamw;
mod checkpoint;
pub mod config;
mod error;
pub mod flop;
mod graph;
mod pace;
mod pretrain;
mod start;
mod step;

pub use adamw::{AdamW, AdamWConfig, Group, UnpairedMoment, Update, clip_scale, gradient_norm};
pub use checkpoint::{Images, PROTOTYPES_PART};
pub use config::Config;
pub use error::Error;
pub use pretrain::{Ending, Observer, Outcome, Progress, Start, depth_seeds, pretrain};
pub use start::{Drawn, Initial, start_from};
pub use step::{StepReport, Trainer, Views};
