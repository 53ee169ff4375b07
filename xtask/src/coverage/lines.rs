//! Which lines were run, out of lcov's table. Test code is left out of it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Lines that were run, of lines that can be run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) run: u64,
    pub(super) all: u64,
}

impl Lines {
    #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 lines")]
    pub(super) fn percent(self) -> f64 {
        100.0 * self.run as f64 / self.all.max(1) as f64
    }
}

impl AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.run += other.run;
        self.all += other.all;
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>6} of {:>6} lines  {:>5.1} %", self.run, self.all, self.percent())
    }
}

/// What was run of a source file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// The crate that it belongs to.
    pub(super) room: String,
    pub(super) lines: Lines,
    /// The lines that were not run.
    missing: BTreeSet<u64>,
}

impl File {
    /// Its name, and the lines that were not run, if there are any.
    pub(super) fn missing(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &line in &self.missing {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == line => *end = line,
                _ => ranges.push((line, line)),
            }
        }
        let shown = ranges.iter().map(|(from, to)| {
            if from == to { format!(" {from}") } else { format!(" {from}-{to}") }
        });
        Some(format!("{}:{}", self.path.display(), shown.collect::<String>()))
    }
}

/// Of the files `crates/NAME/src/…` in a table, what is no test.
pub(super) fn by_file(table: &str, crates: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for record in table.split("end_of_record") {
        let fields = || record.lines().filter_map(|line| line.split_once(':'));
        let named = fields().find(|(name, _)| *name == "SF");
        let Some((_, path)) = named else { continue };
        let Ok(path) = Path::new(path).strip_prefix(crates) else { continue };
        let mut pieces = path.iter();
        let room = pieces.next().and_then(|name| name.to_str()).context("a file has a crate")?;
        if pieces.next().is_none_or(|folder| folder != "src") {
            continue;
        }
        let mut file = File {
            path: path.to_owned(),
            room: room.to_owned(),
            lines: Lines::default(),
            missing: BTreeSet::new(),
        };
        let Some(end) = tests_begin(crates, path)? else { continue };
        for (_, count) in fields().filter(|(name, _)| *name == "DA") {
            let (line, count) = count.split_once(',').context("a line has a count")?;
            let line: u64 = line.parse()?;
            if line >= end {
                continue;
            }
            file.lines.all += 1;
            if count == "0" {
                file.missing.insert(line);
            } else {
                file.lines.run += 1;
            }
        }
        files.push(file);
    }
    Ok(files)
}

/// The line from which on a file is tests, as clippy wants it (`items_after_test_module`). None if all of it is, because
/// it is, or lies below, a module that is declared for tests only.
fn tests_begin(crates: &Path, path: &Path) -> anyhow::Result<Option<u64>> {
    let read = |path: &Path| {
        std::fs::read_to_string(crates.join(path))
            .with_context(|| format!("read {}", path.display()))
    };
    let mut module = path.with_extension("");
    if module.ends_with("mod") {
        module.pop();
    }
    // Up to the crate's own file in `crates/NAME/src`.
    while module.iter().count() > 2 {
        let name = module.file_name().and_then(|name| name.to_str()).context("it has a name")?;
        let declared = format!("mod {name};");
        let above = module.parent().context("it lies in a crate")?;
        let parent = ["mod.rs", "lib.rs", "main.rs"].map(|file| above.join(file));
        if let Some(parent) = parent.iter().find(|parent| crates.join(parent).is_file()) {
            let text = read(parent)?;
            if for_tests(&text).any(|(_, line)| line.ends_with(&declared)) {
                return Ok(None);
            }
        }
        module.pop();
    }
    let text = read(path)?;
    let begin = for_tests(&text).find(|(_, line)| line.ends_with('{')).map(|(number, _)| number);
    Ok(Some(begin.unwrap_or(u64::MAX)))
}

/// The lines that begin or declare modules for tests only, and their numbers.
fn for_tests(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let mut test = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let starts = line.strip_prefix("pub(crate) ").unwrap_or(line).starts_with("mod ");
        let found = test && starts;
        test = *line == "#[cfg(test)]" || (test && line.starts_with("#["));
        found
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Lines, by_file};

    const TABLE: &str = "SF:/elsewhere/lib.rs\nDA:1,0\nend_of_record\n\
        SF:CRATES/room/src/lib.rs\nDA:2,1\nDA:3,0\nDA:4,0\nDA:9,7\nDA:14,0\nend_of_record\n\
        SF:CRATES/room/src/tests/long.rs\nDA:1,0\nend_of_record\n\
        SF:CRATES/room/src/own/mod.rs\nDA:1,5\nend_of_record\n\
        SF:CRATES/room/tests/outside.rs\nDA:1,0\nend_of_record\n";
    const LIB: &str = "mod own;\n#[cfg(test)]\nmod tests;\n\n\n\n\n\n\n\n#[cfg(test)]\n\
        #[expect(unused, reason = \"it shows\")]\nmod more {\n}\n";

    #[test]
    fn tests_do_not_count() {
        let crates = tempfile::tempdir().unwrap();
        let source = crates.path().join("room/src");
        for (path, text) in [("lib.rs", LIB), ("own/mod.rs", "fn f() {}"), ("tests/long.rs", "")] {
            let path = source.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let table = TABLE.replace("CRATES", &crates.path().to_string_lossy());
        let files = by_file(&table, crates.path()).unwrap();
        let lines: Vec<_> = files.iter().map(|file| (file.room.as_str(), file.lines)).collect();
        let expected = [(2, 4), (1, 1)].map(|(run, all)| ("room", Lines { run, all }));
        assert_eq!(lines, expected);
        assert_eq!(files[0].missing().as_deref(), Some("room/src/lib.rs: 3-4"));
    }
}
