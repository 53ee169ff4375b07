//! The text formats, line by line.

use super::group::{Group, Part};
use super::lexer::{Line, help, number};
use super::{MAX_FAMILIES, MAX_LINE, ParseError, Problem, bounded};
use crate::{Exemplar, Kind, Labels, Sink};

/// What was read of one source.
#[derive(Debug)]
pub(super) struct Text {
    open_metrics: bool,
    /// A line whose end has not come.
    begun: Vec<u8>,
    line: u64,
    families: usize,
    /// `# EOF` was read.
    is_complete: bool,
    group: Group,
    /// How a bucket's labels begin, where `le` is the last.
    series: String,
    scratch: Labels,
}

impl Text {
    pub(super) fn new(open_metrics: bool) -> Self {
        Self {
            open_metrics,
            begun: Vec::new(),
            line: 0,
            families: 0,
            is_complete: false,
            group: Group::new(),
            series: String::new(),
            scratch: Labels::new(),
        }
    }

    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), ParseError> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
            bytes = rest.get(1..).unwrap_or_default();
            if self.begun.is_empty() {
                self.read(line, sink)?;
            } else {
                self.keep(line)?;
                let whole = std::mem::take(&mut self.begun);
                self.read(&whole, sink)?;
                self.begun = whole;
                self.begun.clear();
            }
        }
        self.keep(bytes)
    }

    pub(super) fn finish(mut self, sink: &mut impl Sink) -> Result<(), ParseError> {
        let last = std::mem::take(&mut self.begun);
        let result = if last.is_empty() { Ok(()) } else { self.read(&last, sink) };
        self.group.end(sink);
        result?;
        // By its last line it is known that everything came.
        if self.open_metrics && !self.is_complete {
            return Err(self.error(Problem::Truncated));
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        if self.begun.len().saturating_add(bytes.len()) > MAX_LINE {
            self.line = self.line.saturating_add(1);
            return Err(self.error(Problem::TooLong));
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn error(&self, problem: Problem) -> ParseError {
        ParseError::Line { line: self.line, problem }
    }

    fn read(&mut self, line: &[u8], sink: &mut impl Sink) -> Result<(), ParseError> {
        self.line = self.line.saturating_add(1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let read = match line {
            _ if line.len() > MAX_LINE => Err(Problem::TooLong),
            _ => match str::from_utf8(line) {
                Ok(line) => self.read_line(line, sink),
                Err(_) => Err(Problem::Text),
            },
        };
        read.map_err(|problem| self.error(problem))
    }

    fn read_line(&mut self, line: &str, sink: &mut impl Sink) -> Result<(), Problem> {
        let mut line = Line(line);
        line.skip_blanks();
        if line.0.is_empty() {
            return Ok(());
        }
        if self.is_complete {
            return Err(Problem::Trailing);
        }
        if line.eat('#') { self.metadata(line, sink) } else { self.sample(line, sink) }
    }

    fn metadata(&mut self, mut line: Line<'_>, sink: &mut impl Sink) -> Result<(), Problem> {
        match line.word() {
            "EOF" if self.open_metrics => {
                self.is_complete = true;
                self.group.end(sink);
            }
            "TYPE" => {
                let name = line.meta_name()?;
                self.begin(&name, sink)?;
                self.group.kind = Kind::of(line.word()).ok_or(Problem::Kind)?;
            }
            "HELP" => {
                let name = line.meta_name()?;
                self.begin(&name, sink)?;
                let text = line.0.strip_prefix([' ', '\t']).unwrap_or(line.0);
                help(text, self.open_metrics, &mut self.group.help);
            }
            "UNIT" if self.open_metrics => {
                let name = line.meta_name()?;
                self.begin(&name, sink)?;
                line.word().clone_into(&mut self.group.unit);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, sink: &mut impl Sink) -> Result<(), Problem> {
        if self.group.begin(name, sink) {
            bounded(self.families, MAX_FAMILIES, Problem::Families)?;
            self.families = self.families.saturating_add(1);
        }
        Ok(())
    }

    fn sample(&mut self, mut line: Line<'_>, sink: &mut impl Sink) -> Result<(), Problem> {
        let name = line.name();
        if name.is_empty() {
            return self.quoted_sample(line, sink);
        }
        let part = self.group.part(name, self.open_metrics);
        if part.is_some() && self.group.is_unwanted() {
            return Ok(());
        }
        if let Some(part @ (Part::Bucket | Part::Sum | Part::Count)) = part
            && self.continues(part, line)?
        {
            return Ok(());
        }
        line.skip_blanks();
        let special = part.and_then(special_label);
        let mut labels = std::mem::take(&mut self.scratch);
        let read = line.labels(&mut labels, special);
        self.scratch = labels;
        let (second, bound) = read?;
        if second.is_some() {
            return Err(Problem::Name);
        }
        let part = self.belonging(name, part, sink)?;
        if !self.group.open(name, sink) {
            return Ok(());
        }
        self.series.clear();
        let bound = match bound {
            Some(bound) => {
                if bound.is_last && part == Part::Bucket {
                    self.series.push_str(bound.before);
                }
                Some(number(&bound.value)?)
            }
            None => None,
        };
        self.take(part, bound, line, sink)
    }

    /// A sample whose name stands within the braces. Its labels are read once to know it, and once more as
    /// those of its family.
    fn quoted_sample(&mut self, line: Line<'_>, sink: &mut impl Sink) -> Result<(), Problem> {
        let mut labels = std::mem::take(&mut self.scratch);
        let read = line.clone().labels(&mut labels, None);
        self.scratch = labels;
        let name = read?.0.filter(|name| !name.is_empty()).ok_or(Problem::Name)?;
        let part = self.group.part(&name, self.open_metrics);
        let part = self.belonging(&name, part, sink)?;
        if !self.group.open(&name, sink) {
            return Ok(());
        }
        let mut line = line;
        let mut labels = std::mem::take(&mut self.scratch);
        let read = line.labels(&mut labels, special_label(part));
        self.scratch = labels;
        let bound = read?.1.map(|bound| number(&bound.value)).transpose()?;
        self.series.clear();
        self.take(part, bound, line, sink)
    }

    /// What the sample is of the family that is read, or of a new one that nobody announced.
    fn belonging(
        &mut self,
        name: &str,
        part: Option<Part>,
        sink: &mut impl Sink,
    ) -> Result<Part, Problem> {
        match part {
            Some(part) => Ok(part),
            None => {
                self.begin(name, sink)?;
                Ok(Part::Value)
            }
        }
    }

    /// Reads value, time and exemplar of a sample whose labels are in `scratch`.
    fn take(
        &mut self,
        part: Part,
        bound: Option<f64>,
        mut line: Line<'_>,
        sink: &mut impl Sink,
    ) -> Result<(), Problem> {
        let value = line.number()?;
        let time = self.time(&mut line)?;
        let is_same =
            self.group.is_open() && part != Part::Value && self.group.labels == self.scratch;
        if !is_same {
            self.group.flush(sink);
            std::mem::swap(&mut self.group.labels, &mut self.scratch);
            self.group.start(time);
        }
        self.group.add(part, bound, value)?;
        self.exemplar(bound, line)
    }

    /// Reads a sample of a histogram if its labels are, letter by letter, those of the bucket before. This
    /// is what nearly all lines of Envoy are.
    fn continues(&mut self, part: Part, mut line: Line<'_>) -> Result<bool, Problem> {
        if !self.group.is_open() || self.series.is_empty() {
            return Ok(false);
        }
        let bound = if part == Part::Bucket {
            let rest = line.0.strip_prefix('{').and_then(|rest| rest.strip_prefix(&*self.series));
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix("le=\"")) else {
                return Ok(false);
            };
            let Some((bound, rest)) = rest.split_once('"') else { return Ok(false) };
            let Some(rest) = rest.strip_prefix('}') else { return Ok(false) };
            line.0 = rest;
            Some(number(bound)?)
        } else {
            let series = self.series.strip_suffix(',').unwrap_or(&self.series);
            let rest = line.0.strip_prefix('{').and_then(|rest| rest.strip_prefix(series));
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('}')) else {
                return Ok(false);
            };
            line.0 = rest;
            None
        };
        let value = line.number()?;
        self.time(&mut line)?;
        self.group.add(part, bound, value)?;
        self.exemplar(bound, line)?;
        Ok(true)
    }

    /// A time, if one comes, in milliseconds.
    fn time(&self, line: &mut Line<'_>) -> Result<Option<i64>, Problem> {
        line.skip_blanks();
        if line.0.is_empty() || line.0.starts_with('#') {
            return Ok(None);
        }
        let word = line.word();
        if !self.open_metrics {
            return word.parse().map(Some).map_err(|_| Problem::Number);
        }
        Ok(milliseconds(number(word)?))
    }

    fn exemplar(&mut self, bound: Option<f64>, mut line: Line<'_>) -> Result<(), Problem> {
        line.skip_blanks();
        if line.0.is_empty() {
            return Ok(());
        }
        if !line.eat('#') {
            return Err(Problem::Trailing);
        }
        if !self.open_metrics {
            return Ok(());
        }
        line.skip_blanks();
        let mut labels = Labels::new();
        if let (Some(_), _) = line.labels(&mut labels, None)? {
            return Err(Problem::Malformed);
        }
        let value = line.number()?;
        line.skip_blanks();
        let time = if line.0.is_empty() { None } else { Some(line.number()?) };
        line.skip_blanks();
        if !line.0.is_empty() {
            return Err(Problem::Trailing);
        }
        self.group.exemplify(Exemplar { bound, labels, value, time })
    }
}

/// Which label of a sample is not one of its series.
fn special_label(part: Part) -> Option<&'static str> {
    match part {
        Part::Bucket => Some("le"),
        Part::Quantile => Some("quantile"),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "times that are no times become the last one")]
fn milliseconds(seconds: f64) -> Option<i64> {
    (!seconds.is_nan()).then_some((seconds * 1000.0).round() as i64)
}
