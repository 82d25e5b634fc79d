//! Protocol buffers exactly as CometBFT's generated Go code writes and reads them (reference §4.1).
//!
//! Written by hand, because the bytes are consensus and a derive differs in four ways that matter: a sub-message that
//! Go always writes is dropped when it is empty; a missing timestamp is not Go's zero time; text that is not UTF-8 is
//! refused where Go takes it; transactions are copied. The crate `tendermint-proto` is the oracle of the tests.
//!
//! [`Writer`] appends fields in the order called. [`Fields`] reads a message in one pass without allocating, keeps
//! the last value of each field, and names the field in every error.

use super::DecodeError;
use bytes::{BufMut, Bytes, BytesMut};

/// Field numbers are below this; higher ones are unknown to us and skipped like every unknown field.
const FIELD_NUMBERS: usize = 24;
/// Bytes in the longest varint.
const VARINT_BYTES_MAX: usize = 10;
/// Groups are obsolete and only skipped; deeper nesting than this is refused.
const GROUP_DEPTH_MAX: usize = 32;

/// Something with a place on the wire.
pub(crate) trait Message: Sized {
    /// The message's name in CometBFT's proto files.
    const NAME: &'static str;

    /// Appends its fields, ascending.
    fn write(&self, w: &mut Writer<'_>);

    /// Reads it; errors name the field, not yet the message.
    fn read(m: &Fields<'_>) -> Result<Self, DecodeError>;
}

/// The whole message as bytes.
pub(crate) fn encode<M: Message>(message: &M) -> Bytes {
    build(|w| message.write(w)).freeze()
}

/// Reads a whole message.
pub(crate) fn decode<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    Fields::parse(bytes).and_then(|m| M::read(&m)).map_err(|error| error.within(M::NAME))
}

/// A buffer filled by `body`.
pub(crate) fn build(body: impl FnOnce(&mut Writer<'_>)) -> BytesMut {
    let mut out = BytesMut::new();
    body(&mut Writer::new(&mut out));
    out
}

/// `body` with its length before it, as sign bytes and frames have it.
pub(crate) fn build_delimited(out: &mut BytesMut, body: impl FnOnce(&mut Writer<'_>)) {
    Writer::new(out).with_length(body);
}

/// Bytes a varint takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The lowest eight bits: what of a varint goes into its next byte.
pub(crate) fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Appends fields to a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Writer<'a> {
        Writer { out }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.put_u8(low_byte(value) | 0x80);
            value >>= 7;
        }
        self.out.put_u8(low_byte(value));
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    /// An unsigned number; 0 is not written.
    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value);
        }
    }

    /// A signed number (int32, int64, enum): negative ones take ten bytes; 0 is not written.
    pub(crate) fn int(&mut self, field: u32, value: i64) {
        self.uint(field, value as u64);
    }

    /// A flag; `false` is not written.
    pub(crate) fn flag(&mut self, field: u32, value: bool) {
        self.uint(field, u64::from(value));
    }

    /// Eight bytes, little-endian; 0 is not written.
    pub(crate) fn sfixed64(&mut self, field: u32, value: i64) {
        if value != 0 {
            self.tag(field, 1);
            self.out.put_i64_le(value);
        }
    }

    /// Bytes or text; empty ones are not written.
    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.element(field, value);
        }
    }

    /// One element of repeated bytes or text, or a member of a oneof: written even when empty.
    pub(crate) fn element(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A sub-message; written even when empty.
    pub(crate) fn message<M: Message>(&mut self, field: u32, message: &M) {
        self.nested(field, |w| message.write(w));
    }

    /// A sub-message made on the spot; written even when empty.
    pub(crate) fn nested(&mut self, field: u32, body: impl FnOnce(&mut Writer<'_>)) {
        self.tag(field, 2);
        self.with_length(body);
    }

    /// Repeated numbers in one packed field; not written when there are none.
    pub(crate) fn packed(&mut self, field: u32, values: &[u64]) {
        if !values.is_empty() {
            self.nested(field, |w| values.iter().for_each(|value| w.varint(*value)));
        }
    }

    /// Writes the body first, then makes room for its length in front: most bodies are short and are not moved.
    fn with_length(&mut self, body: impl FnOnce(&mut Writer<'_>)) {
        let start = self.out.len();
        self.out.put_u8(0);
        body(&mut Writer { out: self.out });
        let len = self.out.len() - start - 1;
        let extra = varint_len(len as u64) - 1;
        if extra > 0 {
            self.out.put_bytes(0, extra);
            self.out.copy_within(start + 1..start + 1 + len, start + 1 + extra);
        }
        let mut rest = len as u64;
        for byte in &mut self.out[start..start + extra] {
            *byte = low_byte(rest) | 0x80;
            rest >>= 7;
        }
        self.out[start + extra] = low_byte(rest);
    }
}

/// What stands in one field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    /// Fixed-size numbers: no message we read has any.
    Fixed,
    Len(&'a [u8]),
}

/// How often a field stands in a message, and its last value.
#[derive(Clone, Copy)]
struct Slot<'a> {
    count: u32,
    last: Value<'a>,
}

/// A message being read: structure checked, fields by number.
pub(crate) struct Fields<'a> {
    /// The buffer the message lies in; byte fields share it.
    root: &'a Bytes,
    body: &'a [u8],
    slots: [Slot<'a>; FIELD_NUMBERS],
}

impl<'a> Fields<'a> {
    /// Checks the structure of a message that fills `root`.
    pub(crate) fn parse(root: &'a Bytes) -> Result<Fields<'a>, DecodeError> {
        Fields::parse_in(root, root)
    }

    fn parse_in(root: &'a Bytes, body: &'a [u8]) -> Result<Fields<'a>, DecodeError> {
        let mut slots = [Slot { count: 0, last: Value::Varint(0) }; FIELD_NUMBERS];
        let mut cursor = Cursor(body);
        while !cursor.0.is_empty() {
            let (number, value) = cursor.field()?;
            if let (Some(value), Some(slot)) = (value, slots.get_mut(number as usize)) {
                slot.count += 1;
                slot.last = value;
            }
        }
        Ok(Fields { root, body, slots })
    }

    fn last(&self, field: u32) -> Option<Value<'a>> {
        assert!((field as usize) < FIELD_NUMBERS, "fields we read have numbers below {FIELD_NUMBERS}, not {field}");
        let slot = self.slots.get(field as usize)?;
        (slot.count > 0).then_some(slot.last)
    }

    /// True when the field stands in the message at all.
    pub(crate) fn has(&self, field: u32) -> bool {
        self.last(field).is_some()
    }

    /// The number of the field that stands last among `members`: the one that counts in a oneof.
    pub(crate) fn oneof(&self, members: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let mut present = members.clone().filter(|field| self.has(*field));
        match (present.next(), present.next()) {
            (only, None) => only,
            _ => self.walk().filter(|(number, _)| members.contains(number)).last().map(|(number, _)| number),
        }
    }

    /// All fields in the order they stand; the structure was checked before.
    fn walk(&self) -> impl Iterator<Item = (u32, Value<'a>)> {
        let mut cursor = Cursor(self.body);
        std::iter::from_fn(move || {
            while !cursor.0.is_empty() {
                if let (number, Some(value)) = cursor.field().ok()? {
                    return Some((number, value));
                }
            }
            None
        })
    }

    /// An unsigned number; 0 when missing.
    pub(crate) fn uint(&self, field: u32, name: &'static str) -> Result<u64, DecodeError> {
        match self.last(field) {
            None => Ok(0),
            Some(Value::Varint(value)) => Ok(value),
            Some(_) => Err(DecodeError::at(name, "is not a number on the wire")),
        }
    }

    /// An unsigned 32-bit number; 0 when missing. Higher bits are dropped, as Go drops them.
    #[expect(clippy::cast_possible_truncation, reason = "Go drops them, and so must we")]
    pub(crate) fn uint32(&self, field: u32, name: &'static str) -> Result<u32, DecodeError> {
        let number = self.uint(field, name)?;
        Ok(if mutant!("C71") { u32::try_from(number).unwrap_or(u32::MAX) } else { number as u32 })
    }

    /// A signed number; 0 when missing.
    pub(crate) fn int(&self, field: u32, name: &'static str) -> Result<i64, DecodeError> {
        Ok(self.uint(field, name)? as i64)
    }

    /// A signed 32-bit number or enum; 0 when missing. Higher bits are dropped, as Go drops them.
    #[expect(clippy::cast_possible_truncation, reason = "Go drops them, and so must we")]
    pub(crate) fn int32(&self, field: u32, name: &'static str) -> Result<i32, DecodeError> {
        Ok(self.uint(field, name)? as i32)
    }

    /// A flag; `false` when missing.
    pub(crate) fn flag(&self, field: u32, name: &'static str) -> Result<bool, DecodeError> {
        Ok(self.uint(field, name)? != 0)
    }

    /// A signed 64-bit number through one of our number types.
    pub(crate) fn number<T>(&self, field: u32, name: &'static str) -> Result<T, DecodeError>
    where
        T: TryFrom<i64>,
        T::Error: std::fmt::Display,
    {
        T::try_from(self.int(field, name)?).map_err(|why| DecodeError::at(name, why))
    }

    /// Bytes where they lie; empty when missing.
    pub(crate) fn slice(&self, field: u32, name: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.last(field) {
            None => Ok(&[]),
            Some(Value::Len(bytes)) => Ok(bytes),
            Some(_) => Err(DecodeError::at(name, "is not a byte string on the wire")),
        }
    }

    /// Bytes, sharing the buffer; empty when missing.
    pub(crate) fn bytes(&self, field: u32, name: &'static str) -> Result<Bytes, DecodeError> {
        Ok(self.share(self.slice(field, name)?))
    }

    /// Bytes of a fixed length, through one of our byte types.
    pub(crate) fn exact<T>(&self, field: u32, name: &'static str) -> Result<T, DecodeError>
    where
        T: TryFrom<&'a [u8]>,
        T::Error: std::fmt::Display,
    {
        T::try_from(self.slice(field, name)?).map_err(|why| DecodeError::at(name, why))
    }

    /// Bytes of a fixed length, or none when empty.
    pub(crate) fn exact_or_empty<T>(&self, field: u32, name: &'static str) -> Result<Option<T>, DecodeError>
    where
        T: TryFrom<&'a [u8]>,
        T::Error: std::fmt::Display,
    {
        if self.slice(field, name)?.is_empty() { Ok(None) } else { self.exact(field, name).map(Some) }
    }

    /// Text; empty when missing. Go does not check UTF-8 and applications use that, so wrong bytes become U+FFFD.
    pub(crate) fn text(&self, field: u32, name: &'static str) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.slice(field, name)?).into_owned())
    }

    /// A sub-message, if there. One that stands several times is merged, as Go merges: the same as reading its
    /// encodings laid end to end.
    pub(crate) fn nested<T>(
        &self,
        field: u32,
        name: &'static str,
        read: impl FnOnce(&Fields<'_>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let Some(last) = self.last(field) else { return Ok(None) };
        let Value::Len(body) = last else { return Err(DecodeError::at(name, "is not a message on the wire")) };
        let result = if self.slots[field as usize].count == 1 || mutant!("C7") {
            Fields::parse_in(self.root, body).and_then(|m| read(&m))
        } else {
            let whole: Bytes = self.elements(field, name)?.collect::<Vec<_>>().concat().into();
            Fields::parse(&whole).and_then(|m| read(&m))
        };
        result.map(Some).map_err(|error| error.within(name))
    }

    /// A member of a oneof: of several only the last counts.
    pub(crate) fn member<T>(
        &self,
        field: u32,
        name: &'static str,
        read: impl FnOnce(&Fields<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        Fields::parse_in(self.root, self.slice(field, name)?).and_then(|m| read(&m)).map_err(|error| error.within(name))
    }

    /// A sub-message, if there.
    pub(crate) fn optional<M: Message>(&self, field: u32, name: &'static str) -> Result<Option<M>, DecodeError> {
        self.nested(field, name, M::read)
    }

    /// A sub-message that must be there.
    pub(crate) fn required<M: Message>(&self, field: u32, name: &'static str) -> Result<M, DecodeError> {
        self.optional(field, name)?.ok_or_else(|| DecodeError::at(name, "is missing"))
    }

    /// A sub-message that is never absent in Go: missing reads as empty.
    pub(crate) fn present<T>(
        &self,
        field: u32,
        name: &'static str,
        read: impl Fn(&Fields<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        match self.nested(field, name, &read)? {
            Some(value) => Ok(value),
            None => Fields::parse(&Bytes::new()).and_then(|m| read(&m)).map_err(|error| error.within(name)),
        }
    }

    /// All elements of repeated bytes, where they lie.
    fn elements(
        &self,
        field: u32,
        name: &'static str,
    ) -> Result<impl Iterator<Item = &'a [u8]> + use<'a>, DecodeError> {
        let mut cursor = Cursor(self.body);
        let elements = std::iter::from_fn(move || {
            while !cursor.0.is_empty() {
                if let (number, Some(Value::Len(bytes))) = cursor.field().ok()?
                    && number == field
                {
                    return Some(bytes);
                }
            }
            None
        });
        let all_bytes = self.walk().filter(|(number, _)| *number == field).all(|(_, v)| matches!(v, Value::Len(_)));
        if all_bytes { Ok(elements) } else { Err(DecodeError::at(name, "is not a byte string on the wire")) }
    }

    /// Repeated bytes, sharing the buffer.
    pub(crate) fn repeated_bytes(&self, field: u32, name: &'static str) -> Result<Vec<Bytes>, DecodeError> {
        let mut all = Vec::with_capacity(self.count(field));
        all.extend(self.elements(field, name)?.map(|bytes| self.share(bytes)));
        Ok(all)
    }

    /// Repeated text.
    pub(crate) fn repeated_text(&self, field: u32, name: &'static str) -> Result<Vec<String>, DecodeError> {
        Ok(self.elements(field, name)?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
    }

    /// Repeated sub-messages.
    pub(crate) fn repeated<T>(
        &self,
        field: u32,
        name: &'static str,
        read: impl Fn(&Fields<'_>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.elements(field, name)?
            .map(|body| Fields::parse_in(self.root, body).and_then(|m| read(&m)).map_err(|error| error.within(name)))
            .collect()
    }

    /// Repeated numbers, packed or not.
    pub(crate) fn numbers(&self, field: u32, name: &'static str) -> Result<Vec<u64>, DecodeError> {
        let mut all = Vec::new();
        for (_, value) in self.walk().filter(|(number, _)| *number == field) {
            match value {
                Value::Varint(value) => all.push(value),
                Value::Len(packed) => {
                    let mut cursor = Cursor(packed);
                    while !cursor.0.is_empty() {
                        all.push(cursor.varint().map_err(|error| error.within(name))?);
                    }
                }
                Value::Fixed => {
                    return Err(DecodeError::at(name, "is not a list of numbers on the wire"));
                }
            }
        }
        Ok(all)
    }

    /// How often the field stands in the message; its elements are in memory already, so this may size a list.
    pub(crate) fn count(&self, field: u32) -> usize {
        self.slots.get(field as usize).map_or(0, |slot| slot.count as usize)
    }

    fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() { Bytes::new() } else { self.root.slice_ref(part) }
    }
}

/// Bytes not yet read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(DecodeError::new(if self.0.len() < VARINT_BYTES_MAX {
            "ends inside a number"
        } else {
            "has a number of more than 10 bytes"
        }))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let have = self.0.len();
        match usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len)) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(DecodeError::new(format_args!("ends early: {len} bytes announced, {have} left"))),
        }
    }

    fn tag(&mut self) -> Result<(u32, u8), DecodeError> {
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if (1..1 << 29).contains(&number) || mutant!("C5") => Ok((number, (tag & 7) as u8)),
            _ => Err(DecodeError::new(format_args!("has an illegal field number in tag {tag:#x}"))),
        }
    }

    /// The next field; `None` for a group, which is skipped.
    fn field(&mut self) -> Result<(u32, Option<Value<'a>>), DecodeError> {
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            3 => {
                self.skip_group()?;
                None
            }
            _ => Some(self.value(wire_type)?),
        };
        Ok((number, value))
    }

    fn value(&mut self, wire_type: u8) -> Result<Value<'a>, DecodeError> {
        match wire_type {
            0 => self.varint().map(Value::Varint),
            1 => self.take(if mutant!("C6") { 4 } else { 8 }).map(|_| Value::Fixed),
            2 => {
                let len = self.varint()?;
                self.take(len).map(Value::Len)
            }
            5 => self.take(4).map(|_| Value::Fixed),
            other => Err(DecodeError::new(format_args!("has a field of unknown wire type {other}"))),
        }
    }

    /// Skips to the end of a group whose start was read.
    fn skip_group(&mut self) -> Result<(), DecodeError> {
        let mut depth = 1;
        while depth > 0 {
            match self.tag()? {
                (_, 3) if depth == GROUP_DEPTH_MAX && !mutant!("C2") => {
                    return Err(DecodeError::new("has groups nested too deep"));
                }
                (_, 3) => depth += 1,
                (_, 4) => depth -= 1,
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
        Ok(())
    }
}
