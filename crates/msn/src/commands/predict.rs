//! `msn predict`

use msn_data::Dataset;
use msn_eval::Labelled;
use msn_store::export::write_csv;

use crate::cli::Predict;
use crate::features;
use crate::labels::LabelFile;

pub(crate) fn run(arguments: &Predict) -> anyhow::Result<()> {
    let images = msn_data::open(&arguments.images)?;
    let few = LabelFile::open(&arguments.labels, &arguments.images, images.clone())?;
    let extractor = features::extractor(&arguments.encoder)?;
    let rows = |dataset: &dyn Dataset, what| {
        let indices: Vec<usize> = (0..dataset.len()).collect();
        features::rows(&extractor, dataset, &indices, what)
    };
    let labelled = rows(&few, "features of the labelled images")?;
    let labels = labelled.images.iter().map(|&image| few.class(image).to_owned()).collect();
    let labelled = Labelled::new(labelled.features, labels)?;
    let found = rows(&*images, "features of the images")?;
    let predictions = msn_eval::predict(&labelled, &found.features, arguments.lambda)?;
    let lines = found.images.iter().zip(&predictions).map(|(&image, prediction)| {
        let name = images.name(image).to_owned();
        [name, prediction.label.clone(), format!("{:.4}", prediction.probability)]
    });
    write_csv(&arguments.out, &["path", "label", "probability"], lines)?;
    eprintln!("{} images classified in {}", predictions.len(), arguments.out.display());
    if !found.skipped.is_empty() {
        eprintln!("{} of {} images could not be read and are left out", found.skipped.len(), images.len());
    }
    Ok(())
}
