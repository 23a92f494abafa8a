//! `--init`: a run that starts from the weights of a checkpoint.

use std::path::Path;

use anyhow::ensure;
use burn::tensor::Device;
use msn_data::Dataset;
use msn_eval::{Origin, SavedEncoder, Weights};
use msn_model::EncoderConfig;
use msn_store::{Checkpoint, RunDir};
use msn_train::config::Source;
use msn_train::{Config, Images, Initial, PROTOTYPES_PART, start_from};

use crate::cli::SampleRange;
use crate::features::saved_encoder;
use crate::progress::say;

/// What a run starts from.
pub(crate) struct Start {
    initial: Initial,
    /// The architecture of its encoder.
    encoder: EncoderConfig,
}

/// Reads the checkpoint at `path`; and the settings that come with it, which others lie over: the encoder's architecture, the
/// normalisation of pixels and the range of 16-bit samples.
pub(crate) fn read(path: &Path, heads: Option<usize>) -> anyhow::Result<(Start, Source)> {
    let (saved, which) = saved_encoder(&path.display().to_string(), heads, SampleRange::default())?;
    ensure!(
        which == Weights::Pretrained,
        "--init {}: expected the weights of a checkpoint, found untrained ones, which every run has that is given no --init",
        path.display()
    );
    let SavedEncoder {
        origin: Origin { folder, step }, config: encoder, weights, normalization, limits, ..
    } = saved;
    let prototypes = match step {
        Some(_) => {
            Checkpoint::read_parts(&folder, |part| part == PROTOTYPES_PART)?.parts.remove(PROTOTYPES_PART)
        }
        None => None,
    };
    let sizes: String = architecture(&encoder).map(|(field, size)| format!("{field} = {size}\n")).concat();
    let settings = format!(
        "[encoder]\nvariant = \"\"\n{sizes}[data]\nmean = {:?}\nstd = {:?}\nlevels = {:?}\n",
        normalization.mean, normalization.std, limits.levels
    );
    let origin = folder.display().to_string();
    let settings = Source::toml(&origin, &settings)?;
    Ok((Start { initial: Initial { origin, encoder: weights, prototypes }, encoder }, settings))
}

/// The fields of `[encoder]` that weights fit or do not.
fn architecture(encoder: &EncoderConfig) -> [(&'static str, usize); 6] {
    [
        ("image_size", encoder.image_size),
        ("patch_size", encoder.patch_size),
        ("dim", encoder.dim),
        ("depth", encoder.depth),
        ("heads", encoder.heads),
        ("mlp_ratio", encoder.mlp_ratio),
    ]
}

impl Start {
    /// Fails where the settings ask for another architecture.
    pub(crate) fn check(&self, config: &Config) -> anyhow::Result<()> {
        let found = architecture(&config.encoder);
        for ((field, expected), (_, found)) in architecture(&self.encoder).into_iter().zip(found) {
            ensure!(
                expected == found,
                "encoder.{field}: expected {expected}, as of the encoder in {} that --init starts from, found {found}",
                self.initial.origin
            );
        }
        Ok(())
    }

    /// Saves the weights as step 0 of a run, and says what had to be drawn.
    pub(crate) fn save(
        self,
        config: &Config,
        dataset: &dyn Dataset,
        run: &RunDir,
        device: &Device,
    ) -> anyhow::Result<()> {
        let origin = self.initial.origin.clone();
        let drawn = start_from(self.initial, config, Images::of(dataset), run, device)?;
        let of = |drawn: bool, what: &str| {
            if drawn { format!("drawn anew: {what}") } else { format!("as there: {what}") }
        };
        say(&format!(
            "starting from the encoder of {origin}; {}; {}",
            of(drawn.head, "projection head"),
            of(drawn.prototypes, "prototypes")
        ));
        Ok(())
    }
}
