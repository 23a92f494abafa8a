//! Parquet tables that pyarrow wrote: see `tests/fixtures/make.py`.

use std::fs;

use msn_data::{Error, open};

use crate::common::{first_pixel, fixture, labels, names, open_error};

/// The colour of image `i` of the fixtures.
fn color(i: usize) -> [u8; 3] {
    [(i * 10).min(255) as u8, (255 - i) as u8, 7]
}

#[test]
fn a_hugging_face_table_gives_its_images_with_class_names() {
    let dataset = open(&fixture("hugging-face.parquet")).unwrap();
    assert_eq!(names(&*dataset)[7], "hugging-face.parquet/000007");
    let expected = ["cat", "dog", "owl", "cat", "dog", "owl"].map(Some);
    assert_eq!(labels(&*dataset), [&expected[..], &[None, None]].concat());
    for i in [7, 0, 5, 3, 6, 2, 1] {
        assert_eq!(first_pixel(&*dataset, i), color(i), "row {i}");
    }
    let message = dataset.read(4, usize::MAX).unwrap_err().to_string();
    assert!(message.contains("an image in row 4, found null"), "{message}");
    let message = dataset.read(0, 9).unwrap_err().to_string();
    assert!(message.contains("at most 9 bytes"), "{message}");
}

#[test]
fn a_column_of_bytes_is_read_across_many_small_pages_from_many_threads() {
    let dataset = open(&fixture("plain.parquet")).unwrap();
    assert_eq!(dataset.len(), 40);
    assert_eq!(dataset.label(4), Some("c1"));
    let dataset = &*dataset;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            // Every thread in another order: 40 and 7, 11, 13, 17 have no common divisor.
            let stride = [7, 11, 13, 17][thread];
            scope.spawn(move || {
                for i in (0..40).map(|i| i * stride % 40) {
                    assert_eq!(first_pixel(dataset, i), color(i), "row {i}");
                }
            });
        }
    });
}

#[test]
fn tables_of_a_pattern_or_a_folder_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    for part in 0..2 {
        let name = format!("data/train-{part:05}-of-00002.parquet");
        fs::copy(fixture("hugging-face.parquet"), folder.path().join(name)).unwrap();
    }
    let pattern = folder.path().join("data/train-{00000..00001}-of-00002.parquet");
    for path in [folder.path(), &pattern] {
        let dataset = open(path).unwrap();
        assert_eq!(dataset.len(), 16);
        assert_eq!(dataset.path(), path);
        assert_eq!(dataset.name(9), "train-00001-of-00002.parquet/000001");
        assert_eq!(dataset.label(9), Some("dog"));
        assert_eq!(first_pixel(&*dataset, 9), color(1));
    }
    let missing = folder.path().join("data/train-{00001..00002}-of-00002.parquet");
    let message = open_error(&missing).to_string();
    assert!(message.contains("train-00002-of-00002.parquet"), "{message}");
}

#[test]
fn tables_without_images_name_their_columns() {
    let message = open_error(&fixture("no-images.parquet")).to_string();
    assert!(message.contains("a struct {bytes, path}") && message.contains("text (BYTE_ARRAY)"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    fs::write(&path, "no table").unwrap();
    assert!(matches!(open_error(&path), Error::MalformedParquet { .. }));
    let whole = fs::read(fixture("plain.parquet")).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(open_error(&path), Error::MalformedParquet { .. }));
}
