//! A folder of images at any depth.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use msn_store::CacheFolder;
use walkdir::WalkDir;

use super::file::read_file;
use super::folder_index::{self, Stamp};
use super::names::Names;
use super::{
    Dataset, Witnesses, display_name, has_extension, is_hidden, is_image_name, leads_nowhere, tar, walk_error,
};
use crate::Error;

/// Endings of formats that nothing here reads, and whose files a person may take for images of the folder: of cameras,
/// scanners and microscopes.
const UNREAD: [&str; 41] = [
    "hdr", "ico", "pam", "pbm", "tga", "arw", "avif", "bif", "cr2", "cr3", "czi", "dcm", "dicom", "dm3",
    "dm4", "dng", "exr", "heic", "heif", "ims", "j2k", "jp2", "jxl", "lif", "lsm", "mrc", "mrxs", "nd2",
    "ndpi", "nef", "nii", "npy", "oib", "oif", "orf", "psd", "raf", "rw2", "scn", "svs", "vsi",
];

/// The images below a folder, ordered by name. Symbolic links are followed; a link back to a folder that holds it
/// is left out, and so are folders whose names begin with a dot: copies that other programs keep (`.ipynb_checkpoints`,
/// `.thumbnails`). What is called an image and is no file (a pipe, a device) is left out too.
pub(super) struct Folder {
    path: PathBuf,
    names: Names,
    /// Paths that their names do not give back: those that are not UTF-8.
    odd: HashMap<usize, PathBuf>,
    witnesses: Witnesses,
}

impl Folder {
    /// Walks through the folder, or takes what a walk before found where no folder has changed since.
    pub(super) fn open(root: &Path, cache: Option<&CacheFolder>) -> Result<Self, Error> {
        if let Some(names) = cache.and_then(|cache| folder_index::load(cache, root)) {
            return Ok(Self::new(root, names, HashMap::new()));
        }
        let began = SystemTime::now();
        let Walk { names, odd, folders, mut left_out, hidden } = walk(root)?;
        if let Some((first, rest)) = hidden.split_first() {
            let others = if rest.is_empty() { String::new() } else { format!(" and {} others", rest.len()) };
            tracing::warn!(
                "{}: folders that are left out, since they are hidden: {first}{others}",
                root.display()
            );
        }
        if names.is_empty() {
            // Then these are what is read.
            left_out.retain(|kind, _| !SHARDS.contains(kind));
        }
        if !left_out.is_empty() {
            let kinds: Vec<String> =
                left_out.iter().map(|(kind, count)| format!("{count} .{kind}")).collect();
            tracing::warn!("{}: files that are left out: {}", root.display(), kinds.join(", "));
        }
        if names.is_empty() {
            return Err(Error::no_files(root));
        }
        // A list that is kept would not say again what is left out.
        if let Some(cache) = cache.filter(|_| odd.is_empty() && left_out.is_empty()) {
            folder_index::save(cache, root, began, &folders, &names);
        }
        Ok(Self::new(root, names, odd))
    }

    fn new(root: &Path, names: Names, odd: HashMap<usize, PathBuf>) -> Self {
        let witnesses = Witnesses::of(names.len(), |image| root.join(names.get(image)));
        Self { path: root.to_owned(), names, odd, witnesses }
    }
}

/// What a walk through a folder found.
struct Walk {
    /// Names of the images, sorted.
    names: Names,
    /// See [`Folder`].
    odd: HashMap<usize, PathBuf>,
    /// All folders, with their stamps from before they were read.
    folders: Vec<(String, Stamp)>,
    /// Number of files of each kind that a person may take for images and that are none here.
    left_out: BTreeMap<&'static str, usize>,
    /// Hidden folders, which are not looked into.
    hidden: Vec<String>,
}

/// The kinds of files that a folder without images is read from.
const SHARDS: [&str; 2] = ["parquet", "tar"];

/// What a file is that may be taken for images of a folder and is none of them.
fn kind_left_out(path: &Path) -> Option<&'static str> {
    let kinds = UNREAD.into_iter().chain(SHARDS);
    let is_of = |kind: &str| if kind == "tar" { tar::accepts(path) } else { has_extension(path, kind) };
    kinds.into_iter().find(|kind| is_of(kind))
}

fn walk(root: &Path) -> Result<Walk, Error> {
    let mut found = Names::default();
    let mut odd_paths = HashMap::new();
    let mut folders = Vec::new();
    let mut left_out = BTreeMap::new();
    let mut hidden = Vec::new();
    let mut entries = WalkDir::new(root).follow_links(true).into_iter();
    while let Some(entry) = entries.next() {
        let (path, is_folder) = match entry {
            Ok(entry) if !entry.file_type().is_dir() && !entry.file_type().is_file() => continue,
            Ok(entry) => {
                let is_folder = entry.file_type().is_dir();
                (entry.into_path(), is_folder)
            }
            Err(e) if e.loop_ancestor().is_some() => {
                tracing::warn!("{e}: left out");
                continue;
            }
            // A link to nowhere is one broken image, not a broken dataset.
            Err(e) if leads_nowhere(&e) => (e.path().expect("just seen").to_owned(), false),
            Err(e) => return Err(walk_error(root, e)),
        };
        let name = display_name(path.strip_prefix(root).expect("the walk stays below its root"));
        if is_folder && is_hidden(last_part(&name)) {
            entries.skip_current_dir();
            hidden.push(name);
        } else if is_folder {
            let stamp = Stamp::of(&path).map_err(|e| Error::io(&path, e))?;
            folders.push((name, stamp));
        } else if is_image_name(&name) {
            if path.to_str().is_none() {
                odd_paths.insert(found.len(), path);
            }
            found.push(&name);
        } else if let Some(kind) = kind_left_out(&path) {
            *left_out.entry(kind).or_default() += 1;
        }
    }
    let order = found.sorted();
    let names = order.iter().map(|&index| found.get(index)).collect();
    let odd = if odd_paths.is_empty() {
        HashMap::new()
    } else {
        order.iter().enumerate().filter_map(|(now, before)| Some((now, odd_paths.remove(before)?))).collect()
    };
    hidden.sort_unstable();
    Ok(Walk { names, odd, folders, left_out, hidden })
}

/// Of a name below the root, which itself is called nothing.
fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

impl Dataset for Folder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        match self.odd.get(&index) {
            Some(path) => read_file(path, max_bytes, bytes),
            None => read_file(&self.path.join(self.names.get(index)), max_bytes, bytes),
        }
    }

    fn is_reachable(&self) -> bool {
        self.witnesses.is_any_left()
    }
}
