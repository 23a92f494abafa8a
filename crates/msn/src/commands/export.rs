//! `msn export`

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{anyhow, ensure};
use msn_eval::{CLASSES, DESCRIPTION, Description, SavedEncoder, Weights, fit_labels, linear_head};
use msn_model::{LinearHead, Naming, named};
use msn_store::{export, onnx, write_described};
use msn_train::config::PrecisionSetting;
use serde_json::{Value, json};

use crate::cli::{EncoderChoice, Export, ExportFormat, FeatureChoice, OnDevice};
use crate::device;
use crate::failure::wrong_arguments;
use crate::features;
use crate::labels::LabelFile;
use crate::output;
use crate::progress::{counted, say};

/// How our ONNX files begin: field 1, the version 8 of the format, and field 2, the program.
const ONNX_START: &[u8] = b"\x08\x08\x12\x03msn";

pub(crate) fn run(arguments: &Export) -> anyhow::Result<()> {
    let out = arguments.out.as_path();
    check_output(arguments)?;
    if features::is_baseline(&arguments.checkpoint) {
        return Err(wrong_arguments(anyhow!(
            "--checkpoint: expected a trained encoder, found the baseline {}",
            arguments.checkpoint
        )));
    }
    let (saved, _) = features::saved_encoder(&arguments.checkpoint, arguments.heads, arguments.range)?;
    let head = classifier(arguments, &saved)?;
    let head = head.as_ref();
    match arguments.format {
        ExportFormat::Hf => {
            let weights = named(Naming::HuggingFace, &saved.config, &saved.weights, head);
            let files = [
                ("config.json", hf_config(&saved, head)),
                ("preprocessor_config.json", preprocessor(&saved)),
            ];
            export::write_model_folder(out, &files, &weights, description(&saved, head)?)?;
        }
        ExportFormat::Timm => {
            let weights = named(Naming::Timm, &saved.config, &saved.weights, head);
            write_described(out, &weights, description(&saved, head)?)?;
        }
        ExportFormat::Safetensors => {
            let mut weights = saved.weights.clone();
            weights.extend(named(Naming::Timm, &saved.config, &saved.weights, head));
            write_described(out, &weights, description(&saved, head)?)?;
        }
        ExportFormat::Onnx => {
            let about: Vec<(String, String)> = description(&saved, head)?.into_iter().collect();
            let about: Vec<(&str, String)> =
                about.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            onnx::write(out, &msn_model::onnx(&saved.config, &saved.weights, head, &about))?;
        }
    }
    let classes = head.map_or(String::new(), |head| {
        format!(" and a classifier of {}", counted(head.classes.len(), "class"))
    });
    say(&format!("the encoder{classes} in {}", out.display()));
    Ok(())
}

/// Fails unless writing loses nothing of the user's, before any work.
fn check_output(arguments: &Export) -> anyhow::Result<()> {
    let out = arguments.out.as_path();
    let ending = match arguments.format {
        ExportFormat::Hf => {
            let empty = |folder: &Path| folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
            ensure!(!out.exists() || empty(out), "{}: expected a new or an empty folder", out.display());
            return Ok(());
        }
        ExportFormat::Onnx => "onnx",
        ExportFormat::Timm | ExportFormat::Safetensors => "safetensors",
    };
    if out.extension().is_none_or(|found| found != ending) {
        let found = out.display();
        return Err(wrong_arguments(anyhow!("--out: expected a name in .{ending}, found {found}")));
    }
    let inputs =
        [Some(Path::new(&arguments.checkpoint)), arguments.labels.as_deref(), arguments.images.as_deref()];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
    output::check(out, &inputs, |start| match arguments.format {
        ExportFormat::Onnx => start.starts_with(ONNX_START),
        _ => output::says(out, DESCRIPTION, |_| true),
    })
}

/// The classifier that `msn predict` would use: fitted on the labels if there are any, else the one of a fine-tuning.
fn classifier(arguments: &Export, saved: &SavedEncoder) -> anyhow::Result<Option<LinearHead>> {
    let (Some(labels), Some(images)) = (&arguments.labels, &arguments.images) else {
        if arguments.range.levels.is_some() {
            return Err(wrong_arguments(anyhow!(
                "--levels: expected --labels to fit a classifier on, found none: an export has no images"
            )));
        }
        return Ok(saved.classifier.clone());
    };
    let few = LabelFile::open(labels, images, msn_data::open(images)?)?;
    few.check_labels()?;
    let choice = EncoderChoice {
        checkpoint: arguments.checkpoint.clone(),
        heads: arguments.heads,
        features: Some(FeatureChoice::BeforeNorm),
        // As the weights are exported.
        precision: PrecisionSetting::F32,
        fresh_features: false,
        range: arguments.range,
        device: OnDevice { name: arguments.device.name.clone() },
    };
    // The weights that are exported, whatever a run that is still training has saved since.
    let same = SavedEncoder {
        origin: saved.origin.clone(),
        config: saved.config.clone(),
        weights: saved.weights.clone(),
        classifier: None,
        seed: saved.seed,
        normalization: saved.normalization,
        limits: saved.limits,
        rejected: Vec::new(),
        notes: Vec::new(),
    };
    let device = device::open(&arguments.device.name)?;
    let labelled = few.features(&features::of_saved(same, Weights::Pretrained, &choice, &device)?)?;
    let (classes, fit) = fit_labels(&labelled, arguments.lambda.unwrap_or_default())?;
    Ok(Some(linear_head(&classes, &fit, &saved.weights)?))
}

/// What tensors do not show, for readers of safetensors and ONNX. `format` is what transformers asks for.
fn description(saved: &SavedEncoder, head: Option<&LinearHead>) -> anyhow::Result<BTreeMap<String, String>> {
    let normalization = Some([saved.normalization.mean, saved.normalization.std]);
    let own = Description { heads: Some(saved.config.heads), normalization, ..Description::default() };
    let mut description = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (DESCRIPTION.to_owned(), serde_json::to_string(&own)?),
    ]);
    if let Some(head) = head {
        description.insert(CLASSES.to_owned(), serde_json::to_string(&head.classes)?);
    }
    Ok(description)
}

/// `config.json` of transformers' ViTMSN.
fn hf_config(saved: &SavedEncoder, head: Option<&LinearHead>) -> Value {
    let config = &saved.config;
    let architecture = if head.is_some() { "ViTMSNForImageClassification" } else { "ViTMSNModel" };
    let mut described = json!({
        "architectures": [architecture],
        "model_type": "vit_msn",
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.dim * config.mlp_ratio,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": msn_model::LAYER_NORM_EPS,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "num_channels": 3,
        "qkv_bias": true,
        "torch_dtype": "float32",
    });
    if let Some(head) = head {
        let numbered = head.classes.iter().enumerate();
        described["id2label"] = numbered.clone().map(|(id, class)| (id.to_string(), json!(class))).collect();
        described["label2id"] = numbered.map(|(id, class)| (class.clone(), json!(id))).collect();
    }
    described
}

/// `preprocessor_config.json`: what our evaluations do to an image. transformers' processor of the name ViT would not
/// cut out the centre; the one of the name Bit does, and is nothing but a resize, a crop and a normalisation.
fn preprocessor(saved: &SavedEncoder) -> Value {
    let transform = saved.transform();
    // 2 is bilinear, as Pillow counts.
    json!({
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": true,
        "do_resize": transform.resize.is_some(),
        "size": { "shortest_edge": transform.resize.unwrap_or(transform.crop) },
        "resample": 2,
        "do_center_crop": true,
        "crop_size": { "height": transform.crop, "width": transform.crop },
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": saved.normalization.mean.map(shortest),
        "image_std": saved.normalization.std.map(shortest),
    })
}

/// 0.485 rather than 0.48500001430511475.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().expect("a number as it is written")
}
