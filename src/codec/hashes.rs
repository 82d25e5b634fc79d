//! The hashes a header is made of, and the header's own (reference §4.4).

use super::protobuf::{Message, Writer, build, encode};
use crate::crypto::{Hash, merkle};
use crate::types::abci::{ExecTxResult, FinalizeBlockResponse};
use crate::types::{Block, Evidence, Header, Tx};
use bytes::Bytes;

impl Header {
    /// The block's hash: Merkle root over the 14 fields, each wrapped as a message of its own.
    pub fn hash(&self) -> Hash {
        let wrapped = |bytes: &[u8]| build(|w| w.bytes(1, bytes)).freeze();
        let last_block_id = build(|w: &mut Writer<'_>| match &self.last_block_id {
            Some(id) => id.write(w),
            None => w.nested(2, |_| ()),
        });
        merkle::root(&[
            encode(&self.version),
            wrapped(self.chain_id.as_str().as_bytes()),
            build(|w| w.int(1, self.height.as_i64())).freeze(),
            encode(&self.time),
            last_block_id.freeze(),
            wrapped(self.last_commit_hash.as_ref()),
            wrapped(self.data_hash.as_ref()),
            wrapped(self.validators_hash.as_ref()),
            wrapped(self.next_validators_hash.as_ref()),
            wrapped(self.consensus_hash.as_ref()),
            wrapped(&self.app_hash),
            wrapped(self.last_results_hash.as_ref()),
            wrapped(self.evidence_hash.as_ref()),
            wrapped(self.proposer_address.as_ref()),
        ])
    }
}

impl Tx {
    /// Root over the hashes of transactions: `data_hash` of headers.
    pub fn data_hash(txs: &[Tx]) -> Hash {
        merkle::root(&txs.iter().map(Tx::hash).collect::<Vec<_>>())
    }

    /// The same root, with a proof for each transaction.
    pub fn data_proofs(txs: &[Tx]) -> (Hash, Vec<merkle::Proof>) {
        merkle::proofs(&txs.iter().map(Tx::hash).collect::<Vec<_>>())
    }
}

impl Evidence {
    /// Root over evidence as it stands in a block: `evidence_hash` of headers. The leaves are the inner messages.
    pub fn list_hash(list: &[Evidence]) -> Hash {
        let leaf = |evidence: &Evidence| match evidence {
            Evidence::DuplicateVote(evidence) => encode(evidence.as_ref()),
            Evidence::LightClientAttack(evidence) => encode(evidence.as_ref()),
        };
        merkle::root(&list.iter().map(leaf).collect::<Vec<_>>())
    }
}

impl Block {
    /// What `data_hash` of its header must be.
    pub fn data_hash(&self) -> Hash {
        Tx::data_hash(&self.txs)
    }

    /// What `evidence_hash` of its header must be.
    pub fn evidence_hash(&self) -> Hash {
        Evidence::list_hash(&self.evidence)
    }

    /// What `last_commit_hash` of its header must be: the hash of nothing in the first block.
    pub fn last_commit_hash(&self) -> Hash {
        self.last_commit.as_ref().map_or(Hash::EMPTY, crate::types::Commit::hash)
    }
}

impl FinalizeBlockResponse {
    /// `last_results_hash` of the next header: see [`last_results_hash`].
    pub fn results_hash(&self) -> Hash {
        last_results_hash(&self.tx_results)
    }
}

/// Root over results, each without log, info, events and codespace, which may differ between replicas.
pub fn last_results_hash(results: &[ExecTxResult]) -> Hash {
    let leaf = |result: &ExecTxResult| -> Bytes {
        build(|w| {
            w.uint(1, result.code.into());
            w.bytes(2, &result.data);
            w.int(5, result.gas_wanted);
            w.int(6, result.gas_used);
        })
        .freeze()
    };
    merkle::root(&results.iter().map(leaf).collect::<Vec<_>>())
}
