//! Batches: the same bits on any number of threads, exact resume, broken images.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use msn_data::{
    Batch, Cursor, Dataset, Error, InspectConfig, Limits, Loader, LoaderConfig, MaskMode, Masking, Reading,
    Views, inspect, preview,
};

use crate::common::{Faulty, Memory, failing_disk, failing_server, wait_until};

fn config(batch_size: usize) -> LoaderConfig {
    let views = Views { random_views: 2, focal_views: 2, random_size: 16, focal_size: 8, ..Views::default() };
    LoaderConfig { views, max_skipped: 0.5, workers: 2, ..LoaderConfig::new(batch_size, 4, 11) }
}

fn start(dataset: &Arc<dyn Dataset>, config: LoaderConfig, cursor: Cursor) -> Loader {
    Loader::start(Arc::clone(dataset), config, cursor).unwrap()
}

/// Everything of a batch but the time it took.
fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
    (0..count).map(|_| Batch { wait: Duration::ZERO, ..loader.next().unwrap() }).collect()
}

#[test]
fn batches_have_the_shapes_asked_for_and_epochs_permute_the_images() {
    let dataset = Memory::with_broken(10, &[]);
    let mut loader = start(&dataset, config(3), Cursor::default());
    assert_eq!(loader.batches_per_epoch(), 3);
    let batches = take(&mut loader, 6);
    let places: Vec<_> = batches.iter().map(|b| (b.epoch, b.step_in_epoch)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    let epoch = |range: std::ops::Range<usize>| -> Vec<usize> {
        batches[range].iter().flat_map(|b| b.images.clone()).collect()
    };
    let (first, second) = (epoch(0..3), epoch(3..6));
    assert_ne!(first, second);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 9, "no image twice in an epoch");
    let batch = &batches[0];
    assert_eq!((batch.random.len(), batch.focal.len()), (2, 2));
    assert_eq!((batch.target.size, batch.target.pixels.len()), (16, 3 * 3 * 16 * 16));
    assert_eq!((batch.focal[1].size, batch.focal[1].pixels.len()), (8, 3 * 3 * 8 * 8));
    assert_ne!(batch.target.pixels, batch.random[0].pixels);
    assert_ne!(batch.random[0].pixels, batch.random[1].pixels);
}

#[test]
fn any_number_of_threads_and_any_queue_give_the_same_bits() {
    let dataset = Memory::with_broken(14, &[3, 8]);
    let expected =
        take(&mut start(&dataset, LoaderConfig { workers: 1, queue: 1, ..config(4) }, Cursor::default()), 7);
    for (workers, queue) in [(1, 2), (2, 1), (3, 3), (4, 5)] {
        let found =
            take(&mut start(&dataset, LoaderConfig { workers, queue, ..config(4) }, Cursor::default()), 7);
        assert!(found == expected, "{workers} workers, a queue of {queue}");
    }
}

#[test]
fn a_saved_cursor_continues_with_the_same_bits() {
    let dataset = Memory::with_broken(14, &[3, 8]);
    let expected = take(&mut start(&dataset, config(4), Cursor::default()), 8);
    for stop in 1..8 {
        let saved = serde_json::to_string(&expected[stop - 1].next).unwrap();
        let cursor: Cursor = serde_json::from_str(&saved).unwrap();
        let found = take(&mut start(&dataset, config(4), cursor), 8 - stop);
        assert!(found == expected[stop..], "after batch {stop}");
    }
}

#[test]
fn a_cursor_keeps_the_broken_images_that_it_was_taken_with() {
    let dataset = Memory::with_broken(14, &[3, 8, 9]);
    let batches = take(&mut start(&dataset, config(4), Cursor::default()), 6);
    // Another loader finds them anew.
    take(&mut start(&dataset, config(4), batches[0].next.clone()), 5);
    let mut reported = BTreeSet::new();
    for batch in &batches {
        reported.extend(batch.skipped.iter().map(|broken| broken.image));
        let Cursor { epoch, step_in_epoch, skipped } = &batch.next;
        assert!(skipped.to_vec().iter().eq(&reported), "{skipped:?}, expected {reported:?}");
        assert_eq!((skipped.len(), skipped.is_empty()), (reported.len(), reported.is_empty()));
        let saved = serde_json::to_value(&batch.next).unwrap();
        let expected =
            serde_json::json!({ "epoch": epoch, "step_in_epoch": step_in_epoch, "skipped": reported });
        assert_eq!(saved, expected);
    }
    assert_eq!(reported.len(), 3);
    assert_ne!(batches[0].next.skipped, batches[5].next.skipped, "they were not all in the first batch");
}

/// Images that come shard by shard.
struct Sharded(Arc<dyn Dataset>, Vec<std::ops::Range<usize>>);

impl Dataset for Sharded {
    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        self.0.name(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.0.read_into(index, max_bytes, bytes)
    }

    fn reading(&self) -> Reading {
        Reading::ByShard { shards: self.1.clone(), buffer: 6 }
    }
}

fn sharded() -> Arc<dyn Dataset> {
    Arc::new(Sharded(Memory::with_broken(26, &[3, 8]), vec![0..5, 5..9, 9..16, 16..17, 17..22, 22..26]))
}

#[test]
fn shards_are_read_one_after_another_with_the_same_bits_however_and_after_a_resume() {
    let dataset = sharded();
    let alone = LoaderConfig { workers: 1, queue: 1, ..config(4) };
    let expected = take(&mut start(&dataset, alone, Cursor::default()), 13);
    let busy = LoaderConfig { workers: 3, queue: 4, ..config(4) };
    assert!(take(&mut start(&dataset, busy.clone(), Cursor::default()), 13) == expected);
    for stop in 1..13 {
        let found = take(&mut start(&dataset, busy.clone(), expected[stop - 1].next.clone()), 13 - stop);
        assert!(found == expected[stop..], "after batch {stop}");
    }
    for epoch in 0..2 {
        let batches = expected.iter().filter(|batch| batch.epoch == epoch);
        let images: Vec<usize> = batches.flat_map(|batch| batch.images.clone()).collect();
        assert_eq!(images.len(), 24);
        // Two of the places went to images that come later in their epoch and are met there again.
        let distinct = images.iter().collect::<BTreeSet<_>>().len();
        assert!((22..=24).contains(&distinct), "{distinct} distinct images");
    }
}

#[test]
fn seeds_give_different_batches() {
    let dataset = Memory::with_broken(8, &[]);
    let with_seed =
        |seed| take(&mut start(&dataset, LoaderConfig { seed, ..config(8) }, Cursor::default()), 1).remove(0);
    let (a, b) = (with_seed(1), with_seed(2));
    assert_ne!(a.images, b.images);
    assert_ne!(a.random[0].keep, b.random[0].keep);
    assert_ne!(a.target.pixels, b.target.pixels);
}

#[test]
fn only_large_anchor_views_are_masked() {
    let dataset = Memory::with_broken(6, &[]);
    for (mask, lists) in [(MaskMode::PerBatch, 1), (MaskMode::PerImage, 6)] {
        let masking = Masking { patch_drop: 0.3, mask };
        let batch =
            take(&mut start(&dataset, LoaderConfig { masking, ..config(6) }, Cursor::default()), 1).remove(0);
        let keeps: Vec<_> = batch.random.iter().map(|view| view.keep.clone().unwrap()).collect();
        for keep in &keeps {
            assert_eq!(keep.len(), lists);
            for list in keep {
                // 16 patches, 30% dropped.
                assert_eq!(list.len(), 11);
                assert!(list.is_sorted_by(|a, b| a < b) && list[10] < 16, "{list:?}");
            }
        }
        assert_ne!(keeps[0], keeps[1], "each view has its own mask");
        if mask == MaskMode::PerImage {
            assert!(keeps[0].iter().collect::<BTreeSet<_>>().len() > 1, "each image has its own mask");
        }
        assert!(batch.target.keep.is_none() && batch.focal.iter().all(|view| view.keep.is_none()));
    }
    let masking = Masking { patch_drop: 0.0, ..Masking::default() };
    let batch =
        take(&mut start(&dataset, LoaderConfig { masking, ..config(6) }, Cursor::default()), 1).remove(0);
    assert!(batch.random.iter().all(|view| view.keep.is_none()));
}

#[test]
fn a_per_image_mask_belongs_to_the_image_not_to_its_place() {
    let dataset = Memory::with_broken(8, &[]);
    let masking = Masking { patch_drop: 0.5, mask: MaskMode::PerImage };
    let masks = |batch_size| {
        let config = LoaderConfig { masking, ..config(batch_size) };
        let batches = take(&mut start(&dataset, config, Cursor::default()), 8 / batch_size);
        let pairs =
            batches.into_iter().flat_map(|b| b.images.into_iter().zip(b.random[0].keep.clone().unwrap()));
        pairs.collect::<std::collections::BTreeMap<usize, Vec<u32>>>()
    };
    assert_eq!(masks(2), masks(4));
}

#[test]
fn broken_images_are_replaced_by_the_next_that_work_and_reported_once() {
    let broken = [2, 5, 9];
    let dataset = Memory::with_broken(12, &broken);
    let order: Vec<usize> = {
        let whole = Memory::with_broken(12, &[]);
        take(&mut start(&whole, config(12), Cursor::default()), 1).remove(0).images
    };
    let batches = take(&mut start(&dataset, config(4), Cursor::default()), 12);
    for batch in &batches {
        let distinct: BTreeSet<_> = batch.images.iter().collect();
        assert_eq!(distinct.len(), 4, "full, without an image twice: {:?}", batch.images);
        assert!(batch.images.iter().all(|image| !broken.contains(image)));
    }
    for (step, batch) in batches[..3].iter().enumerate() {
        let mut spares = order.iter().cycle().skip(4 * (step + 1)).filter(|image| !broken.contains(image));
        let expected: Vec<usize> = order[4 * step..4 * (step + 1)]
            .iter()
            .map(|image| if broken.contains(image) { *spares.next().unwrap() } else { *image })
            .collect();
        assert_eq!(batch.images, expected);
    }
    let mut reported: Vec<_> = batches.iter().flat_map(|b| b.skipped.clone()).collect();
    reported.sort_by_key(|s| s.image);
    assert_eq!(reported.iter().map(|s| s.image).collect::<Vec<_>>(), broken);
    assert_eq!(reported[0].path, "0002.png");
    assert!(reported[0].reason.contains("truncated"), "{}", reported[0].reason);
    assert_eq!(batches[11].next.skipped.to_vec(), broken);
}

#[test]
fn too_many_broken_images_stop_the_run() {
    let dataset = Memory::with_broken(40, &[1, 4, 6, 17, 30]);
    let config = |max_skipped| LoaderConfig { max_skipped, ..config(5) };
    take(&mut start(&dataset, config(0.125), Cursor::default()), 16);
    let mut loader = start(&dataset, config(0.1), Cursor::default());
    let error = (0..8).find_map(|_| loader.next().err()).expect("5 of 40 are above 10%");
    assert!(matches!(error, Error::TooManySkipped { skipped: 5, images: 40, allowed: 4, .. }), "{error}");
    for part in ["memory: 5 of 40", "data.max_skipped = 0.1", "truncated", "set data.max_skipped higher"] {
        assert!(error.to_string().contains(part), "expected `{part}` in: {error}");
    }
}

#[test]
fn a_source_of_broken_images_is_not_gone_through_to_fill_a_batch() {
    let broken: Vec<usize> = (0..1000).filter(|image| image % 100 != 7).collect();
    let dataset = Memory::with_broken(1000, &broken);
    let mut loader = start(&dataset, LoaderConfig { max_skipped: 0.02, ..config(5) }, Cursor::default());
    let error = loader.next().unwrap_err();
    // 20 are allowed; the one more, and what was broken among the five of the batch.
    let Error::TooManySkipped { skipped, allowed: 20, .. } = error else { panic!("{error}") };
    assert!((21..=25).contains(&skipped), "{skipped}");
}

#[test]
fn a_few_broken_images_are_borne_in_small_sets_unless_none_are_allowed() {
    let config = |max_skipped| LoaderConfig { max_skipped, ..config(5) };
    take(&mut start(&Memory::with_broken(20, &[1, 4, 6]), config(0.01), Cursor::default()), 8);
    let four = start(&Memory::with_broken(20, &[1, 4, 6, 9]), config(0.01), Cursor::default());
    let one = start(&Memory::with_broken(20, &[1]), config(0.0), Cursor::default());
    for mut loader in [four, one] {
        let error = (0..4).find_map(|_| loader.next().err()).expect("too many");
        assert!(matches!(error, Error::TooManySkipped { .. }), "{error}");
    }
}

#[test]
fn a_batch_that_the_working_images_cannot_fill_is_an_error_that_lists_the_broken_ones() {
    let dataset = Memory::with_broken(6, &[0, 3]);
    let mut loader = start(&dataset, LoaderConfig { max_skipped: 1.0, ..config(5) }, Cursor::default());
    let error = loader.next().unwrap_err();
    assert!(matches!(error, Error::TooFewUsable { usable: 4, images: 6, batch_size: 5, .. }), "{error}");
    for part in ["memory: only 4 of 6", "train.batch_size = 5", "truncated"] {
        assert!(error.to_string().contains(part), "expected `{part}` in: {error}");
    }
    let Error::TooFewUsable { mut new, .. } = error else { unreachable!("matched above") };
    new.sort_by_key(|broken| broken.image);
    assert_eq!(new.iter().map(|broken| broken.path.as_str()).collect::<Vec<_>>(), ["0000.png", "0003.png"]);
}

#[test]
fn a_disk_that_fails_for_a_while_changes_no_batch() {
    let images = Memory::with_broken(14, &[6]);
    let expected = take(&mut start(&images, config(4), Cursor::default()), 6);
    let flaky = Faulty::new(images, failing_disk, [(3, 2), (8, 1), (6, 1)]);
    let dataset: Arc<dyn Dataset> = flaky.clone();
    let found = take(&mut start(&dataset, config(4), Cursor::default()), 6);
    assert!(found == expected);
    assert_eq!(found[5].next.skipped.to_vec(), [6]);
    assert_eq!(flaky.failures_left(), 0);
}

#[test]
fn what_fails_for_good_ends_the_loader_and_the_run_goes_on_with_the_same_bits() {
    let images = Memory::with_broken(14, &[6]);
    let expected = take(&mut start(&images, config(4), Cursor::default()), 6);
    // Of the last batch of the first epoch.
    let lost = expected[2].images[1];
    let faulty: Arc<dyn Dataset> = Faulty::new(Arc::clone(&images), failing_server, [(lost, usize::MAX)]);
    let mut loader = start(&faulty, config(4), Cursor::default());
    let mut found = Vec::new();
    let error = loop {
        match loader.next() {
            Ok(batch) => found.push(Batch { wait: Duration::ZERO, ..batch }),
            Err(error) => break error,
        }
    };
    let Error::OutOfReach { image, .. } = &error else { panic!("{error}") };
    assert_eq!(image.image, lost);
    for part in ["memory: ", &format!("{lost:04}.png: "), "does not answer", "--resume"] {
        assert!(error.to_string().contains(part), "expected `{part}` in: {error}");
    }
    assert!(found == expected[..2]);
    assert!(!found[1].next.skipped.to_vec().contains(&lost));
    let rest = take(&mut start(&images, config(4), found[1].next.clone()), 4);
    assert!(rest == expected[2..]);
}

#[test]
fn a_loader_that_failed_gives_none_of_the_batches_after_the_one_that_is_missing() {
    let images = Memory::with_broken(14, &[]);
    let lost = take(&mut start(&images, config(4), Cursor::default()), 2)[1].images[0];
    for queue in [1, 2, 5] {
        // The batches after the second one can be made.
        let faulty: Arc<dyn Dataset> = Faulty::new(Arc::clone(&images), failing_server, [(lost, 1)]);
        let mut loader = start(&faulty, LoaderConfig { queue, ..config(4) }, Cursor::default());
        loader.next().unwrap();
        assert!(matches!(loader.next(), Err(Error::OutOfReach { .. })));
        for _ in 0..3 {
            let error = loader.next().unwrap_err();
            assert!(matches!(error, Error::LoaderEnded { .. }), "{error}");
            for part in ["memory: ", "does not answer", "cursor of the last batch"] {
                assert!(error.to_string().contains(part), "expected `{part}` in: {error}");
            }
        }
    }
}

#[test]
fn a_server_that_was_asked_again_already_is_asked_once() {
    let faulty = Faulty::new(Memory::with_broken(4, &[]), failing_server, [(0, usize::MAX)]);
    let dataset: Arc<dyn Dataset> = faulty.clone();
    let mut loader = start(&dataset, LoaderConfig { queue: 1, ..config(4) }, Cursor::default());
    assert!(matches!(loader.next(), Err(Error::OutOfReach { .. })));
    drop(loader);
    // Once more by the batch after it, which is in the making.
    assert!((1..=2).contains(&faulty.failures()), "{}", faulty.failures());
}

#[test]
fn a_loader_that_waits_for_a_disk_can_be_dropped() {
    let faulty = Faulty::new(Memory::with_broken(4, &[]), failing_disk, [(0, usize::MAX)]);
    let dataset: Arc<dyn Dataset> = faulty.clone();
    let mut loader = start(&dataset, LoaderConfig { queue: 1, ..config(4) }, Cursor::default());
    let waited = loader.next_unless(|| faulty.failures() >= 3).unwrap();
    assert!(waited.is_none());
    drop(loader);
    wait_until("no thread holds the data", || Arc::strong_count(&dataset) == 2);
    // Sat out, the pauses after the third failure would end with four more, half a minute later.
    assert!(faulty.failures() < 7, "{}", faulty.failures());
}

/// Images of a server: as it is read, which waits while the gate is shut, and what it was told will be read.
struct Served {
    images: Arc<dyn Dataset>,
    reading: Reading,
    gate: RwLock<()>,
    told: Mutex<Vec<Vec<usize>>>,
}

impl Served {
    fn new(images: Arc<dyn Dataset>, reading: Reading) -> Self {
        Self { images, reading, gate: RwLock::default(), told: Mutex::default() }
    }
}

impl Dataset for Served {
    fn path(&self) -> &Path {
        self.images.path()
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, index: usize) -> &str {
        self.images.name(index)
    }

    fn read_into(&self, index: usize, max_bytes: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let _open = self.gate.read().unwrap();
        self.images.read_into(index, max_bytes, bytes)
    }

    fn reading(&self) -> Reading {
        self.reading.clone()
    }

    fn will_read(&self, images: &[usize]) {
        self.told.lock().unwrap().push(images.to_vec());
    }
}

#[test]
fn a_wait_for_images_can_be_ended_without_losing_a_batch() {
    let images = Memory::with_broken(12, &[]);
    let gated = Arc::new(Served::new(Arc::clone(&images), Reading::AtRandom));
    let dataset: Arc<dyn Dataset> = gated.clone();
    let shut = gated.gate.write().unwrap();
    let mut loader = start(&dataset, config(4), Cursor::default());
    let mut asked = 0;
    let waited = loader.next_unless(|| {
        asked += 1;
        asked == 2
    });
    assert!(waited.unwrap().is_none());
    drop(shut);
    let expected = start(&images, config(4), Cursor::default()).next().unwrap();
    let found = loader.next_unless(|| false).unwrap().expect("the gate is open");
    assert_eq!((found.images, found.target), (expected.images, expected.target));

    // A loader is let go though its images never come.
    let shut = gated.gate.write().unwrap();
    drop(start(&dataset, config(4), Cursor::default()));
    drop(shut);
}

#[test]
fn impossible_settings_are_refused_at_the_start() {
    let dataset = Memory::with_broken(6, &[]);
    let refused = |config, cursor| Loader::start(Arc::clone(&dataset), config, cursor).err().unwrap();
    let error = refused(config(7), Cursor::default());
    assert!(matches!(error, Error::BatchLargerThanData { batch_size: 7, images: 6, .. }), "{error}");
    let message = "train.batch_size: expected at most 6, the number of images in memory, found 7";
    assert_eq!(error.to_string(), message);
    for (field, config) in [
        ("train.batch_size", config(0)),
        ("data.workers", LoaderConfig { workers: 0, ..config(2) }),
        ("data.queue", LoaderConfig { queue: 0, ..config(2) }),
        ("encoder.patch_size", LoaderConfig { patch_size: 0, ..config(2) }),
        ("views.random_size", LoaderConfig { patch_size: 5, ..config(2) }),
        ("views.focal_size", LoaderConfig { patch_size: 16, ..config(2) }),
        ("data.max_skipped", LoaderConfig { max_skipped: 1.5, ..config(2) }),
        (
            "mask.patch_drop",
            LoaderConfig { masking: Masking { patch_drop: 1.0, ..Masking::default() }, ..config(2) },
        ),
    ] {
        let error = refused(config, Cursor::default());
        assert!(matches!(&error, Error::Config { field: found, .. } if *found == field), "{field}: {error}");
    }
    let cursor = Cursor { step_in_epoch: 3, ..Cursor::default() };
    assert!(matches!(refused(config(2), cursor), Error::CursorOutOfRange { batches: 3, step: 3, .. }));
}

/// More images than an order can have, none of which is there.
struct TooMany;

impl Dataset for TooMany {
    fn path(&self) -> &Path {
        Path::new("everything")
    }

    fn len(&self) -> usize {
        1 << 32
    }

    fn name(&self, _: usize) -> &str {
        unreachable!("none is looked at")
    }

    fn read_into(&self, _: usize, _: usize, _: &mut Vec<u8>) -> Result<(), Error> {
        unreachable!("none is looked at")
    }
}

#[test]
fn more_images_than_can_be_shuffled_are_refused_at_the_start() {
    let expected = "everything: expected at most 4294967295 images, found 4294967296: use a part of them";
    let dataset: Arc<dyn Dataset> = Arc::new(TooMany);
    let started = Loader::start(Arc::clone(&dataset), config(4), Cursor::default());
    assert_eq!(started.err().unwrap().to_string(), expected);
    assert_eq!(preview(&dataset, &config(4), 0, None).unwrap_err().to_string(), expected);
    let limits = Limits::default();
    let sample = InspectConfig { sample: Some(3), seed: 0, workers: 1, limits };
    assert_eq!(inspect(&*dataset, &sample, |_| ()).unwrap_err().to_string(), expected);
}

#[test]
fn a_loader_that_is_dropped_early_ends_its_threads() {
    let dataset = Memory::with_broken(6, &[]);
    let mut loader = start(&dataset, LoaderConfig { queue: 4, ..config(2) }, Cursor::default());
    loader.next().unwrap();
    drop(loader);
    wait_until("no thread holds the data", || Arc::strong_count(&dataset) == 1);
}

#[test]
fn a_source_is_told_what_is_read_next_across_the_end_of_an_epoch() {
    // Batches that fill an epoch, and one a single epoch, so that two builders take turns with the epochs.
    for (batch_size, queue) in [(2, 1), (3, 1), (12, 2)] {
        // Three shards of four images.
        let reading = Reading::ByShard { shards: vec![0..4, 4..8, 8..12], buffer: 4 };
        let shards = Arc::new(Served::new(Memory::with_broken(12, &[]), reading));
        let dataset: Arc<dyn Dataset> = shards.clone();
        let mut loader = start(&dataset, LoaderConfig { queue, ..config(batch_size) }, Cursor::default());
        let read: Vec<usize> =
            take(&mut loader, 36 / batch_size).into_iter().flat_map(|batch| batch.images).collect();
        drop(loader);
        let mut begins = BTreeSet::new();
        for told in shards.told.lock().unwrap().iter() {
            // Two buffers at least, in the order in which they are read from some batch on.
            assert!(told.len() >= 8, "{told:?}");
            // Those of batches that are made ahead are not read here.
            begins.extend((0..=read.len() - 8).find(|at| read[*at..].starts_with(&told[..8])));
        }
        let expected: BTreeSet<usize> = (0..=28).step_by(batch_size).collect();
        assert!(begins.is_superset(&expected), "batches of {batch_size}: told at {begins:?}");
    }
}
