//! The nuisances: everything about an image that its class does not decide.

use std::f32::consts::TAU;

use rand::Rng;

use crate::geometry::{Frame, Vec2};

/// Red, green and blue, [0, 1].
pub(crate) type Rgb = [f32; 3];

/// Largest rotation of the object in the image, and of the pattern on the object, either way, in radians (30 degrees).
/// A free rotation would make the direction of the pattern, the same in every crop of an image, a stronger cue for
/// telling images apart than the pattern itself.
const TURN: f32 = TAU / 12.0;

/// One draw of all nuisances. Lengths are fractions of the image's side, with the origin in the middle of the image.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Of the object: its centre, its rotation and its radius.
    pub(crate) object: Frame,
    /// Of the pattern, in the object's frame: phase, rotation and spacing relative to the texture's own.
    pub(crate) surface: Frame,
    pub(crate) ink: Rgb,
    pub(crate) paper: Rgb,
    pub(crate) ground: Ground,
    pub(crate) light: Light,
    pub(crate) occluder: Option<Occluder>,
    /// Standard deviation of the noise of each channel of each pixel.
    pub(crate) noise: f32,
}

/// The background: a gradient with a few faint discs. Kept smooth and in the middle of the brightness range, so that
/// the most striking thing about an image is its object.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) colour: Rgb,
    /// Change of brightness across the image.
    pub(crate) slope: Vec2,
    pub(crate) clutter: Vec<Blot>,
}

/// A disc that is a little brighter or darker than the rest.
#[derive(Debug)]
pub(crate) struct Blot {
    pub(crate) centre: Vec2,
    pub(crate) radius: f32,
    pub(crate) change: f32,
}

/// Illumination: brightness is multiplied by `gain + p . slope` at point `p`.
#[derive(Debug)]
pub(crate) struct Light {
    pub(crate) gain: f32,
    pub(crate) slope: Vec2,
}

/// A bar with round ends in front of the object.
#[derive(Debug)]
pub(crate) struct Occluder {
    pub(crate) from: Vec2,
    pub(crate) to: Vec2,
    pub(crate) radius: f32,
    pub(crate) colour: Rgb,
}

impl Scene {
    /// Draws every nuisance independently of the others and of the class, which it does not know.
    pub(crate) fn sample(rng: &mut impl Rng) -> Self {
        let object = sample_object(rng);
        let surface = Frame {
            origin: Vec2::new(rng.random_range(-0.4..0.4), rng.random_range(-0.4..0.4)),
            axis: Vec2::unit(rng.random_range(-TURN..TURN)),
            unit: rng.random_range(0.85..1.2),
        };
        // The two tones of the object lie on either side of the background, so that each is well visible on it and
        // the mean brightness says nothing; which of them is the darker is a coin toss.
        let dark = tinted(rng.random_range(0.05..0.22), rng);
        let bright = tinted(rng.random_range(0.78..0.95), rng);
        let (ink, paper) = if rng.random_bool(0.5) { (dark, bright) } else { (bright, dark) };
        let ground = Ground {
            colour: tinted(rng.random_range(0.4..0.6), rng),
            slope: vector_up_to(0.2, rng),
            clutter: (0..rng.random_range(0..5)).map(|_| Blot::sample(rng)).collect(),
        };
        let light = Light { gain: rng.random_range(0.8..1.1), slope: vector_up_to(0.3, rng) };
        let occluder = rng.random_bool(0.5).then(|| Occluder::sample(rng));
        Self { object, surface, ink, paper, ground, light, occluder, noise: rng.random_range(0.0..0.04) }
    }
}

/// An object of 65% to 95% of the image's width that leaves the image by at most 8% of it.
fn sample_object(rng: &mut impl Rng) -> Frame {
    let radius = rng.random_range(0.325..0.475);
    let reach = 0.5 - radius + 0.08;
    Frame {
        origin: Vec2::new(rng.random_range(-reach..reach), rng.random_range(-reach..reach)),
        axis: Vec2::unit(rng.random_range(-TURN..TURN)),
        unit: radius,
    }
}

impl Blot {
    fn sample(rng: &mut impl Rng) -> Self {
        Self {
            centre: place(rng),
            radius: rng.random_range(0.04..0.15),
            change: rng.random_range(-0.08..0.08),
        }
    }
}

impl Occluder {
    fn sample(rng: &mut impl Rng) -> Self {
        let from = place(rng);
        let step = Vec2::unit(rng.random_range(0.0..TAU)).times(rng.random_range(0.1..0.4));
        let to = Vec2::new(from.x + step.x, from.y + step.y);
        Self {
            from,
            to,
            radius: rng.random_range(0.03..0.07),
            colour: tinted(rng.random_range(0.2..0.8), rng),
        }
    }
}

/// A point of the image.
fn place(rng: &mut impl Rng) -> Vec2 {
    Vec2::new(rng.random_range(-0.5..0.5), rng.random_range(-0.5..0.5))
}

fn vector_up_to(length: f32, rng: &mut impl Rng) -> Vec2 {
    Vec2::unit(rng.random_range(0.0..TAU)).times(rng.random_range(0.0..length))
}

/// A grey with a tint of any hue. Object and background stay apart in brightness, so that the shape shows in whatever
/// colours.
fn tinted(grey: f32, rng: &mut impl Rng) -> Rgb {
    const TINT: f32 = 0.15;
    std::array::from_fn(|_| grey + rng.random_range(-TINT..TINT))
}
