//! Whether a text is an expression in CEL (Common Expression Language), as far as its grammar says.
//!
//! Envoy refuses a whole listener for one that is not. What names and functions mean is Envoy's.
//!
//! Followed: CEL specification, "Syntax". Not here: messages in braces (`Type{field: 1}`).

/// How deep an expression may be nested.
const MAX_DEPTH: usize = 64;

/// A text that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct CelError {
    /// How many characters were understood.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Reads `text`.
///
/// # Errors
/// It is no expression.
pub fn check(text: &str) -> Result<(), CelError> {
    let mut reader = Reader { text, rest: text, depth: 0 };
    reader.expression()?;
    reader.blank();
    if reader.rest.is_empty() { Ok(()) } else { reader.fail("something is left over") }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    depth: usize,
}

type Read<T = ()> = Result<T, CelError>;

impl Reader<'_> {
    fn fail<T>(&self, what: &'static str) -> Read<T> {
        let read = self.text.len().saturating_sub(self.rest.len());
        let at = self.text.get(..read).map_or(0, |read| read.chars().count());
        Err(CelError { at, what })
    }

    fn blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("//") else { return };
            self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        }
    }

    /// Whether `sign` comes next; then it is read.
    fn takes(&mut self, sign: &str) -> bool {
        self.blank();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn needs(&mut self, sign: &str, what: &'static str) -> Read {
        if self.takes(sign) { Ok(()) } else { self.fail(what) }
    }

    fn expression(&mut self) -> Read {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return self.fail("it is nested too deep");
        }
        self.operands()?;
        if self.takes("?") {
            self.operands()?;
            self.needs(":", "`?` needs its `:`")?;
            self.expression()?;
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Operands with operators between them. Which binds how does not change what is an expression.
    fn operands(&mut self) -> Read {
        const OPERATORS: [&str; 13] =
            ["||", "&&", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%"];
        loop {
            self.operand()?;
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            self.blank();
            let is_in =
                self.rest.strip_prefix("in").is_some_and(|after| !after.starts_with(is_word));
            let operator = if is_in { Some("in") } else { None };
            let mut known = operator.into_iter().chain(OPERATORS);
            if !known.any(|operator| self.takes(operator)) {
                return Ok(());
            }
        }
    }

    fn operand(&mut self) -> Read {
        while self.takes("!") || self.takes("-") {}
        self.primary()?;
        loop {
            if self.takes(".") {
                self.name()?;
                if self.takes("(") {
                    self.list(")")?;
                }
            } else if self.takes("[") {
                self.expression()?;
                self.needs("]", "`[` is not closed")?;
            } else {
                return Ok(());
            }
        }
    }

    fn primary(&mut self) -> Read {
        if self.takes("(") {
            self.expression()?;
            return self.needs(")", "`(` is not closed");
        }
        if self.takes("[") {
            return self.list("]");
        }
        if self.takes("{") {
            return self.entries();
        }
        if self.text_literal()? || self.number() {
            return Ok(());
        }
        let _absolute = self.takes(".");
        self.name()?;
        if self.takes("(") {
            self.list(")")?;
        }
        Ok(())
    }

    /// Expressions up to `end`; the last may have a comma behind it.
    fn list(&mut self, end: &str) -> Read {
        while !self.takes(end) {
            self.expression()?;
            if !self.takes(",") {
                return self.needs(end, "a list is not closed");
            }
        }
        Ok(())
    }

    fn entries(&mut self) -> Read {
        while !self.takes("}") {
            self.expression()?;
            self.needs(":", "an entry needs `:` and a value")?;
            self.expression()?;
            if !self.takes(",") {
                return self.needs("}", "`{` is not closed");
            }
        }
        Ok(())
    }

    fn name(&mut self) -> Read {
        self.blank();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || name == "in" {
            return self.fail("a name or a value is missing");
        }
        self.rest = rest;
        Ok(())
    }

    fn number(&mut self) -> bool {
        self.blank();
        let point = self.rest.strip_prefix('.').unwrap_or(self.rest);
        if !point.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        // `1e-3`: the sign is a part too.
        let is_hex = number.starts_with("0x");
        if !is_hex
            && number.ends_with(['e', 'E'])
            && let Some(digits) = self.rest.strip_prefix(['+', '-'])
        {
            self.rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        true
    }

    /// A text in quotes, with the letters that may precede it.
    fn text_literal(&mut self) -> Read<bool> {
        self.blank();
        let unprefixed = self.rest.trim_start_matches(['r', 'R', 'b', 'B']);
        if self.rest.len().saturating_sub(unprefixed.len()) > 2 {
            return Ok(false);
        }
        let raw = self.rest.starts_with(['r', 'R']);
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            let Some(mut inner) = unprefixed.strip_prefix(quote) else { continue };
            loop {
                if let Some(rest) = inner.strip_prefix(quote) {
                    self.rest = rest;
                    return Ok(true);
                }
                let mut characters = inner.chars();
                match characters.next() {
                    Some('\\') if !raw => {
                        characters.next();
                    }
                    None => return self.fail("a text is not closed"),
                    Some(_) => {}
                }
                inner = characters.as_str();
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_other_texts() {
        for text in [
            "response.code >= 500",
            "response.code >= 400 && (response.code == 404u || !connection.mtls)",
            "request.headers['x-env'] in [\"prod\", 'test',]",
            "has(request.headers.x) ? size(request.path) > 1 : true",
            "{'a': 1, 'b': 0x1f}.a == -1.5e-3",
            "request.path.matches(r\"^/a\\d\") // probes",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in ["", "a b", "response.code >=", "(a", "a)", "'a", "[1, 2", "a ? b", "1 + + 2x("]
        {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(check(&"(".repeat(10_000)).is_err());
        assert!(check(&format!("{}1{}", "(".repeat(60), ")".repeat(60))).is_ok());
    }
}
