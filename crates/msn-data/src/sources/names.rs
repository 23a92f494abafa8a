//! Names and classes of very many images in little memory.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Strings in one allocation, by their position. A million names of 30 bytes take 38 MB, where strings of their own
/// would take twice as much. Kept as a list of strings, without a second copy in memory either way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    text: String,
    /// Where each string ends in `text`.
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// # Panics
    /// If `index` is not below the number of names.
    pub(super) fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The positions of the names in the order of the alphabet (of their bytes); equal ones keep their order.
    pub(super) fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&index| self.get(index));
        order
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name));
        all
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Names::default();
                while let Some(name) = list.next_element::<Box<str>>()? {
                    names.push(&name);
                }
                Ok(names)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The class of each image; each class's name is stored once.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Labels {
    classes: Names,
    /// For each image, the position of its class in `classes`; `None` without one.
    of_image: Vec<Option<u32>>,
    #[serde(skip)]
    known: HashMap<Box<str>, u32>,
}

impl Labels {
    pub(super) fn push(&mut self, label: Option<&str>) {
        let class = label.map(|label| self.class(label));
        self.of_image.push(class);
    }

    #[cfg(feature = "remote")]
    pub(super) fn len(&self) -> usize {
        self.of_image.len()
    }

    /// # Panics
    /// If `image` is not below the number of images.
    pub(super) fn get(&self, image: usize) -> Option<&str> {
        self.of_image[image].map(|class| self.classes.get(class as usize))
    }

    fn class(&mut self, label: &str) -> u32 {
        if let Some(&class) = self.known.get(label) {
            return class;
        }
        let class = u32::try_from(self.classes.len()).expect("fewer classes than 2^32");
        self.classes.push(label);
        self.known.insert(label.into(), class);
        class
    }
}

impl<'a> FromIterator<Option<&'a str>> for Labels {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(labels: I) -> Self {
        let mut all = Self::default();
        labels.into_iter().for_each(|label| all.push(label));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_position_and_sorted_by_their_bytes() {
        let names: Names = ["b", "", "a/ü", "b", "Z"].into_iter().collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["b", "", "a/ü", "b", "Z"]);
        assert_eq!(names.sorted(), [1, 4, 2, 0, 3]);
        let saved = serde_json::to_string(&names).unwrap();
        assert_eq!(saved, r#"["b","","a/ü","b","Z"]"#);
        assert_eq!(serde_json::from_str::<Names>(&saved).unwrap(), names);
    }

    #[test]
    fn images_may_share_a_class_or_have_none() {
        let labels: Labels = [Some("cat"), None, Some("dog"), Some("cat")].into_iter().collect();
        let found: Vec<_> = (0..4).map(|image| labels.get(image)).collect();
        assert_eq!(found, [Some("cat"), None, Some("dog"), Some("cat")]);
        assert_eq!(labels.classes.len(), 2);
    }
}
