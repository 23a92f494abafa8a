//! Where tensors are computed: the devices that this build has, by name.

use burn::tensor::Device;

use crate::Error;

/// A device that is compiled in.
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
    #[cfg(feature = "ndarray")]
    Known { name: "ndarray", open: ndarray },
    #[cfg(feature = "rocm")]
    Known { name: "rocm", open: || Device::rocm(0) },
    #[cfg(feature = "vulkan")]
    Known { name: "vulkan", open: || Device::vulkan(Default::default()) },
    #[cfg(feature = "wgpu")]
    Known { name: "wgpu", open: || Device::wgpu(Default::default()) },
];

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "a second backend for tests that needs no graphics card")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// The device of this name. It is not touched yet: that this machine lacks it shows at its first use.
///
/// # Errors
/// If no device of that name is compiled in; the error lists those that are.
pub fn device_named(name: &str) -> Result<Device, Error> {
    let known = COMPILED_IN.iter().find(|known| known.name == name);
    known.map(|known| (known.open)()).ok_or_else(|| {
        let names: Vec<_> = COMPILED_IN.iter().map(|known| known.name).collect();
        Error::UnknownDevice { expected: names.join(", "), found: name.to_owned() }
    })
}
