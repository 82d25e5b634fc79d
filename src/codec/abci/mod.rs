//! ABCI 2.0 on the socket: one frame for each request and response (reference §3.1 to §3.3).
//!
//! Text from applications need not be UTF-8: Go does not check, so bytes that are not become U+FFFD here instead of
//! ending the connection.

mod requests;
mod responses;
mod shared;

use super::DecodeError;
use super::protobuf::{Fields, Message, build_delimited};
use crate::types::abci::{Request, Response};
use bytes::{Bytes, BytesMut};

/// Largest frame taken from an application or an engine: room for five of the largest blocks, because results may be
/// larger than the transactions they answer.
pub const FRAME_BYTES_MAX: usize = 5 * 104_857_600;

/// Appends a request as one frame, length and all.
pub fn encode_request(request: &Request, out: &mut BytesMut) {
    build_delimited(out, |w| request.write(w));
}

/// Reads the body of a frame (see [`super::frame::take`]) as a request. Transactions share its buffer.
pub fn decode_request(frame: &Bytes) -> Result<Request, DecodeError> {
    Fields::parse(frame).and_then(|m| Request::read(&m)).map_err(|error| error.within("Request"))
}

/// Appends a response as one frame, length and all.
pub fn encode_response(response: &Response, out: &mut BytesMut) {
    build_delimited(out, |w| response.write(w));
}

/// Reads the body of a frame as a response. Byte fields share its buffer.
pub fn decode_response(frame: &Bytes) -> Result<Response, DecodeError> {
    Fields::parse(frame).and_then(|m| Response::read(&m)).map_err(|error| error.within("Response"))
}
