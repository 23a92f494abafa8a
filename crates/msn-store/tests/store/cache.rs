//! A folder that forgets what was not used for longest.

use std::fs;

use msn_store::{CacheFolder, StoreError};

use crate::support::used;

fn files(cache: &CacheFolder) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_least_recently_used_files_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().join("new/cache"), 100);
    assert!(cache.read("a").unwrap().is_none());
    for (age, name) in [(30, "a"), (20, "b"), (10, "c")] {
        cache.write(name, &[1; 30]).unwrap();
        used(&cache.path().join(name), age);
    }
    assert_eq!(cache.read("a").unwrap().unwrap(), [1; 30], "and a is used now");
    cache.write("d", &[2; 40]).unwrap();
    assert_eq!(files(&cache), ["a", "c", "d"]);
    cache.write("e", &[3; 100]).unwrap();
    assert_eq!(files(&cache), ["e"]);
}

#[test]
fn what_is_larger_than_the_folder_is_refused_before_anything_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 10);
    cache.write("a", &[1; 10]).unwrap();
    let error = cache.write("b", &[1; 11]).unwrap_err();
    assert!(matches!(error, StoreError::CacheTooSmall { limit: 10, needed: 11, .. }), "{error}");
    assert_eq!(files(&cache), ["a"]);
}

#[test]
fn a_failed_write_leaves_nothing_and_an_old_leftover_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 100);
    let failed = cache.write_with("a", 5, |out| {
        out.write_all(b"ab")?;
        Err(std::io::Error::other("the network is gone"))
    });
    assert!(failed.unwrap_err().to_string().contains("the network is gone"));
    assert!(files(&cache).is_empty());
    for (age, name) in [(25 * 3600, ".msn-tmp-old"), (3600, ".msn-tmp-young")] {
        fs::write(folder.path().join(name), "half").unwrap();
        used(&folder.path().join(name), age);
    }
    cache.write("a", b"whole").unwrap();
    assert_eq!(files(&cache), [".msn-tmp-young", "a"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_open_stays_readable_after_it_made_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 10);
    cache.write("a", b"0123456789").unwrap();
    let mut open = cache.open("a").unwrap().unwrap();
    cache.write("b", b"9876543210").unwrap();
    assert_eq!(files(&cache), ["b"]);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut open, &mut bytes).unwrap();
    assert_eq!(bytes, b"0123456789");
}

#[test]
fn a_file_that_is_wrong_can_be_removed_and_need_not_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().join("cache"), 10);
    cache.remove("a").unwrap();
    cache.write("a", b"wrong").unwrap();
    cache.write("b", b"right").unwrap();
    cache.remove("a").unwrap();
    assert_eq!(files(&cache), ["b"]);
}

/// What a killed process left long ago, which whoever goes through the folder removes.
fn abandon(cache: &CacheFolder) -> std::path::PathBuf {
    let path = cache.path().join(".msn-tmp-old");
    fs::write(&path, "half").unwrap();
    used(&path, 25 * 3600);
    path
}

#[test]
fn a_folder_with_much_room_is_not_gone_through_for_each_small_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 16_100);
    cache.write("first", &[1; 100]).unwrap();
    let old = abandon(&cache);
    // A sixteenth of the room, in ten parts.
    for number in 0..10 {
        cache.write(&number.to_string(), &[2; 100]).unwrap();
        assert!(old.exists(), "it is gone through for {number}");
    }
    cache.write("last", &[3; 100]).unwrap();
    assert!(!old.exists(), "another process may have filled it meanwhile");
}

#[test]
fn what_another_process_writes_is_counted_before_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 16_000);
    cache.write("first", &[1; 100]).unwrap();
    fs::write(folder.path().join("of-others"), [0; 14_900]).unwrap();
    used(&folder.path().join("of-others"), 60);
    for number in 0..20 {
        cache.write(&number.to_string(), &[2; 100]).unwrap();
        let total: u64 =
            fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(total <= 16_000, "{total} bytes after {number}");
    }
    assert!(!files(&cache).contains(&"of-others".to_owned()));
}

#[test]
fn room_for_many_small_files_is_made_at_once_and_no_large_one_goes_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheFolder::new(folder.path().to_owned(), 6_400);
    for number in 0..64 {
        cache.write(&format!("{number:02}"), &[1; 100]).unwrap();
        used(&cache.path().join(format!("{number:02}")), 100 - number);
    }
    cache.write("new", &[1; 10]).unwrap();
    assert_eq!(files(&cache).len(), 64 - 2 + 1, "one for the file, and one to spare");
    // Of files larger than what is to spare, only those that have to go.
    let cache = CacheFolder::new(folder.path().join("large"), 6_400);
    for (age, name) in [(3, "a"), (2, "b"), (1, "c")] {
        cache.write(name, &[1; 2_100]).unwrap();
        used(&cache.path().join(name), age);
    }
    cache.write("d", &[1; 2_199]).unwrap();
    assert_eq!(files(&cache), ["b", "c", "d"]);
}
