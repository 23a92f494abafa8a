//! The table of class names.

use crate::Error;

/// Class names in ascending byte order; a class number is the position in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes(Vec<String>);

impl Classes {
    /// The distinct names among `labels`.
    pub fn of(labels: &[String]) -> Self {
        let mut names = labels.to_vec();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// The names by class number.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no class.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the class called `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }

    /// Class numbers of `labels`.
    ///
    /// # Errors
    /// [`Error::UnseenClass`] for the first label that is no class of this table.
    pub fn indices(&self, labels: &[String]) -> Result<Vec<usize>, Error> {
        let index = |(row, label): (usize, &String)| {
            let unseen = || Error::UnseenClass { row, class: label.clone(), known: self.len() };
            self.index(label).ok_or_else(unseen)
        };
        labels.iter().enumerate().map(index).collect()
    }
}

/// Image numbers of each class, ascending.
pub(crate) fn members(labels: &[usize], classes: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); classes];
    for (image, &class) in labels.iter().enumerate() {
        members[class].push(image);
    }
    members
}
