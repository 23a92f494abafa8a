//! Which instruction set the kernels run on.

use std::cell::Cell;
use std::sync::OnceLock;

/// An instruction set that the kernels have a path for, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// The readable twins: plain loops, no vectors, sums in `f64`. Slow; meant for checking the others.
    Plain,
    /// Vectors as arrays, left to the compiler: NEON on AArch64, SSE2 on x86-64.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL, AVX2 and FMA; products of bf16 are products of `f32`.
    Avx512,
    /// [`Isa::Avx512`] with the bf16 dot-product instructions.
    Avx512Bf16,
}

/// The environment variable that forces an instruction set.
const VARIABLE: &str = "MSN_ISA";

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The name is none of [`Isa::name`].
    #[error("MSN_ISA: expected one of plain, portable, avx2, avx512, avx512bf16, found `{found}`")]
    UnknownName {
        /// The text that was given.
        found: String,
    },
    /// The processor lacks the instructions.
    #[error("MSN_ISA: this processor has no `{}`; its best is `{}`", requested.name(), best.name())]
    Unsupported {
        /// What was asked for.
        requested: Isa,
        /// The best path of this processor.
        best: Isa,
    },
}

impl Isa {
    /// All instruction sets, worst first.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// The name by which `MSN_ISA` selects it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether this processor can run it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_supported(self) -> bool {
        let avx512 = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
        };
        match self {
            Self::Plain | Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => avx512(),
            Self::Avx512Bf16 => avx512() && is_x86_feature_detected!("avx512bf16"),
        }
    }

    /// Whether this processor can run it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_supported(self) -> bool {
        matches!(self, Self::Plain | Self::Portable)
    }

    /// The instruction sets of this processor, worst first.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    fn best() -> Self {
        Self::supported().last().unwrap_or(Self::Plain)
    }

    fn check(self) -> Result<Self, IsaError> {
        if self.is_supported() {
            Ok(self)
        } else {
            Err(IsaError::Unsupported { requested: self, best: Self::best() })
        }
    }
}

impl std::str::FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| IsaError::UnknownName { found: name.to_owned() })
    }
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// The instruction set that kernels called from this thread use: the one forced by [`with_isa`], else
/// the one named by the environment variable `MSN_ISA`, else the best of this processor.
///
/// # Errors
/// If `MSN_ISA` names no instruction set or one that this processor lacks. A program calls this once at
/// its start, so as to explain the error; the kernels themselves panic on it.
pub fn selected_isa() -> Result<Isa, IsaError> {
    static SELECTED: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
    if let Some(isa) = FORCED.get() {
        return Ok(isa);
    }
    let selected = SELECTED.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(name) => name.parse::<Isa>()?.check(),
        Err(_) => Ok(Isa::best()),
    });
    selected.clone()
}

/// Runs `f` with every kernel that it calls from this thread on `isa`. For tests and benchmarks.
///
/// # Errors
/// If this processor lacks `isa`; `f` is not called then.
pub fn with_isa<R>(isa: Isa, f: impl FnOnce() -> R) -> Result<R, IsaError> {
    isa.check()?;
    Ok(with_forced(Some(isa), f))
}

/// What [`with_isa`] forces on this thread.
pub(crate) fn forced() -> Option<Isa> {
    FORCED.get()
}

/// Runs `f` with what [`forced`] gave, perhaps on another thread.
pub(crate) fn with_forced<R>(isa: Option<Isa>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let _restore = Restore(FORCED.replace(isa));
    f()
}

/// Whether products of bf16 run at more than the speed of `f32` here: the processor has instructions
/// for them. Use it to choose the default [`crate::Precision`].
///
/// # Panics
/// If [`selected_isa`] is an error.
pub fn bf16_is_fast() -> bool {
    current() == Isa::Avx512Bf16
}

/// [`selected_isa`] for the kernels.
pub(crate) fn current() -> Isa {
    match selected_isa() {
        Ok(isa) => isa,
        Err(error) => panic!("{error}"),
    }
}
