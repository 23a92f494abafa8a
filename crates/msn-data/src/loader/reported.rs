//! Which broken images a run has reported.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

/// Broken images, by their index in the dataset, that a run had reported at some moment; saved as a list, ascending.
///
/// Every batch has one, and of 10^9 images 10^7 may be broken. So those of a run share what its loader has found, and each
/// says how much of that it knows of.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<usize>", into = "Vec<usize>")]
pub struct Reported {
    /// Images, and how many were found before each.
    found: Arc<RwLock<BTreeMap<usize, usize>>>,
    /// How many of them had been found.
    count: usize,
}

impl Reported {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none was broken.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The images, ascending.
    pub fn to_vec(&self) -> Vec<usize> {
        let found = self.found();
        found.iter().filter(|(_, before)| **before < self.count).map(|(&image, _)| image).collect()
    }

    /// Adds an image for this one and its later copies; false if it is there. Only the loader adds, to what it has made
    /// itself: whoever has an earlier copy would not know which of two images came first.
    pub(super) fn insert(&mut self, image: usize) -> bool {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(found.len(), self.count, "only the latest copy is added to");
        match found.entry(image) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(self.count);
                self.count += 1;
                true
            }
        }
    }

    fn found(&self) -> RwLockReadGuard<'_, BTreeMap<usize, usize>> {
        // Nothing panics while it is written to.
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Vec<usize>> for Reported {
    fn from(images: Vec<usize>) -> Self {
        let mut reported = Self::default();
        for image in images {
            reported.insert(image);
        }
        reported
    }
}

impl From<Reported> for Vec<usize> {
    fn from(reported: Reported) -> Self {
        reported.to_vec()
    }
}

impl PartialEq for Reported {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.to_vec() == other.to_vec()
    }
}

impl Eq for Reported {}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.to_vec()).finish()
    }
}
