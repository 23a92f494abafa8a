//! The entry of all decoders.
#![no_main]

use libfuzzer_sys::fuzz_target;
use msn_data::decode;
use msn_fuzz::{LIMITS, let_panics_be_caught};

fuzz_target!(|bytes: &[u8]| {
    let_panics_be_caught();
    if let Ok(image) = decode(bytes, &LIMITS) {
        let pixels = u64::from(image.width()) * u64::from(image.height());
        assert!(pixels <= LIMITS.max_pixels, "{} x {}", image.width(), image.height());
        assert_eq!(image.pixels().len() as u64, 3 * pixels);
    }
});
