//! A folder of images at any depth.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Dataset, NamedFile, display_name, is_image_name, read_file};
use crate::Error;

/// The images below a folder, ordered by name. Symbolic links are followed; a link back to a folder that holds it
/// is left out.
pub(super) struct Folder {
    path: PathBuf,
    files: Vec<NamedFile>,
}

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let mut files = Vec::new();
        for entry in WalkDir::new(root).follow_links(true) {
            let path = match entry {
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) => entry.into_path(),
                Err(e) if e.loop_ancestor().is_some() => {
                    tracing::warn!("{e}: left out");
                    continue;
                }
                // A link to nowhere is one broken image, not a broken dataset.
                Err(e) if e.path().is_some_and(Path::is_symlink) => e.path().expect("just seen").to_owned(),
                Err(e) => {
                    let path = e.path().unwrap_or(root).to_owned();
                    let source = e.into_io_error().expect("what is no loop is an I/O error");
                    return Err(Error::io(path, source));
                }
            };
            let name = display_name(path.strip_prefix(root).expect("the walk stays below its root"));
            if is_image_name(&name) {
                files.push(NamedFile { name: name.into(), path });
            }
        }
        if files.is_empty() {
            return Err(Error::NoImages { path: root.to_owned() });
        }
        files.sort_unstable_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        Ok(Self { path: root.to_owned(), files })
    }
}

impl Dataset for Folder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, index: usize) -> &str {
        &self.files[index].name
    }

    fn read_into(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        read_file(&self.files[index].path, bytes)
    }
}
