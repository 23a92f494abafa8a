//! Reads the reference values that the tests of the other crates compare with.
//!
//! The folder is named by `MSN_GOLDEN` (default `../shared/golden`, seen from the project's root); its
//! `index.json` lists the cases. This crate is a dev-dependency only: nothing that ships uses it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A tensor of a reference case, whatever its stored type was.
#[derive(Clone, Debug)]
pub struct Array {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order. Integers of the files are small enough to be exact in `f32`.
    pub data: Vec<f32>,
}

/// One entry of `index.json` with the tensors of its file.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name in the index, such as `encoder_0`.
    pub name: String,
    /// Dimensions and hyper-parameters as the index gives them.
    pub meta: Value,
    /// Tensors by the name that the file gives them.
    pub tensors: BTreeMap<String, Array>,
}

impl Case {
    /// The tensor called `name`.
    ///
    /// # Panics
    /// If the case has none of that name.
    pub fn tensor(&self, name: &str) -> &Array {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }

    /// The tensors whose names start with `prefix`, with the prefix removed.
    pub fn with_prefix(&self, prefix: &str) -> BTreeMap<String, Array> {
        let strip = |(k, v): (&String, &Array)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone()));
        self.tensors.iter().filter_map(strip).collect()
    }

    /// The whole number called `field` in the index.
    ///
    /// # Panics
    /// If it is missing or not a whole number.
    pub fn usize(&self, field: &str) -> usize {
        let found = &self.meta[field];
        found.as_u64().unwrap_or_else(|| panic!("{}: `{field}` is {found}", self.name)) as usize
    }

    /// The number called `field` in the index.
    ///
    /// # Panics
    /// If it is missing or not a number.
    pub fn f64(&self, field: &str) -> f64 {
        let found = &self.meta[field];
        found.as_f64().unwrap_or_else(|| panic!("{}: `{field}` is {found}", self.name))
    }

    /// The truth value called `field` in the index.
    ///
    /// # Panics
    /// If it is missing or not a truth value.
    pub fn bool(&self, field: &str) -> bool {
        let found = &self.meta[field];
        found.as_bool().unwrap_or_else(|| panic!("{}: `{field}` is {found}", self.name))
    }
}

/// The name of the device that tests with reference values run on: `MSN_TEST_DEVICE`, else the CPU.
pub fn device_name() -> String {
    std::env::var("MSN_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned())
}

/// The folder of reference values, or `None` with a message on standard error where there is none.
pub fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join(std::env::var("MSN_GOLDEN").unwrap_or_else(|_| "../shared/golden".to_owned()));
    if folder.join("index.json").is_file() {
        return Some(folder);
    }
    skip(&format!("no reference values in {} (set MSN_GOLDEN)", folder.display()));
    None
}

/// Tells the person who runs the tests that one of them cannot run here, and why; `.ci/run` collects these lines.
pub fn skip(why: &str) {
    // Not `eprintln!`, which the test harness keeps from that person.
    let _ = std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes());
}

/// Every case of the given kind, in the order of their names; empty, with a message on standard error that the test is
/// skipped, where the reference values are missing.
///
/// # Panics
/// If the folder is there but unreadable, or has no case of that kind.
pub fn cases(kind: &str) -> Vec<Case> {
    let Some(folder) = folder() else { return Vec::new() };
    let index: Value = serde_json::from_slice(&read(&folder.join("index.json"))).expect("index.json is JSON");
    let entries = index.as_object().expect("index.json is an object");
    let of_kind = entries.iter().filter(|(_, meta)| meta["kind"] == kind);
    let cases: Vec<Case> = of_kind
        .map(|(name, meta)| Case {
            name: name.clone(),
            meta: meta.clone(),
            tensors: arrays(&folder.join(format!("{name}.safetensors"))),
        })
        .collect();
    assert!(!cases.is_empty(), "{}: expected cases of kind `{kind}`, found none", folder.display());
    cases
}

/// The tensors of a safetensors file.
///
/// # Panics
/// If the file is unreadable or holds a type that the reference values do not use.
pub fn arrays(path: &Path) -> BTreeMap<String, Array> {
    let bytes = read(path);
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let array = |view: &safetensors::tensor::TensorView<'_>| {
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
            Dtype::U8 => bytes.iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{}: elements of type {other:?}", path.display()),
        };
        Array { shape: view.shape().to_vec(), data }
    };
    file.iter().map(|(name, view)| (name.to_owned(), array(&view))).collect()
}

/// The largest absolute difference between two slices, divided by the largest absolute element of `expected`.
///
/// # Panics
/// If the lengths differ, or if an element of `found` is not finite.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    assert!(found.iter().all(|x| x.is_finite()), "an element is not finite");
    let difference = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - f64::from(*e)).abs());
    let scale = expected.iter().map(|e| f64::from(e.abs())).fold(0.0, f64::max);
    difference.fold(0.0, f64::max) / scale.max(f64::MIN_POSITIVE)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
