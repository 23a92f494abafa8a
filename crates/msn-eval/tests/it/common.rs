//! Data for tests.
#![allow(clippy::disallowed_methods, reason = "tests write the files that are read")]

use std::path::Path;

use image::{Rgb, RgbImage};
use msn_eval::{Features, Labelled};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Roughly normal: the sum of 12 uniform numbers less 6.
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| rng.next_u32() as f32 / u32::MAX as f32).sum::<f32>() - 6.0
}

/// Rows around one centre a class, class by class, `per_class` each. The centres are the same for every `seed`.
pub(crate) fn clusters(classes: usize, per_class: usize, dim: usize, noise: f32, seed: u64) -> Features {
    let mut centres_rng = ChaCha8Rng::seed_from_u64(1);
    let centres: Vec<f32> = (0..classes * dim).map(|_| normal(&mut centres_rng)).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut data = Vec::new();
    for centre in centres.chunks(dim) {
        for _ in 0..per_class {
            data.extend(centre.iter().map(|c| c + noise * normal(&mut rng)));
        }
    }
    Features::new(classes * per_class, dim, data).expect("finite and of the right length")
}

/// 0, 0, .., 1, 1, .. as the rows of [`clusters`].
pub(crate) fn labels(classes: usize, per_class: usize) -> Vec<usize> {
    (0..classes * per_class).map(|i| i / per_class).collect()
}

/// The same as names whose order is that of the numbers.
pub(crate) fn names(labels: &[usize]) -> Vec<String> {
    labels.iter().map(|class| format!("class{class:03}")).collect()
}

pub(crate) fn labelled(classes: usize, per_class: usize, dim: usize, noise: f32, seed: u64) -> Labelled {
    let features = clusters(classes, per_class, dim, noise, seed);
    Labelled::new(features, names(&labels(classes, per_class))).expect("one label a row")
}

/// Runs `work` on a pool of `threads` threads.
pub(crate) fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start").install(work)
}

/// Images of 8 px, red at the top, at the bottom or nowhere by class, each a little different.
pub(crate) fn images(folder: &Path, per_class: u32) {
    for class in 0..3u32 {
        let folder = folder.join(format!("class{class}"));
        std::fs::create_dir_all(&folder).unwrap();
        for number in 0..per_class {
            let image = RgbImage::from_fn(8, 8, |x, y| {
                let noise = ((x * 7 + y * 13 + number * 31) % 40) as u8;
                let red = class < 2 && (y < 4) == (class == 0);
                Rgb([if red { 200 } else { 20 } + noise, 60 + noise, 90])
            });
            image.save(folder.join(format!("{number:02}.png"))).unwrap();
        }
    }
}
