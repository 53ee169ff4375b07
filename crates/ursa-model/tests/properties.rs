//! Reading never panics; what is written is read as the same.

mod sample;

use proptest::prelude::*;
use serde_json::{Map, Number, Value};
use ursa_model::document::{parse, parse_one, to_yaml};
use ursa_model::duration::Duration;
use ursa_model::path::{Path, Segment};
use ursa_model::percent::Percent;
use ursa_model::size::ByteSize;
use ursa_model::substitution::Substitution;
use ursa_model::template::Template;
use ursa_model::tree::Node;
use ursa_model::yaml;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".*", "[ -~]{0,12}", "(true|null|~|-|0x1f|1e3|[0-9:]{1,5}|yes|<<|#| a|a )"]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |float| Number::from_f64(float).map(Value::from)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}

/// Pieces of documents in any order: nearer to what people write than arbitrary text.
fn yamlish() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "type: ",
        "Mesh",
        "Dataplane",
        "\n",
        "  ",
        "- ",
        ": ",
        "name: a\n",
        "spec:",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!str ",
        "|\n",
        ">-\n",
        "#",
        "---\n",
        "...\n",
        "<<: ",
        "\t",
        "? ",
        "endpoint: ",
        "http://x",
        "%YAML 1.2\n",
        "\u{feff}",
        "\r\n",
        "labels:",
        "networking:",
        "inbound:",
        "port: 1\n",
        "null",
        "1e999",
        "\\ud83d\\ude00",
        "apiVersion: kuma.io/v1alpha1\n",
        "kind: ",
        "metadata:",
        "targetRef:",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// The documents of `cases/`, one to each text.
fn documents() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let files = ["good", "bad"]
        .map(|folder| std::fs::read_dir(root.join(folder)).expect("the folder of cases"));
    let yaml = files
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let texts = yaml.map(|path| std::fs::read_to_string(path).expect("a case"));
    texts.flat_map(|text| text.split("---\n").map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Two documents cut through anywhere and joined, with something odd between.
fn damaged() -> impl Strategy<Value = String> {
    let document = || prop::sample::select(documents());
    (document(), document(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), yamlish())
        .prop_map(|(one, other, from, to, between)| {
            let head: String = one.chars().take(from.index(one.chars().count() + 1)).collect();
            let tail: String = other.chars().skip(to.index(other.chars().count() + 1)).collect();
            head + &between + &tail
        })
}

proptest! {
    #[test]
    fn damaged_documents_are_read_without_panic(text in damaged()) {
        let kinds = sample::kinds();
        let parsed = parse(&text, &kinds);
        for document in &parsed.documents {
            let again = parse_one(&document.text, &kinds, document.place.line).map(|(again, _)| again.to_json());
            prop_assert_eq!(again.ok(), Some(document.to_json()));
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in prop_oneof![any::<String>(), yamlish()]) {
        let parsed = parse(&text, &sample::kinds());
        prop_assert!(parsed.violations.iter().all(|violation| !violation.message.is_empty()));
    }

    #[test]
    fn json_survives_the_tree(json in json()) {
        prop_assert_eq!(Node::from_json(&json).to_json(), json);
    }

    #[test]
    fn json_text_is_read_as_json(json in json()) {
        let read = yaml::read(&json.to_string());
        prop_assert_eq!(&read.violations, &[]);
        prop_assert_eq!(read.node.map(|node| node.to_json()), Some(json));
    }

    #[test]
    fn yaml_is_read_as_written(json in json()) {
        let text = to_yaml(&json);
        let read = yaml::read(&text);
        prop_assert_eq!(&read.violations, &[], "{}", text);
        prop_assert_eq!(read.node.map(|node| node.to_json()), Some(json), "{}", text);
    }

    #[test]
    fn percent_is_printed_and_read(millionths in 0..=1_000_000_u32) {
        let percent = Percent::from_millionths(millionths).unwrap();
        prop_assert_eq!(percent.to_string().parse(), Ok(percent));
        let json = serde_json::to_string(&percent).unwrap();
        prop_assert_eq!(serde_json::from_str::<Percent>(&json).unwrap(), percent);
    }

    #[test]
    fn duration_is_printed_and_read(nanos in 0..=i64::MAX.unsigned_abs()) {
        let duration = Duration(std::time::Duration::from_nanos(nanos));
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn size_is_printed_and_read(bytes in any::<u64>(), shift in 0..40_u32) {
        let size = ByteSize(bytes >> shift << shift);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn path_is_printed_and_read(segments in prop::collection::vec(
        prop_oneof![text().prop_map(Segment::Key), any::<usize>().prop_map(Segment::Index)], 0..6,
    )) {
        let path = Path(segments);
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }

    #[test]
    fn scalars_of_any_text_do_not_panic(text in any::<String>()) {
        prop_assert_eq!(text.parse::<Percent>().is_ok_and(|percent| percent > Percent::HUNDRED), false);
        let read = (text.parse::<Duration>(), text.parse::<ByteSize>(), text.parse::<Path>());
        prop_assert!(read.0.is_err() || !text.is_empty());
        if let (Ok(template), Ok(parts)) = (Template::parse(&text), Substitution::parse(&text)) {
            prop_assert!(template.parts().len() + parts.len() <= 2 * text.len());
        }
    }
}
