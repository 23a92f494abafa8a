//! The configurations of docs/performance.md, and random images for them.

use burn::tensor::Device;
use msn_data::rng::Rng;
use msn_data::{kept_patches, random_mask};
use msn_model::{EncoderConfig, HeadConfig, View};
use msn_train::config::PrecisionSetting;
use msn_train::flop::{Model, features};
use msn_train::{Config, Views};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    /// A whole training step: a target view, a large anchor view and these focal ones of each image.
    Train { focal_views: usize, focal_size: usize, patch_drop: f64 },
    /// Features of whole images.
    Embed,
}

/// A configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    variant: &'static str,
    /// Images in a batch.
    pub(crate) batch: usize,
    /// Side of the large views, pixels.
    pub(crate) size: usize,
    pub(crate) task: Task,
}

const fn train(name: &'static str, variant: &'static str, batch: usize, size: usize, task: Task) -> Case {
    Case { name, variant, batch, size, task }
}

const fn focal(focal_views: usize, focal_size: usize, patch_drop: f64) -> Task {
    Task::Train { focal_views, focal_size, patch_drop }
}

/// The rows of the tables. Patches of 7 px do not divide the paper's focal views of 96 px: 98 is next.
const CASES: [Case; 8] = [
    train("vit-s16-224", "vit-s16", 8, 224, focal(10, 96, 0.15)),
    train("vit-ti4-32", "vit-ti4", 64, 32, focal(4, 16, 0.15)),
    train("vit-b16-224", "vit-b16", 4, 224, focal(10, 96, 0.3)),
    Case { name: "embed-vit-s16-224", variant: "vit-s16", batch: 32, size: 224, task: Task::Embed },
    train("vit-l7-drop0", "vit-l7", 1, 224, focal(10, 98, 0.0)),
    train("vit-l7-drop30", "vit-l7", 1, 224, focal(10, 98, 0.3)),
    train("vit-l7-drop50", "vit-l7", 1, 224, focal(10, 98, 0.5)),
    train("vit-l7-drop70", "vit-l7", 1, 224, focal(10, 98, 0.7)),
];

/// Tokens that pass through the encoders in a step: (sequences, tokens in each), with [CLS].
pub(crate) struct Tokens {
    pub(crate) targets: Vec<(usize, usize)>,
    pub(crate) anchors: Vec<(usize, usize)>,
}

impl Case {
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let names = || CASES.map(|case| case.name).join(", ");
        let found = CASES.into_iter().find(|case| case.name == name);
        found.ok_or_else(|| format!("expected one of {}, found `{name}`", names()))
    }

    /// The defaults of the paper with this encoder.
    pub(crate) fn config(&self, precision: PrecisionSetting) -> Config {
        let encoder =
            EncoderConfig { variant: self.variant.to_owned(), image_size: self.size, ..Default::default() };
        let mut config = Config { encoder: encoder.resolve().expect("in the table"), ..Default::default() };
        config.head = HeadConfig { hidden_dim: 2048, output_dim: 256, batch_norm: true };
        config.objective.prototypes = 1024;
        config.objective.sinkhorn = true;
        config.objective.sinkhorn_iterations = 3;
        config.train.clip_grad = 3.0;
        config.train.batch_size = self.batch;
        config.train.precision = precision;
        config
    }

    pub(crate) fn tokens(&self, encoder: &EncoderConfig) -> Tokens {
        let whole = encoder.grid(self.size).pow(2);
        let targets = vec![(self.batch, 1 + whole)];
        let anchors = match self.task {
            Task::Embed => Vec::new(),
            Task::Train { focal_views, focal_size, patch_drop } => {
                let large = (self.batch, 1 + kept_patches(whole, patch_drop));
                vec![large, (self.batch * focal_views, 1 + encoder.grid(focal_size).pow(2))]
            }
        };
        Tokens { targets, anchors }
    }

    /// Floating-point operations that a round needs.
    pub(crate) fn flop(&self, config: &Config) -> u64 {
        let Tokens { targets, anchors } = self.tokens(&config.encoder);
        let flop = match self.task {
            Task::Embed => features(&config.encoder, &targets),
            Task::Train { .. } => {
                let prototypes = config.objective.prototypes;
                Model { encoder: &config.encoder, head: &config.head, prototypes }.step(&targets, &anchors)
            }
        };
        flop as u64
    }

    /// Random images of every view.
    pub(crate) fn images(&self, patch_size: usize) -> Images {
        let mut rng = Rng::for_order(0, 0);
        let mut pixels = |size: usize| {
            // As normalised images: mean 0, deviation 1.
            let bound = 3f64.sqrt();
            (0..self.batch * 3 * size * size).map(|_| rng.uniform(-bound, bound) as f32).collect::<Vec<_>>()
        };
        let target = pixels(self.size);
        let (large, focal, focal_size, patch_drop) = match self.task {
            Task::Embed => (Vec::new(), Vec::new(), 0, 0.0),
            Task::Train { focal_views, focal_size, patch_drop } => {
                let focal = (0..focal_views).map(|_| pixels(focal_size)).collect();
                (pixels(self.size), focal, focal_size, patch_drop)
            }
        };
        let patches = (self.size / patch_size).pow(2);
        let kept = kept_patches(patches, patch_drop);
        let keep = random_mask(patches, kept, &mut Rng::for_batch_mask(0, 0, 0, 1));
        Images { batch: self.batch, size: self.size, focal_size, patch_size, target, large, keep, focal }
    }
}

/// Pixels of all views of a batch, [batch, 3, size, size] each.
pub(crate) struct Images {
    batch: usize,
    size: usize,
    focal_size: usize,
    patch_size: usize,
    target: Vec<f32>,
    large: Vec<f32>,
    keep: Vec<u32>,
    focal: Vec<Vec<f32>>,
}

impl Images {
    /// The target views, cut into patches.
    pub(crate) fn target(&self, device: &Device) -> View {
        self.view(&self.target, self.size, None, device)
    }

    /// All views, cut into patches.
    pub(crate) fn views(&self, device: &Device) -> Views {
        let masks = std::slice::from_ref(&self.keep);
        Views {
            target: self.target(&device.clone().inner()),
            random: vec![self.view(&self.large, self.size, Some(masks), device)],
            focal: self.focal.iter().map(|view| self.view(view, self.focal_size, None, device)).collect(),
        }
    }

    fn view(&self, pixels: &[f32], size: usize, keep: Option<&[Vec<u32>]>, device: &Device) -> View {
        View::new(pixels, self.batch, size, self.patch_size, keep, device)
    }
}
