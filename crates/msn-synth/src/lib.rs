//! Draws an image set whose classes are kinds of shape and texture, and nothing else.
//!
//! A class is a silhouette and the pattern on its surface; `kinds.rs` has the table of them. Everything else about an
//! image is a nuisance, drawn by `scene.rs` without knowledge of the class: position, scale, rotation, phase and
//! spacing of the pattern, colours and which of them is the darker, background, lighting, an occluder and noise.
//! Raw pixels therefore say next to nothing of the class, and a texture or shape descriptor says much.
//!
//! ```
//! let config = msn_synth::SynthConfig { classes: 20, images_per_class: 300, size: 64, seed: 0 };
//! config.validate()?;
//! let image = msn_synth::draw(&config, 3, 17);
//! assert_eq!(image.dimensions(), (64, 64));
//! # Ok::<(), msn_synth::Error>(())
//! ```

mod config;
mod geometry;
mod kinds;
mod paint;
mod scene;
mod shape;
mod texture;

use image::RgbImage;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use config::{Error, SynthConfig};
pub use kinds::CLASSES;

/// Name of a class, usable as the name of a folder: `SHAPE-TEXTURE`, such as `star-stripes`. No two are equal.
///
/// # Panics
/// If `class >= CLASSES`.
pub fn class_name(class: usize) -> &'static str {
    kinds::KINDS[class].name
}

/// Draws one image, `config.size` pixels wide and high. Depends on (seed, class, index) and the size alone, so that
/// images may be drawn in any order and on any thread, and a larger set contains the smaller one.
///
/// # Panics
/// If `config` does not [validate](SynthConfig::validate), `class >= config.classes` or
/// `index >= config.images_per_class`.
pub fn draw(config: &SynthConfig, class: usize, index: usize) -> RgbImage {
    if let Err(error) = config.validate() {
        panic!("{error}");
    }
    assert!(class < config.classes, "class {class}: expected less than {}", config.classes);
    assert!(index < config.images_per_class, "index {index}: expected less than {}", config.images_per_class);
    let mut rng = image_rng(config.seed, class, index);
    let scene = scene::Scene::sample(&mut rng);
    paint::paint(&scene, &kinds::KINDS[class], config.size as u32, &mut rng)
}

/// The random numbers of one image. The key of the cipher is the identity of the image itself, so that no two images
/// of any two sets share a stream.
fn image_rng(seed: u64, class: usize, index: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(class as u64).to_le_bytes());
    key[16..24].copy_from_slice(&(index as u64).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}
