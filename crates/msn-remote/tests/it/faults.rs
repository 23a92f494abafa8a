//! Networks that stall, break and come back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use msn_remote::{Error, Patience, RemoteFile};
use msn_store::CacheFolder;

use crate::servers::{Fault, Faulty, Versions};

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Asks again soon, but takes no server of a busy machine for one that stalls.
fn quick() -> Patience {
    let pause = Duration::from_millis(5);
    Patience { stall: Duration::from_secs(60), failures: 4, first_pause: pause, longest_pause: pause }
}

fn download(server: &Faulty) -> Result<Vec<u8>, Error> {
    download_with(server, &quick())
}

fn download_with(server: &Faulty, patience: &Patience) -> Result<Vec<u8>, Error> {
    let file = RemoteFile::open(&server.url(), patience)?;
    let mut bytes = Vec::new();
    file.download(&mut bytes).map(|()| bytes)
}

#[test]
fn a_transfer_goes_on_where_it_broke() {
    let faults = [Fault::Close(1000), Fault::Busy, Fault::Close(70_000), Fault::Busy, Fault::Close(0)];
    let server = Faulty::start(content(), &faults);
    assert_eq!(download(&server).unwrap(), content());
    assert_eq!(server.starts(), [0, 1000, 1000, 71_000, 71_000, 71_000], "no byte is asked for twice");
}

#[test]
fn a_stall_that_ends_in_time_is_waited_for() {
    let server = Faulty::start(content(), &[Fault::Pause(5000, Duration::from_millis(150))]);
    assert_eq!(download(&server).unwrap(), content());
    assert_eq!(server.starts(), [0], "one request was enough");
}

#[test]
fn a_longer_stall_is_ended_by_another_request_for_the_rest() {
    let server = Faulty::start(content(), &[Fault::StallAt(5000)]);
    // On a busy machine there may be more stalls than the one that is meant.
    let impatient = Patience { stall: Duration::from_millis(400), failures: 100, ..quick() };
    assert_eq!(download_with(&server, &impatient).unwrap(), content());
    let starts = server.starts();
    assert!(starts[0] == 0 && starts.contains(&5000) && starts.is_sorted(), "{starts:?}");
}

#[test]
fn parts_of_a_file_go_on_too() {
    let server = Faulty::start(content(), &[Fault::Close(10), Fault::Busy]);
    let file = RemoteFile::open(&server.url(), &quick()).unwrap();
    let mut bytes = vec![1, 2, 3];
    file.read_range(1000..5000, &mut bytes).unwrap();
    assert_eq!(bytes, content()[1000..5000]);
    assert_eq!(server.starts(), [1000, 1010, 1010]);
    let error = file.read_range(5..300_001, &mut bytes).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

#[test]
fn a_server_that_stays_away_is_given_up() {
    let server =
        Faulty::start(content(), &[Fault::Close(2000), Fault::Busy, Fault::Busy, Fault::Busy, Fault::Busy]);
    let error = download(&server).unwrap_err();
    assert!(matches!(error, Error::GaveUp { failures: 4, at: 2000, .. }), "{error}");
    // A port that is taken by one end of a connection, so that nobody can serve there meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let closed = connection.local_addr().unwrap();
    let error = RemoteFile::open(&format!("http://{closed}/x"), &quick()).err().unwrap();
    assert!(matches!(error, Error::GaveUp { failures: 4, at: 0, .. }), "{error}");
}

#[test]
fn a_file_that_changes_in_between_is_refused() {
    for versions in [Versions::Strong, Versions::Weak, Versions::Times] {
        let server = Faulty::with_versions(versions, content(), &[Fault::Close(3000), Fault::Change]);
        let error = download(&server).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{versions:?}: {error}");
        assert!(!error.is_missing(), "{versions:?}: it is there");
    }
}

#[test]
fn a_transfer_goes_on_whatever_the_server_says_of_versions() {
    for versions in [Versions::Strong, Versions::Weak, Versions::Times, Versions::Nothing] {
        let server = Faulty::with_versions(versions, content(), &[Fault::Close(3000)]);
        assert_eq!(download(&server).unwrap(), content(), "{versions:?}");
        let conditions =
            server.heads().iter().filter(|head| head.to_lowercase().contains("if-match")).count();
        assert_eq!(conditions, if versions == Versions::Strong { 2 } else { 0 }, "{versions:?}");
    }
}

#[test]
fn another_content_of_the_same_length_is_never_taken_from_the_cache() {
    for versions in [Versions::Strong, Versions::Weak, Versions::Times, Versions::Nothing] {
        let folder = tempfile::tempdir().unwrap();
        let cache = CacheFolder::new(folder.path().to_owned(), 1 << 20);
        let nothing = Fault::Pause(0, Duration::ZERO);
        let server = Faulty::with_versions(versions, content(), &[nothing, Fault::Change, nothing]);
        let open = || RemoteFile::open(&server.url(), &quick()).unwrap();
        let kept = |file: &RemoteFile| {
            let mut bytes = Vec::new();
            file.cached(&cache).map(|mut file| file.read_to_end(&mut bytes).unwrap())?;
            Ok::<_, Error>(bytes)
        };
        let first = open();
        assert_eq!(kept(&first).unwrap(), content());
        assert_eq!(kept(&first).unwrap(), content());
        assert_eq!(server.starts().len(), 1, "{versions:?}: what is kept is not asked for again");
        // The file changes as it is read, which only a server that gives versions can be caught at.
        let _ = open().read_range(0..1, &mut Vec::new());
        let changed: Vec<u8> = content().iter().map(|byte| !byte).collect();
        let second = open();
        assert_eq!(kept(&second).unwrap(), changed, "{versions:?}");
        assert_ne!(first.name(), second.name(), "{versions:?}");
        assert_eq!(open().name() == second.name(), versions != Versions::Nothing, "{versions:?}");
    }
}

#[test]
fn a_full_disk_is_not_the_servers_fault() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let server = Faulty::start(content(), &[]);
    let file = RemoteFile::open(&server.url(), &quick()).unwrap();
    let error = file.download(&mut Full).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!(server.starts().len(), 1);
}
