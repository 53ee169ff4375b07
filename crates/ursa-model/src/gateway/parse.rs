//! Reading the file.

use schemars::{Schema, schema_for};
use serde_json::json;

use super::GatewayFile;
use crate::document::without_refused;
use crate::path::{Path, Segment};
use crate::report::{Report, Violation};
use crate::tree::Node;
use crate::yaml;

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The file, if nothing was refused.
    pub gateway: Option<GatewayFile>,
    /// All that is wrong or worth a warning, by place.
    pub violations: Vec<Violation>,
}

/// Whether a text means to be a gateway file: it names receivers or exporters at its top, and no kind of resource.
pub fn is_gateway(text: &str) -> bool {
    let sources = yaml::split(text.strip_prefix('\u{feff}').unwrap_or(text));
    let node = sources.first().and_then(|source| yaml::read(source.text).node);
    node.is_some_and(|node| {
        let has = |fields: &[&str]| fields.iter().any(|field| node.get(field).is_some());
        has(&["receivers", "exporters"]) && !has(&["type", "kind", "apiVersion"])
    })
}

/// The schema of the file; its descriptions are the reference.
pub fn schema() -> Schema {
    schema_for!(GatewayFile)
}

/// Reads a gateway file: YAML or JSON, one document.
pub fn parse(text: &str) -> Parsed {
    let sources = yaml::split(text.strip_prefix('\u{feff}').unwrap_or(text));
    let nothing = Node::empty_map(crate::tree::Place::START);
    let Some(source) = sources.first() else {
        let report = Report::new(&nothing);
        report.cursor().refuse_with_hint(
            "there is nothing in this file",
            "a gateway needs `receivers` and `exporters`",
        );
        return Parsed { gateway: None, violations: report.finish() };
    };
    let by = source.first_line.saturating_sub(1);
    let mut read = yaml::read(source.text);
    for place in read.violations.iter_mut().filter_map(|violation| violation.place.as_mut()) {
        place.line = place.line.saturating_add(by);
    }
    let Some(mut root) = read.node else {
        return Parsed { gateway: None, violations: read.violations };
    };
    root.shift_lines(by);
    let mut parsed = check(&root);
    parsed.violations.extend(read.violations);
    if let Some(second) = sources.get(1) {
        let report = Report::new(&root);
        report.cursor().refuse(format!(
            "a gateway file is one document; another begins in line {}",
            second.first_line
        ));
        parsed.violations.extend(report.finish());
    }
    parsed.violations.sort_by_key(|violation| violation.place);
    if parsed.violations.iter().any(Violation::is_refusal) {
        parsed.gateway = None;
    }
    parsed
}

/// Checks the schema, and then what it cannot say of the parts that passed it.
fn check(root: &Node) -> Parsed {
    let schema = schema();
    let checking = Report::new(root);
    crate::schema::check(root, &schema, &checking.cursor());
    let mut violations = checking.finish();
    if root.as_map().is_none() {
        return Parsed { gateway: None, violations };
    }
    let mut written = root.clone();
    written.drop_nulls();
    let (sound, stand_ins) = without_refused(&written, &Path::root(), &violations, &schema);
    let sound = without_refused_processors(sound, &violations);
    let validating = Report::new(root);
    let gateway = validating.cursor().decode::<GatewayFile>(&sound);
    if let Some(gateway) = &gateway {
        gateway.validate(&validating.cursor());
    }
    let echoes = |Violation { path, .. }: &Violation| {
        let causes = violations.iter().map(|cause| &cause.path);
        let caused = |cause: &Path| path.contains(cause) || cause.contains(path);
        causes.chain(&stand_ins).any(|cause| !cause.is_root() && caused(cause))
    };
    let found: Vec<_> =
        validating.finish().into_iter().filter(|violation| !echoes(violation)).collect();
    violations.extend(found);
    Parsed { gateway, violations }
}

/// With a processor that says nothing in place of each that was refused; without its kind it could not be understood, and with
/// it all that stands beside it.
fn without_refused_processors(mut sound: Node, violations: &[Violation]) -> Node {
    for violation in violations.iter().filter(|violation| violation.is_refusal()) {
        if let [Segment::Key(list), Segment::Index(index), ..] = violation.path.segments()
            && list == "processors"
            && let Some(processor) = sound.at_mut(&Path::root().key(list).index(*index))
        {
            *processor = Node::from_json(&json!({"semanticConventions": {}}));
        }
    }
    sound
}
