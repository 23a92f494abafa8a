use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a run cannot start or cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of settings that cannot be read.
    #[error("{}: expected a readable file of settings, found {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The configuration is not TOML.
    #[error("{origin}: {source}")]
    Toml {
        /// File that holds the text.
        origin: String,
        /// What the parser found, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A configuration of the original implementation that is none, or that has a value of the wrong type.
    #[error("{origin}: expected {expected}, found {found}")]
    Original {
        /// The file.
        origin: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A field that does not exist.
    #[error("{origin}: unknown field `{field}` (did you mean `{nearest}`?)")]
    UnknownField {
        /// File with line, or argument, that names the field.
        origin: String,
        /// Full name of the field.
        field: String,
        /// The existing field or section with the most similar name.
        nearest: String,
    },
    /// A value of the wrong type, a section in the place of a value, or the other way round.
    #[error("{origin}: {field}: expected {expected}, found {found}")]
    WrongType {
        /// File with line, or argument, that sets the field.
        origin: String,
        /// Full name of the field.
        field: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A source that names an encoder variant and a dimension which that variant does not have.
    #[error(
        "{origin}: encoder.variant = \"{variant}\" means {field} = {expected}, found {field} = {found}; leave one \
         of the two out, or set variant = \"\" and all of dim, depth, heads and patch_size"
    )]
    VariantContradicted {
        /// File or argument.
        origin: String,
        /// Name of the variant.
        variant: String,
        /// Full name of the field.
        field: &'static str,
        /// The variant's value.
        expected: usize,
        /// The value that is given.
        found: i64,
    },
    /// An argument that is not `KEY=VALUE`.
    #[error("`{argument}`: expected KEY=VALUE, such as optim.lr=3e-4")]
    NotAnOverride {
        /// The argument.
        argument: String,
    },
    /// Fewer hours than an epoch takes.
    #[error(
        "--hours: expected at least the {} hours that an epoch takes, found {found}; fewer images, a smaller encoder or fewer \
         views take less",
        // Rounded up: what is named here is enough.
        (100.0 * .epoch).ceil() / 100.0
    )]
    TooFewHours {
        /// Hours of an epoch.
        epoch: f64,
        /// Hours that were given.
        found: f64,
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
    #[error("{}: this run was started with {field} = {expected}, found {found}; a resumed run keeps its settings: \
         leave {field} out, or put it back in config.toml; with other settings it is another run, with another --out{}",
         .run.display(), from_its_weights(field, run))]
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
    /// A run that is resumed on other images than it was started with.
    #[error("{}: a resumed run needs the images that it was started with, in the same order: {difference}; give the --data of \
         then, or start another run with another --out", .run.display())]
    OtherImages {
        /// The run folder.
        run: PathBuf,
        /// What was expected and what was found.
        difference: String,
    },
    /// A checkpoint that does not hold what the run needs.
    #[error("{}: {problem}", .checkpoint.display())]
    Checkpoint {
        /// Folder of the checkpoint.
        checkpoint: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// The loss, its gradient or a weight is NaN or infinite.
    #[error("step {step}: {problem}; {}; {}", losses(.last), remedy(.checkpoint))]
    Diverged {
        /// Number of the step, from 1.
        step: u64,
        /// What is not finite.
        problem: String,
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

impl Error {
    /// The field that is out of its range, if that is what is wrong.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Config { field, .. }
            | Self::Model(msn_model::Error::Config { field, .. })
            | Self::Objective(msn_ssl::Error::Config { field, .. })
            | Self::Data(msn_data::Error::Config { field, .. }) => Some(field),
            _ => None,
        }
    }
}

fn losses(last: &[f64]) -> String {
    let losses: Vec<_> = last.iter().map(|loss| format!("{loss:.4}")).collect();
    match losses.len() {
        0 => "it is the first step".to_owned(),
        1 => format!("the loss before was {}", losses[0]),
        _ => format!("the losses before were {}", losses.join(", ")),
    }
}

fn remedy(checkpoint: &Option<PathBuf>) -> String {
    const LOWER: &str = "a lower optim.lr or a longer optim.warmup_epochs usually helps";
    match checkpoint {
        Some(path) => {
            // RUN/checkpoints/step-N
            let run = path.parent().and_then(Path::parent).unwrap_or(path);
            format!(
                "the last good checkpoint is {path}: {LOWER}, in a new run, which may go on from those weights: msn pretrain \
                 --init {path} --config {config} --data ... --out NEW optim.lr=...",
                path = path.display(),
                config = run.join("config.toml").display()
            )
        }
        None => format!("no checkpoint was saved before: {LOWER}"),
    }
}

/// How another run begins where this one is, if that has its encoder.
fn from_its_weights(field: &str, run: &Path) -> String {
    match field.split_once('.') {
        Some(("encoder", _)) => String::new(),
        _ => format!(" (`msn pretrain --init {}` starts it from these weights)", run.display()),
    }
}
