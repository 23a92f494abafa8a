//! Damaged files of every source: an error or a broken image, never a panic, a hang or a full memory.

use std::fs;
use std::path::Path;

use msn_data::{Limits, check_image, open};

use crate::common::{fixture, labels, names};

/// What a source holds.
#[derive(Debug, PartialEq)]
struct Seen {
    names: Vec<String>,
    labels: Vec<Option<String>>,
    /// The encoded images; `None` for those that cannot be used.
    images: Vec<Option<Vec<u8>>>,
}

impl Seen {
    /// Opens a file and reads all that it claims to hold; `None` if it cannot be opened.
    fn at(path: &Path) -> Option<Self> {
        let limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20, ..Limits::default() };
        let dataset = open(path).ok()?;
        assert!(dataset.len() < 1000, "{} claims {} images", path.display(), dataset.len());
        let image = |i| match check_image(&*dataset, i, &limits).unwrap() {
            Some(_) => None,
            None => Some(dataset.read(i, limits.max_bytes).unwrap()),
        };
        Some(Self {
            names: names(&*dataset).into_iter().map(ToOwned::to_owned).collect(),
            labels: labels(&*dataset).into_iter().map(|label| label.map(ToOwned::to_owned)).collect(),
            images: (0..dataset.len()).map(image).collect(),
        })
    }

    /// An image by its name: its class and its bytes.
    fn image(&self, name: &str) -> (Option<&str>, Option<&[u8]>) {
        let at =
            self.names.iter().position(|found| found == name).unwrap_or_else(|| panic!("{name} is lost"));
        (self.labels[at].as_deref(), self.images[at].as_deref())
    }
}

/// Opens a file called `name` with `bytes`.
fn see(name: &str, bytes: &[u8]) -> Option<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    Seen::at(&path)
}

/// Hands over what is seen with one byte changed, for each of the first bytes.
fn with_each_flip(name: &str, whole: &[u8], mut check: impl FnMut(usize, Option<Seen>)) {
    for position in 0..whole.len().min(4600) {
        // Small numbers become large ones and the other way round.
        let mut bytes = whole.to_vec();
        bytes[position] ^= [0x01, 0x80, 0xFF][position % 3];
        check(position, see(name, &bytes));
    }
}

/// Lengths that end anywhere, and those that end where blocks of an archive do.
fn cuts(whole: &[u8]) -> impl Iterator<Item = usize> {
    let length = whole.len();
    (0..length).step_by(61).chain((0..length).step_by(512))
}

#[test]
fn damaged_tables_are_survived() {
    for table in ["hugging-face.parquet", "plain.parquet"] {
        let whole = fs::read(fixture(table)).unwrap();
        let original = see("x.parquet", &whole).unwrap();
        // At the end: the description of the file, its length in four bytes, and four that say what it is.
        let length = whole[whole.len() - 8..][..4].try_into().unwrap();
        let description = whole.len() - 8 - u32::from_le_bytes(length) as usize;
        with_each_flip("x.parquet", &whole, |position, found| {
            let Some(found) = found else { return };
            for (row, name) in found.names.iter().enumerate() {
                assert_eq!(*name, format!("x.parquet/{row:06}"));
            }
            if position < description {
                assert_eq!(found.names, original.names, "byte {position} of {table}");
                // A byte belongs to one column, and none but the reader of that one sees it.
                let same = [found.labels == original.labels, found.images == original.images];
                assert!(same != [false; 2], "byte {position} of {table} changes classes and images");
            }
        });
        for length in cuts(&whole) {
            assert!(see("x.parquet", &whole[..length]).is_none(), "{length} bytes of {table}");
        }
    }
}

/// Bytes of an entry of the shards: a header and one block of content.
const ENTRY: usize = 1024;
/// What each sample of `shards-001.tar` is made of.
const PARTS: [&str; 3] = ["image", "class", "mask"];

#[test]
fn damaged_archives_are_survived() {
    let whole = fs::read(fixture("shards-001.tar")).unwrap();
    let original = see("x.tar", &whole).unwrap();
    assert_eq!(original.names, ["0003.png", "0004.png", "0005.png"]);
    with_each_flip("x.tar", &whole, |position, found| {
        let (sample, part) = (position / ENTRY / PARTS.len(), PARTS[position / ENTRY % PARTS.len()]);
        let place = format!("byte {position}, the {part} of sample {sample}");
        match found {
            // Headers have a checksum, and ends of numbers that do not matter.
            Some(found) if position % ENTRY < 512 => assert_eq!(found, original, "{place}"),
            None => assert!(position % ENTRY < 512, "{place}"),
            Some(found) => {
                for (number, name) in original.names.iter().enumerate() {
                    let ((label, image), expected) = (found.image(name), original.image(name));
                    let is_hit = |what| number == sample && part == what;
                    assert!(label == expected.0 || is_hit("class"), "{place}: {name} is of {label:?}");
                    assert!(image == expected.1 || is_hit("image"), "{place}: {name} is another image");
                }
            }
        }
    });
    for length in cuts(&whole) {
        let found = see("x.tar", &whole[..length]);
        // Nothing tells an archive that ends after an entry from one without the empty blocks at the end.
        let is_cut = length % ENTRY != 0 && length < 9 * ENTRY + 512;
        assert_eq!(found.is_none(), is_cut || length == 0, "{length} bytes");
        let Some(found) = found else { continue };
        for (number, name) in original.names.iter().enumerate() {
            let [image, class] = [0, 1].map(|part| length >= (3 * number + part + 1) * ENTRY);
            assert_eq!(found.names.contains(name), image, "{name} in {length} bytes");
            if image {
                let (label, bytes) = original.image(name);
                assert_eq!(found.image(name), (label.filter(|_| class), bytes), "{name} in {length} bytes");
            }
        }
    }
}

#[test]
fn of_a_damaged_shard_each_image_that_ends_before_the_cut_remains_and_of_others_all() {
    let whole = fs::read(fixture("shards-000.tar")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("shards-001.tar"), folder.path().join("s-0.tar")).unwrap();
    fs::write(folder.path().join("s-1.tar"), &whole).unwrap();
    let pattern = folder.path().join("s-{0..1}.tar");
    let original = Seen::at(&pattern).unwrap();
    assert_eq!(
        original.labels,
        ["0", "class-4", "class-5", "0", "1", "0"].map(|class| Some(class.to_owned()))
    );
    for length in cuts(&whole) {
        fs::write(folder.path().join("s-1.tar"), &whole[..length]).unwrap();
        let found = Seen::at(&pattern).unwrap();
        // A sample is an image of 77 bytes and a class of 2.
        let ends = [0, 2, 4].map(|entry| (entry * ENTRY + 512 + 77, (entry + 1) * ENTRY + 512 + 2));
        let mut expected: Vec<&str> = original.names[..3].iter().map(String::as_str).collect();
        for name in &expected {
            assert_eq!(found.image(name), original.image(name), "{name}, of the whole shard");
        }
        for (name, (image, class)) in original.names[3..].iter().zip(ends) {
            if length >= image {
                expected.push(name);
                let (label, bytes) = original.image(name);
                let label = label.filter(|_| length >= class);
                assert_eq!(found.image(name), (label, bytes), "{name} in {length} bytes");
            }
        }
        if length % ENTRY != 0 && length < 6 * ENTRY + 512 {
            expected.push("s-1.tar/(lost images)");
            assert_eq!(found.image("s-1.tar/(lost images)"), (None, None), "{length} bytes");
        }
        assert_eq!(found.names, expected, "{length} bytes");
    }
}

#[test]
fn damaged_binary_files_are_survived() {
    let idx = [&[0, 0, 8, 3][..], &[0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1], &[1, 2, 3, 4]].concat();
    let cifar = [vec![4], vec![9; 3072]].concat();
    for (name, whole, header) in [("x-images-idx3-ubyte", idx, 16), ("x.bin", cifar, 1)] {
        let original = see(name, &whole).unwrap();
        with_each_flip(name, &whole, |position, found| {
            let Some(found) = found else { return assert!(position < header, "byte {position} of {name}") };
            assert_eq!(found.names, original.names);
            assert_eq!(found.labels == original.labels, position >= header, "byte {position} of {name}");
            let pixels = |seen: &Seen| seen.images.iter().flatten().flatten().copied().collect::<Vec<_>>();
            let (before, after) = (pixels(&original), pixels(&found));
            assert_eq!(before.len(), after.len(), "byte {position} of {name}");
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert_eq!(changed, usize::from(position >= header), "byte {position} of {name}");
        });
        for length in 0..whole.len() {
            assert!(see(name, &whole[..length]).is_none(), "{length} bytes of {name}");
        }
    }
}

/// Found by `fuzz/`: 1.2 GiB were taken for 128 bytes.
#[test]
fn webp_metadata_that_claims_to_be_longer_than_the_file_is_refused() {
    let mut bytes = fs::read(fixture("exif-rotated.webp")).unwrap();
    let exif = bytes.windows(4).position(|name| name == b"EXIF").unwrap();
    bytes[exif + 4..exif + 8].copy_from_slice(&0x7FFF_FFFEu32.to_le_bytes());
    let message = msn_data::decode(&bytes, &Limits::default()).unwrap_err().to_string();
    assert!(message.contains("a chunk of 2147483646 bytes, found 26"), "{message}");
}

/// Found by `fuzz/`: 2 GiB were reserved for a page of some hundred bytes.
#[test]
fn a_page_of_a_table_that_claims_to_unpack_to_far_more_than_it_has_is_refused() {
    let mut bytes = fs::read(fixture("hugging-face.parquet")).unwrap();
    // The header of the images' dictionary: kind 2, 243 bytes, 137 of them in the file; then 2^31 - 1 and 137 in its place.
    let header = [0x15, 0x04, 0x15, 0xE6, 0x03, 0x15, 0x92, 0x02];
    let lie = [0x15, 0x04, 0x15, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x15, 0x92, 0x02, 0x00];
    let page = bytes.windows(header.len()).position(|found| found == header).unwrap();
    bytes[page..page + lie.len()].copy_from_slice(&lie);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    fs::write(&path, &bytes).unwrap();
    let message = open(&path).unwrap().read(0, 1 << 20).unwrap_err().to_string();
    assert!(message.contains("at most 64 times its 137 bytes, found 2147483647 bytes"), "{message}");
}
