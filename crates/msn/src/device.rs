//! `--device`: where tensors are computed.

use anyhow::anyhow;
use burn::tensor::Device;

use crate::failure::wrong_arguments;

/// The cargo features that add a device.
const FEATURES: [&str; 5] = ["cuda", "metal", "rocm", "vulkan", "wgpu"];

/// The device of this name.
pub(crate) fn open(name: &str) -> anyhow::Result<Device> {
    msn_model::device_named(name).map_err(|error| {
        let missing = matches!(error, msn_model::Error::UnknownDevice { .. }) && FEATURES.contains(&name);
        let hint = if missing {
            format!("; `cargo install --locked --path crates/msn --features {name}` adds it")
        } else {
            String::new()
        };
        wrong_arguments(anyhow!("--{error}{hint}"))
    })
}
