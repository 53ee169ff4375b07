//! Envoy's log lines, told again through ours with their levels.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader};

/// Envoy's `--log-format`: level, component, message. `%_` is the message with newlines escaped.
pub(super) const FORMAT: &str = "%l\t%n\t%_";

/// Longer lines are cut.
const MAX_LINE: u64 = 16 * 1024;

/// One line as Envoy meant it.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    level: &'a str,
    component: &'a str,
    message: &'a str,
}

/// Reads a line. What is not of the format (a crash's last words) counts as an error.
fn parse(line: &str) -> Line<'_> {
    let mut parts = line.splitn(3, '\t');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(level), Some(component), Some(message)) => Line { level, component, message },
        _ => Line { level: "error", component: "", message: line },
    }
}

/// Tells all lines until the end of the output.
pub(super) async fn retell(output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(true) = next(&mut lines, &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let Line { level, component, message } = parse(text.trim_end());
        if message.is_empty() {
            continue;
        }
        match level {
            "trace" => tracing::trace!(target: "envoy", component, "{message}"),
            "debug" => tracing::debug!(target: "envoy", component, "{message}"),
            "info" => tracing::info!(target: "envoy", component, "{message}"),
            "warning" => tracing::warn!(target: "envoy", component, "{message}"),
            _ => tracing::error!(target: "envoy", component, "{message}"),
        }
    }
}

/// Reads the next line into `line`, at most [`MAX_LINE`] of it. False at the end.
async fn next(lines: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    use tokio::io::AsyncReadExt as _;
    line.clear();
    if lines.take(MAX_LINE).read_until(b'\n', line).await? == 0 {
        return Ok(false);
    }
    // The rest of a line that is too long.
    while line.last() != Some(&b'\n') {
        let more = lines.fill_buf().await?;
        let end = more.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(more.len(), |at| at + 1);
        if count == 0 {
            break;
        }
        lines.consume(count);
        if end.is_some() {
            break;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_components_and_last_words() {
        let line = parse("warning\tconfig\tgRPC config: a\\nb\tc");
        let message = "gRPC config: a\\nb\tc";
        assert_eq!(line, Line { level: "warning", component: "config", message });
        assert_eq!(parse("Caught Segmentation fault").level, "error");
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_the_next_is_whole() {
        let long = "x".repeat(40_000);
        let text = format!("{long}\nshort\nlast");
        let (mut lines, mut line) = (BufReader::new(text.as_bytes()), Vec::new());
        let mut lengths = Vec::new();
        while next(&mut lines, &mut line).await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [16 * 1024, 6, 4]);
    }
}
