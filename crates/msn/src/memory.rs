//! Whether the machine can hold what a run needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use msn_train::Config;

use crate::cli::OnDevice;

/// Where control groups are, of the second version.
const ROOT: &str = "/sys/fs/cgroup";

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

/// Bytes that this process may have: those of the machine, or the least that one of its control groups allows. `None` where
/// the system does not tell.
fn machine_memory() -> Option<f64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = control_groups(&groups)
        .into_iter()
        .filter_map(|group| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok());
    machine.into_iter().chain(limits).reduce(f64::min)
}

/// Folders of the control group in `/proc/self/cgroup`, and of those around it. Where a container has a name space of its own,
/// the outermost is that of the container.
fn control_groups(text: &str) -> Vec<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Path::new(path).ancestors().map(|path| Path::new(ROOT).join(path)).collect()
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

    #[test]
    fn a_limit_of_any_group_around_the_process_counts() {
        let found = control_groups("0::/user.slice/run-1.scope\n");
        let expected = ["user.slice/run-1.scope", "user.slice", ""].map(|group| Path::new(ROOT).join(group));
        assert_eq!(found, expected);
        // In a container, and where there are groups of the first version alone.
        for text in ["0::/\n", "4:memory:/user.slice\n", ""] {
            assert_eq!(control_groups(text), [Path::new(ROOT)], "{text}");
        }
    }
}
