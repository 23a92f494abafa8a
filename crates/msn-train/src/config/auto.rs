//! Settings for those who give none: picked from the number and the size of the images.

use super::Config;

/// What the images tell about themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFacts {
    /// Number of images.
    pub images: usize,
    /// Median over a sample of the images' shorter sides, pixels.
    pub shorter_side: u32,
}

/// A setting that was picked, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What was picked, such as `64 px views in patches of 8 px`.
    pub setting: String,
    /// The reason.
    pub reason: String,
}

/// Sizes for images whose shorter side is at most `up_to` pixels.
struct Scale {
    up_to: u32,
    view: usize,
    focal: usize,
    patch: usize,
    /// Embedding dimension, blocks and heads.
    encoder: (usize, usize, usize),
    color_jitter: f64,
    /// Largest blur radius, pixels; 0 for none.
    blur: f64,
    focal_scale: [f64; 2],
}

/// Small images have few pixels to spare: milder colour and no blur, which at 32 px would wipe out the texture that a
/// patch of 4 px holds, and focal crops that are not so small that nothing is left in them.
const SCALES: [Scale; 4] = [
    Scale {
        up_to: 48,
        view: 32,
        focal: 16,
        patch: 4,
        encoder: (192, 6, 3),
        color_jitter: 0.5,
        blur: 0.0,
        focal_scale: [0.1, 0.4],
    },
    Scale {
        up_to: 96,
        view: 64,
        focal: 32,
        patch: 8,
        encoder: (192, 6, 3),
        color_jitter: 0.5,
        blur: 0.6,
        focal_scale: [0.1, 0.4],
    },
    Scale {
        up_to: 160,
        view: 128,
        focal: 64,
        patch: 16,
        encoder: (384, 12, 6),
        color_jitter: 0.5,
        blur: 1.2,
        focal_scale: [0.05, 0.3],
    },
    Scale {
        up_to: u32::MAX,
        view: 224,
        focal: 96,
        patch: 16,
        encoder: (384, 12, 6),
        color_jitter: 0.5,
        blur: 2.0,
        focal_scale: [0.05, 0.3],
    },
];

/// Images that pass through the network over a whole run: what a hundred epochs of 100,000 images make.
const IMAGES_PER_RUN: usize = 10_000_000;

/// Settings for such images, and what was picked and why.
pub fn suggest(facts: DataFacts) -> (Config, Vec<Choice>) {
    let DataFacts { images, shorter_side } = facts;
    let scale = SCALES.iter().find(|scale| shorter_side <= scale.up_to).expect("the last scale has no limit");
    let mut config = Config::default();

    config.views.random_size = scale.view;
    config.views.focal_size = scale.focal;
    config.views.focal_scale = scale.focal_scale;
    config.views.focal_views = if scale.view < 224 { 4 } else { 10 };
    config.views.color_jitter = scale.color_jitter;
    if scale.blur == 0.0 {
        config.views.blur = 0.0;
    } else {
        config.views.blur_radius = [0.1, scale.blur];
    }
    let (dim, depth, heads) = scale.encoder;
    config.encoder.variant = String::new();
    config.encoder.image_size = scale.view;
    config.encoder.patch_size = scale.patch;
    (config.encoder.dim, config.encoder.depth, config.encoder.heads) = (dim, depth, heads);
    let small = dim < 384;
    (config.head.hidden_dim, config.head.output_dim) = if small { (512, 128) } else { (2048, 256) };
    config.mask.patch_drop = if small { 0.3 } else { 0.15 };

    // A batch must leave several steps an epoch, or the schedules have nothing to run over.
    config.train.batch_size = (images / 8).clamp(2, 128).next_multiple_of(2).min(images.max(2));
    config.objective.prototypes = (images / 20).next_power_of_two().clamp(32, 1024);
    config.optim.epochs = (IMAGES_PER_RUN / images.max(1)).clamp(20, 300) as u64;
    config.optim.warmup_epochs = config.optim.epochs as f64 / 10.0;
    config.optim.lr = if small { 1e-3 } else { 5e-4 };
    config.optim.start_lr = config.optim.lr / 5.0;
    // 0.996 averages over 250 steps; a short run needs a target that moves on faster.
    let steps = config.optim.epochs as usize * (images / config.train.batch_size).max(1);
    config.optim.momentum = if steps < 20_000 { 0.99 } else { 0.996 };

    let choices = vec![
        Choice {
            setting: format!(
                "views of {} and {} px in patches of {} px",
                scale.view, scale.focal, scale.patch
            ),
            reason: format!("the images' shorter side is {shorter_side} px at the median"),
        },
        Choice {
            setting: format!("a vision transformer of {depth} blocks of {dim}"),
            reason: format!("fits views of {} px", scale.view),
        },
        Choice {
            setting: format!("{} epochs in batches of {}", config.optim.epochs, config.train.batch_size),
            reason: format!("{images} images"),
        },
        Choice {
            setting: format!("{} prototypes", config.objective.prototypes),
            reason: "about one for every 20 images, 32 to 1024".to_owned(),
        },
    ];
    (config, choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suggestion_is_valid_and_explained() {
        for images in [2, 3, 17, 100, 6_000, 50_000, 2_000_000_000] {
            for shorter_side in [1, 28, 32, 64, 96, 100, 160, 224, 4000] {
                let (config, choices) = suggest(DataFacts { images, shorter_side });
                config.validate().unwrap_or_else(|e| panic!("{images} images of {shorter_side} px: {e}"));
                assert!(config.train.batch_size <= images, "{images}");
                assert!(choices.iter().all(|c| !c.setting.is_empty() && !c.reason.is_empty()));
            }
        }
    }

    #[test]
    fn small_images_get_small_views_and_patches() {
        let (config, _) = suggest(DataFacts { images: 50_000, shorter_side: 32 });
        assert_eq!((config.views.random_size, config.encoder.patch_size, config.encoder.dim), (32, 4, 192));
        let (config, _) = suggest(DataFacts { images: 50_000, shorter_side: 480 });
        assert_eq!((config.views.random_size, config.encoder.patch_size, config.encoder.dim), (224, 16, 384));
    }
}
