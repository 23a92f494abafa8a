//! Images a second from encoded bytes in memory to normalised views, with the share of each stage.
//!
//! `cargo bench -p msn-data --bench views`: the paper's recipe on photographs (1 target and 1 large anchor of 224 px,
//! 10 focal views of 96 px) and the 32-pixel recipe on CIFAR-10 (1 target, 1 large anchor, 4 focal views of 16 px),
//! from the archives in `../shared/data`; what is missing is left out. `bench/views.sh` compares with torchvision.
//!
//! With `-- --serve CONFIG --threads N`: one pass over the images, on each of N threads, for every line of input;
//! answers with a line of JSON, the first one when it is ready.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, io, thread};

use msn_data::rng::Rng;
use msn_data::{Image, Limits, Normalization, Scratch, ViewParams, Views, decode_into, open, render};

const ROUNDS: usize = 7;

/// What is measured, as in bench/views.py.
struct Case {
    name: &'static str,
    views: Views,
    encoded: Vec<Vec<u8>>,
}

/// Name, archive, images, sides of large and focal views, number of focal views.
const CASES: [(&str, &str, usize, usize, usize, usize); 2] = [
    ("imagenet-224", "imagenet-sample-200.tar", 200, 224, 96, 10),
    ("cifar-32", "cifar10-test.tar", 1000, 32, 16, 4),
];

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).map(|at| arguments[at + 1].as_str());
    let serve = value("--serve");
    for (name, file, images, random_size, focal_size, focal_views) in CASES {
        if serve.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let views = Views { random_size, focal_size, focal_views, ..Views::default() };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
        let data = match open(&path) {
            Ok(data) => data,
            Err(error) => {
                println!("{name}: left out: {error}");
                continue;
            }
        };
        // Evenly spaced, so that all classes of a sorted archive occur.
        let read = |i| data.read(i * (data.len() / images), usize::MAX).expect("a whole archive");
        let case = Case { name, views, encoded: (0..images).map(read).collect() };
        match serve {
            Some(_) => {
                answer(&case, value("--threads").map_or(1, |n| n.parse().expect("a number of threads")))
            }
            None => report(&case),
        }
    }
}

fn answer(case: &Case, threads: usize) {
    black_box(pass(case));
    println!("{{\"ready\":\"{}\"}}", case.name);
    for _ in io::stdin().lines() {
        println!("{{\"seconds\":{}}}", on_threads(case, threads).as_secs_f64());
    }
}

fn report(case: &Case) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let median = |threads| {
        let mut rounds = [0; ROUNDS].map(|_| on_threads(case, threads));
        rounds.sort();
        (threads * case.encoded.len()) as f64 / rounds[ROUNDS / 2].as_secs_f64()
    };
    let (one, all) = (median(1), median(cores));
    let views = case.views.count() as f64;
    println!(
        "{}: {one:.0} images/s, {:.0} views/s on one thread, {all:.0} images/s on {cores}",
        case.name,
        one * views
    );
    let stages = stages(case);
    let total: Duration = stages.iter().map(|(_, time)| time).sum();
    for (stage, time) in stages {
        let micros = time.as_secs_f64() * 1e6 / case.encoded.len() as f64;
        println!(
            "  {stage:<30} {micros:8.1} us an image {:5.1}%",
            100.0 * time.as_secs_f64() / total.as_secs_f64()
        );
    }
    println!(
        "  floor: the decoder alone, {:.0} images/s",
        case.encoded.len() as f64 / stages[0].1.as_secs_f64()
    );
}

/// One pass over the images on each of the threads.
fn on_threads(case: &Case, threads: usize) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(|| black_box(pass(case)))));
    });
    started.elapsed()
}

/// Decodes all images and renders all their views; the last value, so that none can be left out.
fn pass(case: &Case) -> f32 {
    let (mut image, mut scratch, mut out) = (Image::default(), Scratch::default(), Vec::new());
    for (index, bytes) in case.encoded.iter().enumerate() {
        decode_into(bytes, &Limits::default(), &mut image).expect("the archive holds good images");
        for (size, params) in drawn(&case.views, &image, index) {
            draw(&image, &params, size, &mut scratch, &mut out);
        }
    }
    out[0]
}

fn draw(image: &Image, params: &ViewParams, size: usize, scratch: &mut Scratch, out: &mut Vec<f32>) {
    out.resize(3 * size * size, 0.0);
    render(image, params, size, &Normalization::default(), scratch, out);
    black_box(out);
}

/// The size and the parameters of each view.
fn drawn<'a>(
    views: &'a Views,
    image: &Image,
    index: usize,
) -> impl Iterator<Item = (usize, ViewParams)> + use<'a> {
    let (width, height) = (image.width(), image.height());
    (0..views.count()).map(move |view| {
        let kind = views.kind(view);
        let mut rng = Rng::for_view(0, 0, index, view as u32);
        (views.size(kind), ViewParams::sample(views, kind, width, height, &mut rng))
    })
}

/// The time of each stage: what it adds to the stages before it, for each image the least of all rounds.
fn stages(case: &Case) -> [(&'static str, Duration); 4] {
    let (mut image, mut scratch, mut out) = (Image::default(), Scratch::default(), Vec::new());
    let mut sums = [Duration::ZERO; 4];
    for (index, bytes) in case.encoded.iter().enumerate() {
        let mut least = [Duration::MAX; 4];
        for _ in 0..ROUNDS {
            let mut time = |at: usize, run: &mut dyn FnMut()| {
                let started = Instant::now();
                run();
                least[at] = least[at].min(started.elapsed());
            };
            time(0, &mut || decode_into(bytes, &Limits::default(), &mut image).expect("as before"));
            let whole: Vec<_> = drawn(&case.views, &image, index).collect();
            for (at, keep) in [(1, [false, false]), (2, [true, false]), (3, [true, true])] {
                time(at, &mut || {
                    for (size, params) in &whole {
                        let mut params = params.clone();
                        if !keep[0] {
                            (params.jitter, params.grayscale) = (None, false);
                        }
                        params.blur = params.blur.filter(|_| keep[1]);
                        draw(&image, &params, *size, &mut scratch, &mut out);
                    }
                });
            }
        }
        let [decode, bare, colored, all] = least;
        let added = [decode, bare, colored.saturating_sub(bare), all.saturating_sub(colored)];
        sums.iter_mut().zip(added).for_each(|(sum, time)| *sum += time);
    }
    let names = ["decode", "crop, resize, flip, normalise", "colour", "blur"];
    std::array::from_fn(|i| (names[i], sums[i]))
}
