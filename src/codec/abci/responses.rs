//! What the application answers.

use super::shared::{choice, number_of};
use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::ValidatorUpdate;
use crate::types::abci::{
    ApplySnapshotChunkResponse, ApplySnapshotChunkResult, CheckTxResponse, CommitResponse, Event, ExecTxResult,
    FinalizeBlockResponse, InfoResponse, InitChainResponse, OfferSnapshotResult, ProofOp, QueryResponse, Response,
    Snapshot, TxResult, Verdict,
};

/// Values by number.
const VERDICTS: [Verdict; 3] = [Verdict::Unknown, Verdict::Accept, Verdict::Reject];
const OFFER_RESULTS: [OfferSnapshotResult; 6] = [
    OfferSnapshotResult::Unknown,
    OfferSnapshotResult::Accept,
    OfferSnapshotResult::Abort,
    OfferSnapshotResult::Reject,
    OfferSnapshotResult::RejectFormat,
    OfferSnapshotResult::RejectSender,
];
const APPLY_RESULTS: [ApplySnapshotChunkResult; 6] = [
    ApplySnapshotChunkResult::Unknown,
    ApplySnapshotChunkResult::Accept,
    ApplySnapshotChunkResult::Abort,
    ApplySnapshotChunkResult::Retry,
    ApplySnapshotChunkResult::RetrySnapshot,
    ApplySnapshotChunkResult::RejectSnapshot,
];

impl Message for Response {
    const NAME: &'static str = "Response";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Response::Exception(error) => w.nested(1, |w| w.bytes(1, error.as_bytes())),
            Response::Echo(message) => w.nested(2, |w| w.bytes(1, message.as_bytes())),
            Response::Flush => w.nested(3, |_| ()),
            Response::Info(response) => w.message(4, response),
            Response::InitChain(response) => w.message(6, response),
            Response::Query(response) => w.message(7, response),
            Response::CheckTx(response) => w.message(9, response),
            Response::Commit(response) => w.nested(12, |w| w.int(3, response.retain_height)),
            Response::ListSnapshots(all) => w.nested(13, |w| all.iter().for_each(|snapshot| w.message(1, snapshot))),
            Response::OfferSnapshot(result) => w.nested(14, |w| w.uint(1, number_of(result, &OFFER_RESULTS))),
            Response::LoadSnapshotChunk(chunk) => w.nested(15, |w| w.bytes(1, chunk)),
            Response::ApplySnapshotChunk(response) => w.message(16, response),
            Response::PrepareProposal(txs) => w.nested(17, |w| txs.iter().for_each(|tx| w.element(1, tx))),
            Response::ProcessProposal(verdict) => w.nested(18, |w| w.uint(1, number_of(verdict, &VERDICTS))),
            Response::ExtendVote(extension) => w.nested(19, |w| w.bytes(1, extension)),
            Response::VerifyVoteExtension(verdict) => w.nested(20, |w| w.uint(1, number_of(verdict, &VERDICTS))),
            Response::FinalizeBlock(response) => w.message(21, response),
        }
    }

    fn read(m: &Fields<'_>) -> Result<Response, DecodeError> {
        let verdict = |m: &Fields<'_>| choice(m, 1, "status", &VERDICTS);
        match m.oneof(1..=21) {
            Some(1) => m.member(1, "exception", |m| m.text(1, "error")).map(Response::Exception),
            Some(2) => m.member(2, "echo", |m| m.text(1, "message")).map(Response::Echo),
            Some(3) => m.member(3, "flush", |_| Ok(())).map(|()| Response::Flush),
            Some(4) => m.member(4, "info", InfoResponse::read).map(Response::Info),
            Some(6) => m.member(6, "init_chain", InitChainResponse::read).map(Response::InitChain),
            Some(7) => m.member(7, "query", QueryResponse::read).map(Response::Query),
            Some(9) => m.member(9, "check_tx", CheckTxResponse::read).map(Response::CheckTx),
            Some(12) => m
                .member(12, "commit", |m| Ok(CommitResponse { retain_height: m.int(3, "retain_height")? }))
                .map(Response::Commit),
            Some(13) => m
                .member(13, "list_snapshots", |m| m.repeated(1, "snapshots", Snapshot::read))
                .map(Response::ListSnapshots),
            Some(14) => {
                m.member(14, "offer_snapshot", |m| choice(m, 1, "result", &OFFER_RESULTS)).map(Response::OfferSnapshot)
            }
            Some(15) => m.member(15, "load_snapshot_chunk", |m| m.bytes(1, "chunk")).map(Response::LoadSnapshotChunk),
            Some(16) => {
                m.member(16, "apply_snapshot_chunk", ApplySnapshotChunkResponse::read).map(Response::ApplySnapshotChunk)
            }
            Some(17) => m.member(17, "prepare_proposal", |m| m.repeated_bytes(1, "txs")).map(Response::PrepareProposal),
            Some(18) => m.member(18, "process_proposal", verdict).map(Response::ProcessProposal),
            Some(19) => m.member(19, "extend_vote", |m| m.bytes(1, "vote_extension")).map(Response::ExtendVote),
            Some(20) => m.member(20, "verify_vote_extension", verdict).map(Response::VerifyVoteExtension),
            Some(21) => m.member(21, "finalize_block", FinalizeBlockResponse::read).map(Response::FinalizeBlock),
            _ => Err(DecodeError::new("holds no answer known to ABCI 2.0")),
        }
    }
}

impl Message for InfoResponse {
    const NAME: &'static str = "ResponseInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.data.as_bytes());
        w.bytes(2, self.version.as_bytes());
        w.uint(3, self.app_version);
        w.int(4, self.last_block_height);
        w.bytes(5, &self.last_block_app_hash);
    }

    fn read(m: &Fields<'_>) -> Result<InfoResponse, DecodeError> {
        Ok(InfoResponse {
            data: m.text(1, "data")?,
            version: m.text(2, "version")?,
            app_version: m.uint(3, "app_version")?,
            last_block_height: m.int(4, "last_block_height")?,
            last_block_app_hash: m.bytes(5, "last_block_app_hash")?,
        })
    }
}

impl Message for InitChainResponse {
    const NAME: &'static str = "ResponseInitChain";

    fn write(&self, w: &mut Writer<'_>) {
        self.consensus_params.iter().for_each(|params| w.message(1, params));
        self.validators.iter().for_each(|validator| w.message(2, validator));
        w.bytes(3, &self.app_hash);
    }

    fn read(m: &Fields<'_>) -> Result<InitChainResponse, DecodeError> {
        Ok(InitChainResponse {
            consensus_params: m.optional(1, "consensus_params")?,
            validators: m.repeated(2, "validators", ValidatorUpdate::read)?,
            app_hash: m.bytes(3, "app_hash")?,
        })
    }
}

impl Message for QueryResponse {
    const NAME: &'static str = "ResponseQuery";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.code.into());
        w.bytes(3, self.log.as_bytes());
        w.bytes(4, self.info.as_bytes());
        w.int(5, self.index);
        w.bytes(6, &self.key);
        w.bytes(7, &self.value);
        self.proof_ops.iter().for_each(|ops| w.nested(8, |w| ops.iter().for_each(|op| w.message(1, op))));
        w.int(9, self.height);
        w.bytes(10, self.codespace.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<QueryResponse, DecodeError> {
        Ok(QueryResponse {
            code: m.uint32(1, "code")?,
            log: m.text(3, "log")?,
            info: m.text(4, "info")?,
            index: m.int(5, "index")?,
            key: m.bytes(6, "key")?,
            value: m.bytes(7, "value")?,
            proof_ops: m.nested(8, "proof_ops", |m| m.repeated(1, "ops", ProofOp::read))?,
            height: m.int(9, "height")?,
            codespace: m.text(10, "codespace")?,
        })
    }
}

impl Message for ProofOp {
    const NAME: &'static str = "ProofOp";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.kind.as_bytes());
        w.bytes(2, &self.key);
        w.bytes(3, &self.data);
    }

    fn read(m: &Fields<'_>) -> Result<ProofOp, DecodeError> {
        Ok(ProofOp { kind: m.text(1, "type")?, key: m.bytes(2, "key")?, data: m.bytes(3, "data")? })
    }
}

impl Message for CheckTxResponse {
    const NAME: &'static str = "ResponseCheckTx";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.code.into());
        w.bytes(2, &self.data);
        w.bytes(3, self.log.as_bytes());
        w.bytes(4, self.info.as_bytes());
        w.int(5, self.gas_wanted);
        w.int(6, self.gas_used);
        self.events.iter().for_each(|event| w.message(7, event));
        w.bytes(8, self.codespace.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<CheckTxResponse, DecodeError> {
        Ok(CheckTxResponse {
            code: m.uint32(1, "code")?,
            data: m.bytes(2, "data")?,
            log: m.text(3, "log")?,
            info: m.text(4, "info")?,
            gas_wanted: m.int(5, "gas_wanted")?,
            gas_used: m.int(6, "gas_used")?,
            events: m.repeated(7, "events", Event::read)?,
            codespace: m.text(8, "codespace")?,
        })
    }
}

impl Message for ExecTxResult {
    const NAME: &'static str = "ExecTxResult";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.code.into());
        w.bytes(2, &self.data);
        w.bytes(3, self.log.as_bytes());
        w.bytes(4, self.info.as_bytes());
        w.int(5, self.gas_wanted);
        w.int(6, self.gas_used);
        self.events.iter().for_each(|event| w.message(7, event));
        w.bytes(8, self.codespace.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<ExecTxResult, DecodeError> {
        Ok(ExecTxResult {
            code: m.uint32(1, "code")?,
            data: m.bytes(2, "data")?,
            log: m.text(3, "log")?,
            info: m.text(4, "info")?,
            gas_wanted: m.int(5, "gas_wanted")?,
            gas_used: m.int(6, "gas_used")?,
            events: m.repeated(7, "events", Event::read)?,
            codespace: m.text(8, "codespace")?,
        })
    }
}

impl Message for ApplySnapshotChunkResponse {
    const NAME: &'static str = "ResponseApplySnapshotChunk";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, number_of(&self.result, &APPLY_RESULTS));
        w.packed(2, &self.refetch_chunks.iter().map(|chunk| u64::from(*chunk)).collect::<Vec<_>>());
        self.reject_senders.iter().for_each(|sender| w.element(3, sender.as_bytes()));
    }

    fn read(m: &Fields<'_>) -> Result<ApplySnapshotChunkResponse, DecodeError> {
        Ok(ApplySnapshotChunkResponse {
            result: choice(m, 1, "result", &APPLY_RESULTS)?,
            refetch_chunks: m.numbers(2, "refetch_chunks")?.into_iter().map(cut_as_go).collect(),
            reject_senders: m.repeated_text(3, "reject_senders")?,
        })
    }
}

impl Message for FinalizeBlockResponse {
    const NAME: &'static str = "ResponseFinalizeBlock";

    fn write(&self, w: &mut Writer<'_>) {
        self.events.iter().for_each(|event| w.message(1, event));
        self.tx_results.iter().for_each(|result| w.message(2, result));
        self.validator_updates.iter().for_each(|update| w.message(3, update));
        self.consensus_param_updates.iter().for_each(|update| w.message(4, update));
        w.bytes(5, &self.app_hash);
    }

    fn read(m: &Fields<'_>) -> Result<FinalizeBlockResponse, DecodeError> {
        Ok(FinalizeBlockResponse {
            events: m.repeated(1, "events", Event::read)?,
            tx_results: m.repeated(2, "tx_results", ExecTxResult::read)?,
            validator_updates: m.repeated(3, "validator_updates", ValidatorUpdate::read)?,
            consensus_param_updates: m.optional(4, "consensus_param_updates")?,
            app_hash: m.bytes(5, "app_hash")?,
        })
    }
}

impl Message for TxResult {
    const NAME: &'static str = "TxResult";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.uint(2, self.index.into());
        w.bytes(3, &self.tx);
        w.message(4, &self.result);
    }

    fn read(m: &Fields<'_>) -> Result<TxResult, DecodeError> {
        Ok(TxResult {
            height: m.number(1, "height")?,
            index: m.uint32(2, "index")?,
            tx: m.bytes(3, "tx")?,
            result: m.present(4, "result", ExecTxResult::read)?,
        })
    }
}

/// A number of 32 bits in a list: higher bits are dropped.
#[expect(clippy::cast_possible_truncation, reason = "Go drops them, and so must we")]
fn cut_as_go(number: u64) -> u32 {
    number as u32
}
