//! What `inspect` finds in sources whose content is known.

use std::fs;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};
use msn_data::{Error, FULL_RANGE, InspectConfig, Inspection, Limits, Spread, contact_sheet, inspect, open};

use crate::common::{Faulty, Memory, encoded, failing_disk, failing_server, fixture, truncated_jpeg};

const CONFIG: InspectConfig = InspectConfig {
    sample: None,
    seed: 0,
    workers: 2,
    limits: Limits { max_bytes: 1 << 20, max_pixels: 1_000_000, levels: FULL_RANGE },
};

fn plain(size: (u32, u32), colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    encoded(&RgbImage::from_pixel(size.0, size.1, Rgb(colour)), format)
}

/// Two red images, a blue one of another size and format, one that is cut, and one beside the classes.
fn folder(root: &Path) {
    let red = plain((10, 6), [255, 0, 0], ImageFormat::Png);
    for (name, bytes) in [
        ("red/1.png", red.clone()),
        ("red/2.png", red),
        ("blue/1.bmp", plain((20, 30), [0, 0, 255], ImageFormat::Bmp)),
        ("blue/cut.jpg", truncated_jpeg()),
        ("alone.bmp", plain((15, 15), [0, 0, 255], ImageFormat::Bmp)),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn sizes_formats_classes_channels_and_broken_files_are_found() {
    let scratch = tempfile::tempdir().unwrap();
    folder(scratch.path());
    let dataset = open(scratch.path()).unwrap();
    let mut done = Vec::new();
    let found = inspect(&*dataset, &CONFIG, |count| done.push(count)).unwrap();
    assert_eq!((found.images, found.looked_at, found.broken), (5, 5, 1));
    assert_eq!(done, [5]);
    assert_eq!(found.broken_images[0].path, "blue/cut.jpg");
    assert!(found.broken_images[0].reason.contains("truncated"), "{}", found.broken_images[0]);
    assert_eq!(found.width, Some(Spread { min: 10, median: 15, max: 20 }));
    assert_eq!(found.height, Some(Spread { min: 6, median: 15, max: 30 }));
    let bmp = |width: u64, height: u64| 54 + height * (3 * width).next_multiple_of(4);
    assert_eq!(found.bytes.unwrap().max, bmp(20, 30));
    let red = fs::metadata(scratch.path().join("red/1.png")).unwrap().len();
    assert_eq!(found.total_bytes, 2 * red + bmp(20, 30) + bmp(15, 15));
    assert_eq!(found.formats.into_iter().collect::<Vec<_>>(), [("BMP", 2), ("PNG", 2)]);
    let classes: Vec<_> = found.classes.iter().map(|(name, &count)| (name.as_str(), count)).collect();
    assert_eq!(classes, [("blue", 2), ("red", 2)]);
    assert_eq!(found.unlabelled, 1);
    assert_eq!(found.usable, [0, 1, 3, 4].map(|place| place), "{:?}", found.usable);
    // Half of the images are red and half are blue, whatever their sizes are; green has no deviation, which becomes one
    // level of 255.
    let channels = found.channels.unwrap();
    assert_eq!(channels.mean, [0.5, 0.0, 0.5]);
    assert_eq!(channels.std, [0.5, 1.0 / 255.0, 0.5]);
    channels.validate().unwrap();
}

#[test]
fn threads_change_nothing_and_samples_follow_their_seed() {
    let dataset = Memory::with_broken(300, &[7, 150, 299]);
    let look = |config| inspect(&*dataset, &config, |_| ()).unwrap();
    let all = look(CONFIG);
    assert_eq!((all.looked_at, all.broken, all.usable.len()), (300, 3, 297));
    assert_eq!(look(InspectConfig { workers: 1, ..CONFIG }), all);
    let sample = |seed| -> Inspection { look(InspectConfig { sample: Some(40), seed, ..CONFIG }) };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1).usable, sample(2).usable);
    assert_eq!((sample(1).images, sample(1).looked_at, sample(1).unlabelled), (300, 40, 300));
    assert_eq!(look(InspectConfig { sample: Some(1000), ..CONFIG }), all);
}

#[test]
fn a_disk_or_a_server_that_fails_breaks_no_image() {
    let images = Memory::with_broken(20, &[7]);
    let expected = inspect(&*images, &CONFIG, |_| ()).unwrap();
    let for_a_while = Faulty::new(images.clone(), failing_disk, [(3, 2), (7, 1), (12, 1)]);
    assert_eq!(inspect(&*for_a_while, &CONFIG, |_| ()).unwrap(), expected);
    assert_eq!(for_a_while.failures_left(), 0);
    let for_good = Faulty::new(images, failing_server, [(12, usize::MAX)]);
    let error = inspect(&*for_good, &CONFIG, |_| ()).unwrap_err();
    assert!(matches!(&error, Error::OutOfReach { image, .. } if image.image == 12), "{error}");
    assert_eq!(for_good.failures(), 1, "a server was asked again already");
}

#[test]
fn every_source_can_be_looked_at() {
    // One row of the last is null.
    for (name, images, broken) in
        [("shards-{000..002}.tar", 9, 0), ("plain.parquet", 40, 0), ("hugging-face.parquet", 8, 1)]
    {
        let dataset = open(&fixture(name)).unwrap();
        let found = inspect(&*dataset, &CONFIG, |_| ()).unwrap();
        assert_eq!((found.images, found.looked_at, found.broken), (images, images, broken), "{name}");
        assert_eq!(found.formats.get("PNG"), Some(&(images - broken)), "{name}");
        let sheet = contact_sheet(&*dataset, &found.usable, &CONFIG.limits);
        assert!(sheet.width() > 100 && sheet.height() > 100, "{name}");
    }
}

#[test]
fn where_nothing_can_be_used_nothing_is_measured() {
    let dataset = Memory::with_broken(2, &[0, 1]);
    let found = inspect(&*dataset, &CONFIG, |_| ()).unwrap();
    assert_eq!((found.broken, found.width, found.channels), (2, None, None));
}
