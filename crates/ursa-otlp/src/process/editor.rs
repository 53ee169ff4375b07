//! Writing a changed message from left to right while nothing is copied that need not be.

use crate::wire::fields::{put_varint, varint_length};

/// A copy of `input` in the making. Until the first change there is no copy; ranges between changes
/// are copied whole; lengths of the messages around a change are patched when they end.
#[derive(Debug)]
pub(super) struct Editor<'a> {
    input: &'a [u8],
    out: Vec<u8>,
    /// Up to here the input is in `out`, or left out on purpose.
    copied: usize,
    open: Vec<Open>,
    /// How many of `open` have a head in `out`.
    written: usize,
    changed: bool,
    /// How much longer the copy may become.
    growth: usize,
}

/// A message that is being walked.
#[derive(Debug, Clone, Copy)]
struct Open {
    number: u32,
    /// Where its field and its body begin in the input.
    field: usize,
    body: usize,
    /// Where they begin in the output, once its head is there.
    field_out: usize,
    body_out: usize,
    /// Bytes kept free there for its length.
    width: usize,
}

impl<'a> Editor<'a> {
    /// Of a message whose copy will be longer by `growth` or less, as far as is known.
    pub(super) fn new(input: &'a [u8], growth: usize) -> Self {
        let (out, open) = (Vec::new(), Vec::new());
        Self { input, out, copied: 0, open, written: 0, changed: false, growth }
    }

    /// Begins a message: field `number` at `field`, whose body is at `body`.
    pub(super) fn enter(&mut self, number: u32, field: usize, body: usize) {
        self.open.push(Open { number, field, body, field_out: 0, body_out: 0, width: 0 });
    }

    /// Ends the message whose body ends at `end`.
    pub(super) fn leave(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        if self.written <= self.open.len() {
            return;
        }
        self.written = self.open.len();
        self.flush(end);
        let length = self.out.len().saturating_sub(open.body_out);
        let width = varint_length(length as u64);
        let at = open.body_out.saturating_sub(open.width);
        if width > open.width {
            let more = width.saturating_sub(open.width);
            self.out.resize(self.out.len().saturating_add(more), 0);
            let to = open.body_out.saturating_add(more);
            self.out.copy_within(open.body_out..open.body_out.saturating_add(length), to);
        } else if width < open.width {
            self.out.copy_within(open.body_out.., at.saturating_add(width));
            self.out.truncate(at.saturating_add(width).saturating_add(length));
        }
        if let Some(place) = self.out.get_mut(at..at.saturating_add(width)) {
            patch(place, length);
        }
    }

    /// Ends a message and leaves its whole field out, which ends at `end`.
    pub(super) fn discard(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        if self.written > self.open.len() {
            self.written = self.open.len();
            self.out.truncate(open.field_out);
            self.copied = end;
        } else {
            self.replace(open.field, end);
        }
    }

    /// What is written next stands for the input from `from` to `to`.
    #[inline]
    pub(super) fn replace(&mut self, from: usize, to: usize) -> &mut Vec<u8> {
        if self.written < self.open.len() || !self.changed {
            self.touch();
        }
        self.flush(from);
        self.copied = to;
        &mut self.out
    }

    /// Writes the heads of all messages around a change.
    fn touch(&mut self) {
        if !self.changed {
            self.changed = true;
            self.out.reserve(self.input.len().saturating_add(self.growth));
        }
        while let Some(open) = self.open.get(self.written).copied() {
            self.flush(open.field);
            let field_out = self.out.len();
            let tag = u64::from(open.number) << 3 | 2;
            put_varint(&mut self.out, tag);
            let head = open.body.saturating_sub(open.field);
            let width = head.saturating_sub(varint_length(tag)).clamp(1, 10);
            self.out.resize(self.out.len().saturating_add(width), 0);
            self.copied = open.body;
            let body_out = self.out.len();
            if let Some(place) = self.open.get_mut(self.written) {
                *place = Open { field_out, body_out, width, ..open };
            }
            self.written = self.written.saturating_add(1);
        }
    }

    #[inline]
    fn flush(&mut self, to: usize) {
        if let Some(range) = self.input.get(self.copied..to) {
            self.out.extend_from_slice(range);
            self.copied = to;
        }
    }

    /// The changed message; none if nothing changed.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if !self.changed {
            return None;
        }
        self.flush(self.input.len());
        // It may wait for long, and the queue counts only its bytes.
        self.out.shrink_to_fit();
        Some(self.out)
    }
}

/// Writes a varint of just that width.
pub(super) fn patch(place: &mut [u8], mut value: usize) {
    let last = place.len().saturating_sub(1);
    for (index, byte) in place.iter_mut().enumerate() {
        let more = if index < last { 0x80 } else { 0 };
        *byte = value.to_le_bytes()[0] & 0x7f | more;
        value >>= 7;
    }
}
