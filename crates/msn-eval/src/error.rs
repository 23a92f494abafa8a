//! What can go wrong between features and a score.

use std::io;
use std::path::PathBuf;

/// A failure of an evaluation. Every message says where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The number of values is not rows x dim.
    #[error("features: expected {rows} rows x {dim} columns of values, found {found} values")]
    Length {
        /// Rows as given.
        rows: usize,
        /// Columns as given.
        dim: usize,
        /// Number of values.
        found: usize,
    },
    /// There are no rows or no columns.
    #[error("features: expected at least one row and one column, found {rows} x {dim}")]
    Empty {
        /// Rows as given.
        rows: usize,
        /// Columns as given.
        dim: usize,
    },
    /// A value is NaN or infinite.
    #[error("features: row {row}, column {column}: expected a finite number, found {found}")]
    NotFinite {
        /// First bad row, from 0.
        row: usize,
        /// First bad column of it, from 0.
        column: usize,
        /// The value.
        found: f32,
    },
    /// Two sets of features differ in width.
    #[error("features: expected {expected} columns as in training, found {found}")]
    Dimension {
        /// Columns of the training features.
        expected: usize,
        /// Columns of the others.
        found: usize,
    },
    /// There is not one label per row.
    #[error("labels: expected one per row, {rows} in all, found {found}")]
    LabelCount {
        /// Rows of the features.
        rows: usize,
        /// Number of labels.
        found: usize,
    },
    /// A class number is out of range.
    #[error("labels: row {row}: expected a class below {classes}, found {found}")]
    LabelRange {
        /// The row, from 0.
        row: usize,
        /// Number of classes.
        classes: usize,
        /// The label.
        found: usize,
    },
    /// A class of the test set has no training image.
    #[error("test row {row}: class `{class}` is not among the {known} classes of the training labels")]
    UnseenClass {
        /// The test row, from 0.
        row: usize,
        /// The class.
        class: String,
        /// Number of training classes.
        known: usize,
    },
    /// A class has fewer images than shots.
    #[error("class `{class}`: expected at least {shots} images to draw from, found {count}{}", besides(*.unusable))]
    TooFewImages {
        /// The class.
        class: String,
        /// Images to draw.
        shots: usize,
        /// Usable images there are.
        count: usize,
        /// Drawn images that are not usable.
        unusable: usize,
    },
    /// More images are to be chosen than there are, or none.
    #[error("budget: expected a number of images from 1 to {rows}, found {found}")]
    Budget {
        /// Images there are.
        rows: usize,
        /// Images to choose.
        found: usize,
    },
    /// A setting is out of range.
    #[error("{field}: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its range.
        expected: &'static str,
        /// The value.
        found: f64,
    },
    /// More of the last blocks are asked for than the encoder has.
    #[error("{field}: expected at most {blocks}, the blocks of the encoder, found {found}")]
    Blocks {
        /// The setting.
        field: &'static str,
        /// Blocks of the encoder.
        blocks: usize,
        /// The value.
        found: usize,
    },
    /// The principal axes of the rows cannot be computed.
    #[error("features of {rows} x {dim}: the eigenvalue iteration does not converge")]
    Eigenvalues {
        /// Rows.
        rows: usize,
        /// Columns.
        dim: usize,
    },
    /// The solver stopped short of its tolerance.
    #[error(
        "logistic regression on {rows} rows and {classes} classes: expected a relative gradient norm of at most {tolerance:e}, found {found:e} after {iterations} iterations"
    )]
    NotConverged {
        /// Training rows.
        rows: usize,
        /// Classes.
        classes: usize,
        /// The tolerance asked for.
        tolerance: f64,
        /// Gradient norm reached, relative to that of the penalty.
        found: f64,
        /// Iterations made.
        iterations: usize,
    },
    /// The loss of a fine-tuning, or its gradient, is NaN or infinite.
    #[error(
        "step {step}, in epoch {epoch}: expected finite numbers, found a loss of {loss}{}{}. A lower --lr, a longer \
         --warmup or --clip-grad 1 usually helps",
        gradient_is(*.loss, *.grad_norm), before_it(*.before)
    )]
    Diverged {
        /// Number of the step, from 1.
        step: u64,
        /// Its epoch, from 1.
        epoch: u64,
        /// The loss.
        loss: f64,
        /// Norm of its gradient.
        grad_norm: f64,
        /// Mean loss of the steps before.
        before: Option<f64>,
    },
    /// A fine-tuning that is to go on with something else than it was started with.
    #[error(
        "{}: this fine-tuning was started with {field} = {started}, found {now}; a resumed one keeps all that decides on \
         its weights: give the arguments and images of then, or start another one with another --out", run.display()
    )]
    OtherTraining {
        /// Its run folder.
        run: PathBuf,
        /// What differs.
        field: String,
        /// What it was.
        started: String,
        /// What it is now.
        now: String,
    },
    /// A final norm that loses a column of the features before it.
    #[error(
        "norm.weight, column {column}: expected a scale other than 0, through which a head after the final norm sees \
         the features before it, found {found:e}"
    )]
    NormScale {
        /// The column, from 0.
        column: usize,
        /// The scale.
        found: f32,
    },
    /// A split file cannot be read.
    #[error("{}: cannot read the split file: {source}", path.display())]
    ReadSplit {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A split file names no image.
    #[error("{origin}: expected one image name a line, found none")]
    EmptySplit {
        /// The split file.
        origin: String,
    },
    /// A line of a split file names no image of the training set.
    #[error(
        "{origin}, line {line}: expected the name of one of the {images} training images, found `{name}`"
    )]
    UnknownImage {
        /// The split file.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        name: String,
        /// Number of training images.
        images: usize,
    },
    /// A line of a split file has the file name of a training image and other folders.
    #[error(
        "{origin}, line {line}: expected the name of a training image, found `{name}`, and an image of that file name in \
         another folder alone, `{found}`"
    )]
    OtherFolder {
        /// The split file.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        name: String,
        /// An image of that file name.
        found: String,
    },
    /// A line of a split file fits several training images.
    #[error(
        "{origin}, line {line}: expected a name of one image, `{name}` fits both `{first}` and `{second}`"
    )]
    AmbiguousImage {
        /// The split file.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        name: String,
        /// One image that fits.
        first: String,
        /// Another.
        second: String,
    },
    /// A split file names an image twice.
    #[error("{origin}, line {line}: expected each image once, found `{name}` again")]
    RepeatedImage {
        /// The split file.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// The line.
        name: String,
    },
}

/// The gradient, where the loss does not say it all.
fn gradient_is(loss: f64, norm: f64) -> String {
    if loss.is_finite() { format!(" with a gradient of norm {norm}") } else { String::new() }
}

fn before_it(loss: Option<f64>) -> String {
    match loss {
        Some(loss) => format!("; before, it was {loss:.4} on average"),
        None => "; it is the first step".to_owned(),
    }
}

fn besides(unusable: usize) -> String {
    if unusable == 0 { String::new() } else { format!(" beside {unusable} that cannot be read") }
}
