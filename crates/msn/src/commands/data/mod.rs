//! `msn data`

mod inspect;
mod pack;
mod views;

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use msn_data::{Image, encode_picture, is_picture};
use msn_store::atomic;

use crate::cli::DataCommand;
use crate::failure::wrong_arguments;
use crate::output;

pub(crate) fn run(command: &DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Inspect(arguments) => inspect::run(arguments),
        DataCommand::Views(arguments) => views::run(arguments),
        DataCommand::Pack(arguments) => pack::run(arguments),
    }
}

/// Fails unless the picture `file`, the value of `argument`, can be written without loss, and without becoming one of
/// the images in `data`.
fn check_picture(argument: &str, file: &Path, data: &Path) -> anyhow::Result<()> {
    let shown = file.display();
    if !file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        return Err(wrong_arguments(anyhow!("{argument}: expected a name in .png, found {shown}")));
    }
    output::check(file, &[data], is_picture)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let within = |data: PathBuf| folder.canonicalize().is_ok_and(|folder| folder.starts_with(data));
    ensure!(
        !(data.is_dir() && data.canonicalize().is_ok_and(within)),
        "{shown}: expected a place outside of {}, where the picture would become one of the images",
        data.display()
    );
    Ok(())
}

fn write_picture(file: &Path, picture: &Image) -> anyhow::Result<()> {
    Ok(atomic::write(file, &encode_picture(picture))?)
}
