//! Encoders in the checkpoints of other programs: found by the names and shapes of their tensors alone.

mod names;

use std::collections::{BTreeMap, BTreeSet};

use msn_store::{Array, Shapes, StateDict};

pub use names::{Naming, encoder_tensors};

use crate::{EncoderConfig, Error, VARIANTS};

/// Sections that hold an encoder, the best one first: averaged weights before those that they average.
const SECTIONS: [&str; 8] =
    ["target_encoder", "teacher", "model_ema", "state_dict", "model", "", "encoder", "student"];

/// Words in the names of averaged weights, where they stand beside those that they average.
const AVERAGED: [&str; 4] = ["teacher", "target", "momentum", "ema"];

/// What every encoder has; its name shows how the others begin.
const LANDMARK: &str = "cls_token";

/// An encoder among the tensors of a checkpoint.
#[derive(Clone, Debug)]
pub struct ForeignEncoder {
    /// Which program's file it is, as far as its names tell.
    pub program: &'static str,
    /// The section of the file that it is in; "" if the file has none.
    pub section: String,
    /// Its architecture.
    pub config: EncoderConfig,
    /// Tensors of that section that are no part of it, by their names in the file.
    pub unused: Vec<String>,
    /// Biases that the file does not have, by our names: they are 0.
    pub zeros: Vec<String>,
    /// Our names, our shapes, and the tensors of the file that make each up.
    sources: Vec<(String, Vec<usize>, Vec<String>)>,
}

/// Finds the encoder in a checkpoint with these tensors, by section and name. `heads` is the number of attention heads,
/// which tensors do not show; without it, that of the [variant](VARIANTS) of the same width and depth.
///
/// # Errors
/// [`Error::NoEncoder`], [`Error::ForeignShape`] if a shape is not that of such a transformer,
/// [`Error::MissingTensors`], [`Error::ForeignParts`] if it computes what ours cannot, [`Error::UnknownHeads`], and
/// [`Error::Config`] if the heads do not divide the width.
pub fn find_encoder(
    sections: &BTreeMap<String, Shapes>,
    heads: Option<usize>,
) -> Result<ForeignEncoder, Error> {
    let found = SECTIONS.iter().find_map(|&section| {
        let shapes = sections.get(section)?;
        let (prefix, naming) = prefix(shapes)?;
        Some((section, Tensors { shapes, prefix, naming }))
    });
    let Some((section, tensors)) = found else {
        return Err(Error::NoEncoder { found: described(sections) });
    };
    let naming = tensors.naming;
    let config = tensors.architecture(heads)?;
    let mut sources = Vec::new();
    let (mut zeros, mut missing) = (Vec::new(), Vec::new());
    for (name, shape) in encoder_tensors(&config) {
        let parts: Vec<Option<&str>> =
            naming.parts(&name).iter().map(|part| tensors.name_in_file(part)).collect();
        match parts.into_iter().collect::<Option<Vec<_>>>() {
            Some(parts) => {
                tensors.check(&name, &shape, &parts)?;
                sources.push((name, shape, parts.into_iter().map(ToOwned::to_owned).collect()));
            }
            None if name.ends_with("attn.qkv.bias") => {
                zeros.push(name.clone());
                sources.push((name, shape, Vec::new()));
            }
            None => missing
                .extend(naming.parts(&name).into_iter().filter(|part| tensors.name_in_file(part).is_none())),
        }
    }
    if !missing.is_empty() {
        return Err(Error::MissingTensors { names: missing });
    }
    let used: BTreeSet<&String> = sources.iter().flat_map(|(_, _, parts)| parts).collect();
    let unused: Vec<String> = tensors.shapes.keys().filter(|name| !used.contains(name)).cloned().collect();
    let of_trunk = |name: &&String| {
        let stripped = tensors.stripped(name);
        stripped.is_some_and(|name| naming.trunk().iter().any(|start| name.starts_with(start)))
    };
    let foreign: Vec<String> = unused.iter().filter(of_trunk).cloned().collect();
    if !foreign.is_empty() {
        return Err(Error::ForeignParts { names: foreign });
    }
    let program = program(section, naming, tensors.shapes);
    Ok(ForeignEncoder { program, section: section.to_owned(), config, unused, zeros, sources })
}

impl ForeignEncoder {
    /// The tensors to read from its section.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(|(_, _, parts)| parts.iter().map(String::as_str))
    }

    /// The weights under our names, given the tensors that are [wanted](Self::wanted).
    ///
    /// # Panics
    /// If one of them is not there.
    pub fn weights(&self, mut tensors: StateDict) -> StateDict {
        let mut take = |name: &String| tensors.remove(name).expect("a tensor that is wanted").data;
        let weights = self.sources.iter().map(|(name, shape, parts)| {
            let data = match parts.as_slice() {
                [] => vec![0.0; shape.iter().product()],
                [part] => take(part),
                parts => parts.iter().flat_map(&mut take).collect(),
            };
            (name.clone(), Array::new(shape.clone(), data))
        });
        weights.collect()
    }
}

/// The tensors of a section.
struct Tensors<'a> {
    shapes: &'a Shapes,
    /// What the names of the encoder's tensors begin with, such as `module.`.
    prefix: &'a str,
    naming: Naming,
}

impl<'a> Tensors<'a> {
    /// The name of a tensor in the file. Files of Hugging Face have been seen in which some names have the prefix and
    /// others do not.
    fn name_in_file(&self, name: &str) -> Option<&'a str> {
        let full = format!("{}{name}", self.prefix);
        let found = self.shapes.get_key_value(&full).or_else(|| match self.naming {
            Naming::HuggingFace => self.shapes.get_key_value(name),
            Naming::Timm => None,
        });
        found.map(|(name, _)| name.as_str())
    }

    /// What a tensor of the file is called without the prefix; `None` for one of another part of the file.
    fn stripped<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.prefix).or(match self.naming {
            Naming::HuggingFace => Some(name),
            Naming::Timm => None,
        })
    }

    /// The shape of the tensor that we call `name`, if there is one.
    fn shape(&self, name: &str) -> Option<&'a [usize]> {
        let part = self.naming.parts(name).into_iter().next()?;
        self.shapes.get(self.name_in_file(&part)?).map(Vec::as_slice)
    }

    fn architecture(&self, heads: Option<usize>) -> Result<EncoderConfig, Error> {
        let unlike = |name: &str, expected: &str| Error::ForeignShape {
            name: name.to_owned(),
            expected: expected.to_owned(),
            found: self.shape(name).map_or_else(|| "none".to_owned(), |shape| format!("{shape:?}")),
        };
        let Some(&[1, 1, dim]) = self.shape("cls_token") else {
            return Err(unlike("cls_token", "[1, 1, dim]"));
        };
        let patch_size = match self.shape("patch_embed.proj.weight") {
            Some(&[_, 3, height, width]) if height == width && height > 0 => height,
            _ => {
                return Err(unlike("patch_embed.proj.weight", "[dim, 3, P, P] for square patches in colour"));
            }
        };
        let places = match self.shape("pos_embed") {
            Some(&[1, places, _]) => places,
            _ => return Err(unlike("pos_embed", "[1, 1 + N, dim]")),
        };
        let grid = places.saturating_sub(1).isqrt();
        if grid == 0 || 1 + grid * grid != places {
            return Err(unlike("pos_embed", "[1, 1 + N, dim], N a square number and no token besides [CLS]"));
        }
        let depth =
            (0..).take_while(|block| self.shape(&format!("blocks.{block}.norm1.weight")).is_some()).count();
        let fc1 = "blocks.0.mlp.fc1.weight";
        let mlp_ratio = match self.shape(fc1) {
            Some(&[hidden, _]) if hidden > 0 && dim > 0 && hidden.is_multiple_of(dim) => hidden / dim,
            _ => return Err(unlike(fc1, &format!("[a multiple of {dim}, {dim}]"))),
        };
        let known = VARIANTS.iter().find(|variant| (variant.dim, variant.depth) == (dim, depth));
        let heads = heads.or(known.map(|variant| variant.heads));
        let config = EncoderConfig {
            variant: String::new(),
            image_size: grid.saturating_mul(patch_size),
            patch_size,
            dim,
            depth,
            heads: heads.ok_or(Error::UnknownHeads { dim, depth })?,
            mlp_ratio,
            ..EncoderConfig::default()
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether the tensors `parts`, stacked, have the shape that ours has.
    fn check(&self, name: &str, expected: &[usize], parts: &[&str]) -> Result<(), Error> {
        let shapes: Vec<&Vec<usize>> = parts.iter().map(|&part| &self.shapes[part]).collect();
        let rows = |shape: &&Vec<usize>| shape.first().copied().unwrap_or(0);
        let fits = shapes.iter().all(|shape| shape.get(1..) == expected.get(1..))
            && shapes.iter().map(rows).fold(0, usize::saturating_add) == expected[0];
        if fits {
            return Ok(());
        }
        let expected = format!("{expected:?}");
        Err(Error::ForeignShape { name: name.to_owned(), expected, found: format!("{shapes:?}") })
    }
}

/// What the names of the encoder in this section begin with, and whose names they are.
fn prefix(shapes: &Shapes) -> Option<(&str, Naming)> {
    let landmarks = shapes.keys().filter_map(|name| name.strip_suffix(LANDMARK));
    let beginnings = landmarks.filter(|start| start.is_empty() || start.ends_with('.'));
    let is_averaged = |start: &str| AVERAGED.iter().any(|word| start.contains(word));
    let start = beginnings.min_by_key(|start| (!is_averaged(start), start.len()))?;
    Some(match start.strip_suffix("embeddings.") {
        Some(outer) => (outer, Naming::HuggingFace),
        None => (start, Naming::Timm),
    })
}

fn program(section: &str, naming: Naming, shapes: &Shapes) -> &'static str {
    let has = |part: &str| shapes.keys().any(|name| name.contains(part));
    match (section, naming) {
        (_, Naming::HuggingFace) => "Hugging Face",
        ("target_encoder", _) => "MSN",
        ("teacher" | "state_dict", _) if has("masked_embed") => "iBOT",
        ("teacher", _) => "DINO",
        ("model", _) if has("decoder_embed") || has("mask_token") => "MAE",
        _ => "timm, DINO or the like",
    }
}

fn described(sections: &BTreeMap<String, Shapes>) -> String {
    let described = sections.iter().map(|(section, shapes)| {
        let first = shapes.keys().next().map_or("", String::as_str);
        let place = if section.is_empty() { String::new() } else { format!(" in `{section}`") };
        format!("{} tensors{place} such as `{first}`", shapes.len())
    });
    let described: Vec<String> = described.take(8).collect();
    if described.is_empty() { "no tensor".to_owned() } else { described.join(", ") }
}

#[cfg(test)]
mod tests;
