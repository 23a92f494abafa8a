//! Images and views a second on one thread, decoding included, with the share of each stage.
//!
//! `cargo bench -p msn-data --bench views`: the paper's recipe on photographs (1 target and 1 large anchor of 224 px,
//! 10 focal views of 96 px) and the 32-pixel recipe on CIFAR-10 (1 target, 1 large anchor, 4 focal views of 16 px),
//! from the archives in `../shared/data`; what is missing is left out.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use msn_data::rng::Rng;
use msn_data::{
    Dataset, Image, Limits, Normalization, Scratch, ViewParams, Views, decode_into, open, render,
};

const ROUNDS: usize = 7;

/// What one pass over the images took.
#[derive(Clone, Copy, Default)]
struct Times {
    decode: Duration,
    /// Crop, resize, flip, normalise: what every view goes through.
    resize: Duration,
    color: Duration,
    blur: Duration,
}

impl Times {
    fn total(&self) -> Duration {
        self.decode + self.resize + self.color + self.blur
    }
}

fn main() {
    let small = Views { random_size: 32, focal_size: 16, focal_views: 4, ..Views::default() };
    for (name, file, images, views) in [
        ("imagenet-224", "imagenet-sample-200.tar", 200, Views::default()),
        ("cifar-32", "cifar10-test.tar", 4000, small),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
        match open(&path) {
            Ok(dataset) => report(name, &*dataset, images, &views),
            Err(error) => println!("{name}: left out: {error}"),
        }
    }
}

fn report(name: &str, dataset: &dyn Dataset, images: usize, views: &Views) {
    let stride = dataset.len() / images;
    let encoded: Vec<Vec<u8>> =
        (0..images).map(|i| dataset.read(i * stride, usize::MAX).expect("the archive is whole")).collect();
    let mut rounds: Vec<Times> = (0..ROUNDS as u64).map(|epoch| pass(&encoded, views, epoch)).collect();
    rounds.sort_by_key(Times::total);
    let median = rounds[ROUNDS / 2];
    let (fastest, slowest) = (rounds[0].total(), rounds[ROUNDS - 1].total());
    let per_second = |total: Duration| images as f64 / total.as_secs_f64();
    println!(
        "{name}: {:.0} images/s, {:.0} views/s on one thread (median of {ROUNDS}; {:.0} to {:.0} images/s)",
        per_second(median.total()),
        per_second(median.total()) * views.count() as f64,
        per_second(slowest),
        per_second(fastest),
    );
    for (stage, time) in [
        ("decode", median.decode),
        ("crop, resize, flip, normalise", median.resize),
        ("colour", median.color),
        ("blur", median.blur),
    ] {
        let micros = time.as_secs_f64() * 1e6 / images as f64;
        let share = time.as_secs_f64() / median.total().as_secs_f64() * 100.0;
        println!("  {stage:<30} {micros:8.1} us an image {share:5.1}%");
    }
}

/// Renders all views of all images; a stage's time is what it adds to the stages before it.
fn pass(encoded: &[Vec<u8>], views: &Views, epoch: u64) -> Times {
    let (limits, normalization) = (Limits::default(), Normalization::default());
    let (mut image, mut scratch) = (Image::default(), Scratch::default());
    let mut out = vec![0.0; 3 * views.random_size * views.random_size];
    let mut times = Times::default();
    for (index, bytes) in encoded.iter().enumerate() {
        let started = Instant::now();
        decode_into(bytes, &limits, &mut image).expect("the archive holds good images");
        times.decode += started.elapsed();
        let whole: Vec<(usize, ViewParams)> = (0..views.count())
            .map(|view| {
                let kind = views.kind(view);
                let mut rng = Rng::for_view(0, epoch, index, view as u32);
                (views.size(kind), ViewParams::sample(views, kind, image.width(), image.height(), &mut rng))
            })
            .collect();
        let sharp: Vec<_> =
            whole.iter().map(|(size, p)| (*size, ViewParams { blur: None, ..p.clone() })).collect();
        let plain = |p: &ViewParams| ViewParams { jitter: None, grayscale: false, ..p.clone() };
        let bare: Vec<_> = sharp.iter().map(|(size, p)| (*size, plain(p))).collect();
        let mut time = |drawn: &[(usize, ViewParams)]| {
            let started = Instant::now();
            for (size, params) in drawn {
                let place = &mut out[..3 * size * size];
                render(&image, params, *size, &normalization, &mut scratch, place);
                black_box(place);
            }
            started.elapsed()
        };
        let [all, without_blur, without_color] = [time(&whole), time(&sharp), time(&bare)];
        times.resize += without_color;
        times.color += without_blur.saturating_sub(without_color);
        times.blur += all.saturating_sub(without_blur);
    }
    times
}
