//! Commits, with and without vote extensions.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, encode};
use super::vote::vote_sign_bytes;
use crate::crypto::{Hash, merkle};
use crate::types::{ChainId, Commit, CommitSig, ExtendedCommit, ExtendedCommitSig, SignedPart, Time, VoteKind};

/// `BLOCK_ID_FLAG_ABSENT`, `_COMMIT`, `_NIL`.
const ABSENT: i32 = 1;
const COMMIT: i32 = 2;
const NIL: i32 = 3;

impl Message for CommitSig {
    const NAME: &'static str = "CommitSig";

    fn write(&self, w: &mut Writer<'_>) {
        let (flag, part) = match self {
            CommitSig::Absent => (ABSENT, None),
            CommitSig::Commit(part) => (COMMIT, Some(part)),
            CommitSig::Nil(part) => (NIL, Some(part)),
        };
        w.int(1, flag.into());
        match part {
            None if mutant!("C14") => {}
            None => w.message(3, &Time::ZERO), // an absent signature still has Go's zero time
            Some(part) => {
                w.bytes(2, part.validator_address.as_ref());
                w.message(3, &part.timestamp);
                w.bytes(4, part.signature.as_ref());
            }
        }
    }

    fn read(m: &Fields<'_>) -> Result<CommitSig, DecodeError> {
        let part = || {
            Ok(SignedPart {
                validator_address: m.exact(2, "validator_address")?,
                timestamp: m.time(3, "timestamp")?,
                signature: m.exact(4, "signature")?,
            })
        };
        match m.int32(1, "block_id_flag")? {
            ABSENT => {
                let empty = m.slice(2, "validator_address")?.is_empty() && m.slice(4, "signature")?.is_empty();
                if (!empty && !mutant!("C13")) || m.time(3, "timestamp")? != Time::ZERO {
                    return Err(DecodeError::new("is absent but has an address, a time or a signature"));
                }
                Ok(CommitSig::Absent)
            }
            COMMIT => part().map(CommitSig::Commit),
            NIL => part().map(CommitSig::Nil),
            other => Err(DecodeError::at(
                "block_id_flag",
                format_args!("is {other}, must be 1 (absent), 2 (commit) or 3 (nil)"),
            )),
        }
    }
}

impl Message for Commit {
    const NAME: &'static str = "Commit";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.int(2, self.round.as_i32().into());
        w.message(3, &self.block_id);
        self.signatures.iter().for_each(|sig| w.message(4, sig));
    }

    fn read(m: &Fields<'_>) -> Result<Commit, DecodeError> {
        Ok(Commit {
            height: m.number(1, "height")?,
            round: m.round(2, "round")?,
            block_id: m.block_id(3, "block_id")?,
            signatures: m.repeated(4, "signatures", CommitSig::read)?,
        })
    }
}

impl Commit {
    /// Root over the signatures: `last_commit_hash` of the next header.
    pub fn hash(&self) -> Hash {
        merkle::root(&self.signatures.iter().map(encode).collect::<Vec<_>>())
    }

    /// What the signature at `index` covers: the precommit it came from. `None` when there is no such signature.
    pub fn sign_bytes_of(&self, index: usize, chain_id: &ChainId) -> Option<Vec<u8>> {
        let entry = self.signatures.get(index)?;
        let part = entry.signed()?;
        let block_id = (matches!(entry, CommitSig::Commit(_)) || mutant!("C15")).then_some(&self.block_id);
        Some(vote_sign_bytes(VoteKind::Precommit, self.height, self.round, block_id, part.timestamp, chain_id))
    }
}

impl Message for ExtendedCommitSig {
    const NAME: &'static str = "ExtendedCommitSig";

    fn write(&self, w: &mut Writer<'_>) {
        self.sig.write(w);
        w.bytes(5, &self.extension);
        w.bytes(6, self.extension_signature.as_ref().map_or(&[][..], AsRef::as_ref));
    }

    fn read(m: &Fields<'_>) -> Result<ExtendedCommitSig, DecodeError> {
        Ok(ExtendedCommitSig {
            sig: CommitSig::read(m)?,
            extension: m.bytes(5, "extension")?,
            extension_signature: m.exact_or_empty(6, "extension_signature")?,
        })
    }
}

impl Message for ExtendedCommit {
    const NAME: &'static str = "ExtendedCommit";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.int(2, self.round.as_i32().into());
        w.message(3, &self.block_id);
        self.signatures.iter().for_each(|sig| w.message(4, sig));
    }

    fn read(m: &Fields<'_>) -> Result<ExtendedCommit, DecodeError> {
        Ok(ExtendedCommit {
            height: m.number(1, "height")?,
            round: m.round(2, "round")?,
            block_id: m.block_id(3, "block_id")?,
            signatures: m.repeated(4, "extended_signatures", ExtendedCommitSig::read)?,
        })
    }
}
