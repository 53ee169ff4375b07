//! What is pushed, how a queue is set up, and how both can go wrong.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

/// The source of every record that was found on disk: who sent it is not known any more.
pub const RECOVERED: u16 = u16::MAX;

/// What is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What kind of bytes; those of a batch are all of one form.
    pub form: u8,
    /// Who sent it. Means something within one process only, and is not stored: after a restart it
    /// is [`RECOVERED`].
    pub source: u16,
    /// How many things it holds, for the counts.
    pub items: u32,
    /// The contents.
    pub bytes: Bytes,
}

/// How a queue is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How much may be stored, batches in flight included. Bytes, of the records with what each
    /// takes besides its contents: in memory 256; on disk 40, and no record counts for less than
    /// 256, so that the index in memory is bounded, too. Files may take more, since whole segments
    /// are deleted: up to four segments, and two for each batch that stays in flight while later
    /// ones are settled. Default 256 MiB.
    pub capacity: u64,
    /// [`expire`](crate::Queue::expire) drops what is older. Default none.
    pub max_age: Option<Duration>,
    /// A segment is finished at this size. Bytes; at most a sixteenth of the capacity, at least 4 KiB
    /// and at most 1 GiB are used. Default 8 MiB.
    pub segment_bytes: u64,
    /// What a push waits for. Means nothing in memory.
    pub sync: Sync,
    /// How much of what was written last is kept in memory, too, so that a backend that keeps up
    /// costs no reads. Bytes; default 4 MiB. Means nothing in memory.
    pub cache_bytes: usize,
    /// How much may be settled that the file does not yet say is: after `kill -9` so much is handed
    /// out again at most, besides what was in flight. [`Queue::next`](crate::Queue::next) waits when
    /// it is reached. Bytes, counted as for the capacity; default 4 MiB. Means nothing in memory.
    pub cursor_lag: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            capacity: 256 << 20,
            max_age: None,
            segment_bytes: 8 << 20,
            sync: Sync::BeforeAcknowledge,
            cache_bytes: 4 << 20,
            cursor_lag: 4 << 20,
        }
    }
}

/// What a push waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// The record is on the disk: it survives the loss of power.
    #[default]
    BeforeAcknowledge,
    /// The record was given to the kernel: it survives the end of the process in whatever way. The
    /// loss of power takes what was pushed within this time.
    Timer(Duration),
}

/// What a queue on disk found when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Records that wait.
    pub records: u64,
    /// What they hold.
    pub items: u64,
    /// Length of their contents.
    pub bytes: u64,
    /// Records that were stored and cannot be read any more. Counted once: not again at the next
    /// start.
    pub damaged_records: u64,
    /// Bytes that were passed over between records that could be read.
    pub damaged_bytes: u64,
    /// Length of what was cut off the end of the last segment: a record that was not written whole.
    pub cut_tail_bytes: u64,
}

/// The queue did not take a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PushError {
    /// There will be room when something is settled.
    #[error("the queue is full")]
    Full,
    /// The record is larger than the whole queue.
    #[error("the record is larger than the queue")]
    TooLarge,
    /// [`close`](crate::Queue::close) was called.
    #[error("the queue is closed")]
    Closed,
    /// The record could not be written or synced: the disk is full, or worse. Later ones may be.
    #[error("the queue cannot be written: {0}")]
    Storage(String),
}
