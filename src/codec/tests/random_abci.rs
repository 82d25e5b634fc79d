//! Every ABCI request and response, made from one seed.

use super::random::Random;
use crate::types::abci::{
    ApplySnapshotChunkRequest, ApplySnapshotChunkResponse, ApplySnapshotChunkResult, CheckTxKind, CheckTxRequest,
    CheckTxResponse, CommitResponse, ExtendVoteRequest, FinalizeBlockRequest, InfoRequest, InfoResponse,
    InitChainRequest, InitChainResponse, LoadSnapshotChunkRequest, OfferSnapshotRequest, OfferSnapshotResult,
    PrepareProposalRequest, ProcessProposalRequest, ProofOp, QueryRequest, QueryResponse, Request, Response, Snapshot,
    Verdict, VerifyVoteExtensionRequest,
};

impl Random {
    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            height: self.next(),
            format: self.next() as u32,
            chunks: self.next() as u32,
            hash: self.bytes(),
            metadata: self.bytes(),
        }
    }

    /// One of each.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        let mut all = self.small_requests();
        all.extend([
            Request::PrepareProposal(PrepareProposalRequest {
                max_tx_bytes: self.number(),
                txs: self.list(Random::bytes),
                local_last_commit: self.extended_commit_info(),
                block: self.block_facts(),
            }),
            Request::ProcessProposal(ProcessProposalRequest {
                txs: self.list(Random::bytes),
                proposed_last_commit: self.commit_info(),
                hash: self.hash(),
                block: self.block_facts(),
            }),
            Request::ExtendVote(ExtendVoteRequest {
                hash: self.hash(),
                txs: self.list(Random::bytes),
                proposed_last_commit: self.commit_info(),
                block: self.block_facts(),
            }),
            Request::VerifyVoteExtension(VerifyVoteExtensionRequest {
                hash: self.hash(),
                validator_address: self.address(),
                height: self.height(),
                vote_extension: self.bytes(),
            }),
            Request::FinalizeBlock(FinalizeBlockRequest {
                txs: self.list(Random::bytes),
                decided_last_commit: self.commit_info(),
                hash: self.hash(),
                block: self.block_facts(),
            }),
        ]);
        all
    }

    fn small_requests(&mut self) -> Vec<Request> {
        vec![
            Request::Echo(self.text()),
            Request::Flush,
            Request::Info(InfoRequest {
                version: self.text(),
                block_version: self.next(),
                p2p_version: self.next(),
                abci_version: self.text(),
            }),
            Request::InitChain(InitChainRequest {
                time: self.time(),
                chain_id: self.text(),
                consensus_params: self.maybe(Random::params),
                validators: self.list(Random::validator_update),
                app_state_bytes: self.bytes(),
                initial_height: self.height(),
            }),
            Request::Query(QueryRequest {
                data: self.bytes(),
                path: self.text(),
                height: self.signed(),
                prove: self.flag(),
            }),
            Request::CheckTx(CheckTxRequest {
                tx: self.bytes(),
                kind: if self.flag() { CheckTxKind::New } else { CheckTxKind::Recheck },
            }),
            Request::Commit,
            Request::ListSnapshots,
            Request::OfferSnapshot(OfferSnapshotRequest {
                snapshot: self.maybe(Random::snapshot),
                app_hash: self.bytes(),
            }),
            Request::LoadSnapshotChunk(LoadSnapshotChunkRequest {
                height: self.next(),
                format: self.next() as u32,
                chunk: self.next() as u32,
            }),
            Request::ApplySnapshotChunk(ApplySnapshotChunkRequest {
                index: self.next() as u32,
                chunk: self.bytes(),
                sender: self.text(),
            }),
        ]
    }

    /// One of each.
    pub(super) fn responses(&mut self) -> Vec<Response> {
        let result = self.tx_result();
        let verdict = [Verdict::Unknown, Verdict::Accept, Verdict::Reject][self.below(3) as usize];
        let check = CheckTxResponse {
            code: result.code,
            data: result.data,
            log: result.log,
            info: result.info,
            gas_wanted: result.gas_wanted,
            gas_used: result.gas_used,
            events: result.events,
            codespace: result.codespace,
        };
        vec![
            Response::Exception(self.text()),
            Response::Echo(self.text()),
            Response::Flush,
            self.info_response(),
            Response::InitChain(InitChainResponse {
                consensus_params: self.maybe(Random::params_update),
                validators: self.list(Random::validator_update),
                app_hash: self.bytes(),
            }),
            self.query_response(),
            Response::CheckTx(check),
            Response::Commit(CommitResponse { retain_height: self.signed() }),
            Response::ListSnapshots(self.list(Random::snapshot)),
            Response::OfferSnapshot(OfferSnapshotResult::RejectFormat),
            Response::LoadSnapshotChunk(self.bytes()),
            Response::ApplySnapshotChunk(ApplySnapshotChunkResponse {
                result: ApplySnapshotChunkResult::RetrySnapshot,
                refetch_chunks: self.list(|r| r.next() as u32),
                reject_senders: self.list(Random::text),
            }),
            Response::PrepareProposal(self.list(Random::bytes)),
            Response::ProcessProposal(verdict),
            Response::ExtendVote(self.bytes()),
            Response::VerifyVoteExtension(verdict),
            Response::FinalizeBlock(self.finalize_response()),
        ]
    }

    fn info_response(&mut self) -> Response {
        Response::Info(InfoResponse {
            data: self.text(),
            version: self.text(),
            app_version: self.next(),
            last_block_height: self.signed(),
            last_block_app_hash: self.bytes(),
        })
    }

    fn query_response(&mut self) -> Response {
        let op = |r: &mut Random| ProofOp { kind: r.text(), key: r.bytes(), data: r.bytes() };
        Response::Query(QueryResponse {
            code: self.next() as u32,
            log: self.text(),
            info: self.text(),
            index: self.signed(),
            key: self.bytes(),
            value: self.bytes(),
            proof_ops: self.maybe(|r| r.list(op)),
            height: self.signed(),
            codespace: self.text(),
        })
    }
}
