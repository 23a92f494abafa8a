//! Any bytes as a file: the zip archive, the old format of PyTorch, safetensors.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use msn_store::ForeignFile;

fuzz_target!(|bytes: &[u8]| {
    let length = bytes.len() as u64;
    let Ok(mut file) = ForeignFile::read_from(Path::new("fuzz"), Cursor::new(bytes.to_vec()), length) else {
        return;
    };
    for (section, shapes) in file.shapes() {
        let _ = file.read(&section, shapes.keys().map(String::as_str));
    }
});
