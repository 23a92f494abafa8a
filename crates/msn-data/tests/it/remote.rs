//! Shards and tables on an HTTP server that Python starts on loopback.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use msn_data::{Access, Batch, Cursor, Dataset, Error, Loader, LoaderConfig, Reading, Views, open_with};
use msn_remote::Patience;
use msn_store::CacheFolder;

use super::link::Link;
use crate::common::{first_pixel, fixture, labels, names};

/// Python's `http.server`, which by itself lets five clients wait, and the sixth try again a second later: shards are looked up
/// 32 at a time.
const HTTP_SERVER: &str = "
import functools, http.server, sys
http.server.ThreadingHTTPServer.request_queue_size = 128
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
http.server.test(handler, http.server.ThreadingHTTPServer, port=0, bind='127.0.0.1')
";

/// Python's HTTP server on a folder of fixtures.
struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
    caches: tempfile::TempDir,
}

impl Server {
    /// `None` with a message where there is no Python.
    fn start(files: &[&str]) -> Option<Self> {
        let [folder, caches] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for file in files {
            fs::copy(fixture(file), folder.path().join(file)).unwrap();
        }
        let mut command = Command::new("python3");
        command.args(["-u", "-c", HTTP_SERVER]).arg(folder.path());
        let log = caches.path().join("server.log");
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut process = match command.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                msn_golden::skip("no python3, whose http.server these tests ask");
                return None;
            }
            spawned => spawned.unwrap(),
        };
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // A server that is there and does not start is a failure.
        let port = line.split("port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let port = port.unwrap_or_else(|| {
            panic!("python3's http.server does not start: {line}{}", fs::read_to_string(&log).unwrap())
        });
        Some(Self { process, port, folder, caches })
    }

    fn url(&self, name: &str) -> PathBuf {
        format!("http://127.0.0.1:{}/{name}", self.port).into()
    }

    fn shard_cache(&self) -> PathBuf {
        self.caches.path().join("shards")
    }

    /// A cache for so many bytes of shards, three images shuffled together.
    fn access(&self, bytes: u64) -> Access {
        let pause = Duration::from_millis(1);
        Access {
            lists: Some(CacheFolder::new(self.caches.path().join("lists"), 1 << 20)),
            shards: Some(CacheFolder::new(self.shard_cache(), bytes)),
            shuffle_buffer: 3,
            patience: Patience {
                stall: Duration::from_secs(5),
                failures: 2,
                first_pause: pause,
                longest_pause: pause,
            },
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SHARDS: [&str; 3] = ["shards-000.tar", "shards-001.tar", "shards-002.tar"];
const PATTERN: &str = "shards-{000..002}.tar";
/// Bytes of each of the shards.
const SHARD_BYTES: u64 = 10_240;

fn loader(dataset: &Arc<dyn Dataset>, cursor: Cursor, workers: usize) -> Loader {
    let views = Views { random_views: 1, focal_views: 1, random_size: 16, focal_size: 8, ..Views::default() };
    let config = LoaderConfig { views, workers, max_skipped: 0.5, ..LoaderConfig::new(2, 4, 7) };
    Loader::start(Arc::clone(dataset), config, cursor).unwrap()
}

fn batches(dataset: &Arc<dyn Dataset>, cursor: Cursor, workers: usize, count: usize) -> Vec<Batch> {
    let mut loader = loader(dataset, cursor, workers);
    (0..count).map(|_| Batch { wait: Duration::ZERO, ..loader.next().unwrap() }).collect()
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn remote_shards_hold_what_local_ones_do() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let access = server.access(1 << 20);
    let remote = open_with(&server.url(PATTERN), &access).unwrap();
    let local = msn_data::open(&fixture(PATTERN)).unwrap();
    assert_eq!(names(&*remote), names(&*local));
    assert_eq!(labels(&*remote), labels(&*local));
    for i in [8, 0, 4, 3, 7] {
        assert_eq!(remote.read(i, usize::MAX).unwrap(), local.read(i, usize::MAX).unwrap());
    }
    let shards = vec![0..3, 3..6, 6..9];
    assert_eq!(remote.reading(), Reading::ByShard { shards, buffer: 3 });
    assert_eq!(remote.path(), server.url(PATTERN));
    let message = remote.read(0, 9).unwrap_err().to_string();
    assert!(message.contains("at most 9 bytes"), "{message}");
}

#[test]
fn remote_tables_hold_what_local_ones_do() {
    let Some(server) = Server::start(&["hugging-face.parquet", "plain.parquet"]) else { return };
    let remote = open_with(&server.url("{hugging-face,plain}.parquet"), &server.access(1 << 20)).unwrap();
    assert_eq!(remote.len(), 8 + 40);
    assert_eq!(remote.label(1), Some("dog"));
    assert_eq!(first_pixel(&*remote, 8 + 20), [200, 235, 7]);
    assert!(remote.read(4, usize::MAX).unwrap_err().to_string().contains("found null"));
}

#[test]
fn batches_of_remote_shards_are_the_same_bits_with_a_small_cache_and_after_a_resume() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let large = open_with(&server.url(PATTERN), &server.access(1 << 20)).unwrap();
    let expected = batches(&large, Cursor::default(), 1, 12);
    for cached in [1, 2] {
        fs::remove_dir_all(server.shard_cache()).unwrap();
        let small = open_with(&server.url(PATTERN), &server.access(cached * SHARD_BYTES)).unwrap();
        assert!(batches(&small, Cursor::default(), 3, 12) == expected, "{cached} shards in the cache");
        assert!(bytes_in(&server.shard_cache()) <= cached * SHARD_BYTES);
        for stop in [1, 5, 10] {
            let found = batches(&small, expected[stop - 1].next.clone(), 2, 12 - stop);
            assert!(found == expected[stop..], "after batch {stop}");
        }
    }
    for epoch in 0..3 {
        let images = expected.iter().filter(|batch| batch.epoch == epoch).flat_map(|batch| &batch.images);
        assert_eq!(images.collect::<std::collections::BTreeSet<_>>().len(), 8, "none twice in an epoch");
    }
}

#[test]
fn what_shards_hold_is_gone_through_once() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let access = server.access(SHARD_BYTES);
    let first = open_with(&server.url(PATTERN), &access).unwrap();
    fs::remove_dir_all(server.shard_cache()).unwrap();
    let second = open_with(&server.url(PATTERN), &access).unwrap();
    assert_eq!(names(&*first), names(&*second));
    assert!(!server.shard_cache().exists(), "nothing was downloaded to open");
    assert_eq!(first_pixel(&*second, 4), [40, 251, 7]);
    assert!(!server.shard_cache().exists(), "one image is fetched by itself");
}

/// A change of what is kept of a shard, and words of the message about it.
type Change<'a> = (&'a dyn Fn(&mut serde_json::Value), &'a str);

/// Changes what is kept of each shard.
fn tamper(server: &Server, change: impl Fn(&mut serde_json::Value)) {
    for kept in fs::read_dir(server.caches.path().join("lists")).unwrap() {
        let path = kept.unwrap().path();
        let mut index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut index);
        fs::write(&path, index.to_string()).unwrap();
    }
}

#[test]
fn what_is_kept_of_a_shard_and_does_not_fit_it_is_refused_and_made_anew() {
    let Some(server) = Server::start(&["shards-000.tar", "plain.parquet"]) else { return };
    let pop = |value: &mut serde_json::Value| drop(value.as_array_mut().unwrap().pop());
    let changes: [Change<'_>; 4] = [
        (&|index| index["names"][1] = "stranger.png".into(), "expected `stranger.png`"),
        (&|index| index["labels"]["classes"][1] = "stranger".into(), "(class `stranger`"),
        (
            &|index| {
                pop(&mut index["names"]);
                pop(&mut index["labels"]["of_image"]);
                if !index["places"].as_array().unwrap().is_empty() {
                    pop(&mut index["places"]);
                }
            },
            "images, found",
        ),
        (&|index| index["places"][1] = index["places"][0].clone(), " bytes at 512), found"),
    ];
    // The images of a table have no places.
    for (name, changes) in [("shards-000.tar", &changes[..]), ("plain.parquet", &changes[..3])] {
        let access = server.access(1 << 20);
        let expected = open_with(&server.url(name), &access).unwrap();
        for (change, words) in changes {
            tamper(&server, change);
            let dataset = open_with(&server.url(name), &access).unwrap();
            dataset.will_read(&[0]);
            let message = dataset.read(0, usize::MAX).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(words), "{message}");
            assert!(message.contains("made anew by the next start"), "{message}");
            let error = loader(&dataset, Cursor::default(), 1).next().unwrap_err();
            assert!(matches!(error, Error::OutOfReach { .. }), "no image is left out: {error}");
            let again = open_with(&server.url(name), &access).unwrap();
            assert_eq!(names(&*again), names(&*expected));
            assert_eq!(labels(&*again), labels(&*expected));
            again.will_read(&[1]);
            assert_eq!(first_pixel(&*again, 1), [10, 254, 7]);
        }
        fs::remove_dir_all(server.caches.path().join("lists")).unwrap();
    }
}

#[test]
fn of_a_damaged_shard_nothing_is_kept_and_what_is_lost_is_not_downloaded_for() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let (shard, access) = (server.folder.path().join(SHARDS[0]), server.access(1 << 20));
    let whole = fs::read(&shard).unwrap();
    // Each sample takes two headers and two blocks: the third image is cut.
    fs::write(&shard, &whole[..2 * 2048 + 520]).unwrap();
    let lost = "shards-000.tar/(lost images)";
    for time in 0..2 {
        let dataset = open_with(&server.url(PATTERN), &access).unwrap();
        assert_eq!(names(&*dataset)[2], lost, "opening {time}");
        fs::remove_dir_all(server.shard_cache()).unwrap();
        let error = dataset.read(2, usize::MAX).unwrap_err();
        assert!(matches!(error, Error::LostImages { .. }), "{error}");
        assert!(!server.shard_cache().exists(), "the reason was known");
        let kept = fs::read_dir(server.caches.path().join("lists")).unwrap().count();
        assert_eq!(kept, 2, "only the whole ones");
    }
}

#[test]
fn a_shard_that_vanishes_costs_its_images_until_there_are_too_many() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let dataset = open_with(&server.url(PATTERN), &server.access(SHARD_BYTES)).unwrap();
    fs::remove_file(server.folder.path().join(SHARDS[1])).unwrap();
    fs::remove_dir_all(server.shard_cache()).unwrap();
    let found = batches(&dataset, Cursor::default(), 2, 6);
    let mut skipped: Vec<_> = found.iter().flat_map(|batch| batch.skipped.clone()).collect();
    skipped.sort_by_key(|skipped| skipped.image);
    assert_eq!(skipped.iter().map(|skipped| skipped.image).collect::<Vec<_>>(), [3, 4, 5]);
    assert!(skipped[0].reason.contains("shards-001.tar"), "{}", skipped[0].reason);
    assert!(found.iter().all(|batch| batch.images.iter().all(|image| !(3..6).contains(image))));
}

#[test]
fn a_shard_that_is_uploaded_again_costs_no_image() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let access = server.access(SHARD_BYTES);
    let dataset = open_with(&server.url(PATTERN), &access).unwrap();
    fs::remove_dir_all(server.shard_cache()).unwrap();
    for shard in SHARDS {
        let shard = File::options().write(true).open(server.folder.path().join(shard)).unwrap();
        shard.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30)).unwrap();
    }
    let error = loader(&dataset, Cursor::default(), 1).next().unwrap_err();
    let Error::OutOfReach { image, .. } = &error else { panic!("{error}") };
    assert!(image.reason.contains("has changed"), "{error}");
    let again = open_with(&server.url(PATTERN), &access).unwrap();
    let found = batches(&again, Cursor::default(), 1, 4);
    assert!(found.iter().all(|batch| batch.skipped.is_empty()), "a new start reads them all");
}

#[test]
fn a_server_that_goes_away_ends_the_loader_and_costs_no_image() {
    let Some(mut server) = Server::start(&SHARDS) else { return };
    let dataset = open_with(&server.url(PATTERN), &server.access(SHARD_BYTES)).unwrap();
    let expected = batches(&dataset, Cursor::default(), 2, 4);
    fs::remove_dir_all(server.shard_cache()).unwrap();
    let dataset = open_with(&server.url(PATTERN), &server.access(SHARD_BYTES)).unwrap();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let error = loader(&dataset, Cursor::default(), 2).next().unwrap_err();
    let Error::OutOfReach { image, .. } = &error else { panic!("{error}") };
    assert!(expected[0].images.contains(&image.image), "{error}");
    assert!(error.to_string().contains("gave up after 2 failures"), "{error}");
}

/// Shards of three images: so many that those read at one end of an epoch are let go before the other.
const MANY: usize = 20;

fn many_shards() -> Option<(Server, Arc<dyn Dataset>)> {
    let server = Server::start(&[])?;
    for number in 0..MANY {
        fs::copy(fixture(SHARDS[number % 3]), server.folder.path().join(format!("s-{number:02}.tar")))
            .unwrap();
    }
    let dataset = open_with(&server.url("s-{00..19}.tar"), &server.access(4 * SHARD_BYTES)).unwrap();
    assert_eq!(dataset.len(), 3 * MANY);
    Some((server, dataset))
}

#[test]
fn a_shard_that_vanishes_between_epochs_costs_its_images_from_then_on() {
    let Some((server, dataset)) = many_shards() else { return };
    let expected = batches(&dataset, Cursor::default(), 2, 3 * MANY);
    // Read last in the second epoch: long let go by then.
    let gone = expected[3 * MANY - 1].images[1] / 3;
    let mut loader = loader(&dataset, Cursor::default(), 2);
    let first: Vec<Batch> = (0..3 * MANY / 2).map(|_| loader.next().unwrap()).collect();
    assert!(first.iter().all(|batch| batch.epoch == 0 && batch.skipped.is_empty()));
    fs::remove_file(server.folder.path().join(format!("s-{gone:02}.tar"))).unwrap();
    let second: Vec<Batch> = (0..3 * MANY / 2).map(|_| loader.next().unwrap()).collect();
    let skipped: Vec<_> = second.iter().flat_map(|batch| &batch.skipped).collect();
    let mut images: Vec<usize> = skipped.iter().map(|skipped| skipped.image).collect();
    images.sort_unstable();
    assert_eq!(images, [3 * gone, 3 * gone + 1, 3 * gone + 2]);
    assert!(
        skipped.iter().all(|skipped| skipped.reason.contains(&format!("s-{gone:02}.tar"))),
        "{skipped:?}"
    );
    assert!(second.iter().all(|batch| batch.epoch == 1));
    let read = |batches: &[Batch]| -> std::collections::BTreeSet<usize> {
        batches.iter().flat_map(|batch| batch.images.clone()).collect()
    };
    let others: std::collections::BTreeSet<usize> = (0..3 * MANY).filter(|image| image / 3 != gone).collect();
    assert_eq!(read(&second), others, "all the others, some of them in place of the lost ones");
    // A run that starts anew is told at once.
    let error = open_with(&server.url("s-{00..19}.tar"), &server.access(4 * SHARD_BYTES)).err().unwrap();
    assert!(error.to_string().contains(&format!("s-{gone:02}.tar")), "{error}");
}

/// Reads two epochs through a network that stalls for `stall` in the middle of a shard.
fn stalled(stall: Duration, patience: Patience) {
    let Some((server, straight)) = many_shards() else { return };
    let expected = batches(&straight, Cursor::default(), 2, 3 * MANY);
    let link = Link::to(server.port);
    let address = format!("http://127.0.0.1:{}/s-{{00..19}}.tar", link.port);
    let fresh = tempfile::tempdir().unwrap();
    let shards = CacheFolder::new(fresh.path().join("shards"), 4 * SHARD_BYTES);
    let access = Access { patience, shards: Some(shards), lists: None, ..server.access(0) };
    let dataset: Arc<dyn Dataset> = open_with(Path::new(&address), &access).unwrap();
    link.stall_after(7 * SHARD_BYTES as usize + 5000, stall);
    let found = batches(&dataset, Cursor::default(), 2, 3 * MANY);
    assert!(link.has_stalled());
    // Batches say which images they hold, and which were left out: none.
    assert!(found == expected, "something was lost or read twice");
    assert!(found.iter().all(|batch| batch.skipped.is_empty()));
}

#[test]
fn a_network_that_stalls_and_comes_back_changes_no_batch() {
    let pause = Duration::from_millis(20);
    let waits =
        Patience { stall: Duration::from_secs(20), failures: 2, first_pause: pause, longest_pause: pause };
    stalled(Duration::from_millis(1500), waits);
    // Gives connections up and makes new ones, which stall too.
    let asks_again = Patience { stall: Duration::from_millis(500), failures: 100, ..waits };
    stalled(Duration::from_millis(2500), asks_again);
}

#[test]
#[ignore = "takes a minute: cargo test -p msn-data --features remote -- --ignored stalls_for_half_a_minute"]
fn a_network_that_stalls_for_half_a_minute_changes_no_batch() {
    stalled(Duration::from_secs(30), Patience::default());
    let default = Patience::default();
    stalled(Duration::from_secs(30), Patience { stall: Duration::from_secs(3), ..default });
}

#[test]
fn remote_sources_that_cannot_be_read_are_explained() {
    let Some(server) = Server::start(&SHARDS) else { return };
    let access = server.access(1 << 20);
    let message =
        |name: &str, access: &Access| open_with(&server.url(name), access).err().unwrap().to_string();
    assert!(message("missing-{0..1}.tar", &access).contains("missing-0.tar"));
    assert!(message("x.zip", &access).contains(".tar or .parquet"));
    assert!(message(PATTERN, &Access { shards: None, ..access.clone() }).contains("MSN_CACHE"));
    let error = open_with(&server.url(PATTERN), &server.access(SHARD_BYTES - 1)).err().unwrap();
    assert!(matches!(error, Error::Remote(_)) && error.to_string().contains("MSN_CACHE_GIB"), "{error}");
}
