//! Members of W3C Baggage in access logs.
//!
//! No command operator of Envoy reads one. So a filter takes those that a listener's formats name out of the header,
//! by an expression each, and puts them into dynamic metadata, which formats can say. What is put there is the first
//! valid member's value as it was sent, percent-encoded; nothing if there is none.
//!
//! Followed: Envoy's "Header-To-Metadata Filter", which joins a header's lines by commas; W3C Baggage, "Header Content".

use std::collections::BTreeSet;
use std::fmt::Write as _;

use envoy_types::pb::envoy::extensions::filters::http::header_to_metadata::v3::{
    Config,
    config::{KeyValuePair, Rule, ValueType},
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};

use crate::format::{Command, Format};
use crate::parts;
use crate::proxy::{AccessLog, LogFormat, LogSink, LogValue};

/// Where the members are, in dynamic metadata.
const NAMESPACE: &str = "ursa.baggage";
const OPERATOR: &str = "METADATA";
const OF_REQUEST: &str = "DYNAMIC:ursa.baggage:";

/// The command operator that says a member's value, at most `length` characters of it.
pub fn command(member: &str, length: Option<usize>) -> Command {
    Command { name: OPERATOR.to_owned(), argument: Some(format!("{OF_REQUEST}{member}")), length }
}

/// Whether a command operator says a member's value, and of which.
pub fn member(command: &Command) -> Option<&str> {
    let argument = command.argument.as_deref().filter(|_| command.name == OPERATOR)?;
    argument.strip_prefix(OF_REQUEST)
}

/// What finds the members that `logs` say; `None` if they say none.
pub(crate) fn filter(logs: &[AccessLog]) -> Option<HttpFilter> {
    let mut members = BTreeSet::new();
    for log in logs {
        each_format(&log.sink, &mut |text| {
            let format = Format::parse(text);
            let commands = format.iter().flat_map(Format::commands);
            members.extend(commands.filter_map(member).map(str::to_owned));
        });
    }
    if members.is_empty() {
        return None;
    }
    let request_rules = members.iter().map(|member| rule(member)).collect();
    let config = Config { request_rules, ..Config::default() };
    Some(HttpFilter {
        name: "envoy.filters.http.header_to_metadata".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(parts::any(&config))),
        ..HttpFilter::default()
    })
}

fn rule(member: &str) -> Rule {
    let rewrite = RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher { regex: expression(member), ..RegexMatcher::default() }),
        substitution: r"\1".to_owned(),
    };
    Rule {
        header: "baggage".to_owned(),
        on_header_present: Some(KeyValuePair {
            metadata_namespace: NAMESPACE.to_owned(),
            key: member.to_owned(),
            r#type: ValueType::String as i32,
            regex_value_rewrite: Some(rewrite),
            ..KeyValuePair::default()
        }),
        ..Rule::default()
    }
}

/// Matches every header, of whatever bytes (`\C`), so that nothing of it is left; its group is the value of the first member of that name.
fn expression(member: &str) -> String {
    let mut name = String::new();
    for c in member.chars() {
        let plain = c.is_ascii_alphanumeric() || "-_".contains(c);
        let escape = if plain { "" } else { "\\" };
        write!(name, "{escape}{c}").expect("texts take all");
    }
    format!(r"^(?:[^,]*,)*?[ \t]*{name}[ \t]*=[ \t]*([!#-+\--:<-\[\]-~]*)[ \t]*(?:[,;]\C*)?$|^\C*$")
}

fn each_format(sink: &LogSink, see: &mut impl FnMut(&str)) {
    match sink {
        LogSink::File { format: LogFormat::Text(text), .. } => see(text),
        LogSink::File { format: LogFormat::Json { fields, .. }, .. } => {
            for (_, text) in fields {
                see(text);
            }
        }
        LogSink::Agent { body, attributes, .. } => {
            for (_, text) in attributes {
                see(text);
            }
            if let Some(body) = body {
                each_text(body, see);
            }
        }
    }
}

fn each_text(value: &LogValue, see: &mut impl FnMut(&str)) {
    match value {
        LogValue::Text(text) => see(text),
        LogValue::List(items) => items.iter().for_each(|item| each_text(item, see)),
        LogValue::Map(entries) => entries.iter().for_each(|(_, item)| each_text(item, see)),
    }
}
