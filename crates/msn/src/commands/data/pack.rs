//! `msn data pack`

use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{anyhow, bail};
use msn_data::{Error, PackConfig, PackRecord, pack};
use msn_store::ShardFolder;

use crate::classes::warn_of_shared_names;
use crate::cli::Pack;
use crate::commands::pretrain::quoted;
use crate::progress::{ImageProgress, counted, say, warn};

/// Skipped images that are shown; the record lists all.
const SHOWN_SKIPPED: usize = 20;

pub(crate) fn run(arguments: &Pack) -> anyhow::Result<()> {
    let dataset = msn_data::open(&arguments.source)?;
    warn_of_shared_names(&*dataset);
    let config = PackConfig {
        size: arguments.shard_size.unwrap_or_default(),
        shuffle: (!arguments.in_order).then_some(arguments.seed),
        skip_unreadable: arguments.skip_unreadable,
        shorter_side: arguments.shorter_side,
        workers: available_parallelism().map_or(1, usize::from),
        limits: arguments.limits.with_levels(arguments.levels),
    };
    let job = PackRecord::new(&*dataset, &config);
    let (folder, record) = if arguments.resume {
        taken_up(&arguments.out, &job)?
    } else {
        (ShardFolder::create(&arguments.out)?, job)
    };
    if record.next > 0 {
        say(&format!("going on after {} of {}", counted(record.next, "image"), record.images));
    }
    let before = record.skipped.len();
    let mut progress = ImageProgress::new("packing images", record.images);
    let record = pack(&*dataset, &folder, &config, record, |done| progress.set(done));
    drop(progress);
    let record = record.map_err(|error| match error {
        Error::Unreadable { .. } => anyhow!(
            "{error}; packing ended here, since leaving the image out would leave it out for good: go on with --resume once \
             it can be read (if it is too large: with a higher limit), or with --resume --skip-unreadable without it"
        ),
        Error::OutOfReach { .. } => anyhow!("{error}; the finished shards stay: go on with --resume"),
        error => error.into(),
    })?;
    for skipped in record.skipped.iter().skip(before).take(SHOWN_SKIPPED) {
        warn(&format!("left out {skipped}"));
    }
    summarize(&arguments.out, &record)
}

/// The folder that was begun, if for the same job, and its record.
fn taken_up(out: &Path, job: &PackRecord) -> anyhow::Result<(ShardFolder, PackRecord)> {
    let folder = ShardFolder::resume(out)?;
    let record: PackRecord = folder.record()?;
    if let Err((what, own, found)) = record.check(job) {
        bail!(
            "{}: was begun from {} with another {what}: expected {own}, found {found}; give the same arguments as then, or \
             choose another folder with --out",
            out.display(),
            record.source
        );
    }
    Ok((folder, record))
}

fn summarize(out: &Path, record: &PackRecord) -> anyhow::Result<()> {
    let images: usize = record.shards.iter().map(|shard| shard.images).sum();
    if !record.skipped.is_empty() {
        let list = out.join("shards.json");
        say(&format!(
            "left out: {}, listed in {}",
            counted(record.skipped.len(), "broken image"),
            list.display()
        ));
    }
    let shrunk: usize = record.shards.iter().map(|shard| shard.shrunk).sum();
    if let Some(side) = record.shorter_side {
        say(&format!("shrunk to a shorter side of {side} px: {}", counted(shrunk, "image")));
    }
    let Some(last) = record.shards.len().checked_sub(1) else {
        bail!(
            "{}: not one of {} can be decoded: nothing is packed",
            record.source,
            counted(record.images, "image")
        );
    };
    let files =
        if last == 0 { "shards-000000.tar".to_owned() } else { format!("shards-{{000000..{last:06}}}.tar") };
    say(&format!(
        "{} of {} in {}: {}",
        counted(images, "image"),
        counted(record.classes.len(), "class"),
        counted(record.shards.len(), "shard"),
        quoted(&out.join(files))
    ));
    say(&format!("next:\n  msn pretrain --data {} --out RUN", quoted(out)));
    Ok(())
}
