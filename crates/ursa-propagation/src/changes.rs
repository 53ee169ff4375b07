//! What shall become of a request's headers.

use crate::headers::Header;
use crate::writer::Writer;

/// Bytes for which a `tracestate` that is written has room. W3C Trace Context asks for 512 at least.
pub const TRACESTATE_MAX: usize = 2048;

/// Room for all headers that can be set at once: `tracestate`, Datadog's tags and origin, X-Ray's fields, and
/// less than 512 bytes of ids.
const ROOM: usize = TRACESTATE_MAX + 512 + 256 + 512 + 512;

/// Headers to set and to remove. Nothing in here points to the request: the values are copies, so the request may
/// change while they are applied.
#[derive(Debug)]
pub struct Changes {
    bytes: [u8; ROOM],
    used: usize,
    of: [Change; Header::ALL.len()],
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Keep,
    Remove,
    /// To the bytes from, to.
    Set(usize, usize),
}

impl Default for Changes {
    fn default() -> Self {
        Self { bytes: [0; ROOM], used: 0, of: [Change::Keep; Header::ALL.len()] }
    }
}

impl Changes {
    /// Each header that changes: its new value, for all lines of that name together, or none if it is removed.
    pub fn iter(&self) -> impl Iterator<Item = (Header, Option<&[u8]>)> {
        Header::ALL.into_iter().zip(&self.of).filter_map(|(header, change)| match *change {
            Change::Keep => None,
            Change::Remove => Some((header, None)),
            Change::Set(start, end) => Some((header, Some(self.bytes.get(start..end)?))),
        })
    }

    /// Removes a header.
    pub(crate) fn remove(&mut self, header: Header) {
        self.put(header, Change::Remove);
    }

    /// Sets a header to what `write` writes, at most `limit` bytes. False, and no change, if that is nothing or too
    /// much.
    pub(crate) fn set(
        &mut self,
        header: Header,
        limit: usize,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> bool {
        let free = self.bytes.get_mut(self.used..).unwrap_or_default();
        let limit = limit.min(free.len());
        let mut out = Writer::new(free.get_mut(..limit).unwrap_or_default());
        write(&mut out);
        if !out.fits() || out.length() == 0 {
            return false;
        }
        let start = self.used;
        self.used = self.used.saturating_add(out.length());
        self.put(header, Change::Set(start, self.used));
        true
    }

    fn put(&mut self, header: Header, change: Change) {
        if let Some(place) = self.of.get_mut(header as usize) {
            *place = change;
        }
    }
}
