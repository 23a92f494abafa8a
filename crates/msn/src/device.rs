//! `--device`: where tensors are computed.

use anyhow::anyhow;
use burn::tensor::Device;

use crate::failure::wrong_arguments;

/// A device that this program was compiled with.
struct Known {
    name: &'static str,
    open: fn() -> Device,
}

const COMPILED_IN: &[Known] = &[
    Known { name: "cpu", open: Device::flex },
    #[cfg(feature = "cuda")]
    Known { name: "cuda", open: || Device::cuda(0) },
    #[cfg(feature = "metal")]
    Known { name: "metal", open: || Device::metal(Default::default()) },
    #[cfg(feature = "rocm")]
    Known { name: "rocm", open: || Device::rocm(0) },
    #[cfg(feature = "vulkan")]
    Known { name: "vulkan", open: || Device::vulkan(Default::default()) },
    #[cfg(feature = "wgpu")]
    Known { name: "wgpu", open: || Device::wgpu(Default::default()) },
];

/// The cargo features that add a device.
const FEATURES: [&str; 5] = ["cuda", "metal", "rocm", "vulkan", "wgpu"];

/// The device of this name.
pub(crate) fn open(name: &str) -> anyhow::Result<Device> {
    if let Some(known) = COMPILED_IN.iter().find(|known| known.name == name) {
        return Ok((known.open)());
    }
    let there: Vec<_> = COMPILED_IN.iter().map(|known| known.name).collect();
    let hint = if FEATURES.contains(&name) {
        format!("; build with `cargo build --release --features {name}` to add it")
    } else {
        String::new()
    };
    Err(wrong_arguments(anyhow!("--device: expected one of {}, found `{name}`{hint}", there.join(", "))))
}
