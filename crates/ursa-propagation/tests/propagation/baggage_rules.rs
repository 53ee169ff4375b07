//! Baggage under rules: `cases/baggage.txt`, its bounds, and whatever comes.

use proptest::prelude::*;
use ursa_propagation::baggage::{
    BYTES_MAX, Dropped, MEMBERS_MAX, Rules, SETTINGS_MAX, Setting, escape,
};
use ursa_propagation::{Changes, Formats, Headers, LINES_MAX};

use crate::request::written;
use crate::under_rules::{Became, PARENT, check, extract, inject};
use crate::vectors::lines;

fn shown(became: &Became) -> (String, Dropped) {
    let text = became.text.as_ref().map(|text| String::from_utf8(text.clone()).unwrap());
    (text.unwrap_or_else(|| "-".to_owned()), became.dropped)
}

#[test]
fn baggage_becomes_what_the_table_says() {
    let (mut rules, mut header, mut came) = (String::new(), String::new(), None::<String>);
    let mut became: Option<Became> = None;
    let settle = |became: &mut Option<Became>, at: &str| {
        if let Some(became) = became.take() {
            assert_eq!(became.dropped, Dropped::default(), "before {at}");
        }
    };
    for line in lines("baggage.txt") {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let rest = rest.trim_start();
        let at = format!("{rules:?}, {came:?}, {line}");
        if word != "drops" && word != "out" && word != "same" {
            settle(&mut became, &at);
        }
        match word {
            "rules" => {
                rules = rest.replace(" | ", "\n");
                header.clear();
            }
            "x" => rest.clone_into(&mut header),
            "refused" => assert_eq!(Rules::parse(rules.as_bytes()), None, "{at}"),
            "in" => {
                came = (rest != "-").then(|| rest.to_owned());
                let Some(rules) = Rules::parse(rules.as_bytes()) else { continue };
                let all: Vec<_> = came.iter().map(String::as_bytes).collect();
                became = Some(extract(&all, &rules, header.as_bytes()));
            }
            "out" => assert_eq!(shown(became.as_ref().unwrap()).0, rest, "{at}"),
            "same" => assert!(!became.as_ref().unwrap().changed, "{at} {became:?}"),
            "drops" => {
                let Dropped { denied, invalid, cut } = became.take().unwrap().dropped;
                assert_eq!(format!("{denied} {invalid} {cut}"), rest, "{at}");
            }
            _ => panic!("{at}?"),
        }
    }
    settle(&mut became, "the end");
}

#[test]
fn what_goes_on_is_filtered_apart() {
    let rules = Rules::parse(b"in deny a\nout allow b c\nout deny c\nset d =1").unwrap();
    let out = inject(&[b"a=1,b=2;p, c=3", b"d=4"], &rules);
    let dropped = Dropped { denied: 3, ..Dropped::default() };
    assert_eq!(shown(&out), ("b=2;p".to_owned(), dropped));
    let headers: Headers<'_> =
        [(b"baggage".as_slice(), b"a=1,b=2".as_slice()), (b"traceparent", PARENT)]
            .into_iter()
            .collect();
    let mut changes = Changes::default();
    ursa_propagation::inject(&headers, Formats::parse(b"b3;strip").unwrap(), &mut changes);
    assert_eq!(rules.inject(&headers, &mut changes), Dropped::default());
    let gone: Vec<_> = changes.iter().filter(|(header, _)| header.name() == "baggage").collect();
    assert!(matches!(gone[..], [(_, None)]), "what is stripped is not written again");
}

#[test]
fn lines_become_one_and_too_many_are_cut() {
    let became = extract(
        &[b"userId=alice", b"serverNode=DF%2028, isProduction = false"],
        &Rules::default(),
        b"",
    );
    assert!(became.changed);
    let text = "userId=alice,serverNode=DF%2028,isProduction = false";
    assert_eq!(shown(&became), (text.to_owned(), Dropped::default()));
    let all: Vec<_> = (0..=LINES_MAX).map(|number| format!("k{number}=v,x=y")).collect();
    let all: Vec<_> = all.iter().map(String::as_bytes).collect();
    let became = extract(&all, &Rules::default(), b"");
    assert_eq!(became.dropped, Dropped { cut: 1, ..Dropped::default() });
    assert!(!became.text.unwrap().windows(3).any(|text| text == b"k8="));
}

/// W3C: all is carried as long as there are 64 members and 8,192 bytes at most.
#[test]
fn as_much_is_carried_as_w3c_asks_for() {
    let came =
        |text: &str, rules: &[u8]| extract(&[text.as_bytes()], &Rules::parse(rules).unwrap(), b"");
    let all: Vec<_> = (0..64).map(|number| format!("k{number:02}={}", "v".repeat(123))).collect();
    let all = format!("{}v", all.join(","));
    assert_eq!(all.len(), BYTES_MAX);
    assert!(!came(&all, b"").changed);
    assert!(!came(&format!("a={}", "0123456789".repeat(819)), b"").changed);
    let became = came(&format!("{all}v,z=1"), b"");
    assert_eq!(became.dropped.cut, 2);
    assert!(all.as_bytes().starts_with(&became.text.unwrap()));
    assert_eq!(came(&format!("a={}", "v".repeat(BYTES_MAX)), b"").text, None);
    let many: Vec<_> = (0..70).map(|number| format!("k{number}=v")).collect();
    let became = came(&many.join(","), b"set new =1");
    assert_eq!(became.dropped.cut, 7);
    assert!(became.text.unwrap().ends_with(b"k62=v,new=1"));
    let text = String::from_utf8(came(&all, b"set k05 =w\nset new =1").text.unwrap()).unwrap();
    assert!(text.contains(",k05=w,") && text.ends_with(",new=1") && !text.contains("k63="));
    assert_eq!(text.split(',').count(), MEMBERS_MAX);
}

#[test]
fn so_many_are_set() {
    let rule = |number: usize| format!("set k{number} @x =v");
    let rules: Vec<_> = (0..SETTINGS_MAX).map(rule).collect();
    let text = rules.join("\n");
    assert_eq!(Rules::parse(format!("{text}\n{}", rule(SETTINGS_MAX)).as_bytes()), None);
    let rules = Rules::parse(text.as_bytes()).unwrap();
    let became = extract(&[b"a=1"], &rules, &[b'x'; 700]);
    assert_eq!(became.dropped.cut, 6, "11 of 16 find room, and nothing else");
    let became = extract(&[b"a=1"], &rules, b"");
    assert_eq!(became.text.unwrap().split(|byte| *byte == b',').count(), 17);
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[a-c=;, %\"é0-9~]{0,60}".prop_map(String::into_bytes),
        (1..80_usize, 1..200_usize).prop_map(|(count, length)| {
            let member = |number: usize| {
                format!("{}{number}={}", ["a", "b", "c"][number % 3], "v".repeat(length))
            };
            (0..count).map(member).collect::<Vec<_>>().join(",").into_bytes()
        }),
    ]
}

/// The four lists, each there or not.
fn ways() -> impl Strategy<Value = String> {
    let names = || proptest::option::of("( ([abcx]|[a-c]?\\*|[a-c][0-9]|k0)){0,3}");
    let begins = ["in allow", "in deny", "out allow", "out deny"];
    [names(), names(), names(), names()].prop_map(move |lists| {
        let list = |(begin, names): (&str, Option<String>)| Some(format!("{begin}{}\n", names?));
        begins.into_iter().zip(lists).filter_map(list).collect()
    })
}

proptest! {
    #[test]
    fn whatever_comes(
        all in proptest::collection::vec(texts(), 0..6), ways in ways(),
        settings in proptest::collection::vec(("(set|add)", "[a-c][0-3]?", "( @x)?( =[a-z%0]{0,9})?"), 0..4),
        header in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let settings = settings.iter().map(|(kind, name, value)| format!("{kind} {name}{value}"));
        let all: Vec<_> = all.iter().map(Vec::as_slice).collect();
        let text = format!("{ways}{}", settings.collect::<Vec<_>>().join("\n"));
        check(&all, text.as_bytes(), &header);
        check(&all, ways.as_bytes(), &header);
    }

    #[test]
    fn whatever_the_rules(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        check(&[b"a=1"], &text, b"x");
    }

    /// Escaped bytes are a value of a rule, and the reader of the baggage has them again.
    #[test]
    fn literals_are_any_bytes(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        let escaped = written(|out| escape(&value, out));
        let text = [b"add a =", escaped.as_slice()].concat();
        let rules = Rules::parse(&text).unwrap();
        let setting = Setting { name: b"a", header: None, value: Some(&escaped), if_absent: true };
        prop_assert_eq!(rules.settings().collect::<Vec<_>>(), vec![setting]);
        let came = extract(&[], &rules, b"").text.unwrap();
        let line = str::from_utf8(&came).unwrap();
        let line = crate::baggage::lines(&[line]);
        let member = ursa_propagation::baggage::find(&line, b"a").unwrap();
        let decoded = crate::baggage::decoded(&member);
        prop_assert_eq!(decoded, String::from_utf8_lossy(&value).into_owned());
    }
}
