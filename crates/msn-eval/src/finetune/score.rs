//! The test images, after the last epoch.

use msn_data::{EvalConfig, Skipped, load_eval};
use msn_model::{View, host, on_worker};

use super::classifier::Classifier;
use super::{FineTuneObserver, Numbered};
use crate::report::Tally;
use crate::{Classes, ClassificationReport, ExtractError};

/// Classifies the images of `test`: the report, and the images that cannot be read.
pub(super) fn score(
    classifier: &Classifier,
    loading: &EvalConfig,
    test: &Numbered<'_>,
    classes: &Classes,
    observer: &mut dyn FineTuneObserver,
) -> Result<(ClassificationReport, Vec<Skipped>), ExtractError> {
    let encoder = &classifier.encoder;
    let device = encoder.device();
    let (mut tally, mut tested) = (Tally::default(), 0);
    let skipped = load_eval(test.dataset, test.images, loading, |batch| {
        let (count, size) = (batch.images.len(), loading.transform.crop);
        let view = View::new(&batch.pixels, count, size, encoder.patch_size(), None, &device);
        let mut logits = host(on_worker(&device, || classifier.logits(view, None)));
        if let Some(at) = logits.iter().position(|x| !x.is_finite()) {
            return Err(ExtractError::NotFiniteLogit {
                data: test.dataset.path().to_owned(),
                image: test.dataset.name(batch.images[at / classes.len()]).to_owned(),
                class: classes.names()[at % classes.len()].clone(),
                found: logits[at],
            });
        }
        logits.chunks_mut(classes.len()).for_each(crate::logistic::softmax);
        tally.add(&logits, &test.labels_of(&batch.images));
        tested += count;
        observer.tested(tested, test.images.len());
        Ok(())
    })?;
    if tested == 0 {
        let first = skipped.into_iter().next().expect("an image without a probability was skipped");
        return Err(test.nothing_readable(first));
    }
    Ok((tally.report(classes), skipped))
}
