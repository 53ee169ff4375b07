//! Calls to the control plane about the proxy's certificate ([`ursa_envoy::identity`]).

use std::fmt;
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use ursa_envoy::identity::{self as wire, Held, Issued, MAX_MESSAGE, Noted, REPORT, SIGN};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection to the control plane, with the token that it was opened with.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) channel: Channel,
    pub(crate) origin: Uri,
    pub(crate) bearer: AsciiMetadataValue,
}

/// Without the token.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Caller {
    /// Asks for a certificate.
    pub(super) async fn sign(&self, csr: Vec<u8>) -> Result<Issued, Status> {
        self.call(SIGN, wire::Request { csr }).await
    }

    /// Says what is held.
    pub(super) async fn report(&self, held: Held) -> Result<(), Status> {
        self.call::<_, Noted>(REPORT, held).await.map(drop)
    }

    async fn call<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(question);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        let calling = async {
            let mut grpc = Grpc::with_origin(self.channel.clone(), self.origin.clone())
                .max_decoding_message_size(MAX_MESSAGE);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(request, PathAndQuery::from_static(path), codec).await?;
            Ok(answer.into_inner())
        };
        let silent = |_| Status::deadline_exceeded("the control plane did not answer");
        timeout(PATIENCE, calling).await.map_err(silent)?
    }
}
