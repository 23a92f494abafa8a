//! Which checkpoints stay on disk.

use std::num::{NonZeroU64, NonZeroUsize};

/// Which checkpoints survive when a new one is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepPolicy {
    /// How many of the newest stay. Default 3, so that a corrupt one leaves two to fall back on.
    pub last: NonZeroUsize,
    /// One checkpoint for every so many steps stays for good: the first at or after each multiple (epochs
    /// times steps an epoch, to keep every so many epochs). `None`: none.
    pub every_steps: Option<NonZeroU64>,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        const LAST: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");
        Self { last: LAST, every_steps: None }
    }
}

/// The steps among `saved` (ascending) to remove once `current` is on disk.
///
/// Steps after `current` stay: a run that fell back from a corrupt checkpoint comes by there again and
/// replaces them.
pub fn steps_to_prune(saved: &[u64], current: u64, policy: &KeepPolicy) -> Vec<u64> {
    let past = &saved[..saved.partition_point(|&step| step <= current)];
    let candidates = &past[..past.len().saturating_sub(policy.last.get())];
    // A step stays if it is the first one at or after some multiple, which it remains when those before it
    // go: so the answer does not depend on how often checkpoints were pruned before.
    let multiples = |step: u64| policy.every_steps.map_or(0, |every| step / every);
    let mut passed = 0;
    candidates
        .iter()
        .copied()
        .filter(|&step| {
            let first_after_multiple = multiples(step) > passed;
            passed = multiples(step);
            !first_after_multiple
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(last: usize, every_steps: u64) -> KeepPolicy {
        KeepPolicy { last: last.try_into().unwrap(), every_steps: NonZeroU64::new(every_steps) }
    }

    #[test]
    fn the_last_three_stay_by_default() {
        let prune = |saved: &[u64]| steps_to_prune(saved, 50, &KeepPolicy::default());
        assert!(prune(&[50]).is_empty());
        assert!(prune(&[30, 40, 50]).is_empty());
        assert_eq!(prune(&[10, 20, 30, 40, 50]), [10, 20]);
    }

    #[test]
    fn every_kth_stays_for_good() {
        assert_eq!(steps_to_prune(&[10, 20, 30, 40, 50, 60, 70], 70, &policy(2, 20)), [10, 30, 50]);
    }

    #[test]
    fn the_first_after_a_multiple_stays_when_none_falls_on_it() {
        // Multiples of 20 up to 65: 20 -> 25, 40 -> 45, 60 -> 65.
        assert_eq!(steps_to_prune(&[5, 15, 25, 35, 45, 55, 65, 75], 75, &policy(1, 20)), [5, 15, 35, 55]);
    }

    #[test]
    fn steps_after_the_current_one_neither_go_nor_count() {
        assert_eq!(steps_to_prune(&[10, 20, 30, 900], 30, &policy(1, 0)), [10, 20]);
    }

    proptest! {
        #[test]
        fn pruning_after_each_save_keeps_what_pruning_once_would(
            steps in proptest::collection::btree_set(1_u64..500, 1..40),
            last in 1_usize..5,
            every in 0_u64..60,
        ) {
            let policy = policy(last, every);
            let all: Vec<u64> = steps.into_iter().collect();
            let mut kept = Vec::new();
            for &step in &all {
                kept.push(step);
                let prune = steps_to_prune(&kept, step, &policy);
                kept.retain(|step| !prune.contains(step));
            }
            let newest = *all.last().unwrap();
            let prune = steps_to_prune(&all, newest, &policy);
            prop_assert_eq!(&kept, &all.iter().copied().filter(|step| !prune.contains(step)).collect::<Vec<_>>());
            prop_assert!(kept.contains(&newest));
            prop_assert!(kept.len() >= last.min(all.len()));
        }
    }
}
