//! One step of a fine-tuning.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use msn_model::{Path, Precision, StateDict, StochasticDepth, View, host, load_state, on_worker, state_dict};
use msn_store::TARGET_PART;
use msn_train::{AdamW, AdamWConfig, Group, Update, clip_scale, gradient_norm};

use super::FineTune;
use super::classifier::Classifier;
use super::groups::groups;
use super::loss::cross_entropy;
use crate::CLASSIFIER_PART;

/// AdamW's constants, as BEiT and MAE have them.
const ADAMW: AdamWConfig = AdamWConfig { betas: [0.9, 0.999], eps: 1e-8 };

/// Parts of a checkpoint: the classifier in training, its moving average, and the moments of its parameters.
const TRAINED: &str = "finetune-trained";
const AVERAGE: &str = "finetune-average";
const OPTIMIZER: &str = "optimizer-finetune";

/// Why [`Tuner::models`] is there.
const IN_PLACE: &str = "the models are away only while they are updated";

/// A classifier in training.
#[derive(Debug)]
pub(super) struct Tuner {
    /// Away only inside [`Tuner::update`], which must hold the one handle of every parameter to update it in place.
    models: Option<Models>,
    optimizer: AdamW,
    groups: BTreeMap<String, Group>,
    clip_grad: f64,
    weight_decay: f64,
    drop_path: f64,
}

#[derive(Debug)]
struct Models {
    trained: Classifier,
    /// The moving average, outside the graph, if one is wanted.
    average: Option<Classifier>,
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Learning rate of the head.
    pub(super) lr: f64,
    /// Share of itself that the moving average keeps.
    pub(super) momentum: f64,
}

/// Images with what is to be said of them.
pub(super) struct Batch<'a> {
    /// [B, 3, size, size], normalised.
    pub(super) pixels: &'a [f32],
    /// Side of the images, pixels.
    pub(super) size: usize,
    /// [B, C], rows that sum to 1.
    pub(super) targets: Vec<f32>,
    /// Seeds of stochastic depth, one an image: [B].
    pub(super) depth_seeds: &'a [[u8; 32]],
}

/// How a step went.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepReport {
    /// Cross-entropy, nats.
    pub(super) loss: f64,
    /// Norm of the gradient before clipping.
    pub(super) grad_norm: f64,
}

impl Tuner {
    /// The classifier on its way, with what the settings freeze frozen. Its device must be one with a graph.
    pub(super) fn new(settings: &FineTune, classifier: Classifier) -> Self {
        let depth = classifier.encoder.blocks.len();
        let groups = groups(&state_dict(&classifier), depth, settings.layer_decay);
        let average = (settings.ema > 0.0).then(|| classifier.valid());
        let mut trained = match settings.partial {
            Some(blocks) => classifier.frozen_below(blocks),
            None => classifier,
        };
        trained.encoder.path = Path::Kernels(settings.precision.precision());
        Self {
            models: Some(Models { trained, average }),
            optimizer: AdamW::new(ADAMW).with_groups(groups.clone()),
            groups,
            clip_grad: settings.clip_grad,
            weight_decay: settings.weight_decay,
            drop_path: settings.drop_path,
        }
    }

    /// Number of parameters that are trained.
    pub(super) fn trained_parameters(&self) -> usize {
        struct Count(usize);
        impl ModuleVisitor for Count {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if param.is_require_grad() {
                    self.0 += param.shape().num_elements();
                }
            }
        }
        let mut count = Count(0);
        self.trained().visit(&mut count);
        count.0
    }

    /// The classifier in training.
    pub(super) fn trained(&self) -> &Classifier {
        &self.models.as_ref().expect(IN_PLACE).trained
    }

    /// What is to be tested and saved: the moving average if there is one, outside the graph, in single precision.
    pub(super) fn result(&self) -> Classifier {
        let Models { trained, average } = self.models.as_ref().expect(IN_PLACE);
        let mut result = average.clone().unwrap_or_else(|| trained.valid());
        result.encoder.path = Path::Kernels(Precision::F32);
        result
    }

    /// What [`restore`](Self::restore) needs, by part of a checkpoint.
    pub(super) fn parts(&self) -> BTreeMap<String, StateDict> {
        let Models { trained, average } = self.models.as_ref().expect(IN_PLACE);
        let average = average.as_ref().map(|average| (AVERAGE.to_owned(), state_dict(average)));
        let trained =
            [(TRAINED.to_owned(), state_dict(trained)), (OPTIMIZER.to_owned(), self.optimizer.state())];
        trained.into_iter().chain(average).collect()
    }

    /// Goes on where a training of the same settings was after so many steps. Without the parts of a training, those of
    /// its result do: of one that is finished.
    ///
    /// # Errors
    /// If tensors are missing or of another shape.
    pub(super) fn restore(
        &mut self,
        mut parts: BTreeMap<String, StateDict>,
        steps: u64,
    ) -> Result<(), msn_model::Error> {
        let mut part = |name: &str| parts.remove(name).unwrap_or_default();
        let prefixed = |prefix: &str, part: StateDict| {
            part.into_iter().map(|(name, array)| (format!("{prefix}.{name}"), array)).collect::<Vec<_>>()
        };
        let (trained, average, moments) = (part(TRAINED), part(AVERAGE), part(OPTIMIZER));
        let result: StateDict = prefixed("encoder", part(TARGET_PART))
            .into_iter()
            .chain(prefixed("head", part(CLASSIFIER_PART)))
            .collect();
        let or_result = |part: StateDict| if part.is_empty() { result.clone() } else { part };
        let models = self.models.take().expect(IN_PLACE);
        let trained = load_state(models.trained, or_result(trained))?;
        let average = models.average.map(|model| load_state(model, or_result(average))).transpose()?;
        self.models = Some(Models { trained, average });
        let inner = self.device().inner();
        let optimizer = AdamW::restore(ADAMW, steps, moments, &inner);
        let optimizer = optimizer.map_err(|name| msn_model::Error::MissingTensor {
            name: format!("{OPTIMIZER}.second.{name}"),
            shape: Vec::new(),
        })?;
        self.optimizer = optimizer.with_groups(self.groups.clone());
        Ok(())
    }

    fn device(&self) -> Device {
        self.trained().encoder.device()
    }

    /// Trains on one batch. If the loss or the norm of its gradient is not finite, no parameter is updated.
    ///
    /// # Panics
    /// If the batch has not as many images as targets and seeds.
    pub(super) fn step(&mut self, batch: Batch<'_>, pace: Pace) -> StepReport {
        on_worker(&self.device(), || self.step_on_worker(batch, pace))
    }

    fn step_on_worker(&mut self, batch: Batch<'_>, pace: Pace) -> StepReport {
        let (device, model) = (self.device(), self.trained());
        let [classes, _] = model.head.weight.dims();
        let (images, patch_size) = (batch.targets.len() / classes, model.encoder.patch_size());
        assert_eq!(batch.depth_seeds.len(), images, "a seed an image");
        let view = View::new(batch.pixels, images, batch.size, patch_size, None, &device);
        let depth = StochasticDepth::draw(self.drop_path, model.encoder.blocks.len(), batch.depth_seeds);
        let logits = model.logits(view, depth.as_ref());
        let targets = Tensor::from_data(TensorData::new(batch.targets, [images, classes]), &device);
        let loss = cross_entropy(logits, targets);
        let mut report = StepReport { loss: host(loss.clone())[0].into(), grad_norm: f64::NAN };
        if report.loss.is_finite() {
            let mut gradients = loss.backward();
            report.grad_norm = gradient_norm(model, &gradients);
            if report.grad_norm.is_finite() {
                self.update(&mut gradients, pace, report.grad_norm);
            }
        }
        report
    }

    fn update(&mut self, gradients: &mut Gradients, pace: Pace, grad_norm: f64) {
        let gradient_scale = clip_scale(self.clip_grad, grad_norm);
        let update = Update { lr: pace.lr, weight_decay: self.weight_decay, gradient_scale };
        let Models { trained, average } = self.models.take().expect(IN_PLACE);
        let optimizer = &mut self.optimizer;
        self.models = Some(match average {
            None => Models { trained: optimizer.step(trained, gradients, update), average },
            Some(average) => {
                let (trained, average) =
                    optimizer.step_and_average(trained, average, pace.momentum, gradients, update);
                Models { trained, average: Some(average) }
            }
        });
    }
}
