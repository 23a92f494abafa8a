//! `msn synth`

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, anyhow};
use image::ImageFormat;
use msn_store::ImageFolder;
use msn_synth::SynthConfig;
use rayon::prelude::*;

use crate::cli::Synth;
use crate::failure::wrong_arguments;
use crate::progress::{ImageProgress, counted, say};

pub(crate) fn run(arguments: &Synth) -> anyhow::Result<()> {
    let &Synth { classes, images_per_class, size, seed, .. } = arguments;
    let config = SynthConfig { classes, images_per_class, size, seed };
    config.validate().map_err(|msn_synth::Error::OutOfRange { field, expected, found }| {
        wrong_arguments(anyhow!("--{}: expected {expected}, found {found}", field.replace('_', "-")))
    })?;
    draw(&config, &arguments.out)?;
    let (images, classes) = (counted(classes * images_per_class, "image"), counted(classes, "class"));
    say(&format!("{images} of {classes} in {}", arguments.out.display()));
    Ok(())
}

/// Draws the image folder `out`, which must be new or empty.
pub(crate) fn draw(config: &SynthConfig, out: &Path) -> anyhow::Result<()> {
    let folder = ImageFolder::create(out)?;
    let mut progress = ImageProgress::new("drawing images", config.classes * config.images_per_class);
    for class in 0..config.classes {
        (0..config.images_per_class).into_par_iter().try_for_each(|index| -> anyhow::Result<()> {
            let name = format!("{}/{:04}.png", msn_synth::class_name(class), index + 1);
            let mut png = Cursor::new(Vec::new());
            msn_synth::draw(config, class, index)
                .write_to(&mut png, ImageFormat::Png)
                .with_context(|| format!("{name}: cannot encode"))?;
            Ok(folder.write(Path::new(&name), png.get_ref())?)
        })?;
        progress.set((class + 1) * config.images_per_class);
    }
    folder.finish()?;
    Ok(())
}
