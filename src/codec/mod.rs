//! Bytes of the wire: protobuf and JSON to types and back, hashes, sign bytes.
