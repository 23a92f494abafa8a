//! Where tensors are computed: the devices that this build has, by name, and the threads that work for them.

use burn::tensor::{Device, DeviceType};

use crate::Error;

/// A device that is compiled in.
struct Known {
    name: &'static str,
    open: fn() -> Device,
    kind: DeviceType,
}

const COMPILED_IN: &[Known] = &[
    Known { name: "cpu", open: Device::flex, kind: DeviceType::Flex },
    #[cfg(feature = "cuda")]
    Known { name: "cuda", open: || Device::cuda(0), kind: DeviceType::Cuda },
    #[cfg(feature = "metal")]
    Known { name: "metal", open: || Device::metal(Default::default()), kind: DeviceType::Metal },
    #[cfg(feature = "ndarray")]
    Known { name: "ndarray", open: ndarray, kind: DeviceType::NdArray },
    #[cfg(feature = "rocm")]
    Known { name: "rocm", open: || Device::rocm(0), kind: DeviceType::Rocm },
    #[cfg(feature = "vulkan")]
    Known { name: "vulkan", open: || Device::vulkan(Default::default()), kind: DeviceType::Vulkan },
    #[cfg(feature = "wgpu")]
    Known { name: "wgpu", open: || Device::wgpu(Default::default()), kind: DeviceType::Wgpu },
];

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "a second backend for tests that needs no graphics card")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// The device of this name: the one of its kind that the driver prefers.
///
/// # Errors
/// If no device of that name is compiled in; the error lists those that are. If one is, but this machine has none:
/// Burn would panic at the first use.
pub fn device_named(name: &str) -> Result<Device, Error> {
    let Some(known) = COMPILED_IN.iter().find(|known| known.name == name) else {
        let names: Vec<_> = COMPILED_IN.iter().map(|known| known.name).collect();
        return Err(Error::UnknownDevice { expected: names.join(", "), found: name.to_owned() });
    };
    if Device::enumerate(known.kind.clone()).is_empty() {
        return Err(Error::AbsentDevice { name: name.to_owned() });
    }
    Ok((known.open)())
}

/// Whether the kernels compute for this device, on threads of this process.
pub fn is_cpu(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

/// Runs `f`, a sequence of tensor operations on `device`: on the CPU as [`msn_kernels::on_worker`] does, on other devices on
/// the calling thread. There Burn gives each thread a queue and memory of its own, so that a step should not wander.
pub fn on_worker<R: Send>(device: &Device, f: impl FnOnce() -> R + Send) -> R {
    if is_cpu(device) { msn_kernels::on_worker(f) } else { f() }
}

/// Runs two sequences of tensor operations on `device` that do not depend on each other: on the CPU as
/// [`msn_kernels::join`] does, on other devices one after the other, for the reason of [`on_worker`].
pub fn join<A: Send, B: Send>(
    device: &Device,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if is_cpu(device) { msn_kernels::join(a, b) } else { (a(), b()) }
}
