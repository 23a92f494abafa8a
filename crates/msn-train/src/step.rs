//! One training step.

use burn::module::Module;
use burn::tensor::Device;
use msn_model::{
    Encoder, Path, Prototypes, StateDict, StochasticDepth, View, encoder_seed, host, join, load_state,
    on_worker, prototypes_seed,
};
use msn_ssl::{Collapse, MsnConfig, Schedule, msn_loss};
use serde::Serialize;

use crate::adamw::{AdamW, Update, clip_scale, gradient_norm};
use crate::graph::enter;
use crate::{Config, Error};

/// The views of one step, cut into patches.
#[derive(Clone, Debug)]
pub struct Views {
    /// One whole view of every image, for the momentum encoder; outside the graph.
    pub target: View,
    /// Large anchor views, masked at random.
    pub random: Vec<View>,
    /// Small anchor views: the focal mask.
    pub focal: Vec<View>,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// The whole loss.
    pub loss: f64,
    /// Cross-entropy between targets and assignments, nats.
    pub cross_entropy: f64,
    /// ln K minus the entropy of the mean assignment, nats.
    pub memax: f64,
    /// Mean entropy of the assignments, nats.
    pub entropy: f64,
    /// Norm of the encoder's gradients before clipping.
    pub grad_norm: f64,
    /// Norm of the prototypes' gradients; 0 where they are frozen.
    pub prototype_grad_norm: f64,
}

impl StepReport {
    /// Whether the loss and all gradients are numbers, without which no parameter and no moment is updated.
    pub fn is_finite(&self) -> bool {
        [self.loss, self.grad_norm, self.prototype_grad_norm].iter().all(|x| x.is_finite())
    }
}

/// What is trained.
#[derive(Debug)]
pub(crate) struct Models {
    pub(crate) encoder: Encoder,
    /// The momentum encoder.
    pub(crate) target: Encoder,
    pub(crate) prototypes: Prototypes,
}

/// Both encoders, the prototypes and their optimizers.
#[derive(Debug)]
pub struct Trainer {
    /// Away only inside [`Trainer::update`], which must hold the one handle of every parameter to update it in place.
    models: Option<Models>,
    encoder_optimizer: AdamW,
    prototype_optimizer: AdamW,
    objective: MsnConfig,
    clip_grad: f64,
    drop_path: f64,
}

impl Trainer {
    /// New encoders and prototypes, drawn from the run's seed. The momentum encoder starts as a copy.
    ///
    /// # Errors
    /// If the encoder's description is out of range.
    pub fn new(config: &Config, device: &Device) -> Result<Self, Error> {
        let device = device.clone().autodiff();
        let device = if config.train.grad_checkpointing { device.gradient_checkpointing() } else { device };
        let encoder = config.encoder.init(Some(&config.head), encoder_seed(config.seed), &device)?;
        let (count, dim) = (config.objective.prototypes, config.head.output_dim);
        let prototypes = Prototypes::new(count, dim, prototypes_seed(config.seed), &device);
        let optimizer = AdamW::new(config.train.adamw());
        let prototype_optimizer = AdamW::new(config.train.adamw());
        let models = Models { target: encoder.valid(), encoder, prototypes };
        let trainer = Self::from_parts(config, models, optimizer, prototype_optimizer);
        Ok(trainer.with_path(Path::Kernels(config.train.precision.precision())))
    }

    /// The trainer with these weights in both encoders (a copy each) and in the prototypes; optimizers start anew.
    ///
    /// # Errors
    /// If a tensor is missing, superfluous, or of another shape.
    pub fn with_weights(mut self, encoder: StateDict, prototypes: StateDict) -> Result<Self, Error> {
        let models = self.models.take().expect(IN_PLACE);
        self.models = Some(models.with_weights(encoder.clone(), encoder, prototypes)?);
        Ok(self)
    }

    /// The trainer with both encoders' blocks computed in this way.
    pub fn with_path(mut self, path: Path) -> Self {
        let Models { encoder, target, .. } = self.models.as_mut().expect(IN_PLACE);
        encoder.path = path;
        target.path = path;
        self
    }

    /// The trainer with the objective, the clipping and the stochastic depth of `config` from the next step on.
    pub fn with_settings(mut self, config: &Config) -> Self {
        self.objective = config.objective.clone();
        self.clip_grad = config.train.clip_grad;
        self.drop_path = config.encoder.drop_path;
        self
    }

    pub(crate) fn from_parts(
        config: &Config,
        mut models: Models,
        encoder_optimizer: AdamW,
        prototype_optimizer: AdamW,
    ) -> Self {
        if config.objective.freeze_prototypes {
            models.prototypes = models.prototypes.no_grad();
        }
        Self {
            models: Some(models),
            encoder_optimizer,
            prototype_optimizer,
            objective: config.objective.clone(),
            clip_grad: config.train.clip_grad,
            drop_path: config.encoder.drop_path,
        }
    }

    /// Where the encoder is trained.
    pub fn device(&self) -> Device {
        self.models().encoder.device()
    }

    /// The encoder that is trained by gradients.
    pub fn encoder(&self) -> &Encoder {
        &self.models().encoder
    }

    /// The momentum encoder, whose features are the ones to use.
    pub fn target(&self) -> &Encoder {
        &self.models().target
    }

    /// The prototypes.
    pub fn prototypes(&self) -> &Prototypes {
        &self.models().prototypes
    }

    /// The optimizer of the encoder, with its moments.
    pub fn encoder_optimizer(&self) -> &AdamW {
        &self.encoder_optimizer
    }

    /// The optimizer of the prototypes, with its moments.
    pub fn prototype_optimizer(&self) -> &AdamW {
        &self.prototype_optimizer
    }

    fn models(&self) -> &Models {
        self.models.as_ref().expect(IN_PLACE)
    }

    /// The models alone.
    pub(crate) fn into_models(self) -> Models {
        self.models.expect(IN_PLACE)
    }

    /// Trains on one batch: targets, anchors, loss, backward, clipping, AdamW, momentum encoder.
    ///
    /// `depth_seeds` decide which residual branches stochastic depth drops: one for every image of every anchor
    /// view, view by view, the large ones first; none where nothing is ever dropped. With `watch`, the batch is
    /// measured for signs of collapse. If the loss or a norm of its gradient is not finite, no parameter and no moment
    /// is updated; batch norm's running statistics have moved by then.
    ///
    /// # Panics
    /// If branches are to be dropped and there are not as many seeds as anchors.
    pub fn step(
        &mut self,
        views: Views,
        schedule: Schedule,
        depth_seeds: &[[u8; 32]],
        watch: bool,
    ) -> (StepReport, Option<Collapse>) {
        on_worker(&self.device(), || self.step_on_worker(views, schedule, depth_seeds, watch))
    }

    fn step_on_worker(
        &mut self,
        views: Views,
        schedule: Schedule,
        depth_seeds: &[[u8; 32]],
        watch: bool,
    ) -> (StepReport, Option<Collapse>) {
        let device = self.device();
        let Models { encoder, target, prototypes } = self.models.as_mut().expect(IN_PLACE);
        let batch = views.target.batch();
        let groups = [views.random.len() * batch, views.focal.len() * batch];
        let groups: Vec<usize> = groups.into_iter().filter(|rows| *rows > 0).collect();
        let anchor_views = [views.random, views.focal].concat();
        let depth = StochasticDepth::draw(self.drop_path, encoder.blocks.len(), depth_seeds);
        let sequences: usize = groups.iter().sum();
        let seeds = depth_seeds.len();
        assert!(depth.is_none() || seeds == sequences, "Trainer: {seeds} seeds for {sequences} anchors");
        // Independent of each other: at the ends of its kernels one has work for threads that the other leaves idle.
        let ((features, targets), anchors) = join(
            &device,
            || {
                let features = target.forward(&[views.target], None);
                (features.clone(), target.project(features, &[batch]))
            },
            || {
                let cls = encoder.forward(&anchor_views, depth.as_ref());
                // The graph has a copy of the pixels.
                drop(anchor_views);
                encoder.project(cls, &groups)
            },
        );

        let targets = enter(targets, anchors.gradient_checkpointing_strategy());
        let loss = msn_loss(anchors, targets, prototypes.weight.val(), &self.objective, schedule.sharpen);
        let collapse = watch.then(|| {
            let assignments = host(loss.assignments.inner());
            Collapse::measure(batch, &assignments, &host(loss.targets), &host(features))
        });
        let terms = [&loss.total, &loss.cross_entropy, &loss.memax, &loss.entropy];
        let [total, cross_entropy, memax, entropy] = terms.map(|term| f64::from(host(term.clone())[0]));
        let mut report = StepReport {
            loss: total,
            cross_entropy,
            memax,
            entropy,
            grad_norm: f64::NAN,
            prototype_grad_norm: f64::NAN,
        };
        if total.is_finite() {
            let mut gradients = loss.total.backward();
            report.grad_norm = gradient_norm(encoder, &gradients);
            report.prototype_grad_norm = gradient_norm(prototypes, &gradients);
            if report.is_finite() {
                self.update(&mut gradients, schedule, report.grad_norm);
            }
        }
        (report, collapse)
    }

    fn update(&mut self, gradients: &mut burn::tensor::Gradients, schedule: Schedule, grad_norm: f64) {
        let Schedule { lr, weight_decay, momentum, .. } = schedule;
        let update = Update { lr, weight_decay, gradient_scale: clip_scale(self.clip_grad, grad_norm) };
        let Models { encoder, target, prototypes } = self.models.take().expect(IN_PLACE);
        let (encoder, target) =
            self.encoder_optimizer.step_and_average(encoder, target, momentum, gradients, update);
        let update = Update { lr, weight_decay: 0.0, gradient_scale: 1.0 };
        let prototypes = self.prototype_optimizer.step(prototypes, gradients, update);
        self.models = Some(Models { encoder, target, prototypes });
    }
}

/// Why [`Trainer::models`] is there.
const IN_PLACE: &str = "the models are away only while they are updated";

impl Models {
    /// The models with these weights.
    ///
    /// # Errors
    /// If a tensor is missing, superfluous, or of another shape.
    pub(crate) fn with_weights(
        self,
        target: StateDict,
        encoder: StateDict,
        prototypes: StateDict,
    ) -> Result<Self, msn_model::Error> {
        Ok(Self {
            target: load_state(self.target, target)?,
            encoder: load_state(self.encoder, encoder)?,
            prototypes: load_state(self.prototypes, prototypes)?,
        })
    }
}
