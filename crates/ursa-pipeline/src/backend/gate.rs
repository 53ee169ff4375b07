use tokio::time::Instant;

/// Whether batches may be sent to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// As many as may be in flight.
    Open,
    /// None before that time.
    Shut { until: Instant },
    /// One, to see how the backend does.
    Ajar,
    /// That one is under way.
    Trying,
}

impl Gate {
    /// As the time passes.
    pub(super) fn tick(&mut self, now: Instant) {
        if matches!(*self, Self::Shut { until } if until <= now) {
            *self = Self::Ajar;
        }
    }

    /// For longer, never for less.
    pub(super) fn shut(&mut self, until: Instant) {
        *self = match *self {
            Self::Shut { until: before } => Self::Shut { until: until.max(before) },
            Self::Open | Self::Ajar | Self::Trying => Self::Shut { until },
        };
    }
}
