//! Corruptions against values worked out by hand.

use msn_data::{Corruption, CorruptionKind, SEVERITIES};

fn corrupt(kind: CorruptionKind, severity: usize, rgb: &[u8], image: usize) -> Vec<u8> {
    let mut out = rgb.to_vec();
    let side = (rgb.len() / 3).isqrt();
    Corruption { kind, severity }.apply(&mut out, side, image);
    out
}

/// Smooth waves with some texture on them.
fn picture(side: usize) -> Vec<u8> {
    let value = |i: usize| {
        let (x, y, c) = (i / 3 % side, i / 3 / side, i % 3);
        let wave = (x as f64 / 9.0 + c as f64).sin() * 60.0 + (y as f64 / 5.0).cos() * 40.0;
        (120.0 + wave + ((x * 7 + y * 11) % 13) as f64) as u8
    };
    (0..3 * side * side).map(value).collect()
}

fn squared_change(before: &[u8], after: &[u8]) -> f64 {
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    before.iter().zip(after).map(square).sum::<f64>() / before.len() as f64
}

#[test]
fn a_higher_severity_changes_more() {
    for side in [32, 96] {
        let picture = picture(side);
        for kind in CorruptionKind::ALL {
            let changes: Vec<f64> = (1..=SEVERITIES)
                .map(|severity| squared_change(&picture, &corrupt(kind, severity, &picture, 0)))
                .collect();
            // JPEG at two neighbouring qualities may round alike in a picture this small.
            let grows = changes.windows(2).all(|pair| pair[0] <= pair[1] * 1.05);
            assert!(grows && changes[0] < changes[4], "{} at {side} px: {changes:?}", kind.name());
        }
    }
}

#[test]
fn noise_has_the_deviation_of_its_severity_and_is_the_same_each_time() {
    let grey = vec![128u8; 3 * 64 * 64];
    for (severity, deviation) in [(1, 0.08), (2, 0.12)] {
        let noisy = corrupt(CorruptionKind::Noise, severity, &grey, 7);
        let found = squared_change(&grey, &noisy).sqrt() / 255.0;
        // 12,288 draws: the deviation's own deviation is 0.6% of it; five of those, and rounding to bytes.
        assert!((found / deviation - 1.0).abs() < 0.035, "{found} {deviation}");
        assert_eq!(corrupt(CorruptionKind::Noise, severity, &grey, 7), noisy);
        assert_ne!(corrupt(CorruptionKind::Noise, severity, &grey, 8), noisy);
    }
}

#[test]
fn a_blurred_point_has_the_variance_of_the_kernel() {
    let side = 224;
    let mut point = vec![0u8; 3 * side * side];
    point[(112 * side + 112) * 3] = 255;
    // Severity 2: a deviation of 2 pixels at 224 pixels. A single point of 255 spreads to at most 255 / (8 pi) = 10,
    // which rounding to bytes would spoil: a filled square of 41 pixels has enough light, and a variance of its own,
    // (41^2 - 1) / 12.
    for y in 92..133 {
        for x in 92..133 {
            point[(y * side + x) * 3] = 255;
        }
    }
    let blurred = corrupt(CorruptionKind::Blur, 2, &point, 0);
    let light = |x: usize| (0..side).map(|y| f64::from(blurred[(y * side + x) * 3])).sum::<f64>();
    let total: f64 = (0..side).map(light).sum();
    let variance = (0..side).map(|x| light(x) * (x as f64 - 112.0).powi(2)).sum::<f64>() / total;
    let expected = (41.0 * 41.0 - 1.0) / 12.0 + 4.0;
    // Rounding to bytes loses up to half a unit in the tails.
    assert!((variance - expected).abs() < 0.1, "{variance} {expected}");
    assert!(blurred.chunks(3).all(|pixel| pixel[1] == 0), "channels stay apart");
    let even = vec![77u8; 3 * 16 * 16];
    assert_eq!(
        corrupt(CorruptionKind::Blur, 5, &even, 0),
        even,
        "an even image has nothing to blur, at its borders as well"
    );
}

#[test]
fn contrast_shrinks_towards_the_mean_of_each_channel() {
    // Means 100, 50, 0; severity 1 keeps 0.4 of the distance.
    let image = [[90, 50, 0], [110, 50, 0], [60, 0, 0], [140, 100, 0]].concat();
    let expected = [[96, 50, 0], [104, 50, 0], [84, 30, 0], [116, 70, 0]].concat();
    assert_eq!(corrupt(CorruptionKind::Contrast, 1, &image, 0), expected);
}

#[test]
fn brightness_keeps_the_ratio_of_the_channels() {
    // Severity 5 adds 0.5 = 127.5 to the largest channel: 102 -> 229.5, black -> grey, white stays.
    let image = [[102, 51, 0], [0, 0, 0], [255, 255, 255], [200, 100, 50]].concat();
    let expected = [[230, 115, 0], [128, 128, 128], [255, 255, 255], [255, 128, 64]].concat();
    assert_eq!(corrupt(CorruptionKind::Brightness, 5, &image, 0), expected);
}

#[test]
fn pixelate_puts_means_of_blocks_in_their_place() {
    // Severity 2: half the side. Blocks of 2 x 2 with means 10, 20, 30, 40.
    let grey = |values: [u8; 16]| values.into_iter().flat_map(|v| [v, v, v]).collect::<Vec<u8>>();
    #[rustfmt::skip]
    let image = grey([
        8, 12, 20, 20,
        10, 10, 16, 24,
        30, 30, 40, 40,
        28, 32, 39, 41,
    ]);
    #[rustfmt::skip]
    let expected = grey([
        10, 10, 20, 20,
        10, 10, 20, 20,
        30, 30, 40, 40,
        30, 30, 40, 40,
    ]);
    assert_eq!(corrupt(CorruptionKind::Pixelate, 2, &image, 0), expected);
    assert_eq!(corrupt(CorruptionKind::Pixelate, 5, &[9, 8, 7], 0), [9, 8, 7], "one pixel stays one");
}
