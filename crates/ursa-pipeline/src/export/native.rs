//! What exporters of formats other than OTLP share: the place in a URL, and what came of translating.

use http::Uri;

use super::answer::{Again, Failure, Outcome, Reason};
use super::target::Target;

/// What the spans of one attempt may take once translated. Resource attributes are said again with
/// each span, so it bounds what a few bytes can become.
pub(super) const MAX_TRANSLATED: usize = 32 << 20;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) secure: bool,
    /// With the query, beginning with `/`.
    pub(super) path: String,
}

impl Place {
    /// The place of `http://host:port/path` or `https://…`, or why it is none.
    pub(super) fn of(url: &str, default_port: u16) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("url: {error}"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("url: must begin with `http://` or `https://`".to_owned()),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("url: credentials belong in `auth`".to_owned());
        }
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("url: has no host".to_owned());
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { default_port });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { target: Target::new(host.to_owned(), port, false), secure, path })
    }
}

/// A path without its query, which may hold a key: for people.
pub(super) fn shown(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// The outcome for what cannot be written in the backend's form. Smaller batches may be.
pub(super) fn untranslated(error: &dyn std::error::Error, too_large: bool) -> Outcome {
    Outcome::Failed(Failure {
        reason: if too_large { Reason::TooLarge } else { Reason::Rejected },
        code: String::new(),
        message: error.to_string(),
        mend: None,
        again: Again::Never,
    })
}

/// All was delivered but what has no place in the backend's form.
pub(super) fn delivered(items: usize, written: usize) -> Outcome {
    let rejected = items.saturating_sub(written);
    let message = if rejected > 0 { "spans without valid ids".to_owned() } else { String::new() };
    Outcome::Delivered { rejected, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_places() {
        let place = |url: &str| {
            let place = Place::of(url, 9411)?;
            Ok::<_, String>(format!(
                "{} {} {}",
                place.target.authority,
                if place.secure { "tls" } else { "plain" },
                place.path
            ))
        };
        for (url, expected) in [
            ("http://zipkin:1/api/v2/spans", Ok("zipkin:1 plain /api/v2/spans")),
            ("http://zipkin", Ok("zipkin:9411 plain /")),
            ("https://[::1]/a?b=c", Ok("[::1]:443 tls /a?b=c")),
            ("zipkin:9411", Err("url: must begin with `http://` or `https://`")),
            ("http://u:p@zipkin/", Err("url: credentials belong in `auth`")),
        ] {
            assert_eq!(place(url), expected.map(str::to_owned).map_err(str::to_owned), "{url}");
        }
        assert_eq!(shown("/a?key=s3cret"), "/a");
        place("http://").unwrap_err();
        place("http://a b/").unwrap_err();
    }
}
