//! Settings for those who give none: picked from the number and the size of the images.

use msn_data::kept_patches;
use toml::Table;

use super::merge::lookup;
use super::{Config, Source};
use crate::Error;
use crate::flop::{Model, features};

/// What the images tell about themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFacts {
    /// Number of images.
    pub images: usize,
    /// Median over a sample of the images' shorter sides, pixels.
    pub shorter_side: u32,
}

/// How fast the machine is, and how long the run may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunTime {
    /// Floating point operations a second of whole steps, where that was measured.
    pub speed: Option<f64>,
    /// Hours that somebody gives the run, above 0; `None` for what is usual for so many images.
    pub hours: Option<f64>,
}

impl RunTime {
    fn assumed_speed(&self) -> f64 {
        self.speed.unwrap_or(UNKNOWN_SPEED)
    }
}

/// Settings that were picked together, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The fields with the values that the run uses, such as `optim.lr = 0.001, optim.start_lr = 0.0002`.
    pub setting: String,
    /// The reason.
    pub reason: String,
}

/// Sizes for images whose shorter side is at most `up_to` pixels.
struct Scale {
    up_to: u32,
    view: usize,
    focal: usize,
    focal_views: usize,
    patch: usize,
    /// Embedding dimension, blocks and heads.
    encoder: (usize, usize, usize),
    /// Largest blur radius, pixels; 0 for none.
    blur: f64,
    focal_scale: [f64; 2],
}

/// Small images have few pixels to spare: no blur at 32 px, where it would wipe out the texture that a patch of 4 px
/// holds, and focal crops that are not so small that nothing is left in them.
const SCALES: [Scale; 4] = [
    Scale {
        up_to: 48,
        view: 32,
        focal: 16,
        focal_views: 4,
        patch: 4,
        encoder: (192, 6, 3),
        blur: 0.0,
        focal_scale: [0.15, 0.5],
    },
    Scale {
        up_to: 96,
        view: 64,
        focal: 32,
        focal_views: 4,
        patch: 8,
        encoder: (192, 6, 3),
        blur: 0.6,
        focal_scale: [0.15, 0.5],
    },
    Scale {
        up_to: 160,
        view: 128,
        focal: 64,
        focal_views: 4,
        patch: 16,
        encoder: (384, 12, 6),
        blur: 1.2,
        focal_scale: [0.05, 0.3],
    },
    Scale {
        up_to: u32::MAX,
        view: 224,
        focal: 96,
        focal_views: PAPER_FOCAL_VIEWS,
        patch: 16,
        encoder: (384, 12, 6),
        blur: 2.0,
        focal_scale: [0.05, 0.3],
    },
];

/// Floating point operations that a run may take: what ten million small images make. Photographs cost some forty times
/// as much each, so that fewer of them are seen.
const WORK_PER_RUN: f64 = 2e16;
/// Operations a second that are taken for granted where nothing is known.
const UNKNOWN_SPEED: f64 = 1e11;
/// However many hours few images are given.
const MOST_EPOCHS: f64 = 1e6;
/// Encoders narrower than this are small ones.
const SMALL: usize = 384;
/// Largest batch that is picked for a small encoder and for a larger one.
const LARGEST_BATCH: [usize; 2] = [64, 128];
/// Steps from which on a run has time for a target that averages over 250 of them.
const LONG_RUN: u64 = 20_000;
/// Focal views in the paper.
const PAPER_FOCAL_VIEWS: usize = 10;

/// Settings for such images with `overrides` laid over them, and what was picked and why.
///
/// Settings that follow from others, as the learning rate from the size of the encoder, follow from the overridden ones. Where
/// the run has hours, as many epochs are picked as take that long.
///
/// # Errors
/// As [`Config::merge`], and [`Error::TooFewHours`] if they are over before an epoch is.
pub fn suggest(
    facts: DataFacts,
    time: RunTime,
    overrides: &[Source],
) -> Result<(Config, Vec<Choice>), Error> {
    let given = |field: &str| overrides.iter().any(|source| source.decides(field));
    let mut config = Config::merge(&sizes(facts), overrides)?;
    follow(&mut config, facts.images, time, &given)?;
    let choices = explain(&config, facts, time, &given);
    Ok((config, choices))
}

/// What the size of the images decides.
fn sizes(facts: DataFacts) -> Config {
    let fits = |scale: &&Scale| facts.shorter_side <= scale.up_to;
    let scale = SCALES.iter().find(fits).expect("the last scale has no limit");
    let mut config = Config::default();
    config.views.random_size = scale.view;
    config.views.focal_size = scale.focal;
    config.views.focal_scale = scale.focal_scale;
    config.views.focal_views = scale.focal_views;
    if scale.blur == 0.0 {
        config.views.blur = 0.0;
    } else {
        config.views.blur_radius = [0.1, scale.blur];
    }
    config.encoder.variant = String::new();
    config.encoder.image_size = scale.view;
    config.encoder.patch_size = scale.patch;
    (config.encoder.dim, config.encoder.depth, config.encoder.heads) = scale.encoder;
    config
}

/// What follows from the number of images and from the settings so far; fields that are `given` stay.
fn follow(
    config: &mut Config,
    images: usize,
    time: RunTime,
    given: &dyn Fn(&str) -> bool,
) -> Result<(), Error> {
    fn pick<T>(field: &mut T, picked: T, given: bool) {
        if !given {
            *field = picked;
        }
    }
    let small = config.encoder.dim < SMALL;
    let (hidden, output) = if small { (512, 128) } else { (2048, 256) };
    pick(&mut config.head.hidden_dim, hidden, given("head.hidden_dim"));
    pick(&mut config.head.output_dim, output, given("head.output_dim"));
    pick(&mut config.mask.patch_drop, if small { 0.2 } else { 0.15 }, given("mask.patch_drop"));
    pick(&mut config.encoder.init_std, if small { 0.1 } else { 0.02 }, given("encoder.init_std"));
    let sharpen = if small { 0.15 } else { 0.25 };
    pick(&mut config.objective.sharpen, sharpen, given("objective.sharpen"));
    pick(&mut config.objective.sharpen_end, sharpen, given("objective.sharpen_end"));

    // A batch must leave several steps an epoch, or the schedules have nothing to run over; small encoders are cheap
    // enough for many small steps.
    let batch_size = (images / 8).clamp(2, largest_batch(small)).next_multiple_of(2).min(images.max(2));
    pick(&mut config.train.batch_size, batch_size, given("train.batch_size"));
    // Balanced, no target can be surer of a prototype than B / K.
    let bearable = (2 * config.train.batch_size.clamp(1, 1024)).next_power_of_two();
    let prototypes = (images / 80).next_power_of_two().clamp(32, 1024).min(bearable);
    pick(&mut config.objective.prototypes, prototypes, given("objective.prototypes"));
    let epochs = match time.hours {
        Some(hours) => {
            let epoch = work(config, images) / time.assumed_speed() / 3600.0;
            if hours < epoch {
                return Err(Error::TooFewHours { epoch, found: hours });
            }
            (hours / epoch).min(MOST_EPOCHS) as u64
        }
        None => (WORK_PER_RUN / work(config, images)).clamp(10.0, 300.0) as u64,
    };
    pick(&mut config.optim.epochs, epochs, given("optim.epochs"));
    let warmup = config.optim.epochs as f64 / 10.0;
    pick(&mut config.optim.warmup_epochs, warmup, given("optim.warmup_epochs"));
    pick(&mut config.optim.lr, if small { 1e-3 } else { 5e-4 }, given("optim.lr"));
    // To three digits, for those who read it.
    let start_lr = format!("{:.2e}", config.optim.lr / 5.0).parse().expect("a number");
    pick(&mut config.optim.start_lr, start_lr, given("optim.start_lr"));
    // 0.996 averages over 250 steps; a short run needs a target that moves on faster.
    let momentum = match (steps(config, images) >= LONG_RUN, small) {
        (true, _) => 0.996,
        (false, true) => 0.95,
        (false, false) => 0.99,
    };
    pick(&mut config.optim.momentum, momentum, given("optim.momentum"));
    Ok(())
}

fn largest_batch(small: bool) -> usize {
    LARGEST_BATCH[usize::from(!small)]
}

fn steps(config: &Config, images: usize) -> u64 {
    let steps_per_epoch = (images / config.train.batch_size.max(1)).max(1) as u64;
    config.optim.epochs.saturating_mul(steps_per_epoch)
}

/// Floating point operations of an epoch.
fn work(config: &Config, images: usize) -> f64 {
    let Config { views, encoder, head, mask, .. } = config;
    let patches = |size: usize| (size / encoder.patch_size.max(1)).saturating_pow(2);
    let whole = patches(views.random_size);
    let with_cls = |patches: usize| patches.saturating_add(1);
    let targets = [(1, with_cls(whole))];
    let anchors = [
        (views.random_views, with_cls(kept_patches(whole, mask.patch_drop))),
        (views.focal_views, with_cls(patches(views.focal_size))),
    ];
    let step = Model { encoder, head, prototypes: config.objective.prototypes }.step(&targets, &anchors);
    let again = if config.train.grad_checkpointing { features(encoder, &anchors) } else { 0.0 };
    images as f64 * (step + again)
}

/// A quantity in the largest of these units that it fills, or in the first.
fn scaled(quantity: f64, units: &[(&str, f64)]) -> String {
    let fills = |(_, size): &&(&str, f64)| quantity >= *size;
    let (name, size) = units.iter().rev().find(fills).unwrap_or(&units[0]);
    format!("{:.1} {name}", quantity / size)
}

/// The picked fields as `config` has them, with the reasons. Groups of fields that are all `given` are left out.
fn explain(config: &Config, facts: DataFacts, time: RunTime, given: &dyn Fn(&str) -> bool) -> Vec<Choice> {
    let small = config.encoder.dim < SMALL;
    let groups = [
        reasons_of_encoder(config, facts),
        reasons_of_views(config, small),
        reasons_of_objective(small),
        reasons_of_schedule(config, facts, time, small),
    ];
    let table = Table::try_from(config).expect("every field of a configuration has a TOML form");
    let choice = |(fields, reason): Reason| {
        let setting = |field: &&str| {
            let value = lookup(&table, field).expect("a field of a configuration");
            format!("{field} = {value}{}", if given(field) { " as given" } else { "" })
        };
        // What a run costs is said in any case.
        let picked = fields.contains(&"optim.epochs") || !fields.iter().all(|field| given(field));
        picked.then(|| Choice { setting: fields.iter().map(setting).collect::<Vec<_>>().join(", "), reason })
    };
    groups.into_iter().flatten().filter_map(choice).collect()
}

/// Fields that were picked together, and why so.
type Reason = (&'static [&'static str], String);

const AS_IN_THE_PAPER: &str = "as in the paper";

fn reasons_of_encoder(config: &Config, facts: DataFacts) -> Vec<Reason> {
    let (view, side) = (config.views.random_size, facts.shorter_side);
    vec![
        (
            &["views.random_size", "views.focal_size", "encoder.patch_size"],
            format!("the images' shorter side is {side} px at the median"),
        ),
        (
            &["encoder.dim", "encoder.depth", "encoder.heads"],
            format!("a vision transformer that fits views of {view} px"),
        ),
        (&["head.hidden_dim", "head.output_dim"], "in proportion to the encoder".to_owned()),
    ]
}

fn reasons_of_views(config: &Config, small: bool) -> Vec<Reason> {
    let views = if config.views.focal_views < PAPER_FOCAL_VIEWS {
        format!("fewer than the paper's {PAPER_FOCAL_VIEWS}, to save work")
    } else {
        AS_IN_THE_PAPER.to_owned()
    };
    let is_small_view = config.views.focal_scale[0] > 0.05;
    let scale = if is_small_view { "a smaller part of a small image shows nothing" } else { AS_IN_THE_PAPER };
    let (blurred, blur): (&[&str], _) = if config.views.blur == 0.0 {
        (&["views.blur"], "it would wipe out the texture of images this small")
    } else {
        (&["views.blur_radius"], "the blur follows the images' size")
    };
    let drop = if small {
        "a fifth of the patches of a large view, which still shows its object"
    } else {
        "what the paper found best for ViT-S"
    };
    vec![
        (&["views.focal_views"], views),
        (&["views.focal_scale"], scale.to_owned()),
        (blurred, blur.to_owned()),
        (&["mask.patch_drop"], drop.to_owned()),
    ]
}

fn reasons_of_objective(small: bool) -> Vec<Reason> {
    let init = if small {
        "a narrow random encoder sees more with larger weights, and learning starts from what it sees"
    } else {
        AS_IN_THE_PAPER
    };
    let sharpen = if small { "surer targets make a short run learn sooner" } else { AS_IN_THE_PAPER };
    vec![
        (&["encoder.init_std"], init.to_owned()),
        (&["objective.sharpen", "objective.sharpen_end"], sharpen.to_owned()),
        (
            &["objective.prototypes"],
            "about one for every 80 images, 32 to 1024, but not many more than twice the images in a batch, or no target could be \
             certain"
                .to_owned(),
        ),
    ]
}

fn reasons_of_schedule(config: &Config, facts: DataFacts, time: RunTime, small: bool) -> Vec<Reason> {
    let (steps, epochs) = (steps(config, facts.images), config.optim.epochs);
    let total = epochs as f64 * work(config, facts.images);
    let whose = if time.speed.is_some() { "this machine makes" } else { "a few CPU cores make" };
    let speed = time.assumed_speed();
    let rate = if small {
        "a small encoder bears a high learning rate"
    } else {
        "half of what ViT-S bears at large batches"
    };
    let pace = if steps < LONG_RUN { "fast" } else { "slowly" };
    vec![
        (&["train.batch_size"], format!("about an eighth of the images, 2 to {}", largest_batch(small))),
        (
            &["optim.epochs"],
            format!(
                "{} images seen in all, some {}: about {} at the {} that {whose}",
                epochs.saturating_mul(facts.images as u64),
                scaled(total, &[("GFLOP", 1e9), ("TFLOP", 1e12), ("PFLOP", 1e15), ("EFLOP", 1e18)]),
                scaled(
                    total / speed,
                    &[("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86400.0)]
                ),
                scaled(speed, &[("GFLOP/s", 1e9), ("TFLOP/s", 1e12)])
            ),
        ),
        (&["optim.lr", "optim.start_lr"], rate.to_owned()),
        (&["optim.warmup_epochs"], "a tenth of the epochs".to_owned()),
        (&["optim.momentum"], format!("the target must move on {pace} over {steps} steps")),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::merge::leaves;
    use super::*;

    fn suggested(images: usize, shorter_side: u32, overrides: &[&str]) -> (Config, Vec<Choice>) {
        let sources: Result<Vec<_>, _> =
            overrides.iter().map(|argument| Source::argument(argument)).collect();
        suggest(DataFacts { images, shorter_side }, RunTime::default(), &sources.expect("settings"))
            .expect("suggested")
    }

    #[test]
    fn as_many_epochs_are_picked_as_fit_the_hours() {
        let facts = DataFacts { images: 10_000, shorter_side: 32 };
        let hours = |hours: f64, speed: f64| {
            let time = RunTime { speed: Some(speed), hours: Some(hours) };
            suggest(facts, time, &[])
        };
        let epochs_of = |given: f64, speed: f64| hours(given, speed).expect("suggested").0.optim.epochs;
        let (config, choices) = hours(2.0, 3e11).expect("suggested");
        let epochs = config.optim.epochs;
        let seconds = |epochs: u64| epochs as f64 * work(&config, 10_000) / 3e11;
        assert!(seconds(epochs) <= 7200.0 && seconds(epochs + 1) > 7200.0, "{epochs} epochs");
        // Half an hour has a quarter of them, twice the speed twice as many.
        assert_eq!(epochs_of(0.5, 3e11), epochs / 4);
        assert!(epochs_of(2.0, 6e11).abs_diff(2 * epochs) <= 1);
        assert!(text(&choices).contains(": about 2.0 hours at the 300.0 GFLOP/s that this machine makes)"));
        // The schedules follow.
        assert_eq!(config.optim.warmup_epochs, epochs as f64 / 10.0);
        assert_eq!(epochs_of(1e300, 3e11), 1_000_000, "what a file can say");
        // Less than an epoch is none.
        let epoch = seconds(1) / 3600.0;
        assert_eq!(epochs_of(1.01 * epoch, 3e11), 1);
        let error = hours(0.99 * epoch, 3e11).expect_err("too few").to_string();
        assert!(error.contains("--hours") && error.contains("that an epoch takes"), "{error}");
        // Forward passes that are made twice take time.
        let again = Source::argument("train.grad_checkpointing=true").expect("a setting");
        let (config, _) =
            suggest(facts, RunTime { speed: Some(3e11), hours: Some(2.0) }, &[again]).expect("suggested");
        assert!(
            (0.75..0.9).contains(&(config.optim.epochs as f64 / epochs as f64)),
            "{}",
            config.optim.epochs
        );
    }

    #[test]
    fn the_work_of_an_epoch_is_that_of_its_views() {
        // A target of 64 patches, a large anchor of 51 (a fifth is dropped), four focal ones of 16, each with [CLS].
        let (config, _) = suggested(10_000, 32, &["encoder.depth=4"]);
        let model =
            Model { encoder: &config.encoder, head: &config.head, prototypes: config.objective.prototypes };
        assert_eq!(work(&config, 10_000), 10_000.0 * model.step(&[(1, 65)], &[(1, 52), (4, 17)]));
    }

    fn text(choices: &[Choice]) -> String {
        choices.iter().map(|choice| format!("{} ({})\n", choice.setting, choice.reason)).collect()
    }

    #[test]
    fn costs_are_told_in_units_that_fit() {
        let units = [("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0)];
        for (seconds, text) in
            [(0.25, "0.2 seconds"), (59.0, "59.0 seconds"), (90.0, "1.5 minutes"), (1e5, "27.8 hours")]
        {
            assert_eq!(scaled(seconds, &units), text);
        }
        let (_, choices) = suggested(24, 16, &["optim.epochs=2"]);
        let costs = text(&choices).lines().find(|line| line.starts_with("optim.epochs")).map(str::to_owned);
        assert!(costs.as_ref().is_some_and(|costs| !costs.contains(" 0.0 ")), "{costs:?}");
    }

    #[test]
    fn every_suggestion_is_valid() {
        for images in [2, 3, 17, 100, 6_000, 50_000, 2_000_000_000] {
            for shorter_side in [1, 28, 32, 64, 96, 100, 160, 224, 4000] {
                let (config, choices) = suggested(images, shorter_side, &[]);
                config.validate().unwrap_or_else(|e| panic!("{images} images of {shorter_side} px: {e}"));
                assert!(config.train.batch_size <= images, "{images}");
                assert!(choices.iter().all(|choice| !choice.reason.is_empty()));
            }
        }
    }

    #[test]
    fn every_pick_is_explained() {
        /// Says the same as `views.random_size`, and that dimensions are set freely.
        const IMPLIED: [&str; 2] = ["encoder.image_size", "encoder.variant"];
        let defaults = Table::try_from(Config::default()).expect("a TOML form");
        for shorter_side in [32, 64, 128, 500] {
            let (config, choices) = suggested(6_000, shorter_side, &[]);
            let mut fields = Vec::new();
            leaves(&Table::try_from(&config).expect("a TOML form"), "", &mut fields);
            let picked = fields.into_iter().filter(|(field, value)| lookup(&defaults, field) != Some(value));
            for (field, value) in picked.filter(|(field, _)| !IMPLIED.contains(&field.as_str())) {
                let expected = format!("{field} = {value}");
                assert!(text(&choices).contains(&expected), "{expected} in:\n{}", text(&choices));
            }
        }
    }

    #[test]
    fn explanations_are_of_the_settings_with_the_overrides() {
        let overrides = ["optim.epochs=5", "optim.lr=3e-4", "encoder.variant=vit-s8", "mask.patch_drop=0.5"];
        let (config, choices) = suggested(6_000, 64, &overrides);
        config.validate().expect("what follows from the overrides fits them");
        assert_eq!((config.optim.warmup_epochs, config.head.hidden_dim), (0.5, 2048));
        let text = text(&choices);
        for part in [
            "optim.lr = 0.0003 as given",
            "optim.start_lr = ",
            // The variant says so.
            "encoder.patch_size = 8 as given",
            "warmup_epochs = 0.5",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        for part in ["patch_drop", "encoder.dim"] {
            assert!(!text.contains(part), "{part} is given, not picked:\n{text}");
        }
        assert!(text.contains("optim.epochs = 5 as given (30000 images seen in all"), "{text}");
    }

    #[test]
    fn reasons_hold_for_views_of_another_size_than_the_images() {
        // Four focal views and a blur of up to 0.6 px are what images of 64 px get, however large their views.
        let text = text(&suggested(6_000, 64, &["views.random_size=224"]).1);
        let focal_views = "views.focal_views = 4 (fewer than the paper's 10, to save work)";
        let blur = "views.blur_radius = [0.1, 0.6] (the blur follows the images' size)";
        assert!(text.contains(focal_views) && text.contains(blur), "{text}");
    }

    #[test]
    fn small_images_get_small_views_and_patches() {
        let (config, _) = suggested(50_000, 32, &[]);
        assert_eq!((config.views.random_size, config.encoder.patch_size, config.encoder.dim), (32, 4, 192));
        let (config, _) = suggested(50_000, 480, &[]);
        assert_eq!((config.views.random_size, config.encoder.patch_size, config.encoder.dim), (224, 16, 384));
    }

    #[test]
    fn a_run_on_photographs_is_no_more_work_than_one_on_small_images() {
        for shorter_side in [32, 64, 128, 500] {
            let (config, choices) = suggested(6_000, shorter_side, &[]);
            let total = config.optim.epochs as f64 * work(&config, 6_000);
            assert!(total <= WORK_PER_RUN, "{shorter_side} px: {total:e}");
            let seen = config.optim.epochs * 6_000;
            assert!(text(&choices).contains(&format!("{seen} images seen in all")), "{}", text(&choices));
        }
        let cost = |side| work(&suggested(6_000, side, &[]).0, 1);
        assert!(cost(500) > 30.0 * cost(64), "{:e} and {:e}", cost(500), cost(64));
    }
}
