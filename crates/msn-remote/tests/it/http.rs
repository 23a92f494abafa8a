//! Python's HTTP server.

use std::fs;
use std::io::Read;

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
    fs::write(&path, [1; 600]).unwrap();
    let (first, bytes) = read();
    assert_eq!(bytes, [1; 600]);
    // What is kept is not asked for again: it is changed here to show.
    fs::write(cache.path().join(&first), [9; 600]).unwrap();
    assert_eq!(read(), (first.clone(), vec![9; 600]));
    fs::write(&path, [2; 700]).unwrap();
    let (second, bytes) = read();
    assert_eq!(bytes, [2; 700]);
    assert_ne!(first, second, "another content has another name");
    let names: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [second.as_str()], "600 + 700 bytes are more than 1,000");
    fs::write(&path, [3; 1001]).unwrap();
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
