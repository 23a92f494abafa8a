//! Settings in the form of the original implementation's YAML files, field by field.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Yaml};
use toml::{Table, Value};

use super::{Source, check};
use crate::Error;

/// Longest file that is read, bytes; the original ones have about 1,500.
const LONGEST: u64 = 1 << 20;

/// What becomes of a field.
enum Meaning {
    /// It is a setting of ours, of this name.
    Is(&'static str),
    /// It has no influence here, for this reason.
    Without(&'static str),
    /// Together with another field it is a setting of ours.
    Switch,
    /// The name of an encoder.
    Encoder,
}
use Meaning::{Encoder, Is, Switch, Without};

/// Every field of the original pre-training configurations.
const FIELDS: &[(&str, Meaning)] = &[
    ("criterion.me_max", Switch),
    ("criterion.memax_weight", Is("objective.memax_weight")),
    ("criterion.use_ent", Switch),
    ("criterion.ent_weight", Is("objective.entropy_weight")),
    ("criterion.start_sharpen", Is("objective.sharpen")),
    ("criterion.final_sharpen", Is("objective.sharpen_end")),
    ("criterion.num_proto", Is("objective.prototypes")),
    ("criterion.temperature", Is("objective.temperature")),
    ("criterion.use_sinkhorn", Is("objective.sinkhorn")),
    ("data.batch_size", Is("train.batch_size")),
    ("data.color_jitter_strength", Is("views.color_jitter")),
    ("data.patch_drop", Is("mask.patch_drop")),
    ("data.rand_size", Is("views.random_size")),
    ("data.rand_views", Is("views.random_views")),
    ("data.focal_size", Is("views.focal_size")),
    ("data.focal_views", Is("views.focal_views")),
    ("data.num_workers", Is("data.workers")),
    ("data.pin_mem", Without("batches are handed over without a copy")),
    ("data.root_path", Without("--data says where the images are")),
    ("data.image_folder", Without("--data says where the images are")),
    ("logging.folder", Without("--out says where the run goes")),
    ("logging.write_tag", Without("--out says where the run goes")),
    ("meta.bottleneck", Without("the projection head has no bottleneck")),
    ("meta.copy_data", Without("images are read where they are")),
    ("meta.drop_path_rate", Is("encoder.drop_path")),
    ("meta.hidden_dim", Is("head.hidden_dim")),
    ("meta.output_dim", Is("head.output_dim")),
    ("meta.use_bn", Is("head.batch_norm")),
    ("meta.model_name", Encoder),
    ("meta.load_checkpoint", Without("--resume goes on with a run")),
    ("meta.read_checkpoint", Without("--resume goes on with a run")),
    ("meta.use_fp16", Without("train.precision picks what this machine multiplies fastest")),
    ("meta.use_pred_head", Without("there is no prediction head")),
    ("optimization.clip_grad", Is("train.clip_grad")),
    ("optimization.epochs", Is("optim.epochs")),
    ("optimization.warmup", Is("optim.warmup_epochs")),
    ("optimization.start_lr", Is("optim.start_lr")),
    ("optimization.lr", Is("optim.lr")),
    ("optimization.final_lr", Is("optim.final_lr")),
    ("optimization.weight_decay", Is("optim.weight_decay")),
    ("optimization.final_weight_decay", Is("optim.final_weight_decay")),
];

/// Terms of the loss that a switch turns off, whatever their weight: the switch, the weight, and ours.
const SWITCHES: [(&str, &str, &str); 2] = [
    ("criterion.me_max", "criterion.memax_weight", "objective.memax_weight"),
    ("criterion.use_ent", "criterion.ent_weight", "objective.entropy_weight"),
];

/// Reads a file of the original implementation. Returns its settings, and lines about those without effect here.
///
/// # Errors
/// If the file cannot be read or is not such a file, and as [`Source::toml`] for values of a wrong type.
pub(super) fn file(path: &Path) -> Result<(Source, Vec<String>), Error> {
    let read = |source| Error::Read { path: path.to_path_buf(), source };
    let length = fs::metadata(path).map_err(read)?.len();
    let origin = path.display().to_string();
    if length > LONGEST {
        let (expected, found) = (format!("at most {LONGEST} bytes"), format!("{length}"));
        return Err(Error::Original { origin, expected, found });
    }
    parse(&origin, &fs::read_to_string(path).map_err(read)?)
}

fn parse(origin: &str, text: &str) -> Result<(Source, Vec<String>), Error> {
    let refuse = |expected: &str, found: String| Error::Original {
        origin: origin.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let yaml: Yaml = serde_saphyr::from_str(text)
        .map_err(|error| refuse("YAML as in the original configurations", error.to_string()))?;
    let Some(fields) = leaves(&yaml) else {
        return Err(refuse("sections such as `criterion` and `data` with fields in them", shown(&yaml)));
    };
    let mut settings = Table::new();
    let mut notes = Vec::new();
    let mut places = Vec::new();
    for (theirs, value) in &fields {
        let known = FIELDS.iter().find(|(name, _)| name == theirs);
        match known.map(|(_, meaning)| meaning) {
            Some(Is(ours)) => {
                places.push((*ours, theirs.as_str()));
                let value =
                    to_toml(value).ok_or_else(|| refuse(&format!("{theirs}: a value"), shown(value)))?;
                insert(&mut settings, ours, value);
            }
            Some(Encoder) => {
                let variant = value.as_str().and_then(variant);
                let expected = format!("{theirs}: a name such as deit_small or deit_base_p8");
                let variant = variant.ok_or_else(|| refuse(&expected, shown(value)))?;
                places.push(("encoder.variant", theirs.as_str()));
                insert(&mut settings, "encoder.variant", Value::String(variant));
            }
            Some(Switch) if value.is_boolean() => {}
            Some(Switch) => return Err(refuse(&format!("{theirs}: true or false"), shown(value))),
            Some(Without(why)) => notes.push(format!("  {theirs} = {} has no effect: {why}", shown(value))),
            None => notes.push(format!(
                "  {theirs} = {} is not known and has no effect (did you mean `{}`?)",
                shown(value),
                nearest(theirs)
            )),
        }
    }
    for (switch, _, ours) in SWITCHES {
        if fields.iter().any(|(name, value)| name == switch && value == &Yaml::Bool(false)) {
            insert(&mut settings, ours, Value::Float(0.0));
            notes.push(format!("  {switch} = false: {ours} = 0"));
        }
    }
    if fields.iter().any(|(name, _)| name == "data.batch_size") {
        notes.push(
            "  data.batch_size counts the images of one process there, of the whole step here".to_owned(),
        );
    }
    let place = |field: &str| match places.iter().find(|(ours, _)| *ours == field) {
        Some((_, theirs)) => format!("{origin}, {theirs}"),
        None => origin.to_owned(),
    };
    check::fields(&settings, &place)?;
    if !notes.is_empty() {
        notes.insert(0, format!("{origin}, fields of the original implementation:"));
    }
    Ok((Source::of(settings), notes))
}

/// Fields with the names of their sections; `None` where something stands outside a section, or a section is none.
fn leaves(yaml: &Yaml) -> Option<Vec<(String, Yaml)>> {
    let sections: &Map<String, Yaml> = yaml.as_object()?;
    let mut found = Vec::new();
    for (section, fields) in sections {
        for (field, value) in fields.as_object()? {
            found.push((format!("{section}.{field}"), value.clone()));
        }
    }
    Some(found)
}

/// `vit-s16` for `deit_small`, `vit-l7` for `deit_large_p7`.
fn variant(model: &str) -> Option<String> {
    let rest = model.strip_prefix("deit_").or(model.strip_prefix("vit_"))?;
    let (size, patch) = match rest.split_once("_p") {
        Some((size, patch)) => (size, Some(patch.strip_prefix("atch").unwrap_or(patch))),
        None => (rest, None),
    };
    let (letters, default) = match size {
        "tiny" => ("ti", "16"),
        "small" => ("s", "16"),
        "base" => ("b", "16"),
        "large" => ("l", "16"),
        "huge" => ("h", "14"),
        _ => return None,
    };
    Some(format!("vit-{letters}{}", patch.unwrap_or(default)))
}

fn to_toml(value: &Yaml) -> Option<Value> {
    match value {
        Yaml::Bool(value) => Some(Value::Boolean(*value)),
        Yaml::String(value) => Some(Value::String(value.clone())),
        Yaml::Number(value) => value.as_i64().map(Value::Integer).or(value.as_f64().map(Value::Float)),
        _ => None,
    }
}

fn insert(settings: &mut Table, field: &str, value: Value) {
    let (section, key) = field.split_once('.').expect("a field of a section");
    let section = settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().expect("made as a table").insert(key.to_owned(), value);
}

fn nearest(field: &str) -> &'static str {
    let similarity = |known: &str| strsim::jaro_winkler(field, known);
    let known = FIELDS.iter().map(|(name, _)| *name);
    known.max_by(|a, b| similarity(a).total_cmp(&similarity(b))).expect("there are fields")
}

/// A value as it may stand in a message: not longer than 60 characters.
fn shown(value: &Yaml) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    const VIT_S16: &str = "\
criterion:
  ent_weight: 0.0
  final_sharpen: 0.25
  me_max: true
  memax_weight: 1.0
  num_proto: 1024
  start_sharpen: 0.25
  temperature: 0.1
  use_ent: true
  use_sinkhorn: true
data:
  color_jitter_strength: 0.5
  pin_mem: true
  num_workers: 10
  root_path: /datasets/
  image_folder: imagenet_full_size/061417/
  patch_drop: 0.15
  rand_size: 224
  focal_size: 96
  rand_views: 1
  focal_views: 10
  batch_size: 16
logging:
  folder: logs/
  write_tag: msn-experiment-1
meta:
  bottleneck: 1
  copy_data: false
  drop_path_rate: 0.1
  hidden_dim: 2048
  load_checkpoint: false
  model_name: deit_small
  output_dim: 256
  read_checkpoint: null
  use_bn: true
  use_fp16: true
  use_pred_head: false
optimization:
  clip_grad: 3.0
  epochs: 800
  final_lr: 1.0e-06
  final_weight_decay: 0.4
  lr: 0.001
  start_lr: 0.0002
  warmup: 15
  weight_decay: 0.04
";

    fn config(text: &str) -> Result<(Config, Vec<String>), Error> {
        let (source, notes) = parse("vits16.yaml", text)?;
        Ok((Config::merge(&Config::default(), &[source])?, notes))
    }

    #[test]
    fn every_field_of_the_small_encoders_configuration_is_mapped_or_named() {
        let (config, notes) = config(VIT_S16).expect("an original configuration");
        config.validate().expect("in range");
        let (encoder, views) = (&config.encoder, &config.views);
        assert_eq!((encoder.variant.as_str(), encoder.image_size, encoder.drop_path), ("vit-s16", 224, 0.1));
        assert_eq!((views.random_size, views.focal_size), (224, 96));
        assert_eq!((views.random_views, views.focal_views, views.color_jitter), (1, 10, 0.5));
        assert_eq!((config.mask.patch_drop, config.train.batch_size, config.data.workers), (0.15, 16, 10));
        let head = &config.head;
        assert_eq!((head.hidden_dim, head.output_dim, head.batch_norm), (2048, 256, true));
        let objective = &config.objective;
        assert_eq!((objective.prototypes, objective.temperature, objective.sinkhorn), (1024, 0.1, true));
        assert_eq!((objective.sharpen, objective.sharpen_end), (0.25, 0.25));
        assert_eq!((objective.memax_weight, objective.entropy_weight), (1.0, 0.0));
        let optim = &config.optim;
        assert_eq!((optim.epochs, optim.warmup_epochs), (800, 15.0));
        assert_eq!((optim.start_lr, optim.lr, optim.final_lr), (2e-4, 1e-3, 1e-6));
        assert_eq!((optim.weight_decay, optim.final_weight_decay, config.train.clip_grad), (0.04, 0.4, 3.0));
        let notes = notes.join("\n");
        for (field, meaning) in FIELDS {
            let named = notes.contains(field);
            assert_eq!(
                named,
                matches!(meaning, Without(_)) || *field == "data.batch_size",
                "{field}: {notes}"
            );
        }
    }

    #[test]
    fn a_switch_turns_a_term_of_the_loss_off() {
        let (config, notes) =
            config("criterion:\n  me_max: false\n  memax_weight: 5.0\n  use_ent: false\n  ent_weight: 2.0\n")
                .expect("valid");
        assert_eq!((config.objective.memax_weight, config.objective.entropy_weight), (0.0, 0.0));
        assert!(notes.join("\n").contains("objective.memax_weight = 0"), "{notes:?}");
    }

    #[test]
    fn the_names_of_encoders_are_those_of_the_variants() {
        for (theirs, ours) in [
            ("deit_tiny", "vit-ti16"),
            ("deit_small", "vit-s16"),
            ("deit_base_p8", "vit-b8"),
            ("deit_base_p4", "vit-b4"),
            ("deit_large_p7", "vit-l7"),
            ("vit_large_patch16", "vit-l16"),
            ("deit_huge", "vit-h14"),
        ] {
            assert_eq!(variant(theirs).as_deref(), Some(ours));
            config(&format!("meta:\n  model_name: {theirs}\n")).expect("in the table");
        }
        let message = config("meta:\n  model_name: resnet50\n").expect_err("no ViT").to_string();
        assert!(message.contains("meta.model_name") && message.contains("resnet50"), "{message}");
    }

    #[test]
    fn unknown_fields_are_named_with_the_nearest_known_one() {
        let (_, notes) = config("data:\n  patchdrop: 0.5\n").expect("no harm");
        assert!(notes.join("\n").contains("did you mean `data.patch_drop`?"), "{notes:?}");
    }

    #[test]
    fn wrong_values_are_explained_under_their_own_names() {
        for (text, words) in [
            ("criterion:\n  num_proto: many\n", "vits16.yaml, criterion.num_proto"),
            ("data:\n  patch_drop: [0.1]\n", "data.patch_drop: a value"),
            ("criterion:\n  me_max: 1\n", "criterion.me_max: true or false"),
            ("epochs: 3\n", "sections"),
            ("- 1\n", "sections"),
            ("a: [1\n", "YAML"),
            ("", "sections"),
        ] {
            let message = config(text).expect_err("wrong").to_string();
            assert!(message.contains(words) && message.starts_with("vits16.yaml"), "{text}: {message}");
        }
    }

    #[test]
    fn references_to_references_do_not_grow_without_bound() {
        // Ten levels of nine references: a billion values if they were written out.
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            text += &format!("a{level}: &a{level} [{inner}]\n");
        }
        assert!(config(&text).is_err());
    }
}
