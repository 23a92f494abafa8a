//! How fast a run goes, and whether it waits for its images.

use std::time::{Duration, Instant};

/// Speed since the last logged step.
pub(crate) struct Window {
    start: Instant,
    last: Instant,
    waited: Duration,
    images: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { start: now, last: now, waited: Duration::ZERO, images: 0 }
    }

    pub(crate) fn restart(&mut self) {
        *self = Self { start: self.last, last: self.last, waited: Duration::ZERO, images: 0 };
    }

    /// Counts a step; gives the seconds that it took.
    pub(crate) fn add(&mut self, wait: Duration, images: usize) -> f64 {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64();
        self.last = now;
        self.waited += wait;
        self.images += images;
        seconds
    }

    fn seconds(&self) -> f64 {
        (self.last - self.start).as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds()
    }

    pub(crate) fn data_wait(&self) -> f64 {
        (self.waited.as_secs_f64() / self.seconds()).min(1.0)
    }
}

/// Notices that images come more slowly than training takes them.
pub(crate) struct Starvation {
    start: Instant,
    steps: u32,
    waited: Duration,
    told: bool,
}

impl Starvation {
    /// Steps and time over which waiting is judged: a moment of it is normal.
    const STEPS: u32 = 100;
    const TIME: Duration = Duration::from_secs(60);
    /// Share of the time that is worth a warning.
    const SHARE: f64 = 0.3;

    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), steps: 0, waited: Duration::ZERO, told: false }
    }

    /// Counts a step that waited so long for its images. Gives the share of the time that training waited, once a session
    /// and if it is much.
    pub(crate) fn add(&mut self, wait: Duration) -> Option<f64> {
        (self.steps, self.waited) = (self.steps + 1, self.waited + wait);
        let passed = self.start.elapsed();
        if self.told || self.steps < Self::STEPS || passed < Self::TIME {
            return None;
        }
        let share = self.waited.as_secs_f64() / passed.as_secs_f64();
        *self = Self { told: share > Self::SHARE, ..Self::new() };
        self.told.then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_images_is_told_once_and_only_if_it_is_much_and_lasts() {
        let after = |seconds: u64, waited: u64| Starvation {
            start: Instant::now()
                .checked_sub(Duration::from_secs(seconds))
                .expect("the machine runs for longer"),
            steps: Starvation::STEPS - 1,
            waited: Duration::from_secs(waited),
            told: false,
        };
        let mut starved = after(100, 49);
        let share = starved.add(Duration::from_secs(1)).expect("half of the time");
        assert!((share - 0.5).abs() < 0.01, "{share}");
        for _ in 0..2 * Starvation::STEPS {
            assert_eq!(starved.add(Duration::from_secs(100)), None, "told before");
        }
        assert_eq!(after(100, 10).add(Duration::from_secs(1)), None, "a tenth of the time");
        assert_eq!(after(10, 5).add(Duration::from_secs(1)), None, "too short a time");
        let mut few = Starvation { steps: 3, ..after(100, 90) };
        assert_eq!(few.add(Duration::from_secs(1)), None, "too few steps");
    }
}
