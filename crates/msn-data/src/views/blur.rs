//! Gaussian blur, as PIL does it.
//!
//! Three passes of an extended box filter along each axis (Gwosdek et al., "Theoretical foundations of Gaussian
//! convolution by extended box filtering", SSVM 2011): weight w for offsets up to the whole radius, a fraction of w
//! for the offset after it, such that the variance of the three passes is that of the Gaussian. Beyond its ends, a
//! line continues with its last value, in each pass anew.
//!
//! The passes are linear, so that one pass with the weights of all three gives the same; only near the ends of a line
//! each place has weights of its own. [`narrow`] does so for standard deviations below 2.45 pixels, which are most;
//! [`passes`] serves the rest, and lines too short to have a middle.

mod narrow;
mod passes;

use super::normalize::Scale;

const PASSES: usize = 3;

/// One pass of an extended box filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BoxFilter {
    /// Offsets with full weight on each side.
    radius: usize,
    weight: f32,
    /// Weight of the offset `radius + 1`.
    edge: f32,
}

impl BoxFilter {
    /// The filter of which [`PASSES`] passes have the variance of a Gaussian of standard deviation `sigma`.
    fn for_gaussian(sigma: f64) -> Self {
        let variance = sigma * sigma / PASSES as f64;
        let radius = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
        let fraction = (2.0 * radius + 1.0) * (radius * (radius + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (radius + 1.0) * (radius + 1.0)));
        let weight = 1.0 / (2.0 * (radius + fraction) + 1.0);
        Self { radius: radius as usize, weight: weight as f32, edge: (fraction * weight) as f32 }
    }
}

/// The blur of a view, made once for its planes.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack, once a view; a box would be an allocation"
)]
pub(crate) enum Blur {
    Narrow(narrow::Weights),
    Passes(BoxFilter),
}

impl Blur {
    /// The blur of planes of `width` x `height` pixels with standard deviation `sigma` in pixels.
    pub(crate) fn new(width: usize, height: usize, sigma: f64) -> Self {
        let filter = BoxFilter::for_gaussian(sigma);
        if filter.radius <= narrow::MAX_RADIUS && width.min(height) >= 2 * narrow::reach(filter.radius) {
            Self::Narrow(narrow::Weights::of(filter))
        } else {
            Self::Passes(filter)
        }
    }

    /// Blurs a plane of the size given before, of rows of `width` pixels, and scales the result. The buffers are
    /// working space; their content does not matter before and after.
    pub(crate) fn apply(&self, plane: &mut [f32], width: usize, scale: Scale, buffers: &mut [Vec<f32>; 2]) {
        match self {
            Self::Narrow(weights) => narrow::blur(plane, width, weights, scale, buffers),
            Self::Passes(filter) => passes::blur(plane, width, *filter, scale, buffers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_passes_have_the_variance_of_the_gaussian_and_keep_the_sum() {
        for sigma in [0.1, 0.7, 1.3, 1.5, 2.0, 5.0, 12.0] {
            let BoxFilter { radius, weight, edge } = BoxFilter::for_gaussian(sigma);
            let weights = (1..=radius).map(|k| (k, weight)).chain([(radius + 1, edge)]);
            let (mut sum, mut variance) = (f64::from(weight), 0.0);
            for (k, w) in weights {
                sum += 2.0 * f64::from(w);
                variance += 2.0 * f64::from(w) * (k * k) as f64;
            }
            // The weights are rounded to f32.
            assert!((sum - 1.0).abs() < 1e-6, "sigma {sigma}: sum {sum}");
            let wanted = sigma * sigma / 3.0;
            assert!((variance / wanted - 1.0).abs() < 1e-5, "sigma {sigma}: {variance} for {wanted}");
        }
    }

    #[test]
    fn a_uniform_plane_stays_as_it_is() {
        for sigma in [0.0, 0.1, 1.0, 2.0, 3.0] {
            let mut plane = vec![93.0f32; 19 * 19];
            Blur::new(19, 19, sigma).apply(&mut plane, 19, Scale::NONE, &mut Default::default());
            // Sums of weights round to 1 within a few units of f32's last place.
            assert!(plane.iter().all(|x| (x - 93.0).abs() < 1e-3), "sigma {sigma}");
        }
    }

    #[test]
    fn one_pass_with_the_weights_of_three_equals_three_passes() {
        let scale = Scale { factor: 0.5, offset: -3.0 };
        for (width, height) in [(12, 12), (13, 29), (16, 16), (40, 17), (96, 12)] {
            let noise = |i: usize| ((i * 2_654_435_761) >> 7 & 255) as f32;
            let plane: Vec<f32> = (0..width * height).map(noise).collect();
            for sigma in [0.0, 0.1, 0.5, 0.99, 1.0, 1.42, 1.7, 2.0, 2.44] {
                let filter = BoxFilter::for_gaussian(sigma);
                let (mut one, mut three) = (plane.clone(), plane.clone());
                let blur = Blur::new(width, height, sigma);
                assert!(matches!(blur, Blur::Narrow(_)), "{width} x {height}, sigma {sigma}");
                blur.apply(&mut one, width, scale, &mut Default::default());
                passes::blur(&mut three, width, filter, scale, &mut Default::default());
                let off = one.iter().zip(&three).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Sums of up to 13 x 13 products of levels up to 255, in f32.
                assert!(off < 1e-3, "{width} x {height}, sigma {sigma}: off by {off}");
            }
        }
    }
}
