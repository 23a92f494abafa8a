//! CIFAR and IDX files, written byte by byte as their makers describe them.

use std::fs;
use std::path::Path;

use msn_data::{Error, Limits, decode, open};

use crate::common::{first_pixel, labels, names, open_error};

/// A CIFAR record: its labels, then the planes red 1, green 2, blue 3, with the first pixel (10, 20, 30).
fn record(labels: &[u8]) -> Vec<u8> {
    let mut bytes = labels.to_vec();
    for plane in 1..=3 {
        bytes.push(10 * plane);
        bytes.extend([plane; 1023]);
    }
    bytes
}

fn be(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn cifar_10_is_read_by_file_and_by_folder() {
    let folder = tempfile::tempdir().unwrap();
    let put =
        |name: &str, records: &[Vec<u8>]| fs::write(folder.path().join(name), records.concat()).unwrap();
    put("data_batch_1.bin", &[record(&[3]), record(&[9])]);
    put("data_batch_2.bin", &[record(&[0])]);
    put("test_batch.bin", &[record(&[1])]);
    let train = open(folder.path()).unwrap();
    assert_eq!(
        names(&*train),
        ["data_batch_1.bin/00000", "data_batch_1.bin/00001", "data_batch_2.bin/00000"]
    );
    assert_eq!(labels(&*train), [Some("3"), Some("9"), Some("0")]);
    let classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    fs::write(folder.path().join("batches.meta.txt"), classes.join("\n") + "\n\n").unwrap();
    let test = open(&folder.path().join("test_batch.bin")).unwrap();
    assert_eq!(labels(&*test), [Some("automobile")]);
    let image = decode(&train.read(2, usize::MAX).unwrap(), &Limits::default()).unwrap();
    assert_eq!((image.width(), image.height()), (32, 32));
    assert_eq!(image.pixels()[..6], [10, 20, 30, 1, 2, 3]);
    assert_eq!(image.pixels()[3069..], [1, 2, 3]);
}

#[test]
fn cifar_100_is_told_by_its_records_and_has_fine_labels() {
    let folder = tempfile::tempdir().unwrap();
    let fine: Vec<String> = (0..100).map(|class| format!("fine-{class}")).collect();
    fs::write(folder.path().join("fine_label_names.txt"), fine.join("\n")).unwrap();
    fs::write(folder.path().join("train.bin"), [record(&[19, 99]), record(&[0, 7])].concat()).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(labels(&*dataset), [Some("fine-99"), Some("fine-7")]);
    assert_eq!(first_pixel(&*dataset, 1), [10, 20, 30]);
}

#[test]
fn names_of_classes_that_cannot_be_read_are_not_taken_for_missing_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (images, classes) = (folder.path().join("x.bin"), folder.path().join("batches.meta.txt"));
    fs::write(&images, record(&[1])).unwrap();
    // As a disk that fails: it is there, and cannot be read.
    fs::create_dir(&classes).unwrap();
    assert!(matches!(open_error(&images), Error::Io { path, .. } if path == classes));
    fs::remove_dir(&classes).unwrap();
    fs::write(&classes, b"caf\xE9\n").unwrap();
    let message = open_error(&images).to_string();
    assert!(message.contains("batches.meta.txt") && message.contains("UTF-8"), "{message}");
}

#[test]
fn cifar_files_that_are_none_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bin");
    for (bytes, words) in [
        (record(&[1])[..3000].to_vec(), "3,073 bytes (CIFAR-10)"),
        (Vec::new(), "0 bytes"),
        ([record(&[1]), record(&[10])].concat(), "labels below 10, found 10 in record 1"),
    ] {
        fs::write(&path, bytes).unwrap();
        let message = open_error(&path).to_string();
        assert!(message.contains("x.bin") && message.contains(words), "{message}");
    }
}

fn put_idx(path: &Path, kind: [u8; 4], dimensions: &[u32], values: &[u8]) {
    fs::write(path, [&kind[..], &be(dimensions), values].concat()).unwrap();
}

#[test]
fn idx_files_give_grey_or_coloured_images_with_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("train-images-idx3-ubyte");
    put_idx(&images, [0, 0, 8, 3], &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255]);
    assert_eq!(labels(&*open(&images).unwrap()), [None, None]);
    put_idx(&folder.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1], &[2], &[7, 0]);
    let dataset = open(&images).unwrap();
    assert_eq!(labels(&*dataset), [Some("7"), Some("0")]);
    assert_eq!(names(&*dataset)[1], "train-images-idx3-ubyte/00001");
    let image = decode(&dataset.read(1, usize::MAX).unwrap(), &Limits::default()).unwrap();
    assert_eq!((image.width(), image.height()), (3, 2));
    let expected: Vec<u8> = (250..=255).flat_map(|level| [level; 3]).collect();
    assert_eq!(image.pixels(), expected);
    let colours = folder.path().join("t10k-images-idx4-ubyte");
    put_idx(&colours, [0, 0, 8, 4], &[1, 1, 2, 3], &[9, 8, 7, 6, 5, 4]);
    assert_eq!(first_pixel(&*open(&colours).unwrap(), 0), [9, 8, 7]);
    let message = dataset.read(0, 5).unwrap_err().to_string();
    assert!(message.contains("at most 5 bytes of image file (max_file_mib), found 6"), "{message}");
}

#[test]
fn idx_files_that_are_none_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("a-images-idx3-ubyte");
    let huge = u32::MAX;
    for (kind, dimensions, values, words) in [
        ([0, 0, 8, 3], &[2, 2, 2][..], &[0; 7][..], "expected 24 bytes"),
        ([0, 0, 8, 3], &[huge, huge, huge], &[], "more than any file has"),
        ([0, 0, 8, 3], &[0, 5, 5], &[], "at least one image"),
        ([0, 0, 8, 1], &[3], &[0; 3], "the dimensions [count, height, width]"),
        ([0, 0, 13, 3], &[1, 1, 1], &[0; 4], "an IDX header"),
        ([0x1F, 0x8B, 8, 0], &[1], &[], "gunzip"),
        ([0, 0, 8, 3], &[1], &[], "an IDX header"),
    ] {
        put_idx(&images, kind, dimensions, values);
        let message = open_error(&images).to_string();
        assert!(message.contains("a-images") && message.contains(words), "expected `{words}` in: {message}");
    }
    put_idx(&images, [0, 0, 8, 3], &[2, 1, 1], &[1, 2]);
    put_idx(&folder.path().join("a-labels-idx1-ubyte"), [0, 0, 8, 1], &[3], &[0; 3]);
    let message = open_error(&images).to_string();
    assert!(message.contains("a-labels") && message.contains("2 labels"), "{message}");
}
