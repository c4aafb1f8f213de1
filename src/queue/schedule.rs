//! When to try again: a function of policy, attempts and now.

use std::time::Duration;

use crate::config;

/// How long mail waits.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The first wait.
    pub retry_min: Duration,
    /// The longest wait.
    pub retry_max: Duration,
    /// After this the sender is told.
    pub lifetime: Duration,
}

impl Policy {
    /// What the configuration says.
    #[must_use]
    pub fn new(config: &config::Queue) -> Self {
        Self { retry_min: config.retry_min, retry_max: config.retry_max, lifetime: config.lifetime }
    }

    /// The wait after the attempt with this number, from 1: doubled from attempt to attempt, as Postfix does.
    #[must_use]
    pub fn wait_after(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        self.retry_min.saturating_mul(1 << doublings).min(self.retry_max)
    }

    /// Whether a message of this age is given up.
    #[must_use]
    pub fn is_over(&self, age: Duration) -> bool {
        age >= self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        let policy = Policy { retry_min: minutes(5), retry_max: minutes(66), lifetime: minutes(7200) };
        let waits: Vec<u64> = (1..=6).map(|n| policy.wait_after(n).as_secs() / 60).collect();
        assert_eq!(waits, [5, 10, 20, 40, 66, 66]);
        assert_eq!(policy.wait_after(u32::MAX), minutes(66));
        assert!(!policy.is_over(minutes(7199)) && policy.is_over(minutes(7200)));
    }
}
