//! Evidence and the light blocks in it.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, encode, low_byte, varint_len};
use crate::crypto::{Hash, sha256};
use crate::types::{DuplicateVoteEvidence, Evidence, LightBlock, LightClientAttackEvidence, SignedHeader, Validator};

impl Message for DuplicateVoteEvidence {
    const NAME: &'static str = "DuplicateVoteEvidence";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.vote_a);
        w.message(2, &self.vote_b);
        w.int(3, self.total_voting_power.as_i64());
        w.int(4, self.validator_power.as_i64());
        w.message(5, &self.timestamp);
    }

    fn read(m: &Fields<'_>) -> Result<DuplicateVoteEvidence, DecodeError> {
        Ok(DuplicateVoteEvidence {
            vote_a: m.required(1, "vote_a")?,
            vote_b: m.required(2, "vote_b")?,
            total_voting_power: m.number(3, "total_voting_power")?,
            validator_power: m.number(4, "validator_power")?,
            timestamp: m.time(5, "timestamp")?,
        })
    }
}

impl Message for SignedHeader {
    const NAME: &'static str = "SignedHeader";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.header);
        w.message(2, &self.commit);
    }

    fn read(m: &Fields<'_>) -> Result<SignedHeader, DecodeError> {
        Ok(SignedHeader { header: m.required(1, "header")?, commit: m.required(2, "commit")? })
    }
}

impl Message for LightBlock {
    const NAME: &'static str = "LightBlock";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.signed_header);
        w.message(2, &self.validators);
    }

    fn read(m: &Fields<'_>) -> Result<LightBlock, DecodeError> {
        Ok(LightBlock { signed_header: m.required(1, "signed_header")?, validators: m.required(2, "validator_set")? })
    }
}

impl Message for LightClientAttackEvidence {
    const NAME: &'static str = "LightClientAttackEvidence";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.conflicting_block);
        w.int(2, self.common_height.as_i64());
        self.byzantine_validators.iter().for_each(|validator| w.message(3, validator));
        w.int(4, self.total_voting_power.as_i64());
        w.message(5, &self.timestamp);
    }

    fn read(m: &Fields<'_>) -> Result<LightClientAttackEvidence, DecodeError> {
        Ok(LightClientAttackEvidence {
            conflicting_block: m.required(1, "conflicting_block")?,
            common_height: m.number(2, "common_height")?,
            byzantine_validators: m.repeated(3, "byzantine_validators", Validator::read)?,
            total_voting_power: m.number(4, "total_voting_power")?,
            timestamp: m.time(5, "timestamp")?,
        })
    }
}

impl Message for Evidence {
    const NAME: &'static str = "Evidence";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Evidence::DuplicateVote(evidence) => w.message(1, evidence.as_ref()),
            Evidence::LightClientAttack(evidence) => w.message(2, evidence.as_ref()),
        }
    }

    fn read(m: &Fields<'_>) -> Result<Evidence, DecodeError> {
        match m.oneof(1..=2) {
            Some(1) => m
                .member(1, "duplicate_vote_evidence", DuplicateVoteEvidence::read)
                .map(|evidence| Evidence::DuplicateVote(Box::new(evidence))),
            Some(_) => m
                .member(2, "light_client_attack_evidence", LightClientAttackEvidence::read)
                .map(|evidence| Evidence::LightClientAttack(Box::new(evidence))),
            None => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

impl Evidence {
    /// The evidence's name in the pool, in RPC and in the store.
    pub fn hash(&self) -> Hash {
        match self {
            Evidence::DuplicateVote(evidence) => sha256(&encode(evidence.as_ref())),
            Evidence::LightClientAttack(evidence) => evidence.hash(),
        }
    }

    /// Bytes this evidence takes in a block's evidence list: tag, length, message.
    pub fn encoded_len(&self) -> u64 {
        let len = self.encode().len() as u64;
        (if mutant!("C24") { 0 } else { 1 + varint_len(len) as u64 }) + len
    }
}

impl LightClientAttackEvidence {
    /// SHA-256 over a buffer of 32 + n bytes: the first 31 bytes of the conflicting header's hash, a zero byte where
    /// CometBFT's copy ends one short, and the zigzag varint of the common height in n bytes. Other nodes compute
    /// the same, so the slip is part of the format (reference §4.4).
    fn hash(&self) -> Hash {
        let header_hash = self.conflicting_block.signed_header.header.hash();
        let mut buffer = Vec::from(*header_hash.as_bytes());
        if let Some(last) = buffer.last_mut() {
            *last = if mutant!("C23") { *last } else { 0 };
        }
        let mut zigzag = self.common_height.get() << 1; // heights are not negative and fit 63 bits
        while zigzag >= 0x80 {
            buffer.push(low_byte(zigzag) | 0x80);
            zigzag >>= 7;
        }
        buffer.push(low_byte(zigzag));
        sha256(&buffer)
    }
}
