//! The entry of all decoders. Samples of 16 bits are spread from the narrowest range in half of the files, by their length:
//! the bytes themselves are all the image's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use msn_data::{Limits, decode};
use msn_fuzz::{LIMITS, let_panics_be_caught};

fuzz_target!(|bytes: &[u8]| {
    let_panics_be_caught();
    let limits = if bytes.len().is_multiple_of(2) { LIMITS } else { Limits { levels: [300, 301], ..LIMITS } };
    if let Ok(image) = decode(bytes, &limits) {
        let pixels = u64::from(image.width()) * u64::from(image.height());
        assert!(pixels <= LIMITS.max_pixels, "{} x {}", image.width(), image.height());
        assert_eq!(image.pixels().len() as u64, 3 * pixels);
    }
});
