//! Damaged files of every source: an error or a broken image, never a panic, a hang or a full memory.

use std::fs;
use std::path::Path;

use msn_data::{Limits, check_image, open};

use crate::common::fixture;

/// Opens a file and reads all that it claims to hold; true if all of it could be used.
fn is_whole(path: &Path) -> bool {
    let limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20, ..Limits::default() };
    let Ok(dataset) = open(path) else { return false };
    assert!(dataset.len() < 1000, "{} claims {} images", path.display(), dataset.len());
    (0..dataset.len()).filter(|&i| check_image(&*dataset, i, &limits).unwrap().is_some()).count() == 0
}

fn survives(name: &str, whole: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut broken = 0;
    let mut check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        broken += usize::from(!is_whole(&path));
    };
    for position in 0..whole.len().min(4600) {
        // Small numbers become large ones and the other way round.
        let mut bytes = whole.to_vec();
        bytes[position] ^= [0x01, 0x80, 0xFF][position % 3];
        check(&bytes);
    }
    for length in (0..whole.len()).step_by(61) {
        check(&whole[..length]);
    }
    assert!(broken > 0, "some of these bytes matter");
}

#[test]
fn damaged_tables_are_survived() {
    survives("x.parquet", &fs::read(fixture("hugging-face.parquet")).unwrap());
    survives("x.parquet", &fs::read(fixture("plain.parquet")).unwrap());
}

#[test]
fn damaged_archives_are_survived() {
    let whole = fs::read(fixture("shards-001.tar")).unwrap();
    survives("x.tar", &whole);
}

#[test]
fn damaged_shards_are_survived() {
    let whole = fs::read(fixture("shards-002.tar")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("shards-000.tar"), folder.path().join("s-0.tar")).unwrap();
    for length in (0..whole.len()).step_by(101) {
        fs::write(folder.path().join("s-1.tar"), &whole[..length]).unwrap();
        let _ = is_whole(&folder.path().join("s-{0..1}.tar"));
    }
}

#[test]
fn damaged_binary_files_are_survived() {
    let idx = [&[0, 0, 8, 3][..], &[0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1], &[1, 2, 3, 4]].concat();
    survives("x-images-idx3-ubyte", &idx);
    survives("x.bin", &[vec![4], vec![9; 3072]].concat());
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
