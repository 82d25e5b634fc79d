//! An independent implementation reads what we write and writes it back: tendermint-proto's generated types. Bytes it
//! does not know, or would write otherwise, would show.

use super::random::Random;
use crate::codec::abci::{FRAME_BYTES_MAX, decode_request, decode_response, encode_request, encode_response};
use crate::codec::{frame, journal, state};
use crate::types::{Block, BlockMeta, Height, JournalMessage, JournalRecord, NodeId, Round, Source, Step, TimerId};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tendermint_proto::v0_38 as oracle;

/// What the oracle makes of our bytes.
fn rewritten<M: prost::Message + Default>(ours: &Bytes) -> Bytes {
    M::decode(ours.clone()).expect("the oracle reads it").encode_to_vec().into()
}

/// Each value is read back by us as it was, and written back by the oracle as we wrote it.
macro_rules! agree {
    ($oracle:ty, $value:expr) => {{
        let value = $value;
        let bytes = value.encode();
        assert_eq!(rewritten::<$oracle>(&bytes), bytes, "{value:?}");
        let read = twin(&value, bytes);
        assert_eq!(read, value);
    }};
}

/// Reads bytes as the type of a value.
fn twin<T: Twin>(_: &T, bytes: Bytes) -> T {
    T::read(bytes)
}

trait Twin {
    fn read(bytes: Bytes) -> Self;
}

macro_rules! twins {
    ($($type:ty),* $(,)?) => { $(
        impl Twin for $type {
            fn read(bytes: Bytes) -> Self {
                <$type>::decode(bytes).expect("our own bytes")
            }
        }
    )* };
}

twins!(
    Block,
    BlockMeta,
    crate::types::Commit,
    crate::types::ConsensusParams,
    crate::types::Evidence,
    crate::types::ExtendedCommit,
    crate::types::Header,
    crate::types::LightBlock,
    crate::types::Part,
    crate::types::Proposal,
    crate::types::ValidatorSet,
    crate::types::Vote,
    crate::types::ChainState,
    crate::types::abci::FinalizeBlockResponse,
    crate::types::abci::TxResult,
    state::ValidatorsInfo,
    state::ConsensusParamsInfo,
    state::BlockStoreState,
    state::AbciResponsesInfo,
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_chain_s_messages_agree_with_the_oracle(seed: u64) {
        let r = &mut Random(seed);
        agree!(oracle::types::Vote, r.vote());
        agree!(oracle::types::Proposal, r.proposal());
        agree!(oracle::types::Part, r.part());
        agree!(oracle::types::Commit, r.commit());
        agree!(oracle::types::ExtendedCommit, r.extended_commit());
        agree!(oracle::types::Header, r.header());
        agree!(oracle::types::ValidatorSet, r.validator_set());
        agree!(oracle::types::ConsensusParams, r.params());
        agree!(oracle::types::Evidence, r.evidence());
        agree!(oracle::types::LightBlock, r.light_block());
        agree!(oracle::types::Block, r.block());
        let (block_size, num_txs) = (r.number(), r.number());
        agree!(
            oracle::types::BlockMeta,
            BlockMeta { block_id: r.block_id(), block_size, header: r.header(), num_txs }
        );
    }

    #[test]
    fn what_the_databases_hold_agrees_with_the_oracle(seed: u64) {
        let r = &mut Random(seed);
        agree!(oracle::state::State, r.state());
        let validators = r.maybe(Random::validator_set);
        agree!(oracle::state::ValidatorsInfo, state::ValidatorsInfo { validators, last_height_changed: r.height() });
        let params = r.maybe(Random::params);
        agree!(
            oracle::state::ConsensusParamsInfo,
            state::ConsensusParamsInfo { params, last_height_changed: r.height() }
        );
        let base = r.height();
        agree!(oracle::store::BlockStoreState, state::BlockStoreState { base, height: r.height() });
        let response = r.finalize_response();
        agree!(oracle::state::AbciResponsesInfo, state::AbciResponsesInfo { height: r.height(), response });
        agree!(oracle::abci::ResponseFinalizeBlock, r.finalize_response());
        let (height, index) = (r.height(), r.next() as u32);
        agree!(
            oracle::abci::TxResult,
            crate::types::abci::TxResult { height, index, tx: r.bytes(), result: r.tx_result() }
        );
    }

    #[test]
    fn all_abci_methods_agree_with_the_oracle(seed: u64) {
        let r = &mut Random(seed);
        for request in r.requests() {
            let mut out = BytesMut::new();
            encode_request(&request, &mut out);
            let body = frame::take(&mut out, FRAME_BYTES_MAX).expect("legal").expect("complete");
            prop_assert_eq!(rewritten::<oracle::abci::Request>(&body), body.clone(), "{}", request.method());
            prop_assert_eq!(decode_request(&body), Ok(request));
        }
        for response in r.responses() {
            let mut out = BytesMut::new();
            encode_response(&response, &mut out);
            let body = frame::take(&mut out, FRAME_BYTES_MAX).expect("legal").expect("complete");
            prop_assert_eq!(rewritten::<oracle::abci::Response>(&body), body.clone(), "{}", response.method());
            prop_assert_eq!(decode_response(&body), Ok(response));
        }
    }

    #[test]
    fn journal_records_agree_with_the_oracle(seed: u64) {
        let r = &mut Random(seed);
        let (height, round, step) = (r.height(), r.round(), Step::PrevoteWait);
        let duration = std::time::Duration::from_nanos(r.next() >> 8);
        let peer = Source::Peer(NodeId::new(r.address()));
        let part = JournalMessage::Part { height, round, part: r.part() };
        let records = [
            JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(r.vote()) },
            JournalRecord::Message { source: peer, message: JournalMessage::Proposal(r.proposal()) },
            JournalRecord::Message { source: peer, message: part },
            JournalRecord::Timeout { timer: TimerId { height, round, step }, duration },
            JournalRecord::RoundStep { height, round, step },
            JournalRecord::EndHeight(height),
        ];
        for record in records {
            let at = r.time();
            let bytes = Bytes::from(journal::encode(at, &record));
            prop_assert_eq!(rewritten::<oracle::consensus::TimedWalMessage>(&bytes), bytes.clone());
            prop_assert_eq!(journal::decode(&bytes), Ok((at, record)));
        }
    }
}

#[test]
fn a_timer_that_cometbft_set_for_the_past_is_read_as_one_set_for_now() {
    use oracle::consensus::{TimedWalMessage, TimeoutInfo, WalMessage, wal_message::Sum};
    let past = tendermint_proto::google::protobuf::Duration { seconds: 0, nanos: -703_559_205 };
    let timer = TimerId { height: Height::new(14), round: Round::ZERO, step: Step::NewHeight };
    let info = TimeoutInfo { duration: Some(past), height: 14, round: 0, step: 1 };
    let message = WalMessage { sum: Some(Sum::TimeoutInfo(info)) };
    let written = prost::Message::encode_to_vec(&TimedWalMessage { time: None, msg: Some(message) });
    let (_, record) = journal::decode(&written).expect("CometBFT wrote it");
    assert_eq!(record, JournalRecord::Timeout { timer, duration: std::time::Duration::ZERO });
}
