//! A queue that keeps what it took: on disk, crash-safe, or in memory.
