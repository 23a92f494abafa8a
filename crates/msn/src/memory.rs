//! Whether the machine can hold what a run needs.

use std::fs;

use anyhow::ensure;
use msn_train::Config;

use crate::cli::OnDevice;

/// Fails where a run on `device` needs more memory than the machine has: that would end in the middle of the
/// work, or with it the machine. Of other devices' memory nothing is known.
pub(crate) fn check(config: &Config, device: &OnDevice) -> anyhow::Result<()> {
    let Config { encoder, train, .. } = config;
    let less = format!(
        "less of encoder.dim = {}, encoder.depth = {}, train.batch_size = {} and the sizes and numbers of views",
        encoder.dim, encoder.depth, train.batch_size
    );
    check_bytes(config.least_memory(), device, &less)
}

/// Fails where the machine has less memory than `needed` bytes, on a device that computes in it; `less` says what would
/// need less.
pub(crate) fn check_bytes(needed: f64, device: &OnDevice, less: &str) -> anyhow::Result<()> {
    if device.is_cpu() { check_host("these settings need", needed, less) } else { Ok(()) }
}

/// As [`check_bytes`], of what this machine holds whatever the device; `what` is what the message begins with.
pub(crate) fn check_host(what: &str, needed: f64, less: &str) -> anyhow::Result<()> {
    let available = machine_memory().unwrap_or(f64::INFINITY);
    ensure!(
        needed <= available,
        "{what} at least {:.1} GB of memory, and this machine has {:.1} GB: expected {less}",
        needed / 1e9,
        available / 1e9,
    );
    Ok(())
}

/// Bytes that this process may have: those of the machine, or of its control group if that is less. `None` where the
/// system does not tell.
fn machine_memory() -> Option<f64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    match (machine, group) {
        (Some(machine), Some(group)) => Some(f64::min(machine, group)),
        (machine, group) => machine.or(group),
    }
}

/// `MemTotal:       24684132 kB`
fn total(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_read() {
        assert_eq!(total("MemTotal:       2 kB\nMemFree: 1 kB\n"), Some(2048.0));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }
}
