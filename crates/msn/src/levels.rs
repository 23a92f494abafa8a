//! 16-bit images that use few of their bits, and so would be nearly black.

use std::thread::available_parallelism;

use msn_data::{Dataset, InspectConfig, Inspection, Limits, Reading, inspect};

use crate::progress::{counted, warn};

/// Images of 16 bits of which no sample is brighter, of 255, have used 14 of them at most.
const DARK: u8 = 64;

/// Images that are looked at before a training.
const SAMPLE: usize = 32;

/// Warns where the 16-bit images that were looked at are dark.
pub(crate) fn warn_of_few_levels(found: &Inspection) {
    if let Some(brightest) = found.brightest_of_16_bits.filter(|&brightest| brightest < DARK) {
        warn(&format!(
            "no sample of {} looked at is brighter than {brightest} of 255: files that use fewer bits keep few of their levels; \
             give their range, such as --levels 0,4095 to `msn data inspect` and 'data.levels=[0,4095]' to pretrain",
            counted(found.of_16_bits, "16-bit image")
        ));
    }
}

/// As [`warn_of_few_levels`], of a few images of those that are about to be trained on; not where each would have to be
/// fetched with a whole shard.
pub(crate) fn look_for_few_levels(dataset: &dyn Dataset, limits: Limits) -> anyhow::Result<()> {
    if matches!(dataset.reading(), Reading::AtRandom) {
        let workers = available_parallelism().map_or(1, usize::from);
        let config = InspectConfig { sample: Some(SAMPLE), seed: 0, workers, limits };
        warn_of_few_levels(&inspect(dataset, &config, |_| ())?);
    }
    Ok(())
}
