//! Rows that are found by digests, whatever happened to their file.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::path::Path;
use std::time::{Duration, SystemTime};

use msn_store::{CacheFolder, RowCache, StoreError};

use crate::support;

fn open(folder: &Path) -> RowCache {
    RowCache::open(CacheFolder::new(folder.to_owned(), 1 << 20), "rows", 3).unwrap()
}

#[test]
fn rows_are_found_again_by_their_digests() {
    let folder = tempfile::tempdir().unwrap();
    let large = u128::MAX - 5;
    {
        let rows = open(folder.path());
        assert!(rows.is_empty() && rows.read(7).is_none());
        rows.add(&[7, large], &[1.0, -2.0, 3.5, f32::MIN, 0.0, -0.0]).unwrap();
        rows.add(&[8], &[4.0; 3]).unwrap();
        assert_eq!(rows.read(large).unwrap(), [f32::MIN, 0.0, -0.0]);
    }
    let rows = open(folder.path());
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.read(7).unwrap(), [1.0, -2.0, 3.5]);
    assert_eq!(rows.read(8).unwrap(), [4.0; 3]);
    assert!(rows.read(9).is_none());
}

#[test]
fn one_process_adds_at_a_time_and_the_next_one_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(first.add(&[1], &[1.0; 3]).unwrap());
    let second = open(folder.path());
    assert!(!second.add(&[2], &[2.0; 3]).unwrap());
    assert_eq!(second.read(1).unwrap(), [1.0; 3]);
    assert!(second.read(2).is_none());
    assert!(first.add(&[3], &[3.0; 3]).unwrap());
    drop(first);
    assert!(second.add(&[2], &[2.0; 3]).unwrap());
    assert_eq!(second.read(3).unwrap(), [3.0; 3], "what the first one has added meanwhile");
    drop(second);
    let third = open(folder.path());
    assert_eq!((third.len(), third.read(2).unwrap()), (3, vec![2.0; 3]));
}

#[test]
fn threads_read_and_add_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let rows = open(folder.path());
    let row = |digest: u128| [digest as f32, -(digest as f32), 0.5];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let rows = &rows;
            scope.spawn(move || {
                for digest in (0..50).map(|i| 4 * i + thread) {
                    assert!(rows.add(&[digest], &row(digest)).unwrap());
                    for known in 0..200 {
                        assert!(rows.read(known).is_none_or(|found| found == row(known)));
                    }
                }
            });
        }
    });
    drop(rows);
    let rows = open(folder.path());
    assert!((0..200).all(|digest| rows.read(digest).unwrap() == row(digest)));
}

#[test]
fn what_a_crash_cut_off_is_passed_over_and_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let rows = open(folder.path());
    rows.add(&[1, 2], &[1.0; 6]).unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    rows.add(&[3], &[3.0; 3]).unwrap();
    let longer = fs::metadata(&path).unwrap().len();
    drop(rows);
    for cut in whole..longer {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let rows = open(folder.path());
        assert_eq!(rows.len(), 2, "cut at {cut}");
        rows.add(&[3], &[3.0; 3]).unwrap();
        drop(rows);
        assert_eq!(open(folder.path()).read(3).unwrap(), [3.0; 3], "cut at {cut}");
    }
}

#[test]
fn no_damaged_byte_becomes_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    open(folder.path()).add(&[1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let sound = fs::read(&path).unwrap();
    for byte in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[byte] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let rows = open(folder.path());
        let found = [rows.read(1), rows.read(2)];
        assert!(found[0].as_deref().is_none_or(|row| row == [1.0, 2.0, 3.0]), "byte {byte}: {found:?}");
        assert!(found[1].as_deref().is_none_or(|row| row == [4.0, 5.0, 6.0]), "byte {byte}: {found:?}");
        assert!(found.iter().any(Option::is_none), "byte {byte} is in neither row nor table");
    }
}

#[test]
fn a_file_of_other_rows_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).add(&[1], &[1.0; 3]).unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 1 << 20);
    let wider = RowCache::open(cache, "rows", 4).unwrap();
    assert!(wider.is_empty());
    wider.add(&[1], &[2.0; 4]).unwrap();
    assert_eq!(wider.read(1).unwrap(), [2.0; 4]);
}

#[test]
fn the_least_recently_used_file_makes_room_and_never_one_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 300);
    cache.write("other", &[0; 100]).unwrap();
    let rows = RowCache::open(cache.clone(), "rows", 3).unwrap();
    rows.add(&[1], &[1.0; 3]).unwrap();
    let growing = RowCache::open(cache.clone(), "growing", 3).unwrap();
    growing.add(&[1, 2], &[1.0; 6]).unwrap();
    assert!(cache.read("other").unwrap().is_some());
    rows.add(&[2, 3, 4], &[2.0; 9]).unwrap();
    assert!(cache.read("other").unwrap().is_none(), "it was in the way");
    let error = rows.add(&[5, 6, 7], &[5.0; 9]).unwrap_err();
    assert!(matches!(error, StoreError::CacheTooSmall { limit: 300, .. }), "{error}");
    assert_eq!((rows.len(), growing.read(2).unwrap()), (4, vec![1.0; 3]));
    drop(growing);
    rows.add(&[5, 6, 7], &[5.0; 9]).unwrap();
    assert!(!folder.path().join("growing").exists(), "no one adds to it any more");
    assert_eq!(rows.read(7).unwrap(), [5.0; 3]);
}

#[test]
fn a_file_that_is_only_read_is_used_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 200);
    let add = |name: &str| RowCache::open(cache.clone(), name, 3).unwrap().add(&[1, 2], &[1.0; 6]).unwrap();
    for (age, name) in [(20, "older"), (10, "younger")] {
        add(name);
        let time = SystemTime::now() - Duration::from_secs(age);
        let file = File::open(folder.path().join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
    assert_eq!(RowCache::open(cache.clone(), "older", 3).unwrap().read(1).unwrap(), [1.0; 3]);
    add("new");
    assert_eq!(support::names(folder.path()), ["new", "older"]);
}
