//! JSON as `MessagePack`, value by value.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::DatadogError;
use super::msgpack::{put_float, put_int, put_text, put_uint};

/// A JSON list of traces (v0.3 and v0.4 of the API take it) as a v0.4 message, not yet checked.
///
/// # Errors
/// It is not JSON.
pub fn from_json(text: &[u8]) -> Result<Vec<u8>, DatadogError> {
    let mut out = Vec::with_capacity(text.len());
    let mut json = serde_json::Deserializer::from_slice(text);
    Transcribe(&mut out).deserialize(&mut json).map_err(DatadogError::Json)?;
    json.end().map_err(DatadogError::Json)?;
    Ok(out)
}

/// Writes a value. JSON says only at its end how many values a list has, so the count is put in
/// afterwards.
struct Transcribe<'a>(&'a mut Vec<u8>);

impl Transcribe<'_> {
    fn open(&mut self, head: u8) -> usize {
        self.0.push(head);
        let place = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        place
    }

    fn close(&mut self, place: usize, count: u32) {
        if let Some(place) = self.0.get_mut(place..).and_then(<[u8]>::first_chunk_mut) {
            *place = count.to_be_bytes();
        }
    }
}

impl<'de> DeserializeSeed<'de> for Transcribe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Transcribe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(0xc0);
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.0.push(if truth { 0xc3 } else { 0xc2 });
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        put_uint(self.0, number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        put_int(self.0, number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        put_float(self.0, number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        put_text(self.0, text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let place = self.open(0xdd);
        let mut count = 0_u32;
        while list.next_element_seed(Transcribe(self.0))?.is_some() {
            count = count.saturating_add(1);
        }
        self.close(place, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let place = self.open(0xdf);
        let mut count = 0_u32;
        while map.next_key_seed(Transcribe(self.0))?.is_some() {
            map.next_value_seed(Transcribe(self.0))?;
            count = count.saturating_add(1);
        }
        self.close(place, count);
        Ok(())
    }
}
