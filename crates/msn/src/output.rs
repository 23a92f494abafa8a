//! Files that a command is asked to write: checked before hours of work rather than after them, so that nothing of the
//! user's is lost.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use msn_store::read_description;

use crate::failure::wrong_arguments;
use crate::report;

/// Fails unless writing `file` loses nothing: its folder is there, the command reads it under none of the names in
/// `inputs`, and what goes by its name already, if anything does, begins as the output of this command does.
pub(crate) fn check(file: &Path, inputs: &[&Path], begins: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
    let shown = file.display();
    ensure!(file != Path::new("-"), "expected the name of a file to write, found `-`");
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        let folder = folder.display();
        bail!("{shown}: expected a file in a folder that exists, found no folder {folder}");
    }
    if !file.exists() {
        ensure!(!file.is_symlink(), "{shown}: expected a file to write, found a symbolic link to nothing");
        return Ok(());
    }
    ensure!(!file.is_dir(), "{shown}: expected a file to write, found a folder");
    let same =
        |input: &Path| file.canonicalize().is_ok_and(|file| input.canonicalize().is_ok_and(|i| i == file));
    ensure!(
        !inputs.iter().any(|input| same(input)),
        "{shown}: expected a file that this command does not read, found one of its inputs; choose another name"
    );
    if holds_nothing(file) {
        return Ok(());
    }
    ensure!(
        begins(&start(file)),
        "{shown}: expected a new file or an earlier output of this command, found another file; choose another name, or \
         move it away"
    );
    Ok(())
}

/// Whether nothing can be lost of a file that is there: nothing yet, or a pipe or a device, which reading would wait for.
fn holds_nothing(file: &Path) -> bool {
    file.metadata().is_ok_and(|facts| !facts.is_file() || facts.len() == 0)
}

/// How a file begins; nothing of one that cannot be read, or that holds nothing.
pub(crate) fn start(file: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if !holds_nothing(file) {
        // As far as it can be read.
        let _ = File::open(file).and_then(|file| file.take(128).read_to_end(&mut start));
    }
    start
}

/// [`check`] for a file in which a person may have filled in or corrected labels: it replaces none.
pub(crate) fn check_new(file: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    check(file, inputs, |_| true)?;
    ensure!(
        !file.exists() || holds_nothing(file),
        "{}: expected a new file, found one, which may have labels that somebody filled in; choose another name, or move it \
         away",
        file.display()
    );
    Ok(())
}

/// Whether `file` is a safetensors file whose description has this key with a value that is right.
pub(crate) fn says(file: &Path, key: &str, is_right: impl Fn(&str) -> bool) -> bool {
    read_description(file).is_ok_and(|description| description.get(key).is_some_and(|value| is_right(value)))
}

/// [`check`] for a picture in SVG; others' drawings are told apart by its marker.
pub(crate) fn check_svg(file: &Path, inputs: &[&Path]) -> anyhow::Result<()> {
    if file.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("svg")) {
        return Err(wrong_arguments(anyhow!("--picture: expected a name in .svg, found {}", file.display())));
    }
    check(file, inputs, |start| start.starts_with(msn_eval::CURVE_PICTURE_START.as_bytes()))
}

/// [`check`] for results as JSON, where `-` is standard output.
pub(crate) fn check_json(file: Option<&Path>, inputs: &[&Path]) -> anyhow::Result<()> {
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => check(file, inputs, |start| start.starts_with(report::JSON_START.as_bytes())),
        None => Ok(()),
    }
}
