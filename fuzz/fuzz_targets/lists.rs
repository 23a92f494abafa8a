//! Lists of paths: text, and tables of path and label.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    msn_fuzz::read_source("list.txt", bytes);
    msn_fuzz::read_source("list.csv", bytes);
});
