//! How long to wait for a network, and how often to try again.

use std::time::Duration;

/// When to wait, to try again, and to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long no byte may come before the transfer counts as broken.
    pub stall: Duration,
    /// Failures in a row, without a byte between them, after which to give up: 1 or more.
    pub failures: u32,
    /// The pause after the first failure; each further one doubles it.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Patience {
    /// A minute without a byte; nine pauses from 0.5 s to 30 s, two minutes together, before giving up: twelve minutes if
    /// each failure is a stall.
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(60),
            failures: 10,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The pause after so many failures in a row.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first_pause.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = Patience::default();
        let pauses: Vec<u128> = (1..10).map(|failures| patience.pause(failures).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(patience.pause(u32::MAX), patience.longest_pause);
    }
}
