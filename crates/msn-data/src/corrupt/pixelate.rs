//! Larger pixels. Strength: the side of the coarse image as a part of the side.

pub(super) fn apply(rgb: &mut [u8], side: usize, factor: f64) {
    let coarse = ((side as f64 * factor) as usize).max(1);
    let spans = spans(side, coarse);
    let mut means = vec![0u8; 3 * coarse * coarse];
    for (y, rows) in spans.iter().enumerate() {
        for (x, columns) in spans.iter().enumerate() {
            for c in 0..3 {
                let (mut sum, mut area) = (0.0, 0.0);
                for &(row, height) in rows {
                    for &(column, width) in columns {
                        sum += height * width * f64::from(rgb[(row * side + column) * 3 + c]);
                        area += height * width;
                    }
                }
                means[(y * coarse + x) * 3 + c] = (sum / area).round() as u8;
            }
        }
    }
    let source = |place: usize| (2 * place + 1) * coarse / (2 * side);
    for y in 0..side {
        for x in 0..side {
            let from = (source(y) * coarse + source(x)) * 3;
            rgb[(y * side + x) * 3..][..3].copy_from_slice(&means[from..from + 3]);
        }
    }
}

/// For each coarse pixel the fine pixels under it, with the length that they share.
fn spans(side: usize, coarse: usize) -> Vec<Vec<(usize, f64)>> {
    let width = side as f64 / coarse as f64;
    let of = |place: usize| {
        let (start, end) = (place as f64 * width, (place + 1) as f64 * width);
        let fine = start as usize..(end.ceil() as usize).min(side);
        fine.map(|i| (i, end.min((i + 1) as f64) - start.max(i as f64))).collect()
    };
    (0..coarse).map(of).collect()
}
