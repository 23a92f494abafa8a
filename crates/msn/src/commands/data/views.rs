//! `msn data views`

use std::sync::Arc;

use anyhow::{anyhow, bail};
use msn_data::{Dataset, Limits, LoaderConfig, check_image, picture_of_views, preview};
use msn_train::config::RunTime;

use super::{check_picture, write_picture};
use crate::cli::DataViews;
use crate::failure::wrong_arguments;
use crate::progress::{counted, say, warn};
use crate::settings::Given;

pub(crate) fn run(arguments: &DataViews) -> anyhow::Result<()> {
    check_picture("--out", &arguments.out, &arguments.path)?;
    let given = Given::read(&arguments.path, arguments.config.as_deref(), &arguments.overrides)?;
    let dataset = msn_data::open(&arguments.path)?;
    let (config, explanation) = given.for_new_run(&*dataset, RunTime::default())?;
    if !explanation.is_empty() {
        say("settings picked from the images, as pretrain does without --config");
    }
    let loader = LoaderConfig { batch_size: arguments.images, ..config.loader() };
    let chosen = named(&dataset, &arguments.named, &loader.limits)?;
    let chosen = (!chosen.is_empty()).then_some(&*chosen);
    if chosen.is_none() && arguments.images > dataset.len() {
        return Err(wrong_arguments(anyhow!(
            "--images: expected at most {}, the number of images in {}, found {}",
            dataset.len(),
            arguments.path.display(),
            arguments.images
        )));
    }
    let (views, skipped) = preview(&dataset, &loader, arguments.epoch, chosen)?;
    for skipped in skipped {
        warn(&format!("skipped {skipped}"));
    }
    let picture = picture_of_views(&*dataset, &loader, arguments.epoch, &views)
        .map_err(|skipped| anyhow!("{skipped}"))?;
    write_picture(&arguments.out, &picture)?;
    say(&format!("views of {} in {}", counted(views.images.len(), "image"), arguments.out.display()));
    Ok(())
}

/// The images of these names.
fn named(dataset: &Arc<dyn Dataset>, names: &[String], limits: &Limits) -> anyhow::Result<Vec<usize>> {
    let find = |name: &String| {
        let found = (0..dataset.len()).find(|&index| dataset.name(index) == name);
        let path = dataset.path().display();
        let index = found.ok_or_else(|| {
            let example = dataset.name(0);
            wrong_arguments(anyhow!(
                "--image: expected the name of an image in {path}, such as `{example}`, found `{name}`"
            ))
        })?;
        match check_image(&**dataset, index, limits)? {
            Some(skipped) => bail!("{path}: {skipped}"),
            None => Ok(index),
        }
    };
    names.iter().map(find).collect()
}
