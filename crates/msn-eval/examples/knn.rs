//! Times exact nearest neighbours on random rows.
//!
//!     knn TRAINING_ROWS TEST_ROWS COLUMNS
//!
//! Prints one line of JSON: seconds, similarities a second, and the largest memory of the process, MiB.

use std::time::Instant;

use msn_eval::{Features, Knn, Labelled};
use rayon::prelude::*;

const CLASSES: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [train_rows, test_rows, dim] = arguments[..] else {
        return Err("expected TRAINING_ROWS TEST_ROWS COLUMNS".into());
    };
    let (train, test) = (rows(train_rows, dim, 1)?, rows(test_rows, dim, 2)?);
    let before = peak_mib();
    let start = Instant::now();
    let scores = Knn::default().run(&train, &test)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = serde_json::json!({
        "training_rows": train_rows,
        "test_rows": test_rows,
        "columns": dim,
        "k": scores.iter().map(|score| score.k).collect::<Vec<_>>(),
        "seconds": seconds,
        "similarities_a_second": train_rows as f64 * test_rows as f64 / seconds,
        "peak_mib_before": before,
        "peak_mib": peak_mib(),
    });
    println!("{report}");
    Ok(())
}

/// Uniform noise and labels in turn.
fn rows(rows: usize, dim: usize, seed: u64) -> Result<Labelled, msn_eval::Error> {
    let mut data = vec![0.0; rows * dim];
    data.par_iter_mut().enumerate().for_each(|(i, x)| *x = noise(i as u64 ^ (seed << 48)));
    let labels = (0..rows).map(|row| format!("{:03}", row % CLASSES)).collect();
    Labelled::new(Features::new(rows, dim, data)?, labels)
}

/// A number in [-1, 1) that looks random (the finaliser of SplitMix64).
fn noise(i: u64) -> f32 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 40) as f32) * (2.0 / (1u32 << 24) as f32) - 1.0
}

/// Largest memory of this process so far, MiB; `None` where the system does not say.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
