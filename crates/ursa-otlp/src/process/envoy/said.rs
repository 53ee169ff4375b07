//! What the tags of a span say together: whether the request failed, and how.

use super::given::{Given, New};
use super::names::ERROR_TYPE;
use super::tag::Tag;

/// What the tags of a span say that is needed for others of them. Of a tag that is there twice the
/// last one counts.
#[derive(Debug, Default)]
pub(in crate::process) struct Said<'t> {
    pub(super) method: &'t [u8],
    pub(super) route: &'t [u8],
    pub(super) rpc: &'t [u8],
    status: &'t [u8],
    grpc_status: &'t [u8],
    flags: &'t [u8],
    pub(in crate::process) failed: bool,
}

impl<'t> Said<'t> {
    #[inline]
    pub(in crate::process) fn hear(&mut self, tag: Tag, text: Option<&'t [u8]>) {
        let text = text.unwrap_or_default();
        match tag {
            Tag::Method => self.method = text,
            Tag::Route => self.route = text,
            Tag::GrpcPath => self.rpc = text,
            Tag::Status => self.status = text,
            Tag::GrpcStatus => self.grpc_status = text,
            Tag::Flags => self.flags = text,
            Tag::Error => self.failed |= text == b"true",
            _ => {}
        }
    }

    /// Whether it is one of RFC 9110 or RFC 5789; others are `_OTHER`.
    pub(super) fn knows_method(&self) -> bool {
        matches!(
            self.method,
            b"GET"
                | b"POST"
                | b"PUT"
                | b"HEAD"
                | b"DELETE"
                | b"PATCH"
                | b"OPTIONS"
                | b"CONNECT"
                | b"TRACE"
        )
    }

    /// Whether the request failed: by Envoy's word, or by the conventions' rules. Of HTTP that is a
    /// status of 5xx, and for who asked 4xx too; of gRPC what is the server's fault, and for who asked
    /// all that is not OK.
    fn fails(&self, server: bool) -> bool {
        let http = match self.status {
            [b'4', _, _] => !server,
            [b'5', _, _] => true,
            _ => false,
        };
        let grpc = match self.grpc_status {
            b"" | b"0" => false,
            // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
            b"2" | b"4" | b"12" | b"13" | b"14" | b"15" => true,
            _ => !server,
        };
        self.failed || http || grpc
    }

    /// When all was heard: whether the request failed; then `error.type` says how.
    pub(in crate::process) fn conclude(&self, server: bool, given: &mut Given<'t>) -> bool {
        let fails = self.fails(server);
        if fails {
            given.add(&ERROR_TYPE, New::Text(self.error_type()));
        }
        fails
    }

    /// `error.type`: a class of errors, few in number.
    pub(super) fn error_type(&self) -> &'t [u8] {
        match (self.grpc_status, self.status, self.flags) {
            ([_, ..], _, _) if self.grpc_status != b"0" => self.grpc_status,
            (_, [b'4' | b'5', ..], _) => self.status,
            (_, _, [] | [b'-']) => b"_OTHER",
            _ => self.flags,
        }
    }
}
