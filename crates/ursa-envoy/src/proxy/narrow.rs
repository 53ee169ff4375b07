//! Routes for a part of what they take.

use regex::Regex;

use super::route::{HeaderMatch, HeaderValue, PathMatch, RequestMatch, Route};

/// How the paths that one takes lie to those that another takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// No path is taken by both.
    None,
    /// All paths of the one are the other's too.
    Whole,
    /// Some are, as far as can be told.
    Part,
}

impl Route {
    /// This route for those of its requests that `requests` takes too; `None` where there are none.
    ///
    /// Envoy compares one path for a route. Where it takes all, it is the other's; else the other is asked of the header `:path`, and so what a
    /// rewrite replaces stays what it was.
    pub fn narrowed(&self, requests: &RequestMatch) -> Option<Self> {
        let own = &self.requests;
        let method = match (&own.method, &requests.method) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let mut both = RequestMatch { method, ..own.clone() };
        both.headers.extend(requests.headers.iter().cloned());
        both.query.extend(requests.query.iter().cloned());
        match own.path.overlap(&requests.path) {
            Overlap::None => return None,
            Overlap::Whole => {}
            Overlap::Part if own.path == PathMatch::default() && !self.replaces_prefix() => {
                both.path = requests.path.clone();
            }
            Overlap::Part => both.headers.push(requests.path.as_header()),
        }
        Some(Self { requests: both, ..self.clone() })
    }
}

impl PathMatch {
    fn overlap(&self, other: &Self) -> Overlap {
        let of = |whole: bool, part: bool| match (whole, part) {
            (true, _) => Overlap::Whole,
            (false, true) => Overlap::Part,
            (false, false) => Overlap::None,
        };
        match (self, other) {
            (_, Self::Prefix(all)) if all == "/" => Overlap::Whole,
            (Self::Exact(path), other) => of(other.takes(path), false),
            (Self::Segments(own), Self::Exact(path)) => of(false, is_within(path, own)),
            (Self::Segments(own), Self::Segments(other)) => {
                of(is_within(own, other), is_within(other, own))
            }
            _ => Overlap::Part,
        }
    }

    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Segments(segments) => is_within(path, segments),
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Regex(regex) => {
                Regex::new(&format!("^(?:{regex})$")).is_ok_and(|regex| regex.is_match(path))
            }
        }
    }

    /// The same of the header `:path`, which holds the query too.
    fn as_header(&self) -> HeaderMatch {
        let regex = match self {
            Self::Exact(path) => format!(r"{}(?:\?.*)?", regex::escape(path)),
            Self::Segments(path) => {
                format!(r"{}(?:[/?].*)?", regex::escape(path.trim_end_matches('/')))
            }
            Self::Prefix(path) => format!("{}.*", regex::escape(path)),
            Self::Regex(regex) => format!(r"(?:{regex})(?:\?.*)?"),
        };
        HeaderMatch { name: ":path".to_owned(), value: HeaderValue::Regex(regex) }
    }
}

/// Whether the first segments of `path` are `segments`.
fn is_within(path: &str, segments: &str) -> bool {
    let rest = path.trim_end_matches('/').strip_prefix(segments.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::route::{Forward, PathRewrite, RouteAction};
    use super::*;
    use crate::request::{Request, matches};

    /// Of each kind of path one that overlaps with others in each way.
    fn paths() -> Vec<PathMatch> {
        let texts = ["/", "/api", "/api/v1", "/apis", "/healthz", "/api/healthz"];
        let mut paths = vec![PathMatch::default()];
        for text in texts.map(str::to_owned) {
            paths.push(PathMatch::Exact(text.clone()));
            paths.push(PathMatch::Segments(text.clone()));
            paths.push(PathMatch::Regex(format!("{text}[a-z/]*")));
        }
        paths
    }

    #[test]
    fn a_narrowed_route_takes_what_both_take() {
        let asked = [
            "/",
            "/api",
            "/api/",
            "/api/v1",
            "/api/v1/x?a=/b",
            "/apis",
            "/healthz?",
            "/api/healthz",
        ];
        let of = |path: &PathMatch| RequestMatch { path: path.clone(), ..RequestMatch::default() };
        for rewrites in [false, true] {
            let mut all = Route::to("a");
            if rewrites {
                let path = Some(PathRewrite::Prefix("/b".to_owned()));
                all.action = RouteAction::Forward(Box::new(Forward { path, ..*Forward::to("a") }));
            }
            for (own, other) in
                paths().iter().flat_map(|own| paths().into_iter().map(move |it| (own.clone(), it)))
            {
                let route = Route { requests: of(&own), ..all.clone() };
                let narrowed = route.narrowed(&of(&other));
                for path in asked {
                    let request = Request { path: path.to_owned(), ..Request::default() };
                    let both = matches(&of(&own), &request) && matches(&of(&other), &request);
                    let taken = narrowed.as_ref().is_some_and(|it| matches(&it.requests, &request));
                    assert_eq!(taken, both, "{path} of {own:?} and {other:?}");
                }
                if let Some(narrowed) = narrowed.filter(|_| rewrites) {
                    assert_eq!(narrowed.requests.path, own);
                }
            }
        }
    }

    #[test]
    fn another_method_is_none_of_its_requests() {
        let of = |method: &str| RequestMatch {
            method: Some(method.to_owned()),
            ..RequestMatch::default()
        };
        let route = Route { requests: of("GET"), ..Route::to("a") };
        assert_eq!(route.narrowed(&of("POST")), None);
        assert_eq!(route.narrowed(&RequestMatch::default()).map(|it| it.requests), Some(of("GET")));
    }
}
