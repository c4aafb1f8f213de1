//! The wall clock and the monotonic clock: the only place that reads them.
//!
//! Everything else is given the time, or a [`Clock`]; tests set theirs by hand.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// A source of time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    ByHand(Arc<Mutex<Hands>>),
}

#[derive(Debug)]
struct Hands {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clock {
    /// The kernel's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `wall` until it is [set on](Self::advance).
    #[must_use]
    pub fn by_hand(wall: SystemTime) -> Self {
        Self(Source::ByHand(Arc::new(Mutex::new(Hands { monotonic: Instant::now(), wall }))))
    }

    /// Moves a clock set by hand; the system's goes on by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::ByHand(hands) = &self.0 {
            let mut hands = hands.lock().unwrap_or_else(PoisonError::into_inner);
            hands.monotonic += by;
            hands.wall += by;
        }
    }

    /// For deadlines and intervals: never goes back.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::ByHand(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).monotonic,
        }
    }

    /// For dates that people and files see: may jump.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::ByHand(hands) => hands.lock().unwrap_or_else(PoisonError::into_inner).wall,
        }
    }

    /// Wall time since 1970; zero before.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_by_hand_moves_when_told() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let start = clock.instant();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.since_epoch(), Duration::from_secs(105));
        assert_eq!(clock.instant() - start, Duration::from_secs(5));
    }
}
