//! `msn embed`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{anyhow, bail, ensure};
use msn_eval::FeatureRows;
use msn_store::export::{npy_rows, write_lines, write_npy};
use msn_store::{Array, write_described};

use crate::cli::Embed;
use crate::failure::wrong_arguments;
use crate::features;
use crate::output;
use crate::progress::{counted, say};

/// Name of the tensor in a safetensors file.
const TENSOR: &str = "features";
/// What such a file says of itself, by which it is known again.
const MADE_BY: (&str, &str) = ("made_by", "msn embed");

/// The formats there are, by the ending of the file.
#[derive(Clone, Copy)]
enum Format {
    Npy,
    Safetensors,
}

pub(crate) fn run(arguments: &Embed) -> anyhow::Result<()> {
    let out = &arguments.out;
    let format = match out.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Format::Npy,
        Some("safetensors") => Format::Safetensors,
        _ => {
            let found = out.display();
            return Err(wrong_arguments(anyhow!(
                "--out: expected a name in .npy or .safetensors, found {found}"
            )));
        }
    };
    let paths = out.with_extension("txt");
    let inputs = [arguments.data.as_path(), Path::new(&arguments.encoder.checkpoint)];
    output::check(out, &inputs, |start| match format {
        Format::Npy => npy_rows(start).is_some(),
        Format::Safetensors => output::says(out, MADE_BY.0, |maker| maker == MADE_BY.1),
    })?;
    if let (Format::Npy, Some(rows)) = (format, npy_rows(&output::start(out))) {
        // NumPy's format has no place for more than numbers.
        let found = lines(&paths);
        ensure!(
            found == Some(rows),
            "{}: expected the paths of the {}, one a line, which this command writes beside {}, found {}; choose another --out, \
             or move {} away",
            paths.display(),
            counted(rows, "row"),
            out.display(),
            found.map_or_else(|| "no such file".to_owned(), |lines| counted(lines, "line")),
            out.display()
        );
    }
    // The paths belong to the features: without these they are somebody else's.
    output::check(&paths, &inputs, |_| out.exists())?;
    let dataset = msn_data::open(&arguments.data)?;
    let with_line_feed = (0..dataset.len()).find(|&index| dataset.name(index).contains('\n'));
    if let Some(index) = with_line_feed {
        bail!(
            "{}: expected names without line feeds, since {} has one a line, found {:?}; rename it",
            arguments.data.display(),
            paths.display(),
            dataset.name(index)
        );
    }
    let extractor = features::extractor(&arguments.encoder, &*dataset)?;
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let FeatureRows { images, features, skipped, .. } =
        features::rows(&extractor, &*dataset, &indices, "features")?;
    let shape = [features.rows(), features.dim()];
    match format {
        Format::Npy => write_npy(out, shape, features.data())?,
        Format::Safetensors => {
            let features = Array::new(shape.to_vec(), features.into_data());
            let tensors = BTreeMap::from([(TENSOR.to_owned(), features)]);
            write_described(
                out,
                &tensors,
                [MADE_BY].map(|(key, maker)| (key.to_owned(), maker.to_owned())).into(),
            )?;
        }
    }
    write_lines(&paths, images.iter().map(|&image| dataset.name(image)))?;
    let [rows_written, columns] = shape;
    say(&format!(
        "{columns} features of {} in {}, the paths in {}",
        counted(rows_written, "image"),
        out.display(),
        paths.display()
    ));
    if !skipped.is_empty() {
        say(&format!("{} of {} images could not be read and have no row", skipped.len(), dataset.len()));
    }
    Ok(())
}

/// Number of lines of a file of text; `None` if it cannot be read.
fn lines(file: &Path) -> Option<usize> {
    let lines = BufReader::new(File::open(file).ok()?).split(b'\n');
    lines.map(Result::ok).try_fold(0, |count, line| line.map(|_| count + 1))
}
