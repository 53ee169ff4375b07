//! Whatever bytes are sent, reading them ends, without panic and within its bounds.
//!
//! An ordinary test that runs the kept corpus and some random inputs; `cargo bolero test -p ursa-model any_bytes_are_read` searches on.

mod sample;

use ursa_model::document::{parse, parse_one};

#[test]
fn any_bytes_are_read() {
    let kinds = sample::kinds();
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let parsed = parse(&text, &kinds);
        for document in &parsed.documents {
            let (alone, _) = parse_one(&document.text, &kinds, document.place.line)
                .expect("an accepted document is accepted again");
            assert_eq!(alone.to_json(), document.to_json());
        }
    });
}
