//! `cases/conformance.txt`: a request, a list of formats, what the tracer sees, what the next service receives; and the ids that stand for names in it.
//!
//! Read by the tests of three crates: of the formats alone, of the library that Envoy loads, and of whole meshes.

use std::path::Path;

use ursa_propagation::Formats;

pub(crate) type List = Vec<(String, Vec<u8>)>;

#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) list: String,
    pub(crate) incoming: Vec<String>,
    pub(crate) sees: String,
    pub(crate) receives: Vec<String>,
}

pub(crate) fn cases() -> Vec<Case> {
    // This file is also part of other crates, which stand beside this one.
    let path = "../ursa-propagation/tests/propagation/cases/conformance.txt";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            cases.push(Case { name: rest.to_owned(), ..Case::default() });
            continue;
        }
        let case = cases.last_mut().unwrap();
        match word {
            "list" => rest.clone_into(&mut case.list),
            "in" => case.incoming.push(rest.to_owned()),
            "sees" => rest.clone_into(&mut case.sees),
            "out" => case.receives.push(rest.to_owned()),
            _ => panic!("{}: what is {word}?", case.name),
        }
    }
    assert!(cases.len() > 50, "{} cases", cases.len());
    cases
}

impl Case {
    pub(crate) fn formats(&self) -> Formats {
        Formats::parse(self.list.as_bytes()).unwrap()
    }
}

/// What stands for the names in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    /// {E}
    pub(crate) attempt: u64,
    /// {N}: of a trace that begins here.
    pub(crate) new: (u64, u64),
    /// {I}: made up for a decision that came without ids.
    pub(crate) invented: (u64, u64),
    /// {i}
    pub(crate) span: u64,
}

impl Ids {
    pub(crate) fn fill(&self, text: &str) -> String {
        let trace = (0x80f1_98ee_5634_3ba8_u64, 0x64fe_8b2a_57d3_eff7_u64);
        let span = 0xe457_b5a2_e4d8_6bd1_u64;
        let other = (0x0af7_6519_16cd_43dd, 0x8448_eb21_1c80_319c);
        let hex = |(high, low): (u64, u64)| format!("{high:016x}{low:016x}");
        let rest = |(high, low): (u64, u64)| format!("{:08x}{low:016x}", high & 0xffff_ffff);
        [
            ("{T}", hex(trace)),
            ("{T upper}", hex(trace).to_uppercase()),
            ("{T high}", format!("{:016x}", trace.0)),
            ("{T time}", format!("{:08x}", trace.0 >> 32)),
            ("{T rest}", rest(trace)),
            ("{t}", format!("{:016x}", trace.1)),
            ("{t decimal}", trace.1.to_string()),
            ("{S}", format!("{span:016x}")),
            ("{S decimal}", span.to_string()),
            ("{U}", hex(other)),
            ("{N}", hex(self.new)),
            ("{N high}", format!("{:016x}", self.new.0)),
            ("{N decimal}", self.new.1.to_string()),
            ("{N time}", format!("{:08x}", self.new.0 >> 32)),
            ("{N rest}", rest(self.new)),
            ("{I}", hex(self.invented)),
            ("{i}", format!("{:016x}", self.span)),
            ("{E}", format!("{:016x}", self.attempt)),
            ("{E decimal}", self.attempt.to_string()),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Headers of a case.
    pub(crate) fn headers(&self, lines: &[String]) -> List {
        let header = |line: &String| {
            let filled = self.fill(line);
            let (name, value) = filled.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().as_bytes().to_vec())
        };
        lines.iter().map(header).collect()
    }
}
