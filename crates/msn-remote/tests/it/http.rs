//! Python's HTTP server.

use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, SystemTime};

use msn_remote::{Error, Patience, RemoteFile};
use msn_store::CacheFolder;

use crate::servers::Server;

#[test]
fn files_are_kept_by_their_content() {
    let (served, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(server) = Server::http(served.path()) else { return };
    let cache = CacheFolder::new(kept.path().join("cache"), 1000);
    let address = format!("http://127.0.0.1:{}/a%20folder/x.bin", server.port);
    fs::create_dir(served.path().join("a folder")).unwrap();
    let path = served.path().join("a folder/x.bin");
    let read = || {
        let file = RemoteFile::open(&address, &Patience::default()).unwrap();
        let mut bytes = Vec::new();
        file.cached(&cache).unwrap().read_to_end(&mut bytes).unwrap();
        (file.name(), bytes)
    };
    // Python's server gives the time of the last change, in whole seconds.
    let write = |bytes: &[u8], seconds: u64| {
        fs::write(&path, bytes).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    write(&[1; 600], 0);
    let (first, bytes) = read();
    assert_eq!(bytes, [1; 600]);
    // What is kept is not asked for again: it is changed here to show.
    fs::write(cache.path().join(&first), [9; 600]).unwrap();
    assert_eq!(read(), (first.clone(), vec![9; 600]));
    write(&[2; 600], 1);
    let (second, bytes) = read();
    assert_eq!(bytes, [2; 600], "another content of the same length");
    write(&[3; 700], 1);
    let (third, bytes) = read();
    assert_eq!(bytes, [3; 700]);
    assert!(first != second && second != third, "each content has a name of its own");
    let names: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [third.as_str()], "600 + 700 bytes are more than 1,000");
    write(&[4; 1001], 2);
    let error = RemoteFile::open(&address, &Patience::default()).unwrap().cached(&cache).unwrap_err();
    assert!(matches!(error, Error::LargerThanCache { .. }), "{error}");
}

#[test]
fn parts_are_read_from_a_server_without_ranges() {
    let served = tempfile::tempdir().unwrap();
    let Some(server) = Server::http(served.path()) else { return };
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(served.path().join("x"), &content).unwrap();
    let file =
        RemoteFile::open(&format!("http://127.0.0.1:{}/x", server.port), &Patience::default()).unwrap();
    assert_eq!(file.length(), 100_000);
    let mut bytes = Vec::new();
    file.read_range(70_001..99_000, &mut bytes).unwrap();
    assert_eq!(bytes, content[70_001..99_000]);
}

#[test]
fn a_missing_file_is_named_at_once() {
    let served = tempfile::tempdir().unwrap();
    let Some(server) = Server::http(served.path()) else { return };
    let address = format!("http://127.0.0.1:{}/missing.tar", server.port);
    let error = RemoteFile::open(&address, &Patience::default()).err().unwrap();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}
