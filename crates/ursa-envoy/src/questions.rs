//! What the control plane asks an agent, and how the agent answers.
//!
//! Over the connection on which an agent has its configuration it opens a second stream, [`PATH`]:
//! questions come to it, answers go back. So whoever may reach the control plane can look at the
//! telemetry of every proxy, and no agent has to be reachable itself. The stream's `authorization`
//! holds the proxy's token, which says whose answers they are.

/// The method of the bidirectional stream; the agent is its client.
pub const PATH: &str = "/ursa.agent.v1.Questions/Answer";
/// Bytes of one answer.
pub const MAX_ANSWER: usize = 1 << 20;
/// Questions that one agent has at once.
pub const MAX_QUESTIONS: usize = 16;

/// A question.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Question {
    /// Repeated in the answer.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What is asked.
    #[prost(oneof = "About", tags = "2, 3, 4")]
    pub about: Option<About>,
}

/// What is asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum About {
    /// How the telemetry pipeline stands.
    #[prost(bool, tag = "2")]
    Telemetry(bool),
    /// What became of the spans of this trace: its id, 16 bytes.
    #[prost(bytes, tag = "3")]
    Trace(Vec<u8>),
    /// How many metric series leave now, and how many would if this were gathered: JSON of
    /// [`Collection`](ursa_model::pipeline::Collection).
    #[prost(bytes, tag = "4")]
    Series(Vec<u8>),
}

/// An answer: JSON, or why there is none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// The question's; 0 on the first message, which only opens the stream.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// A JSON object.
    #[prost(bytes = "vec", tag = "2")]
    pub json: Vec<u8>,
    /// Why there is no JSON.
    #[prost(string, tag = "3")]
    pub error: String,
}
