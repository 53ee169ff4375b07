//! Baggage under rules, and what must hold whatever comes.

use std::collections::BTreeSet;

use ursa_propagation::baggage::{BYTES_MAX, Dropped, MEMBERS_MAX, Member, Rules, members};
use ursa_propagation::{Changes, Header, Headers, LINES_MAX, Lines, w3c};

/// What a request's baggage became.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Became {
    /// All of it; none if the header is gone.
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) changed: bool,
    pub(crate) dropped: Dropped,
}

pub(crate) const PARENT: &[u8] = b"00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01";

fn through(all: &[&[u8]], act: impl Fn(&Headers<'_>, &mut Changes) -> Dropped) -> Became {
    let parent = [(b"traceparent".as_slice(), PARENT)].into_iter();
    let headers: Headers<'_> =
        parent.chain(all.iter().map(|line| (b"baggage".as_slice(), *line))).collect();
    let mut changes = Changes::default();
    let dropped = act(&headers, &mut changes);
    let mut became = Became {
        text: (!all.is_empty()).then(|| all.join(b",".as_slice())),
        changed: false,
        dropped,
    };
    for (header, value) in changes.iter() {
        assert_eq!(header, Header::Baggage, "ids are not touched");
        became.changed = true;
        became.text = value.map(<[u8]>::to_vec);
    }
    assert!(w3c::read(&headers).is_some());
    became
}

/// On the way in; every header that a rule asks for has that value, unless it is empty.
pub(crate) fn extract(all: &[&[u8]], rules: &Rules<'_>, header: &[u8]) -> Became {
    let lookup = |_: &[u8]| (!header.is_empty()).then_some(header);
    through(all, |headers, changes| rules.extract(headers, &lookup, changes))
}

pub(crate) fn inject(all: &[&[u8]], rules: &Rules<'_>) -> Became {
    through(all, |headers, changes| rules.inject(headers, changes))
}

fn read(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut lines = Lines::default();
    lines.add(text);
    members(&lines).map(|member| (member.key.to_vec(), member.whole.to_vec())).collect()
}

/// Whatever comes, and if the rules are some: what is written has valid members only, within the bounds, none that
/// must not pass, and those that are set; doing it again changes nothing; nothing is lost uncounted.
pub(crate) fn check(all: &[&[u8]], rules: &[u8], header: &[u8]) {
    let Some(rules) = Rules::parse(rules) else { return };
    let set: BTreeSet<_> = rules.settings().map(|setting| setting.name.to_vec()).collect();
    let first = extract(all, &rules, header);
    let text = first.text.clone().unwrap_or_default();
    let after = read(&text);
    if first.changed {
        let parts = text.split(|byte| *byte == b',').filter(|part| !part.is_empty());
        assert!(parts.clone().all(|part| Member::parse(part).is_some()));
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
    }
    assert!(after.len() <= MEMBERS_MAX && text.len() <= BYTES_MAX.max(all.join(&b',').len()));
    assert!(!first.changed || text.len() <= BYTES_MAX);
    for (key, _) in &after {
        assert!(rules.incoming.passes(key) || set.contains(key), "{}", key.escape_ascii());
    }
    let Dropped { denied, invalid, cut } = first.dropped;
    if all.len() <= LINES_MAX {
        let came = read(&all.join(b",".as_slice()));
        let stays = |key: &Vec<u8>| !set.contains(key);
        let count = |list: &[(Vec<u8>, Vec<u8>)]| list.iter().filter(|(key, _)| stays(key)).count();
        assert!(count(&came) <= count(&after) + denied + cut);
        assert!(count(&came) + set.len() >= count(&after) + denied + cut.saturating_sub(set.len()));
    }
    if !first.changed {
        assert_eq!(denied + invalid + cut, 0);
    }
    let again = extract(&first.text.iter().map(Vec::as_slice).collect::<Vec<_>>(), &rules, header);
    // What is set, and found no room, is cut again.
    if cut == 0 {
        assert_eq!(again, Became { changed: false, dropped: Dropped::default(), ..first });
    } else {
        assert_eq!(again.text, first.text);
    }

    let out = inject(all, &rules);
    let text = out.text.clone().unwrap_or_default();
    if rules.outgoing.is_open() {
        assert!(!out.changed && !out.dropped.any());
    } else {
        assert!(read(&text).iter().all(|(key, _)| rules.outgoing.passes(key)));
        let again = inject(&out.text.iter().map(Vec::as_slice).collect::<Vec<_>>(), &rules);
        assert_eq!(again, Became { changed: false, dropped: Dropped::default(), ..out });
    }
}
