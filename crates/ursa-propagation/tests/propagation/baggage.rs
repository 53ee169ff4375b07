//! W3C Baggage: its members.

use ursa_propagation::Lines;
use ursa_propagation::baggage::{Member, find, members};

use crate::request::written;

pub(crate) fn lines<'a>(all: &[&'a str]) -> Lines<'a> {
    let mut lines = Lines::default();
    for line in all {
        lines.add(line.as_bytes());
    }
    lines
}

pub(crate) fn decoded(member: &Member<'_>) -> String {
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
        (
            "SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t ValueProp \t = \t PropVal",
            vec![
                "SomeKey is SomeValue ; \t SomeProp",
                "SomeKey2 is SomeValue2 ; \t ValueProp \t = \t PropVal",
            ],
        ),
        (
            "SomeKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29",
            vec!["SomeKey is \t \"';=asdf!@#$%^&*()"],
        ),
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
