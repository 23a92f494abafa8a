//! When a sign of collapse is worth a warning.

use super::{Collapse, Sign};

/// Steps for which a sign must have been there without a break.
const HOLD: u64 = 100;
/// Steps at the start of a run that raise no warning, or its first epoch if that is shorter.
const GRACE: u64 = 1000;

/// Follows the measurements of a run and tells when they deserve a warning.
///
/// Every run starts where a collapsed one ends: untrained features hardly differ, and their assignments say nothing.
/// So a sign counts once it has been in every measurement of the last 100 steps, and never within the first epoch or,
/// where that is long, the first 1000 steps. It is told when it appears, when another takes its place, and then each
/// time the run has become twice as long.
#[derive(Clone, Debug)]
pub struct CollapseWatch {
    prototypes: usize,
    batch: usize,
    steps_per_epoch: u64,
    /// The sign of the last measurement and the step at which it appeared.
    current: Option<(Sign, u64)>,
    /// The sign told last and the step at which it is told again.
    told: Option<(Sign, u64)>,
}

impl CollapseWatch {
    /// For a run with so many prototypes, images a batch and steps an epoch.
    pub fn new(prototypes: usize, batch: usize, steps_per_epoch: u64) -> Self {
        Self { prototypes, batch, steps_per_epoch, current: None, told: None }
    }

    /// Takes the measurement after `step` steps; gives the warning that a person should see now, if any.
    pub fn see(&mut self, step: u64, measured: &Collapse) -> Option<String> {
        let Some(sign) = measured.sign(self.prototypes, self.batch) else {
            (self.current, self.told) = (None, None);
            return None;
        };
        let since = match self.current {
            Some((current, since)) if current == sign => since,
            _ => step,
        };
        self.current = Some((sign, since));
        let holds = step - since >= HOLD && step > self.steps_per_epoch.min(GRACE);
        let told = self.told.is_some_and(|(told, again)| told == sign && step < again);
        if !holds || told {
            return None;
        }
        self.told = Some((sign, 2 * step));
        let (described, remedy) = (measured.describe(sign, self.prototypes), sign.remedy());
        Some(format!("this looks like a collapse: {described}, since step {since} at least; {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: Collapse = Collapse {
        prototypes_used: 50,
        mean_entropy: 4.0,
        information: 2.0,
        target_max: 0.5,
        rank: 20.0,
        feature_std: 0.6,
    };
    const UNIFORM: Collapse = Collapse { information: 0.001, ..HEALTHY };
    const EQUAL: Collapse = Collapse { feature_std: 0.01, ..HEALTHY };

    /// Steps at which a run that is measured every ten steps warns.
    fn warnings(steps_per_epoch: u64, measured: impl Fn(u64) -> Collapse) -> Vec<u64> {
        let mut watch = CollapseWatch::new(64, 64, steps_per_epoch);
        (10..=2000).step_by(10).filter(|&step| watch.see(step, &measured(step)).is_some()).collect()
    }

    #[test]
    fn a_collapse_is_told_when_it_appears_and_then_ever_more_rarely() {
        assert_eq!(warnings(10, |_| UNIFORM), [110, 220, 440, 880, 1760]);
        assert_eq!(warnings(10, |step| if step < 500 { HEALTHY } else { EQUAL }), [600, 1200]);
    }

    #[test]
    fn the_plateau_of_the_first_steps_and_the_first_epoch_raise_no_warning() {
        assert_eq!(warnings(10, |step| if step <= 100 { UNIFORM } else { HEALTHY }), [0; 0]);
        assert_eq!(warnings(1000, |step| if step <= 1000 { EQUAL } else { HEALTHY }), [0; 0]);
        assert_eq!(warnings(1000, |_| EQUAL), [1010]);
        assert_eq!(warnings(100_000, |_| EQUAL), [1010], "an epoch may take days");
    }

    #[test]
    fn another_sign_and_a_relapse_are_told_anew() {
        assert_eq!(
            warnings(10, |step| if step < 150 { UNIFORM } else { EQUAL }),
            [110, 250, 500, 1000, 2000]
        );
        let relapse = |step| if (300..400).contains(&step) { HEALTHY } else { UNIFORM };
        assert_eq!(warnings(10, relapse), [110, 220, 500, 1000, 2000]);
    }

    #[test]
    fn a_sign_that_comes_and_goes_is_no_collapse() {
        assert_eq!(warnings(10, |step| if step % 100 == 0 { HEALTHY } else { UNIFORM }), [0; 0]);
    }
}
