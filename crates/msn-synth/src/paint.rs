//! A kind and a scene to pixels.

use image::{Rgb as Pixel, RgbImage};
use rand::Rng;

use crate::geometry::{Vec2, coverage, segment_distance};
use crate::kinds::Kind;
use crate::scene::{Ground, Light, Occluder, Rgb, Scene};

/// Width of the line of ink around the silhouette, as a fraction of the object's radius. It shows the shape whatever
/// the pattern does at the edge.
const RIM: f32 = 0.09;

/// Paints `kind` under the conditions of `scene`, `size` pixels wide and high; `rng` gives the noise.
pub(crate) fn paint(scene: &Scene, kind: &Kind, size: u32, rng: &mut impl Rng) -> RgbImage {
    let pixel = 1.0 / size as f32;
    let to_point = |i: u32| (i as f32 + 0.5) * pixel - 0.5;
    RgbImage::from_fn(size, size, |column, row| {
        let p = Vec2::new(to_point(column), to_point(row));
        let mut colour = scene.ground.colour_at(p, pixel);
        scene.cover_with_object(&mut colour, kind, p, pixel);
        if let Some(occluder) = &scene.occluder {
            occluder.cover(&mut colour, p, pixel);
        }
        let gain = scene.light.gain_at(p);
        Pixel(colour.map(|c| quantize(c * gain + scene.noise * unit_noise(rng))))
    })
}

impl Scene {
    fn cover_with_object(&self, colour: &mut Rgb, kind: &Kind, p: Vec2, pixel: f32) {
        let on_object = self.object.local(p);
        let outline = kind.shape.distance(on_object);
        // Distances are scaled by the frames they were taken in, pixels are scaled the other way.
        let object_pixel = pixel / self.object.unit;
        let visible = coverage(outline, object_pixel);
        if visible == 0.0 {
            return;
        }
        let period = kind.texture.period();
        let pattern = kind.texture.distance(self.surface.local(on_object).times(1.0 / period));
        let pattern = pattern * period * self.surface.unit;
        let ink = coverage(pattern.min(-RIM - outline), object_pixel);
        blend(colour, mix(self.paper, self.ink, ink), visible);
    }
}

impl Ground {
    fn colour_at(&self, p: Vec2, pixel: f32) -> Rgb {
        let blots = self.clutter.iter().map(|blot| {
            let distance = p.minus(blot.centre).length() - blot.radius;
            blot.change * coverage(distance, pixel)
        });
        let change = p.dot(self.slope) + blots.sum::<f32>();
        self.colour.map(|c| c + change)
    }
}

impl Light {
    fn gain_at(&self, p: Vec2) -> f32 {
        self.gain + p.dot(self.slope)
    }
}

impl Occluder {
    fn cover(&self, colour: &mut Rgb, p: Vec2, pixel: f32) {
        let distance = segment_distance(p, self.from, self.to) - self.radius;
        blend(colour, self.colour, coverage(distance, pixel));
    }
}

/// `top` over `bottom`, where `top` covers the fraction `cover`.
fn blend(bottom: &mut Rgb, top: Rgb, cover: f32) {
    *bottom = mix(*bottom, top, cover);
}

fn mix(a: Rgb, b: Rgb, part_of_b: f32) -> Rgb {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * part_of_b)
}

/// A draw of zero mean and unit variance: the sum of two uniform ones, near enough to a Gaussian for noise that is
/// rounded to 256 levels, and without its logarithms.
fn unit_noise(rng: &mut impl Rng) -> f32 {
    // Each term has variance 1/12.
    let sum = rng.random::<f32>() + rng.random::<f32>() - 1.0;
    sum * 6f32.sqrt()
}

fn quantize(value: f32) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}
