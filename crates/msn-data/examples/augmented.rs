//! What the augmentations of fine-tuning make of the first ten images of a source, and how long they take:
//!
//! ```sh
//! cargo run --release -p msn-data --example augmented -- PATH > sheet.png
//! ```
//!
//! From top to bottom: random crops, with RandAugment, with random erasing as well, and the batch mixed at last.

use std::path::Path;
use std::time::Instant;

use msn_data::{
    EvalConfig, EvalTransform, Image, Limits, Mixing, Normalization, RandAugment, RandomCrops, RandomErasing,
    encode_picture, load_crops,
};

const SIZE: usize = 224;
const IMAGES: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("expected a path")?;
    let dataset = msn_data::open(Path::new(&path))?;
    let normalization = Normalization::default();
    let transform = EvalTransform { resize: None, crop: SIZE, normalization };
    let config =
        EvalConfig { transform, corruption: None, batch_size: IMAGES, workers: 1, limits: Limits::default() };
    let all: Vec<usize> = (0..dataset.len()).collect();
    let plain = RandomCrops {
        scale: [0.08, 1.0],
        flip: 0.5,
        rotation: 0.0,
        rand_augment: None,
        erasing: None,
        seed: 0,
        epoch: 0,
    };
    let augmented = RandomCrops { rand_augment: Some(RandAugment::default()), ..plain };
    let erased = RandomCrops { erasing: Some(RandomErasing::default()), ..augmented };

    let mut rows = Vec::new();
    for (name, crops) in [("crops", plain), ("with RandAugment", augmented), ("and erasing", erased)] {
        let started = Instant::now();
        let mut batches = Vec::new();
        load_crops(&*dataset, &all, &config, &crops, |batch| {
            batches.push(batch.pixels);
            Ok::<(), msn_data::Error>(())
        })?;
        let time = started.elapsed().as_secs_f64() * 1e3 / all.len() as f64;
        eprintln!("{name}: {time:.3} ms an image, with reading and decoding it");
        rows.push(batches.swap_remove(0));
    }
    let mut mixed = rows[2].clone();
    Mixing::default().draw(SIZE, 0, 0, 0).apply(&mut mixed, SIZE);
    rows.push(mixed);

    let picture = encode_picture(&sheet(&rows, &normalization));
    std::io::Write::write_all(&mut std::io::stdout(), &picture)?;
    Ok(())
}

/// rows: `[images, 3, SIZE, SIZE]` each.
fn sheet(rows: &[Vec<f32>], normalization: &Normalization) -> Image {
    let columns = rows[0].len() / (3 * SIZE * SIZE);
    let (width, height) = (columns * SIZE, rows.len() * SIZE);
    let level = |row: usize, x: usize, channel: usize| {
        let place = ((x / SIZE * 3 + channel) * SIZE + row % SIZE) * SIZE + x % SIZE;
        let value = rows[row / SIZE][place] * normalization.std[channel] + normalization.mean[channel];
        (255.0 * value).round() as u8
    };
    let pixels = (0..height).flat_map(|row| (0..3 * width).map(move |i| level(row, i / 3, i % 3))).collect();
    Image::new(width as u32, height as u32, pixels)
}
