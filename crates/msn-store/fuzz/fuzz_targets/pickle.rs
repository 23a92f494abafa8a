//! Any bytes as the pickle of a file in PyTorch's old format, with room for storages after it.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use msn_store::ForeignFile;

/// The magic number, the version, and an empty dictionary of facts.
const START: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

/// A list of one key, `0`, and its storage of four floats.
const END: &[u8] = b"\x80\x02]X\x01\0\0\00a.\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fuzz_target!(|pickle: &[u8]| {
    let bytes = [START, pickle, END].concat();
    let length = bytes.len() as u64;
    let Ok(mut file) = ForeignFile::read_from(Path::new("fuzz"), Cursor::new(bytes), length) else { return };
    for (section, shapes) in file.shapes() {
        let _ = file.read(&section, shapes.keys().map(String::as_str));
    }
});
