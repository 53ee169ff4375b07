//! The table of kinds.

use ursa_policies::KINDS;

/// A folder with a `schema.rs` is a kind of policy.
#[test]
fn every_folder_is_in_the_table_and_no_other() {
    let source = format!("{}/src", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(source)
        .expect("the sources are there")
        .map(|entry| entry.expect("readable").path());
    let mut folders: Vec<_> = entries
        .filter(|path| path.join("schema.rs").exists())
        .filter_map(|path| Some(path.file_name()?.to_str()?.replace('_', "")))
        .collect();
    folders.sort();
    let mut table: Vec<_> = KINDS.iter().map(|policy| policy.kind.name.to_lowercase()).collect();
    table.sort();
    assert_eq!(folders, table);
}

#[test]
fn each_name_means_one_kind() {
    let kinds = ursa_policies::kinds();
    let mut names: Vec<_> = kinds
        .iter()
        .flat_map(|kind| [kind.name, kind.plural].into_iter().chain(kind.short.iter().copied()))
        .collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
