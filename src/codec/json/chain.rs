//! Headers, blocks, commits, votes, evidence, validators and parameters.
//!
//! Each shape lists its fields in the order of Go's struct; a field without a tag in Go keeps its Go name.

use super::scalar::Base64Text;
use super::{Base64, Hex, Int, List, Shown, View};
use crate::crypto::PublicKey;
use crate::crypto::merkle::Proof;
use crate::types::{
    Address, Block, BlockId, BlockMeta, Commit, CommitSig, ConsensusParams, Evidence, GenesisValidator, Header, Height,
    LightBlock, PartSetHeader, Proposal, Round, SignedHeader, Time, Tx, Validator, ValidatorSet, Version, Vote,
    VoteKind,
};
use serde::Serialize;
use serde::ser::Serializer;

/// `{"type":…,"value":…}`: how Go's JSON marks which kind of thing stands behind an interface.
#[derive(Debug, Serialize)]
pub struct Tagged<T> {
    /// The registered name.
    #[serde(rename = "type")]
    pub tag: &'static str,
    /// The thing.
    pub value: T,
}

/// Writes `impl Serialize for View<$type>` from a list of fields.
macro_rules! shape {
    ($type:ty, $it:ident => { $($name:literal: $value:expr),* $(,)? }) => {
        impl Serialize for View<'_, $type> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let $it = self.0;
                let count = [$($name),*].len();
                let mut fields = serializer.serialize_struct("", count)?;
                $( fields.serialize_field($name, &$value)?; )*
                fields.end()
            }
        }
    };
}
pub(super) use shape;

shape!(PublicKey, key => { "type": "tendermint/PubKeyEd25519", "value": Base64(key.as_bytes()) });

shape!(PartSetHeader, parts => { "total": parts.total, "hash": Shown(&parts.hash) });

shape!(BlockId, id => { "hash": Shown(&id.hash), "parts": View(&id.parts) });

/// No block is written as a block id of zeros.
impl Serialize for View<'_, Option<BlockId>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(id) => View(id).serialize(serializer),
            None => NoBlockId { hash: "", parts: NoParts { total: 0, hash: "" } }.serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct NoBlockId {
    hash: &'static str,
    parts: NoParts,
}

#[derive(Serialize)]
struct NoParts {
    total: u32,
    hash: &'static str,
}

/// The application's version is left out when 0.
impl Serialize for View<'_, Version> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape {
            block: Int<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            app: Option<Int<u64>>,
        }
        let app = (self.0.app != 0).then_some(Int(self.0.app));
        Shape { block: Int(self.0.block), app }.serialize(serializer)
    }
}

shape!(Header, header => {
    "version": View(&header.version),
    "chain_id": header.chain_id.as_str(),
    "height": Int(header.height),
    "time": Shown(&header.time),
    "last_block_id": View(&header.last_block_id),
    "last_commit_hash": Shown(&header.last_commit_hash),
    "data_hash": Shown(&header.data_hash),
    "validators_hash": Shown(&header.validators_hash),
    "next_validators_hash": Shown(&header.next_validators_hash),
    "consensus_hash": Shown(&header.consensus_hash),
    "app_hash": Hex(&header.app_hash),
    "last_results_hash": Shown(&header.last_results_hash),
    "evidence_hash": Shown(&header.evidence_hash),
    "proposer_address": Shown(&header.proposer_address),
});

/// A signature entry. An absent one carries Go's zero values.
impl Serialize for View<'_, CommitSig> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            block_id_flag: u8,
            validator_address: Hex<'a>,
            timestamp: Shown<'a, Time>,
            signature: Base64<'a>,
        }
        let block_id_flag = match self.0 {
            CommitSig::Absent => 1,
            CommitSig::Commit(_) => 2,
            CommitSig::Nil(_) => 3,
        };
        let signed = self.0.signed();
        Shape {
            block_id_flag,
            validator_address: Hex(signed.map_or(&[], |part| part.validator_address.as_ref())),
            timestamp: Shown(signed.map_or(&Time::ZERO, |part| &part.timestamp)),
            signature: Base64(signed.map_or(&[], |part| part.signature.as_ref())),
        }
        .serialize(serializer)
    }
}

shape!(Commit, commit => {
    "height": Int(commit.height),
    "round": commit.round.get(),
    "block_id": View(&commit.block_id),
    "signatures": List(&commit.signatures),
});

/// The first block has no commit; it is written as an empty one.
impl Serialize for View<'_, Option<Commit>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Empty {
            height: Int<Height>,
            round: u32,
            block_id: NoBlockId,
            signatures: [u8; 0],
        }
        match self.0 {
            Some(commit) => View(commit).serialize(serializer),
            None => Empty {
                height: Int(Height::ZERO),
                round: Round::ZERO.get(),
                block_id: NoBlockId { hash: "", parts: NoParts { total: 0, hash: "" } },
                signatures: [],
            }
            .serialize(serializer),
        }
    }
}

impl Serialize for View<'_, Tx> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Base64Text(self.0.bytes()).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Data<'a> {
    txs: List<'a, Tx>,
}

#[derive(Serialize)]
struct EvidenceList<'a> {
    evidence: List<'a, Evidence>,
}

shape!(Block, block => {
    "header": View(&block.header),
    "data": Data { txs: List(&block.txs) },
    "evidence": EvidenceList { evidence: List(&block.evidence) },
    "last_commit": View(&block.last_commit),
});

shape!(BlockMeta, meta => {
    "block_id": View(&meta.block_id),
    "block_size": Int(meta.block_size),
    "header": View(&meta.header),
    "num_txs": Int(meta.num_txs),
});

shape!(Vote, vote => {
    "type": match vote.kind { VoteKind::Prevote => 1, VoteKind::Precommit => 2 },
    "height": Int(vote.height),
    "round": vote.round.get(),
    "block_id": View(&vote.block_id),
    "timestamp": Shown(&vote.timestamp),
    "validator_address": Shown(&vote.validator_address),
    "validator_index": vote.validator_index,
    "signature": Base64(vote.signature.as_ref()),
    "extension": Base64(&vote.extension),
    "extension_signature": Base64(vote.extension_signature.as_ref().map_or(&[], |signature| signature.as_ref())),
});

shape!(Proposal, proposal => {
    "Type": 32,
    "height": Int(proposal.height),
    "round": proposal.round.get(),
    "pol_round": Round::option_as_i32(proposal.pol_round),
    "block_id": View(&proposal.block_id),
    "timestamp": Shown(&proposal.timestamp),
    "signature": Base64(proposal.signature.as_ref()),
});

shape!(Validator, validator => {
    "address": Shown(&validator.address),
    "pub_key": View(&validator.public_key),
    "voting_power": Int(validator.power),
    "proposer_priority": Int(validator.proposer_priority),
});

shape!(ValidatorSet, set => { "validators": List(set.members()), "proposer": View(set.proposer()) });

shape!(SignedHeader, signed => { "header": View(&signed.header), "commit": View(&signed.commit) });

shape!(LightBlock, block => {
    "signed_header": View(&block.signed_header),
    "validator_set": View(&block.validators),
});

/// Evidence inside its tag; the fields without tags in Go keep their Go names.
impl Serialize for View<'_, Evidence> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct DuplicateVote<'a> {
            vote_a: View<'a, Vote>,
            vote_b: View<'a, Vote>,
            #[serde(rename = "TotalVotingPower")]
            total_voting_power: Int<i64>,
            #[serde(rename = "ValidatorPower")]
            validator_power: Int<i64>,
            #[serde(rename = "Timestamp")]
            timestamp: Shown<'a, Time>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct LightClientAttack<'a> {
            conflicting_block: View<'a, LightBlock>,
            common_height: Int<Height>,
            byzantine_validators: List<'a, Validator>,
            total_voting_power: Int<i64>,
            timestamp: Shown<'a, Time>,
        }
        match self.0 {
            Evidence::DuplicateVote(evidence) => Tagged {
                tag: "tendermint/DuplicateVoteEvidence",
                value: DuplicateVote {
                    vote_a: View(&evidence.vote_a),
                    vote_b: View(&evidence.vote_b),
                    total_voting_power: Int(evidence.total_voting_power.as_i64()),
                    validator_power: Int(evidence.validator_power.as_i64()),
                    timestamp: Shown(&evidence.timestamp),
                },
            }
            .serialize(serializer),
            Evidence::LightClientAttack(evidence) => Tagged {
                tag: "tendermint/LightClientAttackEvidence",
                value: LightClientAttack {
                    conflicting_block: View(&evidence.conflicting_block),
                    common_height: Int(evidence.common_height),
                    byzantine_validators: List(&evidence.byzantine_validators),
                    total_voting_power: Int(evidence.total_voting_power.as_i64()),
                    timestamp: Shown(&evidence.timestamp),
                },
            }
            .serialize(serializer),
        }
    }
}

/// A limit that may be missing: −1.
fn limit(value: Option<u64>) -> Int<i128> {
    Int(value.map_or(-1, i128::from))
}

#[derive(Serialize)]
struct BlockParamsShape {
    max_bytes: Int<i128>,
    max_gas: Int<i128>,
}

#[derive(Serialize)]
struct EvidenceParamsShape {
    max_age_num_blocks: Int<u64>,
    max_age_duration: Int<u128>,
    max_bytes: Int<u64>,
}

#[derive(Serialize)]
struct KeyTypes<'a> {
    pub_key_types: &'a [String],
}

#[derive(Serialize)]
struct AppVersion {
    app: Int<u64>,
}

#[derive(Serialize)]
struct AbciShape {
    vote_extensions_enable_height: Int<Height>,
}

shape!(ConsensusParams, params => {
    "block": BlockParamsShape { max_bytes: limit(params.block.max_bytes), max_gas: limit(params.block.max_gas) },
    "evidence": EvidenceParamsShape {
        max_age_num_blocks: Int(params.evidence.max_age_num_blocks),
        max_age_duration: Int(params.evidence.max_age_duration.as_nanos()),
        max_bytes: Int(params.evidence.max_bytes),
    },
    "validator": KeyTypes { pub_key_types: &params.validator.pub_key_types },
    "version": AppVersion { app: Int(params.version.app) },
    "abci": AbciShape {
        vote_extensions_enable_height: Int(params.abci.vote_extensions_enable_height.unwrap_or(Height::ZERO)),
    },
});

shape!(GenesisValidator, validator => {
    "address": Shown(&validator.address),
    "pub_key": View(&validator.public_key),
    "power": Int(validator.power),
    "name": validator.name.as_str(),
});

/// A Merkle proof; hashes in base64.
impl Serialize for View<'_, Proof> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            total: Int<u64>,
            index: Int<u64>,
            leaf_hash: Base64<'a>,
            aunts: Vec<Base64<'a>>,
        }
        Shape {
            total: Int(self.0.total),
            index: Int(self.0.index),
            leaf_hash: Base64(self.0.leaf_hash.as_ref()),
            aunts: self.0.aunts.iter().map(|aunt| Base64(aunt.as_ref())).collect(),
        }
        .serialize(serializer)
    }
}

/// Who proposes: address and position.
#[derive(Debug, Serialize)]
pub struct Proposer<'a> {
    /// Address.
    pub address: Shown<'a, Address>,
    /// Position in the set.
    pub index: u32,
}
