//! Times the regression on a matrix of a file, for `bench/logistic.sh`.
//!
//!     logistic FILE COLUMNS IMAGES_PER_CLASS LAMBDA
//!
//! FILE: rows of little-endian 32-bit floats, class by class. Prints one line of JSON.

use std::time::Instant;

use msn_eval::{Features, LogisticRegression};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, columns, per_class, lambda] = &arguments[..] else {
        return Err("expected FILE COLUMNS IMAGES_PER_CLASS LAMBDA".into());
    };
    let (columns, per_class): (usize, usize) = (columns.parse()?, per_class.parse()?);
    let bytes = std::fs::read(file)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let features = Features::new(values.len() / columns, columns, values)?;
    let labels: Vec<usize> = (0..features.rows()).map(|row| row / per_class).collect();
    let classes = features.rows() / per_class;
    let start = Instant::now();
    let fit = LogisticRegression::new(lambda.parse()?).fit(&features, &labels, classes)?;
    let report = serde_json::json!({
        "seconds": start.elapsed().as_secs_f64(),
        "objective": fit.objective,
        "relative_gradient_norm": fit.relative_gradient_norm,
        "iterations": fit.iterations,
        "converged": fit.converged,
    });
    println!("{report}");
    Ok(())
}
