//! `msn embed`

use anyhow::{anyhow, bail};
use msn_store::export::{write_lines, write_npy, write_safetensors_matrix};

use crate::cli::Embed;
use crate::failure::wrong_arguments;
use crate::features;
use crate::output;
use crate::progress::{counted, say};

/// Name of the tensor in a safetensors file.
const TENSOR: &str = "features";

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
    output::check(out, &[&arguments.data], |start| match format {
        Format::Npy => start.starts_with(b"\x93NUMPY"),
        // The length of the header in 8 bytes, then the header.
        Format::Safetensors => start.get(8) == Some(&b'{'),
    })?;
    // The paths belong to the features: without these they are somebody else's.
    output::check(&paths, &[&arguments.data], |_| out.exists())?;
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
    let rows = features::rows(&extractor, &*dataset, &indices, "features")?;
    let shape = [rows.features.rows(), rows.features.dim()];
    match format {
        Format::Npy => write_npy(out, shape, rows.features.data())?,
        Format::Safetensors => write_safetensors_matrix(out, TENSOR, shape, rows.features.data().to_vec())?,
    }
    write_lines(&paths, rows.images.iter().map(|&image| dataset.name(image)))?;
    let [rows_written, columns] = shape;
    say(&format!(
        "{columns} features of {} in {}, the paths in {}",
        counted(rows_written, "image"),
        out.display(),
        paths.display()
    ));
    if !rows.skipped.is_empty() {
        say(&format!("{} of {} images could not be read and have no row", rows.skipped.len(), dataset.len()));
    }
    Ok(())
}
