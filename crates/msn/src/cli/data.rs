//! Commands that look at images and repack them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use msn_data::ShardSize;

use super::limits::{Levels, SizeLimits, levels};
use super::{IMAGES, at_least_one};

/// Look at images, at what a network sees of them, and pack them into shards.
#[derive(Subcommand)]
pub(crate) enum DataCommand {
    Inspect(Inspect),
    Views(DataViews),
    Pack(Pack),
}

/// Count images, their sizes, formats, classes and broken files; measure mean and deviation of the channels.
#[derive(Args)]
#[command(after_help = "\
Every image is read and decoded. Broken and too large ones are listed with the reason and are no \
failure: pretrain skips them, up to 1% of the images (data.max_skipped), and up to three in any case.

Examples:
  msn data inspect photos
  msn data inspect photos --sheet sheet.png --json photos.json
  msn data inspect 'shards-{000000..000099}.tar' --sample 5000
  msn data inspect x-rays --levels 0,4095   # 12 bits in 16-bit files")]
pub(crate) struct Inspect {
    #[arg(value_name = "PATH", help = IMAGES)]
    pub(crate) path: PathBuf,

    /// Look at so many images, drawn at random, instead of all; classes are counted over all in any case.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) sample: Option<usize>,

    /// Seed of that draw.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Where to draw a contact sheet of some images, with their classes or names.
    #[arg(long, value_name = "FILE.png")]
    pub(crate) sheet: Option<PathBuf>,

    /// The samples of 16-bit images that become black and white [default: 0,65535]. For pretrain, 'data.levels=[BLACK,WHITE]'.
    #[arg(long, value_name = "BLACK,WHITE", value_parser = levels, hide_default_value = true, default_value = "0,65535")]
    pub(crate) levels: Levels,

    #[command(flatten)]
    pub(crate) limits: SizeLimits,

    /// Where to write the same as JSON, with all classes and broken files; - for standard output, without the text.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Draw what the network sees: target view, large anchor view with its mask, focal views.
///
/// Each row shows an image with the places that its views were cut from, and the views with the pixels that training
/// uses: made by the same code from the same seed. Patches that the mask drops are grey.
#[derive(Args)]
#[command(after_help = "\
Settings are those of pretrain: without --config they are picked from the images.

Examples:
  msn data views photos --out views.png
  msn data views photos --out views.png --images 4 mask.patch_drop=0.5
  msn data views photos --out views.png --config runs/photos/config.toml --epoch 12")]
pub(crate) struct DataViews {
    /// Images, as for pretrain.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// Picture to draw.
    #[arg(long, value_name = "FILE.png")]
    pub(crate) out: PathBuf,

    /// Number of images, a row each, at most 100: the first ones of the epoch.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to_100)]
    pub(crate) images: usize,

    /// Draw this image, by its name in the source, instead of the first ones; may be given several times.
    #[arg(long = "image", value_name = "NAME", conflicts_with = "images")]
    pub(crate) named: Vec<String>,

    /// Epoch whose views are drawn, from 0; every epoch has others.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) epoch: u64,

    /// Settings in TOML; what it leaves out has its default.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,

    /// Change a setting, such as views.focal_views=4 or seed=1; the fields are those of config.toml.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// Pack images from any source into tar shards in the WebDataset convention.
///
/// A sample is KEY.jpg (or .png, ...) and KEY.json with its name and class. Encoded images are copied as they are, unless
/// --shorter-side makes them smaller; bare pixels (CIFAR, IDX) become PNG. Images that cannot be decoded are left out
/// and listed in shards.json; at one that is too large, or that a disk or a server does not give, packing stops, to be
/// gone on with.
#[derive(Args)]
#[command(after_help = "\
A shard appears under its name when it is whole. After a stop, the same command with --resume \
goes on.

Examples:
  msn data pack photos --out shards
  msn data pack cifar-10-batches-bin --out shards --shard-size 5000
  msn data pack photos --out shards --shard-size 512MiB --in-order
  msn data pack scans --out shards --shorter-side 512   # large images, faster to decode")]
pub(crate) struct Pack {
    /// Images, as for pretrain.
    #[arg(value_name = "PATH")]
    pub(crate) source: PathBuf,

    /// Folder to make: shards-000000.tar and so on, shards.json. Must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,

    /// When a shard is full: a number of images, such as 10000, or of bytes, such as 512MiB or 1GB
    /// [default: 10000 images or 1GiB, whichever comes first].
    #[arg(long, value_name = "SIZE", value_parser = shard_size)]
    pub(crate) shard_size: Option<ShardSize>,

    /// Seed of the order in which images are packed. They are shuffled, since training reads shard after shard.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Shrink images whose shorter side has more than N pixels to that size, since decoding large ones is what loading
    /// images spends most of its time on. JPEG stays JPEG (quality 95), all else becomes PNG of 8 bits. Leave room for
    /// random crops: twice the size of the large views is usual.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub(crate) shorter_side: Option<u32>,

    /// The samples of 16-bit images that become black and white where they are shrunk [default: 0,65535].
    #[arg(long, value_name = "BLACK,WHITE", value_parser = levels, hide_default_value = true, default_value = "0,65535")]
    #[arg(requires = "shorter_side")]
    pub(crate) levels: Levels,

    /// Keep the order of the source.
    #[arg(long, conflicts_with = "seed")]
    pub(crate) in_order: bool,

    /// Leave out images that are too large or not there, too.
    #[arg(long)]
    pub(crate) skip_unreadable: bool,

    #[command(flatten)]
    pub(crate) limits: SizeLimits,

    /// Go on with the folder in --out that was begun with the same arguments.
    #[arg(long)]
    pub(crate) resume: bool,
}

fn up_to_100(text: &str) -> Result<usize, String> {
    let number = at_least_one(text).ok().filter(|&number| number <= 100);
    number.ok_or_else(|| "expected a whole number from 1 to 100".to_owned())
}

/// Units of bytes. Those of one letter are powers of two, as elsewhere.
const UNITS: [(&str, u64); 10] = [
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
];

fn shard_size(text: &str) -> Result<ShardSize, String> {
    let expected =
        || "expected a number of images, such as 10000, or of bytes, such as 512MiB or 1GB".to_owned();
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = (lower[..digits].parse::<u64>().ok(), lower[digits..].trim());
    let number = number.filter(|&number| number > 0).ok_or_else(expected)?;
    if unit.is_empty() {
        return Ok(ShardSize { images: Some(number as usize), bytes: None });
    }
    let factor =
        UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor).ok_or_else(expected)?;
    let bytes = number.checked_mul(*factor).ok_or_else(expected)?;
    Ok(ShardSize { images: None, bytes: Some(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_shards_are_images_or_bytes() {
        assert_eq!(shard_size("10000"), Ok(ShardSize { images: Some(10_000), bytes: None }));
        for (text, bytes) in [("512MiB", 512 << 20), ("1 GB", 1_000_000_000), ("3k", 3072), ("700b", 700)] {
            assert_eq!(shard_size(text), Ok(ShardSize { images: None, bytes: Some(bytes) }), "{text}");
        }
        for text in ["", "0", "0MB", "-1", "many", "1.5GB", "10 apples", "99999999999GiB"] {
            assert!(shard_size(text).is_err(), "{text}");
        }
    }
}
