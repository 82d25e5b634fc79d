//! No decoder panics, whatever it is given.

use super::random::Random;
use crate::codec::wire::{
    connection::Packet, evidence::EvidenceMessage, mempool::MempoolMessage, pex::PexMessage, privval::PrivvalMessage,
    statesync::StatesyncMessage,
};
use crate::codec::{abci, frame, journal, state};
use crate::types::{self, BlocksyncMessage, ConsensusMessage, DirectMessage};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

/// Gives the same bytes to every decoder; what they say does not matter.
fn decode_as_everything(bytes: &Bytes) -> usize {
    macro_rules! accepted {
        ($($type:ty),* $(,)?) => { [$(<$type>::decode(bytes.clone()).is_ok()),*].into_iter().filter(|ok| *ok).count() };
    }
    let chain = accepted!(
        types::Block,
        types::BlockId,
        types::BlockMeta,
        types::Commit,
        types::ConsensusParams,
        types::Evidence,
        types::ExtendedCommit,
        types::Header,
        types::LightBlock,
        types::Part,
        types::PartSetHeader,
        types::Proposal,
        types::SignedHeader,
        types::ValidatorSet,
        types::Vote,
        types::ChainState,
        crate::crypto::PublicKey,
        types::abci::FinalizeBlockResponse,
        types::abci::TxResult,
        state::ValidatorsInfo,
        state::ConsensusParamsInfo,
        state::BlockStoreState,
        state::AbciResponsesInfo,
    );
    let wire = accepted!(
        BlocksyncMessage,
        Packet,
        ConsensusMessage,
        DirectMessage,
        EvidenceMessage,
        MempoolMessage,
        PexMessage,
        PrivvalMessage,
        StatesyncMessage,
    );
    let others = [
        abci::decode_request(bytes).is_ok(),
        abci::decode_response(bytes).is_ok(),
        journal::decode(bytes).is_ok(),
        frame::take(&mut BytesMut::from(&bytes[..]), 1 << 20).is_ok(),
    ];
    chain + wire + others.into_iter().filter(|ok| *ok).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_panic_no_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode_as_everything(&bytes.into()) <= 36);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bent_and_cut_messages_panic_no_decoder(seed: u64) {
        let r = &mut Random(seed);
        let mut whole = vec![r.vote().encode(), r.block().encode(), r.state().encode(), r.evidence().encode()];
        whole.push(r.direct().1.encode());
        for response in r.responses() {
            let mut out = BytesMut::new();
            abci::encode_response(&response, &mut out);
            whole.extend(frame::take(&mut out, 1 << 26).expect("legal"));
        }
        for bytes in whole {
            let mut bent = bytes.to_vec();
            for _ in 0..1 + r.below(3) {
                if !bent.is_empty() {
                    let at = r.below(bent.len() as u64) as usize;
                    bent[at] = r.next() as u8;
                }
            }
            bent.truncate(bent.len() - r.below(bent.len() as u64 / 4 + 1) as usize);
            prop_assert!(decode_as_everything(&bent.into()) <= 36);
        }
    }
}

#[test]
fn parts_of_a_candidate_block_lead_back_to_it() {
    for seed in 0..20 {
        let built = types::CandidateBlock::new(Random(seed).block());
        let mut gathered = types::PartSet::gather(built.parts().header()).expect("a legal number of parts");
        assert!(types::CandidateBlock::from_parts(gathered.clone()).is_err(), "nothing gathered yet");
        for part in built.parts().parts() {
            gathered.add(part.clone()).expect("its own part");
        }
        assert_eq!(types::CandidateBlock::from_parts(gathered).as_ref(), Ok(&built));
    }
}
