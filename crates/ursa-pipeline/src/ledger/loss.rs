/// Why items were lost for good: the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Loss {
    /// There was no room, and another backend took them.
    QueueFull,
    /// They waited too long, or the pipeline stopped or the backend was removed before they could be
    /// sent.
    Expired,
    /// The retry policy's attempts were used up.
    RetryExhausted,
    /// The backend will not have them.
    Rejected,
    /// They could not be written to the disk while another backend's queue took them, or cannot be
    /// read any more.
    Disk,
}

impl Loss {
    pub(crate) const ALL: [Self; 5] =
        [Self::QueueFull, Self::Expired, Self::RetryExhausted, Self::Rejected, Self::Disk];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::RetryExhausted => "retry_exhausted",
            Self::Rejected => "rejected",
            Self::Disk => "disk",
        }
    }
}
