//! A contact sheet: some images of a source, side by side.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::canvas::{Canvas, Colour, LINE};
use super::fit::fit;
use crate::loader::Worker;
use crate::{Dataset, Image, Limits};

/// Side of the square that an image is made to fit, pixels.
const TILE: usize = 112;
/// Space between tiles, pixels.
const GAP: usize = 8;
const COLUMNS: usize = 8;
const ROWS: usize = 8;
/// Up to so many classes get a row each.
const MOST_CLASS_ROWS: usize = 12;
/// What stands for an image that can no longer be read.
const GREY: Colour = Colour::new(200, 200, 200);

/// A sheet of images of `usable`, with their classes or names: a row for each class where those are few, else 64 spread
/// over all. Images are drawn whole, in proportion.
///
/// # Panics
/// If `usable` is empty.
pub fn contact_sheet(dataset: &dyn Dataset, usable: &[usize], limits: &Limits) -> Image {
    let chosen = choose(dataset, usable);
    let rows = chosen.len().div_ceil(COLUMNS);
    let columns = chosen.len().min(COLUMNS);
    let (step_x, step_y) = (TILE + GAP, TILE + LINE + GAP);
    let mut canvas = Canvas::new(GAP + columns * step_x, GAP + rows * step_y);
    let thumbnail =
        |&index: &usize| Worker::with_image(dataset, index, limits, |image, _| fit(image, TILE)).ok();
    let thumbnails: Vec<Option<Image>> =
        chosen.par_iter().map(|index| index.as_ref().and_then(thumbnail)).collect();
    for (place, (index, thumbnail)) in chosen.iter().zip(thumbnails).enumerate() {
        let Some(index) = *index else { continue };
        let (x, y) = (GAP + place % COLUMNS * step_x, GAP + place / COLUMNS * step_y);
        match thumbnail {
            Some(image) => {
                let left = (TILE - image.width() as usize) / 2;
                let top = TILE - image.height() as usize;
                canvas.image(x + left, y + top, &image);
            }
            None => canvas.fill(x, y, TILE, TILE, GREY),
        }
        let name = || dataset.name(index).rsplit('/').next().unwrap_or_default();
        canvas.text(x, y + TILE + 2, TILE, dataset.label(index).unwrap_or_else(name));
    }
    canvas.into_image()
}

/// The image in each place of the sheet, row by row; `None` where a class has no more.
fn choose(dataset: &dyn Dataset, usable: &[usize]) -> Vec<Option<usize>> {
    let mut classes: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for &index in usable {
        classes.entry(dataset.label(index)).or_default().push(index);
    }
    if (2..=MOST_CLASS_ROWS).contains(&classes.len()) {
        let row = |images: &Vec<usize>| {
            let mut row: Vec<Option<usize>> = spread(images, COLUMNS).into_iter().map(Some).collect();
            row.resize(COLUMNS, None);
            row
        };
        return classes.values().flat_map(row).collect();
    }
    let by_class: Vec<usize> = classes.into_values().flatten().collect();
    spread(&by_class, COLUMNS * ROWS).into_iter().map(Some).collect()
}

/// At most `count` of these, at even distances.
fn spread(images: &[usize], count: usize) -> Vec<usize> {
    let count = count.min(images.len());
    (0..count).map(|i| images[i * images.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Error;

    /// Names of images, without the images.
    struct Names(Vec<String>);

    impl Dataset for Names {
        fn path(&self) -> &Path {
            Path::new("names")
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn name(&self, index: usize) -> &str {
            &self.0[index]
        }

        fn read_into(&self, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), Error> {
            Err(Error::no_files(Path::new("names")))
        }
    }

    fn of_classes(counts: &[usize]) -> Names {
        let names = counts
            .iter()
            .enumerate()
            .flat_map(|(class, &count)| (0..count).map(move |i| format!("{class:03}/{i}.png")));
        Names(names.collect())
    }

    #[test]
    fn few_classes_have_a_row_each() {
        let dataset = of_classes(&[3, 100]);
        let all: Vec<usize> = (0..103).collect();
        let chosen = choose(&dataset, &all);
        assert_eq!(chosen.len(), 16);
        assert_eq!(chosen[..4], [Some(0), Some(1), Some(2), None]);
        assert_eq!(chosen[8..10], [Some(3), Some(15)]);
    }

    #[test]
    fn many_classes_are_spread_over_the_sheet() {
        let dataset = of_classes(&[2; 200]);
        let all: Vec<usize> = (0..400).collect();
        let chosen: Vec<usize> = choose(&dataset, &all).into_iter().flatten().collect();
        assert_eq!((chosen.len(), chosen[0], chosen[63]), (64, 0, 393));
        assert_eq!(choose(&of_classes(&[5]), &[1, 3]), [Some(1), Some(3)]);
    }

    #[test]
    fn images_that_vanish_leave_a_grey_tile() {
        let sheet = contact_sheet(&of_classes(&[1]), &[0], &Limits::default());
        assert_eq!(
            (sheet.width() as usize, sheet.height() as usize),
            (GAP + TILE + GAP, GAP + TILE + LINE + GAP)
        );
        let middle = 3 * ((GAP + TILE / 2) * sheet.width() as usize + GAP + TILE / 2);
        assert_eq!(sheet.pixels()[middle], 200);
    }
}
