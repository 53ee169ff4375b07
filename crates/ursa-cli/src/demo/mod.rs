//! The demo shop: one small HTTP service per process, which does what a traced application must do, and no
//! more: it passes the trace context of the request it answers on to the requests it makes.
//!
//! `gateway → frontend → catalog, cart → payments`; payments is sometimes slow and sometimes fails.

mod shop;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use clap::Args;
use http::{HeaderMap, HeaderName};
use ursa_propagation::Header;

use crate::failure::{Doing as _, Failure, Outcome};

pub(crate) use shop::{Role, SERVICES};

/// One service of the demo shop.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which one.
    #[arg(long)]
    name: String,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Whom it calls, as name=address. May be repeated.
    #[arg(long = "call", value_name = "NAME=ADDRESS")]
    calls: Vec<String>,
}

/// Headers that carry a request's context from hop to hop, besides those of trace context and baggage.
const CONTEXT: [&str; 2] = ["x-request-id", "x-client-trace-id"];

/// Runs one service until the process is ended.
pub(crate) async fn run(arguments: Arguments) -> Outcome {
    let role = Role::named(&arguments.name, &arguments.calls).map_err(|words| {
        Failure::unreadable(words).help(format!("services: {}", SERVICES.join(", ")))
    })?;
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .doing(format!("listen on {} for the demo's {}", arguments.listen, arguments.name))?;
    let app = Router::new().fallback(answer).with_state(Arc::new(role));
    axum::serve(listener, app).await.doing("serve")?;
    Ok(ExitCode::SUCCESS)
}

async fn answer(State(role): State<Arc<Role>>, request: Request) -> Response {
    let context = context(request.headers());
    role.answer(request.method().clone(), request.uri().path(), context).await
}

/// What must be passed on.
fn context(headers: &HeaderMap) -> HeaderMap {
    let names =
        Header::ALL.map(Header::name).into_iter().chain(CONTEXT).map(HeaderName::from_static);
    names
        .flat_map(|name| {
            headers.get_all(&name).iter().cloned().map(move |value| (name.clone(), value))
        })
        .collect()
}
