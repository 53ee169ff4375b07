//! Routes: where requests go, which share of them is traced, and the tags of their spans.

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue as EnvoyHeaderValue, HeaderValueOption, RuntimeFractionalPercent,
    header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::config::route::v3::{
    self as envoy, DirectResponseAction, HeaderMatcher, QueryParameterMatcher, RedirectAction,
    RouteAction as EnvoyRouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
    header_matcher,
    query_parameter_matcher::QueryParameterMatchSpecifier,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route,
    route_action::{ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy},
    route_match,
    weighted_cluster::ClusterWeight,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, string_matcher::MatchPattern,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use envoy_types::pb::google::protobuf::BoolValue;
use ursa_model::percent::Percent;

use crate::proxy::{
    self, Forward, HeaderChanges, HeaderMatch, HeaderValue, HostRewrite, HttpListener, Mirror,
    PathMatch, PathRewrite, Permissions, QueryMatch, QueryValue, Redirect, RequestMatch, Route,
    RouteAction, RouteTracing, Tag, TagSource, Tracer, stat_name,
};
use crate::retry::retry_policy;
use crate::{b3, parts, permission};

/// The routes of one listener as Envoy reads them: one virtual host that takes every host name.
pub(crate) fn route_configuration(
    http: &HttpListener,
    permissions: Option<&Permissions>,
) -> RouteConfiguration {
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
        typed_per_filter_config: permissions
            .map(|it| (permission::HTTP_FILTER.to_owned(), permission::of_routes(it)))
            .into_iter()
            .collect(),
        ..RouteConfiguration::default()
    }
}

fn route(route: &Route) -> envoy::Route {
    let forward = match &route.action {
        RouteAction::Forward(forward) => Some(forward),
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => None,
    };
    let (requests, answers) = match forward {
        Some(forward) => (&forward.request_headers, &forward.response_headers),
        None => (&HeaderChanges::NONE, &HeaderChanges::NONE),
    };
    envoy::Route {
        name: route.origin.clone().unwrap_or_default(),
        r#match: Some(route_match(&route.requests)),
        stat_prefix: stat_name(&route.counted_as),
        tracing: Some(tracing(&route.tracing)),
        action: Some(match &route.action {
            RouteAction::Forward(forward) => route::Action::Route(self::forward(route, forward)),
            RouteAction::Redirect(redirect) => {
                route::Action::Redirect(self::redirect(route, redirect))
            }
            RouteAction::Respond { status } => {
                let status = u32::from(*status);
                route::Action::DirectResponse(DirectResponseAction {
                    status,
                    ..DirectResponseAction::default()
                })
            }
        }),
        request_headers_to_add: headers_to_add(requests),
        request_headers_to_remove: requests.remove.clone(),
        response_headers_to_add: headers_to_add(answers),
        response_headers_to_remove: answers.remove.clone(),
        ..envoy::Route::default()
    }
}

fn forward(route: &Route, forward: &Forward) -> EnvoyRouteAction {
    let weighted = forward.clusters.as_slice();
    let specifier = match weighted {
        [only] if only.weight > 0 => ClusterSpecifier::Cluster(only.name.clone()),
        several => {
            let cluster = |cluster: &proxy::WeightedCluster| ClusterWeight {
                name: cluster.name.clone(),
                weight: Some(parts::uint32(cluster.weight)),
                ..ClusterWeight::default()
            };
            ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: several.iter().map(cluster).collect(),
                ..WeightedCluster::default()
            })
        }
    };
    let (prefix_rewrite, regex_rewrite) = match &forward.path {
        None => (String::new(), None),
        Some(PathRewrite::Prefix(prefix)) => prefix_rewrite(&route.requests.path, prefix),
        Some(PathRewrite::Full(path)) => (String::new(), Some(whole_path(path))),
    };
    EnvoyRouteAction {
        cluster_specifier: Some(specifier),
        prefix_rewrite,
        regex_rewrite,
        host_rewrite_specifier: forward.host.as_ref().map(|host| match host {
            HostRewrite::Literal(host) => HostRewriteSpecifier::HostRewriteLiteral(host.clone()),
            HostRewrite::Endpoint => {
                HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true })
            }
        }),
        request_mirror_policies: forward.mirrors.iter().map(mirror).collect(),
        // Envoy would cut every answer after 15 s, streams too; how long is for the caller.
        timeout: Some(route.timeouts.request.map_or(parts::seconds(0), parts::duration)),
        idle_timeout: route.timeouts.stream_idle.map(parts::duration),
        retry_policy: route.retry.as_ref().map(retry_policy),
        ..EnvoyRouteAction::default()
    }
}

fn mirror(mirror: &Mirror) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: mirror.cluster.clone(),
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(fraction(mirror.share)),
            ..RuntimeFractionalPercent::default()
        }),
        ..RequestMirrorPolicy::default()
    }
}

/// `/` instead of a prefix must not leave `//` nor nothing behind: of segments the slash that follows belongs to what is replaced.
fn prefix_rewrite(path: &PathMatch, prefix: &str) -> (String, Option<RegexMatchAndSubstitute>) {
    match path {
        PathMatch::Segments(segments) if prefix.trim_end_matches('/').is_empty() => {
            let segments = regex::escape(segments.trim_end_matches('/'));
            (String::new(), Some(substitute(&format!("^{segments}/*"), "/")))
        }
        PathMatch::Segments(segments) if !segments.trim_end_matches('/').is_empty() => {
            (prefix.trim_end_matches('/').to_owned(), None)
        }
        _ => (prefix.to_owned(), None),
    }
}

/// Envoy keeps the query.
fn whole_path(path: &str) -> RegexMatchAndSubstitute {
    substitute(".*", path)
}

/// Backslashes in the new text would refer to groups.
fn substitute(pattern: &str, text: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(parts::regex(pattern)),
        substitution: text.replace('\\', r"\\"),
    }
}

fn redirect(route: &Route, redirect: &Redirect) -> RedirectAction {
    RedirectAction {
        host_redirect: redirect.host.clone().unwrap_or_default(),
        port_redirect: redirect.port.map(u32::from).unwrap_or_default(),
        response_code: match redirect.status {
            301 => RedirectResponseCode::MovedPermanently,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::Found,
        } as i32,
        scheme_rewrite_specifier: redirect
            .scheme
            .clone()
            .map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: redirect.path.as_ref().map(|path| match path {
            PathRewrite::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
            PathRewrite::Prefix(prefix) => match prefix_rewrite(&route.requests.path, prefix) {
                (_, Some(regex)) => PathRewriteSpecifier::RegexRewrite(regex),
                (prefix, None) => PathRewriteSpecifier::PrefixRewrite(prefix),
            },
        }),
        ..RedirectAction::default()
    }
}

/// What is set, and what is added.
pub(crate) fn headers_to_add(changes: &HeaderChanges) -> Vec<HeaderValueOption> {
    let option = |action: HeaderAppendAction| {
        move |(key, value): &(String, String)| HeaderValueOption {
            header: Some(EnvoyHeaderValue {
                key: key.clone(),
                // A percent sign would begin a command operator.
                value: value.replace('%', "%%"),
                ..EnvoyHeaderValue::default()
            }),
            append_action: action as i32,
            ..HeaderValueOption::default()
        }
    };
    let set = changes.set.iter().map(option(HeaderAppendAction::OverwriteIfExistsOrAdd));
    set.chain(changes.add.iter().map(option(HeaderAppendAction::AppendIfExistsOrAdd))).collect()
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
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(parts::regex(regex)),
    };
    let method = requests.method.clone().map(|method| HeaderMatch {
        name: ":method".to_owned(),
        value: HeaderValue::Exact(method),
    });
    RouteMatch {
        path_specifier: Some(path),
        headers: method.iter().chain(&requests.headers).map(header).collect(),
        query_parameters: requests.query.iter().map(parameter).collect(),
        ..RouteMatch::default()
    }
}

fn parameter(parameter: &QueryMatch) -> QueryParameterMatcher {
    let pattern = match &parameter.value {
        QueryValue::Exact(value) => MatchPattern::Exact(value.clone()),
        QueryValue::Regex(regex) => MatchPattern::SafeRegex(parts::regex(regex)),
    };
    QueryParameterMatcher {
        name: parameter.name.clone(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(
            parts::text(pattern),
        )),
    }
}

/// A header as routes and access logs ask for it.
pub(crate) fn header(header: &HeaderMatch) -> HeaderMatcher {
    use header_matcher::HeaderMatchSpecifier::{PresentMatch, StringMatch};
    let text = |pattern| StringMatch(parts::text(pattern));
    let specifier = match &header.value {
        HeaderValue::Present => PresentMatch(true),
        HeaderValue::Absent => PresentMatch(false),
        HeaderValue::Exact(value) => text(MatchPattern::Exact(value.clone())),
        HeaderValue::Prefix(value) => text(MatchPattern::Prefix(value.clone())),
        HeaderValue::Regex(regex) => text(MatchPattern::SafeRegex(parts::regex(regex))),
    };
    HeaderMatcher {
        name: header.name.clone(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
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
