//! The elements of a JSON list as they stand, found without reading them.

use super::ZipkinError;

/// What JSON has between its parts.
const BLANKS: [char; 4] = [' ', '\n', '\r', '\t'];

/// Cuts a JSON list of objects into its elements. Ends after the first error. Each element is still
/// to be read: only brackets and texts are looked at.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    rest: &'a str,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before `[`.
    Start,
    /// After `[`.
    First,
    /// After an element.
    Next,
    End,
}

impl<'a> Elements<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self { rest: list, state: State::Start }
    }

    /// Takes one character if it is next, after blanks.
    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start_matches(BLANKS);
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn read(&mut self) -> Result<Option<&'a str>, ZipkinError> {
        if self.state == State::Start {
            if !self.take('[') {
                return Err(ZipkinError::List);
            }
            self.state = State::First;
        }
        if self.take(']') {
            let rest = self.rest.trim_start_matches(BLANKS);
            return if rest.is_empty() { Ok(None) } else { Err(ZipkinError::List) };
        }
        if self.state == State::Next && !self.take(',') {
            return Err(ZipkinError::List);
        }
        self.state = State::Next;
        self.rest = self.rest.trim_start_matches(BLANKS);
        let length = object_length(self.rest.as_bytes()).ok_or(ZipkinError::List)?;
        let (object, rest) = self.rest.split_at_checked(length).ok_or(ZipkinError::List)?;
        self.rest = rest;
        Ok(Some(object))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, ZipkinError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::End {
            return None;
        }
        let element = self.read().transpose();
        if !matches!(element, Some(Ok(_))) {
            self.state = State::End;
        }
        element
    }
}

/// Bytes of the object with which `text` begins.
fn object_length(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let mut depth = 0_usize;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.checked_add(1);
                }
            }
            b'"' => loop {
                match bytes.next()?.1 {
                    b'\\' => {
                        bytes.next()?;
                    }
                    b'"' => break,
                    _ => {}
                }
            },
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(list: &str) -> Option<Vec<&str>> {
        Elements::new(list).collect::<Result<_, _>>().ok()
    }

    #[test]
    fn elements_are_found_as_they_stand() {
        for (list, expected) in [
            ("[]", Some(vec![])),
            (" [ ] \n", Some(vec![])),
            ("[{}]", Some(vec!["{}"])),
            (r#"[ {"a":[{"}":"\"]"}]} , { } ]"#, Some(vec![r#"{"a":[{"}":"\"]"}]}"#, "{ }"])),
            ("", None),
            ("{}", None),
            ("[{}", None),
            ("[{},]", None),
            ("[,{}]", None),
            ("[{}{}]", None),
            ("[1]", None),
            ("[{}]]", None),
            ("[{}] x", None),
            ("[\"{}\"]", None),
            ("[{\"a]", None),
            ("[{\"\\", None),
        ] {
            assert_eq!(elements(list), expected, "{list}");
        }
    }
}
