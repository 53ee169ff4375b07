//! Lists, bounds, and what is left out first.

use ursa_propagation::{Format, Formats, Header, Headers, Lines, tracestate};

use crate::request::Request;

/// What a `tracestate` in several lines becomes, which is written as one.
fn combined(lines: &[&str]) -> String {
    let mut headers = vec![(
        "traceparent".to_owned(),
        b"00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01".to_vec(),
    )];
    headers.extend(lines.iter().map(|line| ("tracestate".to_owned(), line.as_bytes().to_vec())));
    let mut request = Request(headers);
    request.extract(Formats::none().with(Format::W3cTracecontext).unwrap());
    assert_eq!(request.headers().tracestate().count(), 1);
    String::from_utf8(request.get(Header::Tracestate).unwrap().to_vec()).unwrap()
}

#[test]
fn lines_of_tracestate_become_one() {
    assert_eq!(combined(&["a=1,b=2", "", " c=3 , ,d=4\t"]), "a=1,b=2,c=3,d=4");
    assert_eq!(combined(&["a=1,B=2,c", "=3,d=a=b,e=\u{e9},a@t*/_-=~ x"]), "a=1,a@t*/_-=~ x");
    let long = "x".repeat(256);
    assert_eq!(combined(&[&format!("{long}=1,a={long}"), "b=2"]), format!("{long}=1,a={long},b=2"));
    assert_eq!(combined(&[&format!("{long}x=1,a={long}x"), "b=2"]), "b=2");
}

#[test]
fn too_many_members_lose_the_last() {
    let members: Vec<_> = (1..=40).map(|number| format!("key{number}=value{number}")).collect();
    let expected = members.iter().take(32).cloned().collect::<Vec<_>>().join(",");
    assert_eq!(combined(&[&members.join(","), "z=1"]), expected);
}

/// W3C: "entries larger than 128 characters long SHOULD be removed first", then from the end, always whole ones.
#[test]
fn too_much_loses_long_members_first() {
    let long = |key: &str| format!("{key}={}", "x".repeat(250));
    let short: Vec<_> = (0..20).map(|number| format!("s{number}={}", "y".repeat(90))).collect();
    let all = [long("l1"), short[..10].join(","), long("l2"), short[10..].join(",")].join(",");
    assert_eq!(combined(&[&all, "z=1"]), format!("{},z=1", short.join(",")));
    let short: Vec<_> = (0..30).map(|number| format!("s{number}={}", "y".repeat(110))).collect();
    let kept = combined(&[&short.join(","), "z=1"]);
    assert!(
        short.join(",").starts_with(&kept) && (1900..=2048).contains(&kept.len()),
        "{}",
        kept.len()
    );
}

/// The vectors of Datadog's parametric tests: 32 members stay, of 33 the last goes.
#[test]
fn dd_takes_the_first_place() {
    let others: Vec<_> = (1..=32).map(|number| format!("key{number}=value{number}")).collect();
    for (state, expected) in [
        (
            format!("{},dd=s:-1", others[..31].join(",")),
            format!("dd=s:2,{}", others[..31].join(",")),
        ),
        (
            format!("dd=s:-1,{}", others[..31].join(",")),
            format!("dd=s:2,{}", others[..31].join(",")),
        ),
        (others.join(","), format!("dd=s:2,{}", others[..31].join(","))),
        (String::new(), "dd=s:2".to_owned()),
    ] {
        let mut request = Request::default();
        request.set("traceparent", b"00-00000000000000000000000000000007-0000000000000008-01");
        request.set("tracestate", state.as_bytes());
        request.set("x-datadog-trace-id", b"7");
        request.set("x-datadog-sampling-priority", b"2");
        request.extract(Formats::none().with(Format::Datadog).unwrap());
        assert_eq!(request.get(Header::Tracestate), Some(expected.as_bytes()));
    }
}

#[test]
fn dd_has_256_bytes() {
    let mut request = Request::default();
    request.set("x-datadog-trace-id", b"7");
    request.set("x-datadog-origin", "o".repeat(200).as_bytes());
    let tags = format!("_dd.p.a={},_dd.p.b={},_dd.p.c=3", "x".repeat(60), "y".repeat(38));
    request.set("x-datadog-tags", tags.as_bytes());
    request.extract(Formats::none().with(Format::Datadog).unwrap());
    let lines = *request.headers().tracestate();
    let dd = tracestate::find(&lines, b"dd").unwrap();
    let expected = format!("o:{};t.b:{};t.c:3", "o".repeat(200), "y".repeat(38));
    assert_eq!(String::from_utf8_lossy(dd), expected);
    assert!(dd.len() <= 256);
}

#[test]
fn lists_are_parsed() {
    let list = Formats::parse(b"b3, w3c_tracecontext ;ratio=10000;strip").unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), [Format::B3, Format::W3cTracecontext]);
    assert_eq!((list.ratio(), list.strips()), (10_000, true));
    // The example of OpenTelemetry's specification: 1 %, 0xfd70a400000000 with five digits.
    assert_eq!(list.threshold() >> 32, 0xfd_70a3);
    assert_eq!(Formats::none().threshold(), 0);
    assert_eq!(Formats::parse(b"b3;ratio=0").unwrap().threshold(), 1 << 56);
    assert_eq!(Formats::parse(b"b3;ratio=250000").unwrap().threshold(), 0xc0_0000_0000_0000);
    assert_eq!(Formats::parse(b""), Some(Formats::none()));
    for wrong in ["b3,b3", "b4", "b3;ratio=1000001", "b3;ratio", "b3;strip=1", "b3;x", "B3"] {
        assert_eq!(Formats::parse(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn headers_are_found_by_name() {
    for header in Header::ALL {
        assert_eq!(Header::from_name(header.name().as_bytes()), Some(header));
        let other = header.name().replacen(|_| true, "y", 1);
        assert_eq!(Header::from_name(other.as_bytes()), None);
    }
    let headers: Headers<'_> =
        [("b3", "1"), ("b3", "2"), ("tracestate", "a"), ("tracestate", "b"), ("x", "y")]
            .into_iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
    assert_eq!(headers.first(Header::B3), Some(b"1".as_slice()));
    assert!(headers.is_repeated(Header::B3) && !headers.is_repeated(Header::Baggage));
    assert_eq!(headers.tracestate().iter().collect::<Vec<_>>(), [b"a", b"b"]);
    let mut lines = Lines::default();
    (0..9).for_each(|_| lines.add(b"x"));
    assert_eq!((lines.count(), lines.iter().count()), (9, 8));
}
