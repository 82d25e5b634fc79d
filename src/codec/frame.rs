//! Frames: a varint length and that many bytes, as ABCI sockets and remote signers send them (reference §3.1).

use super::protobuf::low_byte;
use bytes::{Buf, Bytes, BytesMut};

/// Why no frame can be read any more: the stream is out of step and must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than the reader takes.
    #[error("a frame of {announced} bytes was announced; at most {max} are taken")]
    TooLarge {
        /// Bytes announced.
        announced: u64,
        /// Bytes taken.
        max: usize,
    },
    /// The length does not end within ten bytes.
    #[error("a frame's length takes more than 10 bytes: the other side does not speak length-delimited protobuf")]
    BadLength,
}

/// Bytes in the longest length.
const LENGTH_BYTES_MAX: usize = 10;

/// Appends `body` as one frame.
pub fn append(out: &mut Vec<u8>, body: &[u8]) {
    append_length(out, body.len());
    out.extend_from_slice(body);
}

/// Appends a length as frames begin with it.
pub(crate) fn append_length(out: &mut Vec<u8>, len: usize) {
    let mut len = len as u64;
    while len >= 0x80 {
        out.push(low_byte(len) | 0x80);
        len >>= 7;
    }
    out.push(low_byte(len));
}

/// Where the body of the first frame lies: behind how many bytes, and how long it is. `None` when its length is not
/// complete yet; the body may not be either.
pub fn body(buffer: &[u8], max: usize) -> Result<Option<(usize, usize)>, FrameError> {
    let mut announced = 0u64;
    for (i, byte) in buffer.iter().take(LENGTH_BYTES_MAX).enumerate() {
        announced |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let len = usize::try_from(announced).ok().filter(|len| *len <= max + usize::from(mutant!("C1")));
            return len.map(|len| Some((i + 1, len))).ok_or(FrameError::TooLarge { announced, max });
        }
    }
    if buffer.len() < LENGTH_BYTES_MAX || mutant!("C8") { Ok(None) } else { Err(FrameError::BadLength) }
}

/// Takes the first frame off `buffer`; `None` when it is not complete yet. The announced length is held against `max`
/// before room is made for it.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some((head, len)) = body(buffer, max)? else { return Ok(None) };
    if buffer.len() - head < len {
        buffer.reserve(head + len - buffer.len());
        return Ok(None);
    }
    buffer.advance(head);
    Ok(Some(buffer.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_however_they_arrive() {
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        for byte in [2, b'h', b'i', 0, 1, b'!'] {
            buffer.extend_from_slice(&[byte]);
            taken.extend(take(&mut buffer, 10).expect("legal frames"));
        }
        assert_eq!(taken, [Bytes::from_static(b"hi"), Bytes::new(), Bytes::from_static(b"!")]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_room_is_made() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0x7f][..]);
        let capacity = buffer.capacity();
        let refused = take(&mut buffer, 1 << 20);
        assert_eq!(refused, Err(FrameError::TooLarge { announced: (1 << 35) - 1, max: 1 << 20 }));
        assert_eq!(buffer.capacity(), capacity);
        let mut endless = BytesMut::from(&[0x80; 10][..]);
        assert_eq!(take(&mut endless, 10), Err(FrameError::BadLength));
        let mut one_more = BytesMut::from(&[11][..]);
        assert_eq!(take(&mut one_more, 10), Err(FrameError::TooLarge { announced: 11, max: 10 }));
        let mut largest = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..]);
        assert_eq!(take(&mut largest, 10), Err(FrameError::TooLarge { announced: u64::MAX, max: 10 }));
    }
}
