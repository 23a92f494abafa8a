//! A folder of images at any depth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use msn_store::CacheFolder;
use walkdir::WalkDir;

use super::file::read_file;
use super::folder_index::{self, Stamp};
use super::names::Names;
use super::{Dataset, display_name, is_image_name};
use crate::Error;

/// The images below a folder, ordered by name. Symbolic links are followed; a link back to a folder that holds it
/// is left out. What is called an image and is no file (a pipe, a device) is left out too.
pub(super) struct Folder {
    path: PathBuf,
    names: Names,
    /// Paths that their names do not give back: those that are not UTF-8.
    odd: HashMap<usize, PathBuf>,
}

impl Folder {
    /// Walks through the folder, or takes what a walk before found where no folder has changed since.
    pub(super) fn open(root: &Path, cache: Option<&CacheFolder>) -> Result<Self, Error> {
        if let Some(names) = cache.and_then(|cache| folder_index::load(cache, root)) {
            return Ok(Self { path: root.to_owned(), names, odd: HashMap::new() });
        }
        let began = SystemTime::now();
        let Walk { names, odd, folders } = walk(root)?;
        if names.is_empty() {
            return Err(Error::NoImages { path: root.to_owned() });
        }
        if let Some(cache) = cache.filter(|_| odd.is_empty()) {
            folder_index::save(cache, root, began, &folders, &names);
        }
        Ok(Self { path: root.to_owned(), names, odd })
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
}

fn walk(root: &Path) -> Result<Walk, Error> {
    let mut found = Names::default();
    let mut odd_paths = HashMap::new();
    let mut folders = Vec::new();
    for entry in WalkDir::new(root).follow_links(true) {
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
            Err(e) if e.path().is_some_and(Path::is_symlink) => {
                (e.path().expect("just seen").to_owned(), false)
            }
            Err(e) => {
                let path = e.path().unwrap_or(root).to_owned();
                let source = e.into_io_error().expect("what is no loop is an I/O error");
                return Err(Error::io(path, source));
            }
        };
        let name = display_name(path.strip_prefix(root).expect("the walk stays below its root"));
        if is_folder {
            let stamp = Stamp::of(&path).map_err(|e| Error::io(&path, e))?;
            folders.push((name, stamp));
        } else if is_image_name(&name) {
            if path.to_str().is_none() {
                odd_paths.insert(found.len(), path);
            }
            found.push(&name);
        }
    }
    let order = found.sorted();
    let names = order.iter().map(|&index| found.get(index)).collect();
    let odd = if odd_paths.is_empty() {
        HashMap::new()
    } else {
        order.iter().enumerate().filter_map(|(now, before)| Some((now, odd_paths.remove(before)?))).collect()
    };
    Ok(Walk { names, odd, folders })
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
}
