//! What the node asks.

use super::shared::{choice, number_of};
use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::crypto::Hash;
use crate::types::abci::{
    ApplySnapshotChunkRequest, BlockFacts, CheckTxKind, CheckTxRequest, CommitInfo, ExtendVoteRequest,
    ExtendedCommitInfo, FinalizeBlockRequest, InfoRequest, InitChainRequest, LoadSnapshotChunkRequest, Misbehavior,
    OfferSnapshotRequest, PrepareProposalRequest, ProcessProposalRequest, QueryRequest, Request,
    VerifyVoteExtensionRequest,
};
use crate::types::{Address, ValidatorUpdate};

impl Message for Request {
    const NAME: &'static str = "Request";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Request::Echo(message) => w.nested(1, |w| w.bytes(1, message.as_bytes())),
            Request::Flush => w.nested(2, |_| ()),
            Request::Info(request) => w.message(3, request),
            Request::InitChain(request) => w.message(5, request),
            Request::Query(request) => w.message(6, request),
            Request::CheckTx(request) => w.message(8, request),
            Request::Commit => w.nested(11, |_| ()),
            Request::ListSnapshots => w.nested(12, |_| ()),
            Request::OfferSnapshot(request) => w.message(13, request),
            Request::LoadSnapshotChunk(request) => w.message(14, request),
            Request::ApplySnapshotChunk(request) => w.message(15, request),
            Request::PrepareProposal(request) => w.message(16, request),
            Request::ProcessProposal(request) => w.message(17, request),
            Request::ExtendVote(request) => w.message(18, request),
            Request::VerifyVoteExtension(request) => w.message(19, request),
            Request::FinalizeBlock(request) => w.message(20, request),
        }
    }

    fn read(m: &Fields<'_>) -> Result<Request, DecodeError> {
        let empty = |_: &Fields<'_>| Ok(());
        match m.oneof(1..=20) {
            Some(1) => m.member(1, "echo", |m| m.text(1, "message")).map(Request::Echo),
            Some(2) => m.member(2, "flush", empty).map(|()| Request::Flush),
            Some(3) => m.member(3, "info", InfoRequest::read).map(Request::Info),
            Some(5) => m.member(5, "init_chain", InitChainRequest::read).map(Request::InitChain),
            Some(6) => m.member(6, "query", QueryRequest::read).map(Request::Query),
            Some(8) => m.member(8, "check_tx", CheckTxRequest::read).map(Request::CheckTx),
            Some(11) => m.member(11, "commit", empty).map(|()| Request::Commit),
            Some(12) => m.member(12, "list_snapshots", empty).map(|()| Request::ListSnapshots),
            Some(13) => m.member(13, "offer_snapshot", OfferSnapshotRequest::read).map(Request::OfferSnapshot),
            Some(14) => {
                m.member(14, "load_snapshot_chunk", LoadSnapshotChunkRequest::read).map(Request::LoadSnapshotChunk)
            }
            Some(15) => {
                m.member(15, "apply_snapshot_chunk", ApplySnapshotChunkRequest::read).map(Request::ApplySnapshotChunk)
            }
            Some(16) => m.member(16, "prepare_proposal", PrepareProposalRequest::read).map(Request::PrepareProposal),
            Some(17) => m.member(17, "process_proposal", ProcessProposalRequest::read).map(Request::ProcessProposal),
            Some(18) => m.member(18, "extend_vote", ExtendVoteRequest::read).map(Request::ExtendVote),
            Some(19) => m
                .member(19, "verify_vote_extension", VerifyVoteExtensionRequest::read)
                .map(Request::VerifyVoteExtension),
            Some(20) => m.member(20, "finalize_block", FinalizeBlockRequest::read).map(Request::FinalizeBlock),
            _ => Err(DecodeError::new("holds no method known to ABCI 2.0")),
        }
    }
}

impl Message for InfoRequest {
    const NAME: &'static str = "RequestInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.version.as_bytes());
        w.uint(2, self.block_version);
        w.uint(3, self.p2p_version);
        w.bytes(4, self.abci_version.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<InfoRequest, DecodeError> {
        Ok(InfoRequest {
            version: m.text(1, "version")?,
            block_version: m.uint(2, "block_version")?,
            p2p_version: m.uint(3, "p2p_version")?,
            abci_version: m.text(4, "abci_version")?,
        })
    }
}

impl Message for InitChainRequest {
    const NAME: &'static str = "RequestInitChain";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.time);
        w.bytes(2, self.chain_id.as_bytes());
        self.consensus_params.iter().for_each(|params| w.message(3, params));
        self.validators.iter().for_each(|validator| w.message(4, validator));
        w.bytes(5, &self.app_state_bytes);
        w.int(6, self.initial_height.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<InitChainRequest, DecodeError> {
        Ok(InitChainRequest {
            time: m.time(1, "time")?,
            chain_id: m.text(2, "chain_id")?,
            consensus_params: m.optional(3, "consensus_params")?,
            validators: m.repeated(4, "validators", ValidatorUpdate::read)?,
            app_state_bytes: m.bytes(5, "app_state_bytes")?,
            initial_height: m.number(6, "initial_height")?,
        })
    }
}

impl Message for QueryRequest {
    const NAME: &'static str = "RequestQuery";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, &self.data);
        w.bytes(2, self.path.as_bytes());
        w.int(3, self.height);
        w.flag(4, self.prove);
    }

    fn read(m: &Fields<'_>) -> Result<QueryRequest, DecodeError> {
        Ok(QueryRequest {
            data: m.bytes(1, "data")?,
            path: m.text(2, "path")?,
            height: m.int(3, "height")?,
            prove: m.flag(4, "prove")?,
        })
    }
}

const CHECK_KINDS: [CheckTxKind; 2] = [CheckTxKind::New, CheckTxKind::Recheck];

impl Message for CheckTxRequest {
    const NAME: &'static str = "RequestCheckTx";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, &self.tx);
        w.uint(2, number_of(&self.kind, &CHECK_KINDS));
    }

    fn read(m: &Fields<'_>) -> Result<CheckTxRequest, DecodeError> {
        Ok(CheckTxRequest { tx: m.bytes(1, "tx")?, kind: choice(m, 2, "type", &CHECK_KINDS)? })
    }
}

impl Message for OfferSnapshotRequest {
    const NAME: &'static str = "RequestOfferSnapshot";

    fn write(&self, w: &mut Writer<'_>) {
        self.snapshot.iter().for_each(|snapshot| w.message(1, snapshot));
        w.bytes(2, &self.app_hash);
    }

    fn read(m: &Fields<'_>) -> Result<OfferSnapshotRequest, DecodeError> {
        Ok(OfferSnapshotRequest { snapshot: m.optional(1, "snapshot")?, app_hash: m.bytes(2, "app_hash")? })
    }
}

impl Message for LoadSnapshotChunkRequest {
    const NAME: &'static str = "RequestLoadSnapshotChunk";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.height);
        w.uint(2, self.format.into());
        w.uint(3, self.chunk.into());
    }

    fn read(m: &Fields<'_>) -> Result<LoadSnapshotChunkRequest, DecodeError> {
        let (height, format) = (m.uint(1, "height")?, m.uint32(2, "format")?);
        Ok(LoadSnapshotChunkRequest { height, format, chunk: m.uint32(3, "chunk")? })
    }
}

impl Message for ApplySnapshotChunkRequest {
    const NAME: &'static str = "RequestApplySnapshotChunk";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.index.into());
        w.bytes(2, &self.chunk);
        w.bytes(3, self.sender.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<ApplySnapshotChunkRequest, DecodeError> {
        let (index, chunk) = (m.uint32(1, "index")?, m.bytes(2, "chunk")?);
        Ok(ApplySnapshotChunkRequest { index, chunk, sender: m.text(3, "sender")? })
    }
}

/// Fields 5 to 8 of the three requests about a whole block.
fn write_place(w: &mut Writer<'_>, block: &BlockFacts) {
    w.int(5, block.height.as_i64());
    w.message(6, &block.time);
    w.bytes(7, block.next_validators_hash.as_ref());
    w.bytes(8, block.proposer_address.as_ref());
}

/// The facts all requests about a block share; three of them stand in different fields.
/// A missing hash is read as zeros: `abci-cli` asks applications about blocks it says nothing of.
fn hash_or_zeros(m: &Fields<'_>, field: u32, name: &'static str) -> Result<Hash, DecodeError> {
    Ok(m.exact_or_empty(field, name)?.unwrap_or(Hash::new([0; Hash::LEN])))
}

fn read_facts(m: &Fields<'_>, misbehavior: u32, height: u32, time: u32) -> Result<BlockFacts, DecodeError> {
    Ok(BlockFacts {
        misbehavior: m.repeated(misbehavior, "misbehavior", Misbehavior::read)?,
        height: m.number(height, "height")?,
        time: m.time(time, "time")?,
        next_validators_hash: hash_or_zeros(m, 7, "next_validators_hash")?,
        proposer_address: m.exact_or_empty(8, "proposer_address")?.unwrap_or(Address::new([0; Address::LEN])),
    })
}

impl Message for PrepareProposalRequest {
    const NAME: &'static str = "RequestPrepareProposal";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.max_tx_bytes);
        self.txs.iter().for_each(|tx| w.element(2, tx));
        w.message(3, &self.local_last_commit);
        self.block.misbehavior.iter().for_each(|misbehavior| w.message(4, misbehavior));
        write_place(w, &self.block);
    }

    fn read(m: &Fields<'_>) -> Result<PrepareProposalRequest, DecodeError> {
        Ok(PrepareProposalRequest {
            max_tx_bytes: m.number(1, "max_tx_bytes")?,
            txs: m.repeated_bytes(2, "txs")?,
            local_last_commit: m.present(3, "local_last_commit", ExtendedCommitInfo::read)?,
            block: read_facts(m, 4, 5, 6)?,
        })
    }
}

impl Message for ProcessProposalRequest {
    const NAME: &'static str = "RequestProcessProposal";

    fn write(&self, w: &mut Writer<'_>) {
        self.txs.iter().for_each(|tx| w.element(1, tx));
        w.message(2, &self.proposed_last_commit);
        self.block.misbehavior.iter().for_each(|misbehavior| w.message(3, misbehavior));
        w.bytes(4, self.hash.as_ref());
        write_place(w, &self.block);
    }

    fn read(m: &Fields<'_>) -> Result<ProcessProposalRequest, DecodeError> {
        Ok(ProcessProposalRequest {
            txs: m.repeated_bytes(1, "txs")?,
            proposed_last_commit: m.present(2, "proposed_last_commit", CommitInfo::read)?,
            hash: hash_or_zeros(m, 4, "hash")?,
            block: read_facts(m, 3, 5, 6)?,
        })
    }
}

impl Message for ExtendVoteRequest {
    const NAME: &'static str = "RequestExtendVote";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.hash.as_ref());
        w.int(2, self.block.height.as_i64());
        w.message(3, &self.block.time);
        self.txs.iter().for_each(|tx| w.element(4, tx));
        w.message(5, &self.proposed_last_commit);
        self.block.misbehavior.iter().for_each(|misbehavior| w.message(6, misbehavior));
        w.bytes(7, self.block.next_validators_hash.as_ref());
        w.bytes(8, self.block.proposer_address.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<ExtendVoteRequest, DecodeError> {
        Ok(ExtendVoteRequest {
            hash: m.exact(1, "hash")?,
            txs: m.repeated_bytes(4, "txs")?,
            proposed_last_commit: m.present(5, "proposed_last_commit", CommitInfo::read)?,
            block: read_facts(m, 6, 2, 3)?,
        })
    }
}

impl Message for VerifyVoteExtensionRequest {
    const NAME: &'static str = "RequestVerifyVoteExtension";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.hash.as_ref());
        w.bytes(2, self.validator_address.as_ref());
        w.int(3, self.height.as_i64());
        w.bytes(4, &self.vote_extension);
    }

    fn read(m: &Fields<'_>) -> Result<VerifyVoteExtensionRequest, DecodeError> {
        Ok(VerifyVoteExtensionRequest {
            hash: m.exact(1, "hash")?,
            validator_address: m.exact(2, "validator_address")?,
            height: m.number(3, "height")?,
            vote_extension: m.bytes(4, "vote_extension")?,
        })
    }
}

impl Message for FinalizeBlockRequest {
    const NAME: &'static str = "RequestFinalizeBlock";

    fn write(&self, w: &mut Writer<'_>) {
        self.txs.iter().for_each(|tx| w.element(1, tx));
        w.message(2, &self.decided_last_commit);
        self.block.misbehavior.iter().for_each(|misbehavior| w.message(3, misbehavior));
        w.bytes(4, self.hash.as_ref());
        write_place(w, &self.block);
    }

    fn read(m: &Fields<'_>) -> Result<FinalizeBlockRequest, DecodeError> {
        Ok(FinalizeBlockRequest {
            txs: m.repeated_bytes(1, "txs")?,
            decided_last_commit: m.present(2, "decided_last_commit", CommitInfo::read)?,
            hash: hash_or_zeros(m, 4, "hash")?,
            block: read_facts(m, 3, 5, 6)?,
        })
    }
}
