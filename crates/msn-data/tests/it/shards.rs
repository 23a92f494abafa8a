//! Tar shards that Python's tarfile wrote: see `tests/fixtures/make.py`.

use std::fs;
use std::path::PathBuf;

use msn_data::{Cursor, Error, Loader, LoaderConfig, Views, check_image, open};

use crate::common::{first_pixel, fixture, labels, names, open_error};

fn copied() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for shard in 0..3 {
        let name = format!("shards-{shard:03}.tar");
        fs::copy(fixture(&name), folder.path().join(name)).unwrap();
    }
    let pattern = folder.path().join("shards-{000..002}.tar");
    (folder, pattern)
}

#[test]
fn shards_follow_each_other_with_the_classes_of_their_samples() {
    let dataset = open(&fixture("shards-{000..002}.tar")).unwrap();
    let expected: Vec<String> = (0..9).map(|i| format!("shards-{:03}.tar/{i:04}.png", i / 3)).collect();
    assert_eq!(names(&*dataset), expected, "without the masks beside the images");
    let classes = ["0", "1", "0", "0", "class-4", "class-5"].map(Some);
    assert_eq!(labels(&*dataset), [&classes[..], &[None; 3]].concat());
    for i in 0..9 {
        assert_eq!(first_pixel(&*dataset, i), [10 * i as u8, 255 - i as u8, 7]);
    }
}

#[test]
fn a_folder_of_shards_is_a_source() {
    let (folder, pattern) = copied();
    let (by_folder, by_pattern) = (open(folder.path()).unwrap(), open(&pattern).unwrap());
    assert_eq!(names(&*by_folder), names(&*by_pattern));
    fs::copy(fixture("plain.parquet"), folder.path().join("x.parquet")).unwrap();
    assert!(open_error(folder.path()).to_string().contains("expected tar archives or Parquet files"));
}

#[cfg(unix)]
#[test]
fn a_shard_of_a_folder_that_is_a_link_to_nowhere_is_missing_and_not_left_out() {
    let (folder, _) = copied();
    std::os::unix::fs::symlink("nowhere.tar", folder.path().join("shards-003.tar")).unwrap();
    std::os::unix::fs::symlink("nowhere.md", folder.path().join("readme.md")).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("shards-003.tar")), "{error}");
    fs::remove_file(folder.path().join("shards-003.tar")).unwrap();
    assert_eq!(open(folder.path()).unwrap().len(), 9, "what is no shard does not matter");
}

#[test]
fn one_shard_has_labels_too() {
    let dataset = open(&fixture("shards-000.tar")).unwrap();
    assert_eq!(names(&*dataset), ["0000.png", "0001.png", "0002.png"]);
    assert_eq!(labels(&*dataset), ["0", "1", "0"].map(Some));
}

#[test]
fn of_a_shard_that_ends_in_the_middle_the_whole_images_remain_and_one_entry_tells_the_loss() {
    let (folder, pattern) = copied();
    let cut = folder.path().join("shards-001.tar");
    let whole = fs::read(&cut).unwrap();
    // Each sample is three entries of 1,024 bytes; the second sample's image is cut.
    fs::write(&cut, &whole[..3 * 1024 + 520]).unwrap();
    let dataset = open(&pattern).unwrap();
    let shard: Vec<&str> = names(&*dataset).into_iter().filter(|name| name.contains("-001")).collect();
    assert_eq!(shard, ["shards-001.tar/0003.png", "shards-001.tar/(lost images)"]);
    assert_eq!(dataset.len(), 3 + 2 + 3);
    let broken = check_image(&*dataset, 4, &msn_data::Limits::default()).unwrap().unwrap();
    assert!(broken.reason.contains("truncated") && broken.reason.contains("0004.png"), "{broken}");
    assert_eq!(first_pixel(&*dataset, 5), [60, 249, 7]);
}

#[test]
fn shards_that_are_missing_or_of_another_kind_are_named() {
    let (folder, pattern) = copied();
    fs::remove_file(folder.path().join("shards-002.tar")).unwrap();
    let error = open_error(&pattern);
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("shards-002.tar")), "{error}");
    fs::write(folder.path().join("shards-002.tar"), [0x1F, 0x8B, 8, 0]).unwrap();
    assert!(matches!(open_error(&pattern), Error::CompressedTar { .. }));
    fs::write(folder.path().join("shards-002.tar"), [7; 3000]).unwrap();
    let dataset = open(&pattern).unwrap();
    let message = dataset.read(6, usize::MAX).unwrap_err().to_string();
    assert!(message.contains("images are lost") && message.contains("not a readable tar"), "{message}");
    assert!(
        message.chars().all(|c| c.is_ascii_graphic() || c == ' '),
        "nothing that a terminal minds: {message:?}"
    );
}

#[test]
fn a_shard_that_vanishes_or_shrinks_after_opening_costs_its_images_only() {
    let (folder, pattern) = copied();
    let dataset = open(&pattern).unwrap();
    let shard = folder.path().join("shards-001.tar");
    fs::OpenOptions::new().write(true).open(&shard).unwrap().set_len(500).unwrap();
    let readable = |index| dataset.read(index, usize::MAX).is_ok();
    assert_eq!((0..9).filter(|&i| readable(i)).collect::<Vec<_>>(), [0, 1, 2, 6, 7, 8]);
}

#[test]
fn shards_are_out_of_reach_when_their_files_are_gone_and_not_when_some_are() {
    for by_pattern in [true, false] {
        let (folder, pattern) = copied();
        let dataset = open(if by_pattern { &pattern } else { folder.path() }).unwrap();
        fs::remove_file(folder.path().join("shards-000.tar")).unwrap();
        assert!(dataset.is_reachable(), "by pattern: {by_pattern}");
        // The folder stays, as that which a disk was mounted on does.
        for shard in ["shards-001.tar", "shards-002.tar"] {
            fs::remove_file(folder.path().join(shard)).unwrap();
        }
        assert!(!dataset.is_reachable(), "by pattern: {by_pattern}");
    }
}

#[test]
fn a_shard_of_a_pattern_that_shrinks_is_left_out_and_not_waited_for() {
    let (folder, pattern) = copied();
    let dataset = open(&pattern).unwrap();
    let shard = folder.path().join("shards-001.tar");
    fs::OpenOptions::new().write(true).open(&shard).unwrap().set_len(500).unwrap();
    let views = Views { random_views: 1, focal_views: 1, random_size: 16, focal_size: 8, ..Views::default() };
    let config = LoaderConfig { views, workers: 1, max_skipped: 0.5, ..LoaderConfig::new(2, 4, 7) };
    let mut loader = Loader::start(dataset, config, Cursor::default()).unwrap();
    let batches: Vec<_> = (0..4).map(|_| loader.next().unwrap()).collect();
    let mut skipped: Vec<usize> =
        batches.iter().flat_map(|batch| &batch.skipped).map(|skipped| skipped.image).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, [3, 4, 5]);
}
