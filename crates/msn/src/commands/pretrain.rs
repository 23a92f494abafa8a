//! `msn pretrain`

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use burn::tensor::Device;
use msn_data::{Dataset, FULL_RANGE};
use msn_store::RunDir;
use msn_train::config::{RunTime, speed_of_training};
use msn_train::{Config, Ending};

use crate::cli::Pretrain;
use crate::device;
use crate::failure::{stopped, wrong_arguments};
use crate::levels::look_for_few_levels;
use crate::memory;
use crate::progress::{TrainingProgress, say};
use crate::settings::Given;
use crate::signals::StopRequest;
use crate::starting;

pub(crate) fn run(arguments: &Pretrain) -> anyhow::Result<()> {
    let device = device::open(&arguments.device.name)?;
    let mut given = Given::read(&arguments.data, arguments.config.as_deref(), &arguments.overrides)?;
    let (run, config, dataset) = if arguments.resume {
        let run = RunDir::resume(&arguments.out)?;
        let config = given.for_resumed_run(&run)?;
        memory::check(&config, &arguments.device)?;
        (run, config, msn_data::open(&arguments.data)?)
    } else {
        let dataset = msn_data::open(&arguments.data)?;
        let start = match &arguments.init {
            None => None,
            Some(path) => {
                let (start, settings) = starting::read(path, arguments.heads)?;
                given.init = Some(settings);
                Some(start)
            }
        };
        let (config, explanation) = given.for_new_run(&*dataset, run_time(arguments, &given)?)?;
        check_batch(&config, &*dataset, &given)?;
        memory::check(&config, &arguments.device)?;
        if config.data.levels == FULL_RANGE {
            look_for_few_levels(&*dataset, config.data.limits())?;
        }
        if let Some(start) = &start {
            start.check(&config)?;
        }
        let run = RunDir::create(&arguments.out)?;
        explanation.iter().for_each(|line| say(line));
        if let Some(start) = start {
            // Before the folder becomes a run: one that is gone on with must not have drawn weights instead.
            start.save(&config, &*dataset, &run, &device)?;
        }
        // First of all, so that the folder can be resumed from now on. That of a resumed run stays until the images are known
        // to be those of then.
        run.write_config(&config.to_toml())?;
        (run, config, dataset)
    };
    say(&format!("data: {}", arguments.data.display()));
    let resume = format!(
        "msn pretrain --data {} --out {}{} --resume",
        quoted(&arguments.data),
        quoted(run.path()),
        arguments.device.repeated()
    );
    train(&config, dataset, &run, &device, &resume)?;
    say(&format!(
        "next, with labelled images in folders named after their classes:\n  \
         msn eval lowshot --checkpoint {run} --train LABELLED/TRAIN --test LABELLED/TEST\n\
         or with the labels of a few images in a file with the columns `path,label`:\n  \
         msn predict --checkpoint {run} --labels FEW.csv --images {data} --out predicted.csv",
        run = quoted(run.path()),
        data = quoted(&arguments.data)
    ));
    Ok(())
}

/// How long the run may take, and how fast this machine is. Nobody asks where a file has all settings.
fn run_time(arguments: &Pretrain, given: &Given<'_>) -> anyhow::Result<RunTime> {
    let (hours, is_cpu) = (arguments.hours, arguments.device.is_cpu());
    if hours.is_some() && given.sets("optim.epochs") {
        bail!(wrong_arguments(anyhow!("--hours: expected no optim.epochs beside it, since it picks them")));
    }
    if hours.is_some() && !is_cpu {
        let device = &arguments.device.name;
        bail!(wrong_arguments(anyhow!(
            "--hours: expected --device cpu, whose speed is measured; found {device}: give optim.epochs instead"
        )));
    }
    let is_asked_for = is_cpu && arguments.config.is_none();
    let speed = is_asked_for.then(|| given.precision().map(speed_of_training)).transpose()?;
    Ok(RunTime { speed, hours })
}

/// Before the run folder is made: otherwise a second try with a smaller batch would find it in use.
fn check_batch(config: &Config, dataset: &dyn Dataset, given: &Given<'_>) -> anyhow::Result<()> {
    let (batch_size, images) = (config.train.batch_size, dataset.len());
    if batch_size > images {
        let error =
            msn_data::Error::BatchLargerThanData { data: dataset.path().to_owned(), batch_size, images };
        bail!("{error}{}", given.origin("train.batch_size"));
    }
    Ok(())
}

/// Trains until the end, and says where the result is. Stopped by a signal it tells how to go on, with the command
/// `resume`, and fails with what ends the program.
pub(crate) fn train(
    config: &Config,
    dataset: Arc<dyn Dataset>,
    run: &RunDir,
    device: &Device,
    resume: &str,
) -> anyhow::Result<()> {
    let mut progress =
        TrainingProgress::new(StopRequest::listen()?, config.optim.epochs, config.objective.prototypes);
    let outcome = msn_train::pretrain(config, dataset, run, device, &mut progress)?;
    match &outcome.checkpoint {
        Some(folder) => say(&format!("checkpoint: {}", folder.display())),
        None => say(&format!("nothing left to do: this run ended at step {}", outcome.step)),
    }
    if outcome.skipped > 0 {
        let list = run.path().join("skipped.jsonl");
        let since =
            if progress.went_on() { " since the run went on, listed with those before" } else { ", listed" };
        say(&format!("skipped images: {}{since} in {}", outcome.skipped, list.display()));
    }
    if outcome.ending == Ending::Stopped {
        say(&format!("stopped after step {}; to go on:\n  {resume}", outcome.step));
        return Err(stopped(progress.signal()));
    }
    Ok(())
}

/// A path as one would type it in a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("runs/a-1.tar")), "runs/a-1.tar");
        assert_eq!(quoted(Path::new("my photos")), "'my photos'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
    }
}
