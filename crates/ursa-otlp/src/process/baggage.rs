//! Attributes from W3C Baggage, which Envoy records as the header that it is.
//!
//! W3C Baggage, section 3.2: `key=value;property,key=value`, values percent-encoded. Of a key that is there twice the
//! first counts. What is no member is passed over.

use ursa_model::pipeline::processor::{BaggageAttributes, BaggageMember};

use super::list::{List, Value};

/// The processor `baggage`, compiled.
#[derive(Debug, Clone)]
pub(super) struct Baggage {
    from: Vec<u8>,
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
struct Member {
    attribute: Vec<u8>,
    key: Vec<u8>,
    default: Option<Vec<u8>>,
}

impl Baggage {
    pub(super) fn new(spec: &BaggageAttributes) -> Self {
        let named = |BaggageMember { attribute, member, default }: &BaggageMember| Member {
            attribute: attribute.clone().into_bytes(),
            key: member.clone().into_bytes(),
            default: default.clone().map(String::into_bytes),
        };
        let members = spec.members.iter().map(named).collect();
        Self { from: spec.from.clone().into_bytes(), members }
    }

    pub(super) fn apply<'a>(&'a self, list: &mut List<'a>) {
        let header = list.get(&self.from).and_then(|one| list.text(one)).map(<[u8]>::to_vec);
        for attribute in list.all.iter_mut().filter(|one| one.key == self.from) {
            attribute.remove();
            list.changed = true;
        }
        for Member { attribute, key, default } in &self.members {
            if list.get(attribute).is_some() {
                continue;
            }
            let said = header.as_deref().and_then(|header| member(header, key));
            if let Some(value) = said.or_else(|| default.clone()) {
                let value = Value::made(value, &mut list.made);
                list.add(attribute, value);
            }
        }
    }
}

/// The value of a member of a `baggage` header, decoded; none if it is empty.
pub fn member(header: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let members = header.split(|byte| *byte == b',');
    let mut found = members.filter_map(|member| {
        let member = member.split(|byte| *byte == b';').next()?;
        let mut parts = member.splitn(2, |byte| *byte == b'=');
        (parts.next()?.trim_ascii() == key).then(|| parts.next().map(<[u8]>::trim_ascii))?
    });
    Some(decoded(found.next()?)).filter(|value| !value.is_empty())
}

/// Text, since attributes hold no other; what is no escape stays as it is.
pub(crate) fn decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let Some((byte, tail)) = rest.split_first() {
        let escape = tail.split_first_chunk::<2>().filter(|_| *byte == b'%');
        let escape =
            escape.and_then(|([high, low], after)| Some((hex(*high)? << 4 | hex(*low)?, after)));
        let (byte, after) = escape.unwrap_or((*byte, tail));
        out.push(byte);
        rest = after;
    }
    match String::from_utf8(out) {
        Ok(text) => text.into_bytes(),
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
    }
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found() {
        let found = |header: &str, key: &str| {
            member(header.as_bytes(), key.as_bytes()).map(|value| String::from_utf8(value).unwrap())
        };
        for (header, expected) in [
            ("tenant=acme", Some("acme")),
            (" a=b , tenant = s%C3%BC%C3%9F ;ttl=1; x , tenant=other", Some("süß")),
            ("tenant=a=b", Some("a=b")),
            ("tenant=50%", Some("50%")),
            ("tenant=%ff%z", Some("\u{fffd}%z")),
            ("tenant", None),
            ("tenant=", None),
            ("tenants=1,x;tenant=2", None),
            (",;=%,", None),
            ("", None),
        ] {
            assert_eq!(found(header, "tenant").as_deref(), expected, "{header}");
        }
    }
}
