//! What is wrong with a pickle.

/// Why a pickle is no checkpoint. Nothing of it was executed. `at` is the position of the instruction, in bytes from
/// the start of the pickle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end within an instruction, or before the end of the program.
    #[error("byte {at}: expected the rest of a pickle, found its end: the file is truncated")]
    Truncated {
        /// Position.
        at: usize,
    },
    /// A byte that is no instruction of the protocols 2 to 5, or one that no checkpoint needs.
    #[error("byte {at}: expected an instruction of a checkpoint's pickle, found 0x{found:02x}")]
    Instruction {
        /// Position.
        at: usize,
        /// The byte.
        found: u8,
    },
    /// A class or function that is not among those that checkpoints are made of.
    #[error(
        "byte {at}: expected the parts of tensors, found the global `{module}.{name}`, which is not among those that \
         are understood; it was not executed. If you trust the file, load it with PyTorch and save the model's \
         state_dict alone"
    )]
    Global {
        /// Position.
        at: usize,
        /// Its module, control characters escaped, cut off after some.
        module: String,
        /// Its name, likewise.
        name: String,
    },
    /// More than a checkpoint has: made to fill the memory.
    #[error("byte {at}: expected at most {limit} {what}")]
    TooMuch {
        /// Position.
        at: usize,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// An instruction that takes what is not there, or something of another kind.
    #[error("byte {at}: expected {expected}, found {found}")]
    Operand {
        /// Position.
        at: usize,
        /// What the instruction needs.
        expected: &'static str,
        /// What there is.
        found: String,
    },
}
