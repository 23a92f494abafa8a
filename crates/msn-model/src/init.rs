//! Weights of a new model, drawn on the host so that they depend on the seed alone and not on the device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws initial weights from one seed.
pub(crate) struct Init<'a> {
    rng: ChaCha8Rng,
    device: &'a Device,
}

impl<'a> Init<'a> {
    pub(crate) fn new(seed: u64, device: &'a Device) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), device }
    }

    /// Normal with mean 0 and deviation `std`, cut off at two deviations; what is left has a deviation of 0.88 `std`.
    pub(crate) fn truncated_normal<const D: usize>(
        &mut self,
        shape: [usize; D],
        std: f64,
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let draw = || loop {
            let z = self.standard_normal();
            if z.abs() <= 2.0 {
                return (z * std) as f32;
            }
        };
        let data: Vec<f32> = std::iter::repeat_with(draw).take(count).collect();
        self.param(data, shape)
    }

    /// Uniform in [-bound, bound).
    pub(crate) fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let data = (0..count).map(|_| self.rng.random_range(-bound..bound) as f32).collect();
        self.param(data, shape)
    }

    /// Every element equal to `value`.
    pub(crate) fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.param(vec![value; shape.iter().product()], shape)
    }

    fn param<const D: usize>(&self, data: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(data, shape), self.device))
    }

    /// By the Box-Muller transform; the second variate is discarded, since a model is drawn once.
    fn standard_normal(&mut self) -> f64 {
        let u: f64 = 1.0 - self.rng.random::<f64>();
        let v: f64 = self.rng.random();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncoderConfig, HeadConfig, Prototypes, encoder_seed, prototypes_seed, state_dict};

    /// `untrained:RUN` draws what a run started from once more, and runs of the same seed are compared over versions: what
    /// a seed means must not change. The numbers are what it meant when the test was written.
    #[test]
    fn a_seed_means_the_same_weights_in_every_version() {
        assert_eq!((encoder_seed(3), prototypes_seed(3)), (6, 7));
        let device = Device::flex();
        let config = EncoderConfig {
            variant: String::new(),
            image_size: 8,
            patch_size: 4,
            dim: 8,
            depth: 2,
            heads: 2,
            ..Default::default()
        };
        let head = HeadConfig { hidden_dim: 4, output_dim: 2, batch_norm: true };
        let mut weights = state_dict(&config.init(Some(&head), encoder_seed(3), &device).expect("valid"));
        weights.extend(state_dict(&Prototypes::new(3, 2, prototypes_seed(3), &device)));
        for (name, expected) in [
            ("cls_token", 9.465895e-3f32),
            ("pos_embed", 3.7057877e-2),
            ("patch_embed.proj.weight", -1.92146e-1),
            ("blocks.0.attn.qkv.weight", 3.4921333e-2),
            ("blocks.1.mlp.fc2.weight", -4.540048e-3),
            ("fc.fc1.weight", 7.345452e-4),
            ("weight", -1.9888882e-1),
        ] {
            let found = *weights[name].data.last().expect("not empty");
            // Logarithms and cosines may differ in their last digits from one platform to another.
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{name}: {found:e}");
        }
    }

    #[test]
    fn truncated_normal_stays_within_two_deviations_and_has_the_deviation_of_the_cut_normal() {
        let device = Device::flex();
        let drawn = Init::new(7, &device).truncated_normal([100, 200], 0.02).val().into_data();
        let drawn = drawn.try_to_vec::<f32>().expect("f32");
        assert!(drawn.iter().all(|x| x.abs() <= 0.04));
        let mean = drawn.iter().sum::<f32>() / drawn.len() as f32;
        let std = (drawn.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / drawn.len() as f32).sqrt();
        // A standard normal cut at +-2 has deviation 0.8796; 20,000 draws leave an error of about 0.5%.
        assert!((std / 0.02 - 0.8796).abs() < 0.02, "{std}");
        assert!(mean.abs() < 5e-4, "{mean}");
    }
}
