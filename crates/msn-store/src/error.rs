//! What can go wrong between memory and disk.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

use crate::checkpoint::Rejected;
use crate::foreign::PickleError;

/// `Result` with this crate's error.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failure to read or write: each says where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("{}: cannot {tried}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, to be read after "cannot".
        tried: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is larger than the folder that should keep it may be.
    #[error("{}: expected files of at most {limit} bytes, the bound of this cache, found {needed} bytes of {name}", folder.display())]
    CacheTooSmall {
        /// The folder.
        folder: PathBuf,
        /// Its bound in bytes.
        limit: u64,
        /// Bytes of the file.
        needed: u64,
        /// The file.
        name: String,
    },
    /// A file holds JSON that does not parse, or not as what it should be.
    #[error("{}: expected {expected}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the file should hold.
        expected: &'static str,
        /// The parser's message, with line and column.
        source: serde_json::Error,
    },
    /// A safetensors file whose first eight bytes promise a header longer than the file or the format allows.
    #[error(
        "{}: not a whole safetensors file: the header is said to have {header} bytes, the file has {file}",
        path.display()
    )]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// Bytes of the header, as the file says.
        header: u64,
        /// Bytes of the whole file.
        file: u64,
    },
    /// A file is shorter or longer than its header or manifest says.
    #[error("{}: expected {expected} bytes, found {found}", path.display())]
    FileLength {
        /// The file.
        path: PathBuf,
        /// Bytes that the file should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A tensor of a type that does not become f32 (integers, booleans, 8-bit floats).
    #[error("{}: tensor `{tensor}`: expected F32, F16, BF16 or F64, found {found:?}", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its element type.
        found: Dtype,
    },
    /// A file that is no checkpoint of a format that is known.
    #[error(
        "{}: expected a checkpoint of PyTorch (.pth, .pt, .bin) or a .safetensors file, found a file that begins with {found}",
        path.display()
    )]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// A PyTorch file whose pickle is not that of a checkpoint.
    #[error("{}: the pickle in it: {source}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong with the pickle.
        source: PickleError,
    },
    /// A zip archive that cannot be read.
    #[error("{}: expected a whole zip archive, as torch.save writes: {source}", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        source: rawzip::Error,
    },
    /// A checkpoint of another program that contradicts itself or is laid out as none is.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Unusual {
        /// The file.
        path: PathBuf,
        /// What checkpoints have.
        expected: &'static str,
        /// What this one has.
        found: String,
    },
    /// A model that is too large for its format.
    #[error("{}: expected a model of at most {limit} bytes, which this format takes, found {found}", path.display())]
    TooLarge {
        /// The file that was to be written.
        path: PathBuf,
        /// The bound of the format.
        limit: usize,
        /// Bytes of the model.
        found: usize,
    },
    /// Tensors that refer to the same bytes again and again.
    #[error("{}: expected tensors that fit in a file of {bytes} bytes, found {elements} elements", path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// Elements of the tensors asked for.
        elements: u64,
        /// Length of the file.
        bytes: u64,
    },
    /// An array whose shape and number of values disagree.
    #[error("{}: tensor `{tensor}` of shape {shape:?} holds {found} values", path.display())]
    Shape {
        /// The file that was to be written.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The values found.
        found: usize,
    },
    /// A file's content is not what was written.
    #[error("{}: expected CRC-32 {expected:08x}, found {found:08x}: the file is corrupt", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Checksum in the manifest.
        expected: u32,
        /// Checksum of what is on disk.
        found: u32,
    },
    /// A checkpoint written by another version of the format.
    #[error("{}: expected checkpoint format {expected}, found {found}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// The version that this program reads.
        expected: u32,
        /// The version in the file.
        found: u32,
    },
    /// The manifest's step is not the one in the folder's name.
    #[error("{}: expected step {expected}, as the folder's name says, found {found}", path.display())]
    Step {
        /// The manifest.
        path: PathBuf,
        /// The step in the folder's name.
        expected: u64,
        /// The step in the manifest.
        found: u64,
    },
    /// A manifest that names a file which no checkpoint has, or lacks one which every checkpoint has.
    #[error("{}: expected `state.json` and `*.safetensors` files, found {found:?}", path.display())]
    ManifestFiles {
        /// The manifest.
        path: PathBuf,
        /// The files that it names.
        found: Vec<String>,
    },
    /// A checkpoint part whose name cannot be a file name everywhere.
    #[error("checkpoint part `{name}`: expected a name of letters, digits, `-` and `_`")]
    PartName {
        /// The name.
        name: String,
    },
    /// `latest` names a checkpoint that is not there.
    #[error("{}: names `{found}`, and there is no such checkpoint", path.display())]
    Latest {
        /// The `latest` file.
        path: PathBuf,
        /// Its content.
        found: String,
    },
    /// A run that has not saved a checkpoint yet.
    #[error("{}: no checkpoint: expected at least one folder named step-N, found {found}", folder.display())]
    NoCheckpoint {
        /// The folder of checkpoints.
        folder: PathBuf,
        /// What is there instead, in words.
        found: String,
    },
    /// Checkpoints exist, and none can be read.
    #[error("{}: no checkpoint can be read:{}", folder.display(), listed(rejected))]
    NoValidCheckpoint {
        /// The folder of checkpoints.
        folder: PathBuf,
        /// Each checkpoint with what is wrong with it, newest first.
        rejected: Vec<Rejected>,
    },
    /// A folder chosen for a new run already holds one.
    #[error(
        "{}: already holds a run: continue it with --resume, or choose another folder with --out",
        path.display()
    )]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// A folder chosen for something new holds files of somebody else.
    #[error("{}: expected a new or an empty folder, found `{found}` in it", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// The first of its entries, by name.
        found: String,
    },
    /// A folder that is made and could not be put in its place.
    #[error("{}: cannot put the folder there: {source}; everything is in {}", path.display(), found.display())]
    NotPlaced {
        /// Its place.
        path: PathBuf,
        /// Where it is instead.
        found: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A folder that should be a run and is not.
    #[error("{}: not a run folder: expected config.toml in it, found {found}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is there instead, in words.
        found: String,
    },
    /// A folder that should hold shards with their record and does not.
    #[error("{}: expected a folder of shards that was begun before, with {expected} in it, found none", path.display())]
    NoShards {
        /// The folder.
        path: PathBuf,
        /// Name of the record.
        expected: &'static str,
    },
    /// Another process writes to the run.
    #[error("{}: in use by {}: wait until it ends, or stop it", path.display(), holder_name(*holder))]
    Locked {
        /// The run folder.
        path: PathBuf,
        /// Process id of the holder, where it could be read.
        holder: Option<u32>,
    },
}

impl StoreError {
    /// For `map_err`: wraps an operating system error with the path and what was tried.
    pub(crate) fn io(path: &Path, tried: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, tried, source }
    }
}

fn holder_name(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn listed(rejected: &[Rejected]) -> String {
    rejected.iter().map(|one| format!("\n  {one}")).collect()
}
