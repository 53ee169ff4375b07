use std::sync::{Mutex, MutexGuard, PoisonError};

use super::breaker::Breaker;
use crate::status::BackendState;

/// What the status shows of a backend besides its numbers.
#[derive(Debug, Default)]
pub(super) struct Health {
    shown: Mutex<Shown>,
}

#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) state: BackendState,
    pub(super) breaker: Breaker,
    /// The last failure, until the next success.
    pub(super) last_error: Option<String>,
    /// Items are being lost for want of room; said once, until something is sent.
    losing: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            state: BackendState::Idle,
            breaker: Breaker::default(),
            last_error: None,
            losing: false,
        }
    }
}

impl Health {
    pub(super) fn shown(&self) -> Shown {
        self.lock().clone()
    }

    /// Notes another state and its reason. Returns the state before.
    pub(super) fn is(&self, state: BackendState, last_error: Option<String>) -> BackendState {
        let mut shown = self.lock();
        shown.last_error = last_error;
        if state == BackendState::Up {
            shown.losing = false;
        }
        std::mem::replace(&mut shown.state, state)
    }

    pub(super) fn breaker(&self, breaker: Breaker) {
        self.lock().breaker = breaker;
    }

    /// Whether the first item is lost for want of room since something was sent.
    pub(super) fn begins_to_lose(&self) -> bool {
        !std::mem::replace(&mut self.lock().losing, true)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
