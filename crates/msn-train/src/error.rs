use std::path::PathBuf;

use thiserror::Error;

/// Why a run cannot start or cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is not TOML, or a value has the wrong type.
    #[error("{origin}: {source}")]
    Toml {
        /// File or argument that holds the text.
        origin: String,
        /// What the parser found, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A field that does not exist.
    #[error("{origin}: unknown field `{field}`{}", nearest_hint(.nearest))]
    UnknownField {
        /// File or argument that names the field.
        origin: String,
        /// Full name of the field.
        field: String,
        /// The existing field with the most similar name.
        nearest: Option<String>,
    },
    /// An argument that is not `KEY=VALUE`.
    #[error("`{argument}`: expected KEY=VALUE, such as optim.lr=3e-4")]
    NotAnOverride {
        /// The argument.
        argument: String,
    },
    /// Two fields that contradict each other, or a field out of its range.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// The values that are allowed.
        expected: String,
        /// The value that was given.
        found: String,
    },
    /// A run that is resumed with other settings than it was started with.
    #[error("{}: this run was started with {field} = {expected}, found {found}; a resumed run keeps its settings", .run.display())]
    ChangedOnResume {
        /// The run folder.
        run: PathBuf,
        /// Name of the first field that differs.
        field: String,
        /// Its value in the run folder.
        expected: String,
        /// Its value now.
        found: String,
    },
    /// A checkpoint that does not hold what the run needs.
    #[error("{}: {problem}", .checkpoint.display())]
    Checkpoint {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The loss is NaN or infinite.
    #[error(
        "step {step}: the loss is {loss} and its gradient's norm {grad_norm}; the losses before were {}; {}. A lower optim.lr or a longer \
         optim.warmup_epochs usually helps",
        join(.last), checkpoint_hint(.checkpoint)
    )]
    Diverged {
        /// Number of the step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// Norm of the encoder's gradient; NaN where the loss is not finite.
        grad_norm: f64,
        /// Losses of the steps before, oldest first.
        last: Vec<f64>,
        /// The last good checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// The encoder's description or its weights.
    #[error(transparent)]
    Model(#[from] msn_model::Error),
    /// The objective's or the schedules' settings.
    #[error(transparent)]
    Objective(#[from] msn_ssl::Error),
    /// Images, views or masks.
    #[error(transparent)]
    Data(#[from] msn_data::Error),
    /// The run folder.
    #[error(transparent)]
    Store(#[from] msn_store::StoreError),
}

fn nearest_hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!(" (did you mean `{nearest}`?)"))
}

fn join(losses: &[f64]) -> String {
    losses.iter().map(|loss| format!("{loss:.4}")).collect::<Vec<_>>().join(", ")
}

fn checkpoint_hint(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "no checkpoint was saved before".to_owned(),
    }
}
