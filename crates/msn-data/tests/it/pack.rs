//! Shards that hold what the source held.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage};
use msn_data::{
    Dataset, Error, FULL_RANGE, Image, Limits, PackConfig, PackRecord, ShardSize, decode, open, pack,
};
use msn_store::ShardFolder;

use crate::common::{
    Faulty, encoded, failing_disk, failing_server, fixture, labels, picture, png, truncated_jpeg,
};

const IN_ORDER: PackConfig = PackConfig {
    size: ShardSize { images: Some(4), bytes: None },
    shuffle: None,
    skip_unreadable: false,
    shorter_side: None,
    workers: 2,
    limits: Limits { max_bytes: 1 << 20, max_pixels: 1_000_000, levels: FULL_RANGE },
};

fn packed(source: &dyn Dataset, out: &Path, config: &PackConfig) -> PackRecord {
    let folder = ShardFolder::create(out).unwrap();
    pack(source, &folder, config, PackRecord::new(source, config), |_| ()).unwrap()
}

fn images(dataset: &dyn Dataset) -> Vec<Image> {
    let read = |index| decode(&dataset.read(index, usize::MAX).unwrap(), &Limits::default()).unwrap();
    (0..dataset.len()).map(read).collect()
}

/// Ten images of three classes, one of them named as another format, and a broken one.
fn folder(root: &Path) {
    for (class, numbers) in [("cat", 0..4), ("dog", 4..9), ("a cow", 9..10)] {
        fs::create_dir_all(root.join(class)).unwrap();
        for number in numbers {
            fs::write(root.join(format!("{class}/{number}.png")), png(number)).unwrap();
        }
    }
    fs::write(root.join("cat/1.png"), encoded(&picture(50, 33, 21), ImageFormat::Jpeg)).unwrap();
    fs::write(root.join("dog/broken.jpg"), truncated_jpeg()).unwrap();
}

#[test]
fn packed_shards_hold_the_same_images_and_classes() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let out = scratch.path().join("shards");
    let record = packed(&*source, &out, &IN_ORDER);
    let files: Vec<_> = record.shards.iter().map(|shard| (shard.file.as_str(), shard.images)).collect();
    assert_eq!(files, [("shards-000000.tar", 4), ("shards-000001.tar", 4), ("shards-000002.tar", 2)]);
    for shard in &record.shards {
        assert_eq!(fs::metadata(out.join(&shard.file)).unwrap().len(), shard.bytes, "{}", shard.file);
    }
    assert_eq!(record.classes, ["a cow", "cat", "dog"]);
    assert_eq!(record.skipped.len(), 1);
    assert_eq!(record.skipped[0].path, "dog/broken.jpg");
    assert!(record.complete && record.next == 11);

    let broken = (0..source.len()).find(|&index| source.name(index) == "dog/broken.jpg").unwrap();
    let whole = |index: &usize| *index != broken;
    for read in [open(&out).unwrap(), open(&out.join("shards-{000000..000002}.tar")).unwrap()] {
        let bytes = |dataset: &dyn Dataset, index| dataset.read(index, usize::MAX).unwrap();
        let expected: Vec<_> = (0..source.len()).filter(whole).map(|index| bytes(&*source, index)).collect();
        assert_eq!((0..read.len()).map(|index| bytes(&*read, index)).collect::<Vec<_>>(), expected);
        let expected: Vec<_> = (0..source.len()).filter(whole).map(|index| source.label(index)).collect();
        assert_eq!(labels(&*read), expected);
        assert_eq!(read.name(1), "shards-000000.tar/000000001.png");
        assert_eq!(read.name(2), "shards-000000.tar/000000002.jpg", "the ending follows the content");
    }
}

#[test]
fn samples_are_what_other_readers_of_the_convention_expect() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let out = scratch.path().join("shards");
    let source = open(&scratch.path().join("source")).unwrap();
    let record = packed(&*source, &out, &PackConfig { shuffle: Some(3), ..IN_ORDER });
    let mut keys = BTreeSet::new();
    for shard in &record.shards {
        let mut archive = tar::Archive::new(fs::File::open(out.join(&shard.file)).unwrap());
        let mut last = None;
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let (key, ending) = name.split_once('.').unwrap();
            if ending == "json" {
                assert_eq!(
                    last.take().as_deref(),
                    Some(key),
                    "the two entries of a sample follow each other"
                );
                let fields: serde_json::Value = serde_json::from_reader(entry).unwrap();
                let class = &record.classes[fields["cls"].as_u64().unwrap() as usize];
                assert_eq!(fields["label"], class.as_str());
                assert!(fields["name"].as_str().unwrap().starts_with(&format!("{class}/")), "{fields}");
            } else {
                assert!(keys.insert(key.to_owned()), "{key} comes once");
                last = Some(key.to_owned());
            }
        }
    }
    assert_eq!(keys.len(), 10);
}

#[test]
fn shuffled_shards_hold_every_image_once_in_an_order_of_the_seed() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let content = |name: &str, shuffle| {
        let out = scratch.path().join(name);
        packed(&*source, &out, &PackConfig { shuffle, ..IN_ORDER });
        let dataset = open(&out).unwrap();
        (0..dataset.len()).map(|index| dataset.read(index, usize::MAX).unwrap()).collect::<Vec<_>>()
    };
    let (ordered, one, again, other) =
        (content("a", None), content("b", Some(1)), content("c", Some(1)), content("d", Some(2)));
    assert_eq!(one, again);
    assert!(one != ordered && one != other);
    let sorted = |mut images: Vec<Vec<u8>>| {
        images.sort();
        images
    };
    assert_eq!(sorted(one), sorted(ordered));
}

#[test]
fn a_shard_is_full_by_its_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let size = ShardSize { images: None, bytes: Some(12_000) };
    let record = packed(&*source, &scratch.path().join("a"), &PackConfig { size, ..IN_ORDER });
    assert!(record.shards.len() > 1);
    assert!(record.shards.iter().all(|shard| shard.images > 1 && shard.bytes <= 12_000 + 1024), "{record:?}");
    let size = ShardSize { images: None, bytes: Some(1) };
    let record = packed(&*source, &scratch.path().join("b"), &PackConfig { size, ..IN_ORDER });
    assert!(
        record.shards.iter().all(|shard| shard.images == 1),
        "an image that is larger has a shard of its own"
    );
}

#[test]
fn packing_goes_on_where_it_was_stopped_with_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let config = PackConfig { shuffle: Some(7), ..IN_ORDER };
    let job = PackRecord::new(&*source, &config);
    let (whole, stopped) = (scratch.path().join("whole"), scratch.path().join("stopped"));
    let record = packed(&*source, &whole, &config);
    let folder = ShardFolder::create(&stopped).unwrap();
    let kill = AssertUnwindSafe(|| {
        pack(&*source, &folder, &config, job.clone(), |done| assert!(done < 7, "killed"))
    });
    assert!(catch_unwind(kill).is_err());
    assert_eq!(folder.record::<PackRecord>().unwrap().shards, record.shards[..1]);
    drop(folder);
    // A kill after a shard got its name and before the record knew of it, and one that left half a shard.
    fs::write(stopped.join("shards-000001.tar"), "not in the record").unwrap();
    fs::write(stopped.join(".msn-tmp-third"), "half").unwrap();

    let folder = ShardFolder::resume(&stopped).unwrap();
    let found: PackRecord = folder.record().unwrap();
    assert!(found.next >= 4 && !found.complete);
    found.check(&job).unwrap();
    assert_eq!(pack(&*source, &folder, &config, found, |_| ()).unwrap(), record);
    for shard in &record.shards {
        assert!(fs::read(whole.join(&shard.file)).unwrap() == fs::read(stopped.join(&shard.file)).unwrap());
    }
    assert!(!stopped.join(".msn-tmp-third").exists());
    assert_eq!(
        pack(&*source, &folder, &config, folder.record().unwrap(), |_| ()).unwrap(),
        record,
        "nothing is left"
    );
}

#[test]
fn an_image_that_cannot_be_read_just_now_is_not_left_out_for_good() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let out = scratch.path().join("shards");
    let (here, away) = (scratch.path().join("source/dog/6.png"), scratch.path().join("6.png"));
    fs::rename(&here, &away).unwrap();
    let shards = ShardFolder::create(&out).unwrap();
    let job = PackRecord::new(&*source, &IN_ORDER);
    let error = pack(&*source, &shards, &IN_ORDER, job, |_| ()).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { .. }) && error.to_string().contains("dog/6.png"), "{error}");
    let found: PackRecord = shards.record().unwrap();
    assert!(!found.complete && found.shards.len() == 1, "the shard before it stays: {found:?}");
    assert!(!out.join("shards-000001.tar").exists());

    let without = PackConfig { skip_unreadable: true, ..IN_ORDER };
    let record = packed(&*source, &scratch.path().join("without"), &without);
    let skipped: Vec<&str> = record.skipped.iter().map(|skipped| &*skipped.path).collect();
    assert_eq!((skipped, record.complete), (vec!["dog/6.png", "dog/broken.jpg"], true));

    fs::rename(&away, &here).unwrap();
    let record = pack(&*source, &shards, &IN_ORDER, found, |_| ()).unwrap();
    assert_eq!(record, packed(&*source, &scratch.path().join("whole"), &IN_ORDER));
}

#[test]
fn what_is_too_large_can_be_left_out_without_what_a_disk_gives_only_later() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    fs::write(scratch.path().join("source/cat/large.png"), encoded(&picture(1, 200, 100), ImageFormat::Png))
        .unwrap();
    let source = open(&scratch.path().join("source")).unwrap();
    let limits = Limits { max_pixels: 10_000, ..IN_ORDER.limits };
    let stopping = PackConfig { limits, ..IN_ORDER };
    let out = ShardFolder::create(&scratch.path().join("stopped")).unwrap();
    let error = pack(&*source, &out, &stopping, PackRecord::new(&*source, &stopping), |_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::Unreadable { skipped } if skipped.path == "cat/large.png"),
        "a higher limit brings it back: {error}"
    );

    let flaky = Faulty::new(source, failing_disk, [(1, 1), (7, 2)]);
    let record =
        packed(&*flaky, &scratch.path().join("shards"), &PackConfig { skip_unreadable: true, ..stopping });
    let skipped: Vec<&str> = record.skipped.iter().map(|skipped| &*skipped.path).collect();
    assert_eq!(skipped, ["cat/large.png", "dog/broken.jpg"]);
    assert!(record.skipped[0].reason.contains("at most 10000 pixels"), "{}", record.skipped[0]);
    assert_eq!(flaky.failures_left(), 0);
}

#[test]
fn a_server_that_fails_stops_packing_whatever_may_be_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let expected = packed(&*source, &scratch.path().join("whole"), &IN_ORDER);
    let faulty = Faulty::new(source.clone(), failing_server, [(9, 1)]);
    let shards = ShardFolder::create(&scratch.path().join("shards")).unwrap();
    let config = PackConfig { skip_unreadable: true, workers: 1, ..IN_ORDER };
    let error = pack(&*faulty, &shards, &config, PackRecord::new(&*source, &config), |_| ()).unwrap_err();
    assert!(matches!(&error, Error::OutOfReach { image, .. } if image.image == 9), "{error}");
    let found: PackRecord = shards.record().unwrap();
    assert_eq!((found.complete, &found.shards[..]), (false, &expected.shards[..1]));
    assert_eq!(pack(&*faulty, &shards, &config, found, |_| ()).unwrap(), expected);
}

/// In what the job of packing `source` so differs from that of `record`.
fn differs(record: &PackRecord, source: &dyn Dataset, config: &PackConfig) -> &'static str {
    record.check(&PackRecord::new(source, config)).unwrap_err().0
}

#[test]
fn another_job_is_not_gone_on_with() {
    let scratch = tempfile::tempdir().unwrap();
    folder(&scratch.path().join("source"));
    let source = open(&scratch.path().join("source")).unwrap();
    let record = packed(&*source, &scratch.path().join("shards"), &IN_ORDER);
    assert_eq!(differs(&record, &*source, &PackConfig { shuffle: Some(0), ..IN_ORDER }), "order");
    assert_eq!(
        differs(&record, &*source, &PackConfig { size: ShardSize::default(), ..IN_ORDER }),
        "size of the shards"
    );
    let smaller = PackConfig { shorter_side: Some(8), ..IN_ORDER };
    assert_eq!(differs(&record, &*source, &smaller), "size of the images");
    let limits = Limits { levels: [0, 4095], ..IN_ORDER.limits };
    assert_eq!(differs(&record, &*source, &PackConfig { limits, ..IN_ORDER }), "range of 16-bit samples");
    let shards = open(&scratch.path().join("shards")).unwrap();
    assert_eq!(differs(&record, &*shards, &IN_ORDER), "number of images");
    fs::rename(scratch.path().join("source/cat"), scratch.path().join("source/lion")).unwrap();
    let renamed = open(&scratch.path().join("source")).unwrap();
    assert_eq!(differs(&record, &*renamed, &IN_ORDER), "names and classes of the images");
}

#[test]
fn larger_images_are_shrunk_to_the_shorter_side_and_no_others_change() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("source");
    fs::create_dir_all(&root).unwrap();
    // Grows by 2 a pixel to the right and 3 down, so that a pixel of a half is the mean of its four.
    let slope = |x: u32, y: u32| [(2 * x) as u8, (3 * y) as u8, 90];
    let smooth = RgbImage::from_fn(120, 80, |x, y| Rgb(slope(x, y)));
    fs::write(root.join("0.jpg"), encoded(&smooth, ImageFormat::Jpeg)).unwrap();
    fs::write(root.join("1.bmp"), encoded(&smooth, ImageFormat::Bmp)).unwrap();
    fs::write(root.join("2.bmp"), encoded(&picture(2, 400, 40), ImageFormat::Bmp)).unwrap();
    fs::write(root.join("3.jpg"), encoded(&picture(3, 39, 300), ImageFormat::Jpeg)).unwrap();
    let grey = ImageBuffer::from_pixel(60, 81, image::Luma([3000u16]));
    DynamicImage::ImageLuma16(grey).save(root.join("4.png")).unwrap();
    let source = open(&root).unwrap();
    let limits = Limits { levels: [2000, 4000], ..IN_ORDER.limits };
    let config = PackConfig { shorter_side: Some(40), limits, ..IN_ORDER };
    let record = packed(&*source, &scratch.path().join("shards"), &config);
    assert_eq!(
        record.shards.iter().map(|shard| (shard.images, shard.shrunk)).collect::<Vec<_>>(),
        [(4, 2), (1, 1)]
    );

    let read = open(&scratch.path().join("shards")).unwrap();
    let endings: Vec<_> = (0..5).map(|index| read.name(index).rsplit_once('.').unwrap().1).collect();
    assert_eq!(endings, ["jpg", "png", "bmp", "jpg", "png"]);
    let bytes = |dataset: &dyn Dataset, index| dataset.read(index, usize::MAX).unwrap();
    for index in [2, 3] {
        assert_eq!(bytes(&*read, index), bytes(&*source, index), "image {index} is no larger");
    }
    let images = images(&*read);
    // JPEG rounds twice: the source at quality 75, the smaller one at 95.
    for (image, tolerance) in [(&images[0], 8), (&images[1], 1)] {
        assert_eq!((image.width(), image.height()), (60, 40));
        for (place, pixel) in image.pixels().as_chunks::<3>().0.iter().enumerate() {
            let (x, y) = (place as u32 % 60, place as u32 / 60);
            // The edges have no neighbours to lean on.
            if (2..58).contains(&x) && (2..38).contains(&y) {
                let [r, g, b] = slope(2 * x, 2 * y);
                let close = pixel
                    .iter()
                    .zip([r + 1, g + 2, b])
                    .all(|(&found, mean)| found.abs_diff(mean) <= tolerance);
                assert!(close, "{x}, {y}: {pixel:?}, expected about {:?}", [r + 1, g + 2, b]);
            }
        }
    }
    // Half of the range, and 81 x 40 / 60 px high.
    assert_eq!((images[4].width(), images[4].height()), (40, 54));
    assert!(images[4].pixels().iter().all(|&level| level == 128), "{:?}", &images[4].pixels()[..3]);
}

#[test]
fn bare_pixels_become_png_with_the_same_values() {
    let scratch = tempfile::tempdir().unwrap();
    let mut cifar = Vec::new();
    for label in [3u8, 0, 9] {
        cifar.push(label);
        cifar.extend((0..3072u32).map(|i| (i * 7 + u32::from(label) * 31) as u8));
    }
    fs::write(scratch.path().join("data_batch_1.bin"), cifar).unwrap();
    let header = [0u8, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 4];
    let idx: Vec<u8> = header.into_iter().chain((0..40).map(|i| i * 6)).collect();
    fs::write(scratch.path().join("train-images-idx3-ubyte"), idx).unwrap();
    for (number, name) in ["data_batch_1.bin", "train-images-idx3-ubyte"].into_iter().enumerate() {
        let source = open(&scratch.path().join(name)).unwrap();
        let out = scratch.path().join(number.to_string());
        packed(&*source, &out, &IN_ORDER);
        let read = open(&out).unwrap();
        assert_eq!(images(&*read), images(&*source), "{name}");
        assert_eq!(labels(&*read), labels(&*source), "{name}");
    }
}

#[test]
fn shards_and_tables_can_be_packed_again() {
    let scratch = tempfile::tempdir().unwrap();
    for (number, name) in ["shards-{000..002}.tar", "hugging-face.parquet"].into_iter().enumerate() {
        let source = open(&fixture(name)).unwrap();
        let out = scratch.path().join(number.to_string());
        let record = packed(&*source, &out, &IN_ORDER);
        let read = open(&out).unwrap();
        assert_eq!(read.len() + record.skipped.len(), source.len(), "{name}");
        if record.skipped.is_empty() {
            assert_eq!(labels(&*read), labels(&*source), "{name}");
            assert_eq!(images(&*read), images(&*source), "{name}");
        }
    }
}
