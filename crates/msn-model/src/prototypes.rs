use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::init::Init;

/// The K learned prototypes that views are assigned to.
#[derive(Module, Debug)]
pub struct Prototypes {
    /// [K, output]
    pub weight: Param<Tensor<2>>,
}

impl Prototypes {
    /// Uniform in +-1/sqrt(dim), from the seed alone. Only the directions matter to the objective.
    pub fn new(count: usize, dim: usize, seed: u64, device: &Device) -> Self {
        let bound = 1.0 / (dim as f64).sqrt();
        Self { weight: Init::new(seed, device).uniform([count, dim], bound) }
    }
}
