//! W3C Baggage.

use proptest::prelude::*;
use ursa_propagation::baggage::{
    BYTES_MAX, Carried, MEMBERS_MAX, Member, Rules, find, members, write,
};
use ursa_propagation::{Lines, Writer};

use crate::request::written;

fn lines<'a>(all: &[&'a str]) -> Lines<'a> {
    let mut lines = Lines::default();
    for line in all {
        lines.add(line.as_bytes());
    }
    lines
}

fn carried(all: &[&str], rules: &Rules<'_>) -> (String, Carried) {
    let mut bytes = vec![0; 2 * BYTES_MAX];
    let mut out = Writer::new(&mut bytes);
    let carried = write(&lines(all), rules, &mut out);
    (String::from_utf8(out.text().unwrap().to_vec()).unwrap(), carried)
}

fn decoded(member: &Member<'_>) -> String {
    String::from_utf8(written(|out| member.decode(out))).unwrap()
}

/// The examples of W3C Baggage, and what its grammar refuses.
#[test]
fn members_are_read() {
    let read = |line: &str| -> Vec<String> {
        let lines = lines(&[line]);
        let show = |member: Member<'_>| {
            let key = String::from_utf8_lossy(member.key);
            let properties =
                member.properties.map(|text| format!(" ;{}", String::from_utf8_lossy(text)));
            format!("{key} is {}{}", decoded(&member), properties.unwrap_or_default())
        };
        members(&lines).map(show).collect()
    };
    for (line, expected) in [
        (
            "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue",
            vec![
                "key1 is value1 ;property1;property2",
                "key2 is value2",
                "key3 is value3 ; propertyKey=propertyValue",
            ],
        ),
        (
            "userId=alice,serverNode=DF%2028,isProduction=false",
            vec!["userId is alice", "serverNode is DF 28", "isProduction is false"],
        ),
        ("userId =   alice", vec!["userId is alice"]),
        ("a=b=c,d===", vec!["a is b=c", "d is =="]),
        ("empty=,none", vec!["empty is "]),
        ("a=1 2,b=\"x\",c=\\,d=\u{e9},=e,f g=h,[=1,i=j;[,k=l;,m=n", vec!["m is n"]),
        (
            "a=s%C3%BC%c3%9f,b=%ff%FE!,c=50%,d=%4,e=%e2%82,f=%F0%9F%8E%89%20",
            vec![
                "a is süß",
                "b is \u{fffd}\u{fffd}!",
                "c is 50%",
                "d is %4",
                "e is \u{fffd}",
                "f is 🎉 ",
            ],
        ),
        (",,  ,\t", vec![]),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
    let two = lines(&["a=1,b=2", "b=3,c=4"]);
    assert_eq!(decoded(&find(&two, b"b").unwrap()), "2");
    assert_eq!(decoded(&find(&two, b"c").unwrap()), "4");
    assert_eq!(find(&two, b"B"), None);
}

#[test]
fn what_may_pass_passes_as_it_was() {
    let all = ["tenant = a;p, x-user=b,x-id=c", "secret=d,tenant=e"];
    let (text, counts) = carried(&all, &Rules::default());
    assert_eq!(text, "tenant = a;p,x-user=b,x-id=c,secret=d,tenant=e");
    assert_eq!(counts, Carried { members: 5, changed: true, ..Carried::default() });
    let (text, counts) =
        carried(&all, &Rules { allow: Some(b"tenant, x-*"), deny: b"x-id", set: &[] });
    assert_eq!(text, "tenant = a;p,x-user=b,tenant=e");
    assert_eq!((counts.members, counts.denied), (3, 2));
    assert_eq!(carried(&all, &Rules { allow: Some(b""), ..Rules::default() }).0, "");
    assert_eq!(carried(&all, &Rules { deny: b"*", ..Rules::default() }).1.denied, 5);
    assert!(!carried(&["a=1, b=2"], &Rules { deny: b"c", ..Rules::default() }).1.changed);
    let (text, counts) = carried(&["a=1,b,c=\"2\",d=3"], &Rules::default());
    assert_eq!((text.as_str(), counts.invalid, counts.changed), ("a=1,d=3", 2, true));
}

#[test]
fn what_is_set_takes_the_place_of_what_came() {
    let set: &[(&[u8], &[u8])] = &[(b"tenant", "süß, 100%".as_bytes()), (b"new", b"1")];
    let (text, counts) =
        carried(&["tenant=a,b=2", "tenant=c"], &Rules { set, deny: b"tenant", ..Rules::default() });
    assert_eq!(text, "b=2,tenant=s%C3%BC%C3%9F%2C%20100%25,new=1");
    assert_eq!(counts, Carried { members: 3, changed: true, ..Carried::default() });
    assert_eq!(decoded(&find(&lines(&[&text]), b"tenant").unwrap()), "süß, 100%");
}

#[test]
fn as_much_is_carried_as_w3c_asks_for() {
    let all: Vec<_> = (0..64).map(|number| format!("k{number:02}={}", "v".repeat(123))).collect();
    let all = format!("{}v", all.join(","));
    assert_eq!(all.len(), BYTES_MAX);
    let (text, counts) = carried(&[&all], &Rules::default());
    assert_eq!((text.as_str(), counts.members, counts.changed), (all.as_str(), MEMBERS_MAX, false));
    let (text, counts) = carried(&[&format!("{all}v,z=1")], &Rules::default());
    assert_eq!((counts.members, counts.cut, counts.changed), (63, 2, true));
    assert!(all.starts_with(&text));
    let many: Vec<_> = (0..70).map(|number| format!("k{number}=v")).collect();
    let set: &[(&[u8], &[u8])] = &[(b"new", b"1")];
    let (text, counts) = carried(&[&many.join(",")], &Rules { set, ..Rules::default() });
    assert_eq!((counts.members, counts.cut), (64, 7));
    assert!(text.ends_with("k62=v,new=1"), "{text}");
}

proptest! {
    /// What is written is read as it is, whatever came; what came is written, denied, cut, replaced or no member.
    #[test]
    fn whatever_comes(
        all in proptest::collection::vec("[a-c=;, %\"é0-9~]{0,60}", 0..6),
        deny in "[ab,*]{0,4}", key in "[a-c]{1,2}", value in proptest::collection::vec(any::<u8>(), 0..20),
        room in 0..80_usize,
    ) {
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let set: &[(&[u8], &[u8])] = &[(key.as_bytes(), &value)];
        let rules = Rules { allow: None, deny: deny.as_bytes(), set };
        let mut bytes = vec![0; room];
        let mut out = Writer::new(&mut bytes);
        let counts = write(&lines(&all), &rules, &mut out);
        let text = String::from_utf8(out.text().unwrap().to_vec()).unwrap();
        let again = lines(&[&text]);
        prop_assert_eq!(members(&again).count(), counts.members);
        prop_assert!(text.len() <= room);
        if let Some(member) = find(&again, key.as_bytes()) {
            prop_assert_eq!(decoded(&member), String::from_utf8_lossy(&value).into_owned());
        }
        let came = members(&lines(&all)).filter(|member| member.key != key.as_bytes()).count();
        prop_assert_eq!(counts.members + counts.cut + counts.denied, came + 1);
    }
}
