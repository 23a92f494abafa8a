//! Reference trainings and how far ours end from them.
#![allow(dead_code, reason = "the test in f64 uses a part")]

pub(crate) mod rounding;

use std::collections::BTreeMap;

use burn::tensor::Device;
use msn_golden::Case;
use msn_model::{Array, Path, StateDict, View, state_dict};
use msn_ssl::Schedule;
use msn_train::{Config, Trainer, Views};
use serde_json::Value;

/// A trainer after the steps of the case; every number that a step reports is within `tolerance`, relative.
/// `after_step` sees the trainer after each step.
pub(crate) fn train(
    case: &Case,
    device: &Device,
    path: Path,
    tolerance: f64,
    mut after_step: impl FnMut(&Trainer, &Schedule),
) -> Trainer {
    let encoder = state(case.with_prefix("start.encoder."));
    let prototypes = state(BTreeMap::from([("weight".to_owned(), case.tensor("start.prototypes").clone())]));
    let config = config(case);
    let trainer = Trainer::new(&config, device).expect("valid");
    let mut trainer = trainer.with_weights(encoder, prototypes).expect("the weights fit").with_path(path);
    for (index, step) in case.meta["steps"].as_array().expect("a list").iter().enumerate() {
        let number = |field: &str| number(step, field);
        let schedule = Schedule {
            lr: number("lr"),
            weight_decay: number("weight_decay"),
            momentum: number("momentum"),
            sharpen: number("sharpen"),
        };
        trainer = trainer.with_settings(&settings_of_step(config.clone(), step));
        let (report, _) = trainer.step(views(case, index, device), schedule, &[], false);
        for (name, found) in [
            ("loss", report.loss),
            ("cross_entropy", report.cross_entropy),
            ("memax", report.memax),
            ("entropy", report.entropy),
            ("grad_norm", report.grad_norm),
        ] {
            let (expected, case) = (number(name), &case.name);
            let error = (found - expected).abs() / expected.abs();
            assert!(error < tolerance, "{case} {path:?}: step {index}: {name}: {found}, expected {expected}");
        }
        after_step(&trainer, &schedule);
    }
    trainer
}

/// How a tensor moved and should have moved.
pub(crate) struct Change {
    pub(crate) start: Vec<f32>,
    pub(crate) end: Vec<f32>,
    pub(crate) found: Vec<f32>,
}

impl Change {
    /// Largest change of an element in the reference.
    pub(crate) fn largest(&self) -> f64 {
        self.expected().map(f64::abs).fold(0.0, f64::max)
    }

    /// The reference's changes.
    pub(crate) fn expected(&self) -> impl Iterator<Item = f64> + '_ {
        self.end.iter().zip(&self.start).map(|(end, start)| f64::from(*end) - f64::from(*start))
    }

    /// Absolute errors of the elements.
    pub(crate) fn errors(&self) -> impl Iterator<Item = f64> + '_ {
        self.found.iter().zip(&self.end).map(|(found, end)| (f64::from(*found) - f64::from(*end)).abs())
    }
}

/// Changes of every tensor of both encoders and of the prototypes.
pub(crate) fn changes(case: &Case, trainer: &Trainer) -> Vec<(&'static str, BTreeMap<String, Change>)> {
    let part = |part: &str, found: StateDict| {
        let change = |(name, array): (String, Array)| {
            let full = if part == "prototypes" { part.to_owned() } else { format!("{part}.{name}") };
            // The momentum encoder starts as a copy.
            let start = case.tensor(&format!("start.{}", full.replace("target.", "encoder."))).data.clone();
            let end = case.tensor(&format!("end.{full}")).data.clone();
            (name, Change { start, end, found: array.data })
        };
        found.into_iter().map(change).collect()
    };
    vec![
        ("encoder", part("encoder", state_dict(trainer.encoder()))),
        ("target", part("target", state_dict(trainer.target()))),
        ("prototypes", part("prototypes", state_dict(trainer.prototypes()))),
    ]
}

/// The settings that a case gives.
pub(crate) fn config(case: &Case) -> Config {
    let mut config = Config::default();
    let encoder = &mut config.encoder;
    encoder.variant = String::new();
    encoder.image_size = case.usize("image_size");
    encoder.patch_size = case.usize("patch_size");
    encoder.dim = case.usize("dim");
    encoder.depth = case.usize("depth");
    encoder.heads = case.usize("heads");
    config.head.hidden_dim = case.usize("hidden_dim");
    config.head.output_dim = case.usize("output_dim");
    config.head.batch_norm = case.bool("use_bn");
    config.objective.prototypes = case.usize("prototypes");
    config.train.adam_eps = case.f64("adam_eps");
    config.train.betas = [0, 1].map(|i| case.meta["betas"][i].as_f64().expect("a number"));
    config
}

/// Each step of a case has an objective and a clipping of its own.
fn settings_of_step(mut config: Config, step: &Value) -> Config {
    config.objective.temperature = number(step, "temperature");
    config.objective.sinkhorn = step["sinkhorn"].as_bool().expect("a truth value");
    config.objective.memax_weight = number(step, "memax_weight");
    config.objective.entropy_weight = number(step, "entropy_weight");
    config.train.clip_grad = number(step, "clip_grad");
    config
}

fn number(step: &Value, field: &str) -> f64 {
    step[field].as_f64().unwrap_or_else(|| panic!("{field} is a number"))
}

fn state(arrays: BTreeMap<String, msn_golden::Array>) -> StateDict {
    arrays.into_iter().map(|(name, array)| (name, Array { shape: array.shape, data: array.data })).collect()
}

fn views(case: &Case, step: usize, device: &Device) -> Views {
    let (batch, patch) = (case.usize("batch"), case.usize("patch_size"));
    let keep: Vec<u32> =
        case.tensor(&format!("step{step}.keep")).data.iter().map(|&place| place as u32).collect();
    let view = |name: String, keep: Option<&[Vec<u32>]>, device: &Device| {
        let pixels = case.tensor(&format!("step{step}.{name}"));
        View::new(&pixels.data, batch, pixels.shape[3], patch, keep, device)
    };
    let (random, focal) = (case.usize("random_views"), case.usize("focal_views"));
    let anchor = |index: usize| format!("anchor_view{index}");
    let masks = [keep];
    Views {
        target: view("target_view".to_owned(), None, &device.clone().inner()),
        random: (0..random).map(|index| view(anchor(index), Some(&masks), device)).collect(),
        focal: (random..random + focal).map(|index| view(anchor(index), None, device)).collect(),
    }
}
