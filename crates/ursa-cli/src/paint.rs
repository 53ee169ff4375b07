//! Texts made to fit: harmless, cut or padded, coloured when wanted.

use std::fmt::Write as _;

/// Colours of services: ones of the 256-colour palette that are legible on dark and on light.
const SERVICES: [u8; 10] = [68, 36, 172, 134, 71, 38, 166, 98, 142, 169];

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Doubtful,
    Failed,
    /// The service of this rank.
    Service(usize),
}

/// Applies styles, or leaves them away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    color: bool,
}

impl Paint {
    pub(crate) fn new(color: bool) -> Self {
        Self { color }
    }

    pub(crate) fn text(self, style: Style, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1".to_owned(),
            Style::Dim => "2".to_owned(),
            Style::Good => "32".to_owned(),
            Style::Doubtful => "33".to_owned(),
            Style::Failed => "1;31".to_owned(),
            Style::Service(rank) => {
                format!("38;5;{}", SERVICES.get(rank % SERVICES.len()).copied().unwrap_or(7))
            }
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A cell of a table.
pub(crate) type Cell = (Style, String);

/// Columns as wide as their widest cells, two spaces apart; a head of `>NAME` is aligned to the right. What a column of
/// only empty cells would say is left out with its head.
pub(crate) fn table(heads: &[&str], rows: &[Vec<Cell>], paint: Paint) -> String {
    let widest = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|(_, text)| columns(text)).max().unwrap_or(0)
    };
    let shown: Vec<_> = heads
        .iter()
        .enumerate()
        .filter(|(index, _)| widest(*index) > 0)
        .map(|(index, head)| match head.strip_prefix('>') {
            Some(head) => (index, head, true, widest(index).max(columns(head))),
            None => (index, *head, false, widest(index).max(columns(head))),
        })
        .collect();
    let line = |cell: &dyn Fn(usize, &str) -> Cell| {
        let mut line = String::new();
        for (index, head, right, width) in &shown {
            let (style, text) = cell(*index, head);
            let padding = " ".repeat(width.saturating_sub(columns(&text)));
            let text = paint.text(style, &text);
            line += &if *right { padding + &text } else { text + &padding };
            line += "  ";
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    };
    let mut text = line(&|_, head| (Style::Dim, head.to_owned()));
    for row in rows {
        let nothing = || (Style::Plain, String::new());
        text += &line(&|index, _| row.get(index).cloned().unwrap_or_else(nothing));
    }
    text
}

/// The text without what a terminal would obey or be confused by: control characters and marks that turn its direction.
pub(crate) fn harmless(text: &str) -> String {
    let confusing = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|char| if confusing(char) { '\u{fffd}' } else { char }).collect()
}

/// How many columns a text takes, each character one.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text in at most `width` columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.extend((width > 0).then_some('…'));
    cut
}

/// The text in exactly `width` columns.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let mut fitted = cut(text, width);
    let missing = width.saturating_sub(columns(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// Milliseconds as `840 µs`, `12.3 ms`, `1.24 s`, `2 m 05 s`.
pub(crate) fn duration(ms: f64) -> String {
    let three = |value: f64| {
        let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        format!("{value:.decimals$}")
    };
    if ms < 0.0005 {
        "0 ms".to_owned()
    } else if ms < 0.9995 {
        format!("{:.0} µs", ms * 1000.0)
    } else if ms < 999.5 {
        format!("{} ms", three(ms))
    } else if ms < 59_950.0 {
        format!("{} s", three(ms / 1000.0))
    } else {
        let seconds = (ms / 1000.0).round();
        let mut text = format!("{:.0} m", (seconds / 60.0).floor());
        write!(text, " {:02.0} s", seconds % 60.0).expect("a String takes every text");
        text
    }
}
