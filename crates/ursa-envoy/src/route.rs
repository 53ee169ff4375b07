//! Routes: where requests go, which share of them is traced, and the tags of their spans.

use envoy_types::pb::envoy::config::route::v3::{
    self as envoy, HeaderMatcher, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    header_matcher, route, route_action, route_match,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use ursa_model::percent::Percent;

use crate::proxy::{
    HeaderMatch, HeaderValue, HttpListener, PathMatch, RequestMatch, Route, RouteTracing, Tag,
    TagSource, Tracer, stat_name,
};
use crate::{b3, parts};

/// The routes of one listener as Envoy reads them: one virtual host that takes every host name.
pub(crate) fn route_configuration(http: &HttpListener) -> RouteConfiguration {
    let config = &http.routes;
    let tracer = http.tracing.as_ref().map(|tracing| tracing.tracer);
    let is_zipkin = matches!(tracer, Some(Tracer::Zipkin { .. }));
    RouteConfiguration {
        request_headers_to_remove: is_zipkin.then(|| b3::SINGLE.to_owned()).into_iter().collect(),
        name: config.name.clone(),
        virtual_hosts: vec![VirtualHost {
            name: stat_name(&config.name),
            domains: vec!["*".to_owned()],
            routes: config.routes.iter().map(route).collect(),
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

fn route(route: &Route) -> envoy::Route {
    envoy::Route {
        r#match: Some(route_match(&route.requests)),
        stat_prefix: stat_name(&route.cluster),
        tracing: Some(tracing(&route.tracing)),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(route.cluster.clone())),
            // Envoy would cut every answer after 15 s, streams too; how long is for the caller.
            timeout: Some(parts::seconds(0)),
            ..RouteAction::default()
        })),
        ..envoy::Route::default()
    }
}

fn route_match(requests: &RequestMatch) -> RouteMatch {
    use route_match::PathSpecifier;
    let path = match &requests.path {
        PathMatch::Prefix(path) => PathSpecifier::Prefix(path.clone()),
        // Envoy wants no slash at the end here, and matches the same with and without.
        PathMatch::Segments(path) => match path.trim_end_matches('/') {
            "" => PathSpecifier::Prefix("/".to_owned()),
            path => PathSpecifier::PathSeparatedPrefix(path.to_owned()),
        },
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(self::regex(regex)),
    };
    let method = requests.method.clone().map(|method| HeaderMatch {
        name: ":method".to_owned(),
        value: HeaderValue::Exact(method),
    });
    RouteMatch {
        path_specifier: Some(path),
        headers: method.iter().chain(&requests.headers).map(header).collect(),
        ..RouteMatch::default()
    }
}

/// A header as routes and access logs ask for it.
pub(crate) fn header(header: &HeaderMatch) -> HeaderMatcher {
    use header_matcher::HeaderMatchSpecifier::{PresentMatch, StringMatch};
    use string_matcher::MatchPattern;
    let text = |pattern| {
        StringMatch(StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() })
    };
    let specifier = match &header.value {
        HeaderValue::Present => PresentMatch(true),
        HeaderValue::Absent => PresentMatch(false),
        HeaderValue::Exact(value) => text(MatchPattern::Exact(value.clone())),
        HeaderValue::Prefix(value) => text(MatchPattern::Prefix(value.clone())),
        HeaderValue::Regex(regex) => text(MatchPattern::SafeRegex(self::regex(regex))),
    };
    HeaderMatcher {
        name: header.name.clone(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
}

/// Envoy's engine is RE2, and it matches the whole.
fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}

fn tracing(tracing: &RouteTracing) -> envoy::Tracing {
    envoy::Tracing {
        client_sampling: Some(fraction(tracing.sampling.client)),
        random_sampling: Some(fraction(tracing.sampling.random)),
        overall_sampling: Some(fraction(tracing.sampling.overall)),
        custom_tags: tracing.tags.iter().map(custom_tag).collect(),
        ..envoy::Tracing::default()
    }
}

/// Envoy draws one of ten thousand numbers for a request (the last digits of its request id), whatever
/// the denominator says: over a million, a quarter would be every request. A share below a
/// ten-thousandth is rounded up, so that little does not become nothing.
pub(crate) fn fraction(percent: Percent) -> FractionalPercent {
    FractionalPercent {
        numerator: percent.ten_thousandths(),
        denominator: DenominatorType::TenThousand as i32,
    }
}

fn custom_tag(tag: &Tag) -> CustomTag {
    let value = match &tag.source {
        TagSource::Literal(value) => {
            custom_tag::Type::Literal(custom_tag::Literal { value: value.clone() })
        }
        // Envoy reads an empty default as none.
        TagSource::Header { name, default } => {
            custom_tag::Type::RequestHeader(custom_tag::Header {
                name: name.clone(),
                default_value: default.clone().unwrap_or_default(),
            })
        }
    };
    CustomTag { tag: tag.name.clone(), r#type: Some(value) }
}
