//! Every case of `cases/`.

use crate::testing::outcome;

#[test]
fn cases() {
    insta::with_settings!({snapshot_path => "cases", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::glob!("cases/*.yaml", |path| {
            let case = std::fs::read_to_string(path).expect("a case is a text file");
            insta::assert_snapshot!("expect", outcome(&case));
        });
    });
}
