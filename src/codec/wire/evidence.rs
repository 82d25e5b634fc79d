//! tendermint.types.EvidenceList: channel 0x38.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::Evidence;

/// Evidence a peer offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceMessage {
    /// It.
    pub evidence: Vec<Evidence>,
}

encodings!(EvidenceMessage);

impl Message for EvidenceMessage {
    const NAME: &'static str = "EvidenceList";

    fn write(&self, w: &mut Writer<'_>) {
        self.evidence.iter().for_each(|evidence| w.message(1, evidence));
    }

    fn read(m: &Fields<'_>) -> Result<EvidenceMessage, DecodeError> {
        Ok(EvidenceMessage { evidence: m.repeated(1, "evidence", Evidence::read)? })
    }
}
