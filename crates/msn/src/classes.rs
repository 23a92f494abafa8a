//! Classes that images have by the folders that hold them.

use std::collections::{BTreeMap, BTreeSet};

use msn_data::Dataset;

use crate::progress::warn;

/// Folders and classes that a warning names.
const SHOWN: usize = 3;

/// Warns where folders of one name lie in several others, as in `CLASS/left/1.jpg`: the class of an image is the folder that
/// holds it, so that `left` would be one class of all.
pub(crate) fn warn_of_shared_names(dataset: &dyn Dataset) {
    let Some((class, parents)) = shared(dataset) else { return };
    let shown: Vec<String> = parents.iter().take(SHOWN).map(|parent| format!("{parent}/{class}")).collect();
    warn(&format!(
        "{}: `{class}` is one class, though it is the name of {} folders ({}{}): the class of an image is the folder that \
         holds it; where that is wrong, give a .csv of path,label",
        dataset.path().display(),
        parents.len(),
        shown.join(", "),
        if parents.len() > SHOWN { ", ..." } else { "" }
    ));
}

/// The first class whose folders lie in several others, and these.
fn shared(dataset: &dyn Dataset) -> Option<(&str, BTreeSet<&str>)> {
    let mut parents: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for index in 0..dataset.len() {
        let folder = dataset.name(index).rsplit_once('/').and_then(|(folders, _)| folders.rsplit_once('/'));
        if let Some((parent, class)) = folder
            && dataset.label(index) == Some(class)
        {
            parents.entry(class).or_default().insert(parent);
        }
    }
    parents.into_iter().find(|(_, parents)| parents.len() > 1)
}
