//! Parquet tables.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| msn_fuzz::read_source("x.parquet", bytes));
