//! Encoders out of the checkpoints of other programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use msn_data::Normalization;
use msn_model::{EncoderConfig, ForeignEncoder, LinearHead, StateDict, find_encoder};
use msn_store::ForeignFile;
use serde::Deserialize;
use serde_json::Value;

use super::ExtractError;

/// Files that the folder of a Hugging Face or timm model has its weights in, the better one first.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The description of a model in its folder.
const CONFIG: &str = "config.json";

/// Key under which a safetensors file of ours says what tensors do not show.
pub const DESCRIPTION: &str = "msn";

/// Key under which it names the classes of its classifier, as a JSON list.
pub const CLASSES: &str = "classes";

/// What files call a linear layer on the [CLS] after the final norm: Hugging Face, timm.
const CLASSIFIERS: [&str; 2] = ["classifier", "head"];

/// An encoder that another program trained, or that was exported from a run.
#[derive(Debug)]
pub struct Import {
    /// The file that holds its weights.
    pub file: PathBuf,
    /// Which program's file it is, as far as its names tell.
    pub program: &'static str,
    /// The section of the file that it is in; "" if the file has none.
    pub section: String,
    /// Its architecture.
    pub config: EncoderConfig,
    /// Its weights under our names.
    pub weights: StateDict,
    /// What pixels in [0, 1] are normalised with: as the file says, or ImageNet's mean and deviation.
    pub normalization: Normalization,
    /// The classifier on it, where the file has one and says what its classes are called.
    pub classifier: Option<LinearHead>,
    /// Tensors beside them that are not used, by their names in the file.
    pub unused: Vec<String>,
    /// Biases that the file does not have, by our names: they are 0.
    pub zeros: Vec<String>,
}

/// What a file or a folder says besides tensors. Also what an export writes under the key [`DESCRIPTION`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
pub struct Description {
    /// Attention heads.
    pub heads: Option<usize>,
    /// Mean and deviation of the channels.
    pub normalization: Option<[[f32; 3]; 2]>,
    /// Names of the classes of its classifier.
    #[serde(skip)]
    pub classes: Vec<String>,
}

impl Import {
    /// Reads the encoder in a file of PyTorch or of safetensors, or in the folder of a Hugging Face or timm model.
    /// `heads` is the number of attention heads, where the file does not say it.
    ///
    /// # Errors
    /// [`ExtractError::Store`] for a file that cannot be read; [`ExtractError::Foreign`] for one without an encoder such as
    /// ours, or whose heads are not known; [`ExtractError::ModelFolder`] for a folder that describes another
    /// model, or none, and where it states another number of heads.
    pub fn read(path: &Path, heads: Option<usize>) -> Result<Self, ExtractError> {
        let (file, folder) =
            if path.is_dir() { of_folder(path)? } else { (path.to_owned(), Description::default()) };
        let mut opened = ForeignFile::open(&file)?;
        let own = of_metadata(&file, opened.metadata())?;
        let foreign = |source| ExtractError::Foreign { file: file.clone(), source };
        let said = folder.heads.or(own.heads);
        if let (Some(said), Some(given)) = (said, heads)
            && said != given
        {
            let found = format!("{said} in it and {given} given");
            return Err(model_folder(&file, "no other number of heads than it states", found));
        }
        let mut found = find_encoder(&opened.shapes(), heads.or(said)).map_err(foreign)?;
        let weights = found.weights(opened.read(&found.section, found.wanted())?);
        let classes = if folder.classes.is_empty() { own.classes } else { folder.classes };
        let classifier = classifier(&mut opened, &mut found, classes)?;
        let normalization = match folder.normalization.or(own.normalization) {
            Some([mean, std]) => Normalization { mean, std },
            None => Normalization::default(),
        };
        Ok(Self {
            file,
            program: found.program,
            section: found.section,
            config: found.config,
            weights,
            normalization,
            classifier,
            unused: found.unused,
            zeros: found.zeros,
        })
    }

    /// Lines that say what was read and what was not; at most `names` names of tensors in one.
    pub fn summary(&self, names: usize) -> Vec<String> {
        let EncoderConfig { image_size, patch_size, dim, depth, heads, .. } = self.config;
        let section = if self.section.is_empty() { String::new() } else { format!(" (`{}`)", self.section) };
        let mut lines = vec![format!(
            "{}: the encoder of a file of {}{section}: {dim} wide, {depth} blocks, {heads} heads, images of {image_size} px \
             in patches of {patch_size} px",
            self.file.display(),
            self.program,
        )];
        if let Some(head) = &self.classifier {
            lines.push(format!("with a classifier of {} classes", head.classes.len()));
        }
        let mut list = |what: &str, found: &[String]| {
            if !found.is_empty() {
                let more = found.len().saturating_sub(names);
                let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                let shown: Vec<&str> = found.iter().take(names).map(String::as_str).collect();
                lines.push(format!("{what}: {}{rest}", shown.join(", ")));
            }
        };
        list("not used", &self.unused);
        list("missing, taken as 0", &self.zeros);
        lines
    }
}

/// Whether `--checkpoint` names something that [`Import`] reads rather than a run of ours.
pub fn is_foreign(path: &Path) -> bool {
    path.is_file() || (path.join(CONFIG).is_file() && !path.join("config.toml").exists())
}

/// What a file of ours says besides tensors.
fn of_metadata(file: &Path, metadata: &BTreeMap<String, String>) -> Result<Description, ExtractError> {
    let wrong = |expected, error: serde_json::Error| model_folder(file, expected, error.to_string());
    let Some(text) = metadata.get(DESCRIPTION) else { return Ok(Description::default()) };
    let own = serde_json::from_str(text).map_err(|e| wrong("its metadata `msn` as msn writes it", e))?;
    let classes = metadata.get(CLASSES).map_or(Ok(Vec::new()), |text| serde_json::from_str(text));
    let classes = classes.map_err(|e| wrong("its metadata `classes` as msn writes it", e))?;
    Ok(Description { classes, ..own })
}

/// The linear layer beside an encoder, if it has a row for each of these classes; it is then among what is used.
fn classifier(
    file: &mut ForeignFile,
    encoder: &mut ForeignEncoder,
    classes: Vec<String>,
) -> Result<Option<LinearHead>, ExtractError> {
    let parts = |name: &str| [format!("{name}.weight"), format!("{name}.bias")];
    let is_there =
        |[weight, bias]: &[String; 2]| encoder.unused.contains(weight) && encoder.unused.contains(bias);
    let Some([weight, bias]) = CLASSIFIERS.into_iter().map(parts).find(is_there) else { return Ok(None) };
    let mut tensors = file.read(&encoder.section, [weight.as_str(), bias.as_str()])?;
    let mut take = |name: &String| tensors.remove(name).expect("just read");
    let head = LinearHead { weight: take(&weight), bias: take(&bias), classes };
    let count = head.classes.len();
    if head.weight.shape != [count, encoder.config.dim] || head.bias.shape != [count] {
        return Ok(None);
    }
    encoder.unused.retain(|name| *name != weight && *name != bias);
    Ok(Some(head))
}

/// The file with the weights in the folder of a model, and what its descriptions say.
fn of_folder(folder: &Path) -> Result<(PathBuf, Description), ExtractError> {
    let path = folder.join(CONFIG);
    let config = json(&path)?;
    let file = WEIGHTS.map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    let file = file.ok_or_else(|| {
        let expected = "model.safetensors or pytorch_model.bin in the folder";
        model_folder(folder, expected, "none (weights in several files are not read)".to_owned())
    })?;
    let whole = |field: &str| config[field].as_u64().and_then(|value| usize::try_from(value).ok());
    // timm's describe images under `pretrained_cfg` and name no heads.
    if config["pretrained_cfg"].is_object() {
        let normalization = normalization(&path, &config["pretrained_cfg"], ["mean", "std"])?;
        return Ok((file, Description { normalization, ..Description::default() }));
    }
    check_hugging_face(&path, &config)?;
    let preprocessor = folder.join("preprocessor_config.json");
    let normalization = if preprocessor.is_file() {
        normalization(&preprocessor, &json(&preprocessor)?, ["image_mean", "image_std"])?
    } else {
        None
    };
    let classes = named_classes(&config["id2label"]);
    Ok((file, Description { heads: whole("num_attention_heads"), normalization, classes }))
}

/// The names of Hugging Face's `id2label`, by ascending number from 0; none where a number or a name is missing.
fn named_classes(id2label: &Value) -> Vec<String> {
    let count = id2label.as_object().map_or(0, serde_json::Map::len);
    let name = |id: usize| Some(id2label[id.to_string()].as_str()?.to_owned());
    (0..count).map(name).collect::<Option<_>>().unwrap_or_default()
}

/// Refuses models that compute something else with tensors of the same names.
fn check_hugging_face(path: &Path, config: &Value) -> Result<(), ExtractError> {
    const TYPES: [&str; 3] = ["vit_msn", "vit", "vit_mae"];
    let text = |field: &str| config[field].as_str().unwrap_or("none").to_owned();
    if !TYPES.contains(&text("model_type").as_str()) {
        return Err(model_folder(path, "a model_type of vit_msn, vit or vit_mae", text("model_type")));
    }
    if !config["hidden_act"].is_null() && config["hidden_act"] != "gelu" {
        return Err(model_folder(path, "hidden_act `gelu`", text("hidden_act")));
    }
    Ok(())
}

fn normalization(
    path: &Path,
    description: &Value,
    fields: [&str; 2],
) -> Result<Option<[[f32; 3]; 2]>, ExtractError> {
    let [mean, std] = fields.map(|field| &description[field]);
    if mean.is_null() && std.is_null() {
        return Ok(None);
    }
    let channels = |value: &Value| serde_json::from_value::<[f32; 3]>(value.clone()).ok();
    match (channels(mean), channels(std)) {
        (Some(mean), Some(std)) if std.iter().all(|&deviation| deviation > 0.0) => Ok(Some([mean, std])),
        _ => {
            let found = format!("{} = {mean}, {} = {std}", fields[0], fields[1]);
            Err(model_folder(path, "a mean and a deviation above 0 for three channels", found))
        }
    }
}

fn json(path: &Path) -> Result<Value, ExtractError> {
    let text =
        fs::read_to_string(path).map_err(|error| model_folder(path, "a readable file", error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| model_folder(path, "JSON", error.to_string()))
}

fn model_folder(path: &Path, expected: &'static str, found: String) -> ExtractError {
    ExtractError::ModelFolder { path: path.to_owned(), expected, found }
}
