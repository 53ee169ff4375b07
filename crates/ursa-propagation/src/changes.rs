//! What shall become of a request's headers.

use crate::baggage;
use crate::headers::Header;
use crate::writer::Writer;

/// Bytes for which a `tracestate` that is written has room. W3C Trace Context asks for 512 at least.
pub const TRACESTATE_MAX: usize = 2048;

/// Room for the ids of all formats, and for lists as short as they mostly are.
const SMALL: usize = 512;

/// Room for all headers that can be set at once: `tracestate`, Datadog's tags and origin, X-Ray's fields, less than
/// 512 bytes of ids, and baggage.
const LARGE: usize = TRACESTATE_MAX + 512 + 256 + 512 + 512 + baggage::BYTES_MAX;

/// Headers to set and to remove. Nothing in here points to the request: the values are copies, so the request may
/// change while they are applied.
///
/// It is made for every request, so what costs is to clear its memory: the large part is cleared when the small one
/// does not suffice.
#[derive(Debug)]
pub struct Changes {
    small: Room<SMALL>,
    large: Option<Room<LARGE>>,
    of: [Change; Header::ALL.len()],
}

#[derive(Debug)]
struct Room<const SIZE: usize> {
    bytes: [u8; SIZE],
    used: usize,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Keep,
    Remove,
    /// To the bytes from, to, of the small room.
    Small(u16, u16),
    /// The same of the large one.
    Large(u16, u16),
}

impl Default for Changes {
    #[inline]
    fn default() -> Self {
        Self { small: Room::new(), large: None, of: [Change::Keep; Header::ALL.len()] }
    }
}

impl Changes {
    /// Each header that changes: its new value, for all lines of that name together, or none if it is removed.
    pub fn iter(&self) -> impl Iterator<Item = (Header, Option<&[u8]>)> {
        Header::ALL.into_iter().zip(&self.of).filter_map(|(header, change)| match *change {
            Change::Keep => None,
            Change::Remove => Some((header, None)),
            Change::Small(start, end) => Some((header, Some(self.small.get(start, end)?))),
            Change::Large(start, end) => {
                Some((header, Some(self.large.as_ref()?.get(start, end)?)))
            }
        })
    }

    /// Whether a header is removed.
    pub(crate) fn removes(&self, header: Header) -> bool {
        matches!(self.of.get(header as usize), Some(Change::Remove))
    }

    /// Removes a header.
    pub(crate) fn remove(&mut self, header: Header) {
        self.put(header, Change::Remove);
    }

    /// Sets a header to what `write` writes, at most `limit` bytes. False, and no change, if that is nothing or too
    /// much. What is written may depend on the room: it is asked for again, in the large room, unless all of it found
    /// place in the small one.
    pub(crate) fn set(
        &mut self,
        header: Header,
        limit: usize,
        write: impl Fn(&mut Writer<'_>),
    ) -> bool {
        self.set_to(header, limit, &write)
    }

    #[inline(never)]
    fn set_to(&mut self, header: Header, limit: usize, write: &dyn Fn(&mut Writer<'_>)) -> bool {
        let change = match self.small.add(limit, write) {
            Added::All(start, end) => Change::Small(start, end),
            Added::None => return false,
            Added::NoRoom => {
                let large = self.large.get_or_insert_with(Room::new);
                match large.add(limit, write) {
                    Added::All(start, end) => Change::Large(start, end),
                    Added::None | Added::NoRoom => return false,
                }
            }
        };
        self.put(header, change);
        true
    }

    fn put(&mut self, header: Header, change: Change) {
        if let Some(place) = self.of.get_mut(header as usize) {
            *place = change;
        }
    }
}

/// What became of bytes that were added.
enum Added {
    /// They are there, from, to.
    All(u16, u16),
    /// There are none, or more than the limit.
    None,
    /// There is less room than the limit, and they needed more.
    NoRoom,
}

impl<const SIZE: usize> Room<SIZE> {
    const FITS: () = assert!(SIZE <= u16::MAX as usize);

    #[inline]
    fn new() -> Self {
        let () = Self::FITS;
        Self { bytes: [0; SIZE], used: 0 }
    }

    fn get(&self, start: u16, end: u16) -> Option<&[u8]> {
        self.bytes.get(usize::from(start)..usize::from(end))
    }

    fn add(&mut self, limit: usize, write: &dyn Fn(&mut Writer<'_>)) -> Added {
        let free = self.bytes.get_mut(self.used..).unwrap_or_default();
        let room = free.len().min(limit);
        let mut out = Writer::new(free.get_mut(..room).unwrap_or_default());
        write(&mut out);
        if room < limit && out.was_full() {
            return Added::NoRoom;
        }
        let (fits, length) = (out.fits(), out.length());
        let end = self.used.saturating_add(length);
        match (u16::try_from(self.used), u16::try_from(end)) {
            (Ok(start), Ok(past)) if fits && length > 0 => {
                self.used = end;
                Added::All(start, past)
            }
            _ => Added::None,
        }
    }
}
