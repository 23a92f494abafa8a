//! IDX files with their labels: the first byte says how many bytes the file of labels has.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (labels, images) = rest.split_at(usize::from(*length).min(rest.len()));
    msn_fuzz::write("train-labels-idx1-ubyte", labels);
    msn_fuzz::read_source("train-images-idx3-ubyte", images);
});
