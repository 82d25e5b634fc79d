//! Direct messages of Raft and PBFT: one encoding each, on the channels of their protocol only.

use super::random::Random;
use crate::codec::journal;
use crate::codec::statement::ENTRIES_MAX;
use crate::types::{
    Algorithm, ChainState, Channel, Commit, CommitSig, DirectMessage, Election, ExtendedCommit, ExtendedCommitSig,
    JournalRecord, LogPosition, PbftStatement, PeerMessage, PreparedCertificate, RaftStatement, Round, Standing,
    Statement, StatementBody,
};
use bytes::Bytes;
use proptest::prelude::*;

impl Random {
    fn election(&mut self) -> Election {
        [Election::PreVote, Election::Vote, Election::Handover][self.below(3) as usize]
    }

    fn raft_statement(&mut self) -> RaftStatement {
        let (term, height, beat) = (self.round(), self.height(), self.next() >> self.below(64));
        match self.below(7) {
            0 => {
                let last = LogPosition { height, entry: self.maybe(Random::round) };
                RaftStatement::RequestVote { term, election: self.election(), last }
            }
            1 => {
                let (asked, election, candidate) = (self.round(), self.election(), self.address());
                RaftStatement::Ballot { term, asked, election, candidate, granted: self.flag(), height }
            }
            2 => RaftStatement::Heartbeat { term, height, beat },
            3 => RaftStatement::Following { term, height, entry: self.maybe(Random::round), beat },
            4 => RaftStatement::TimeoutNow { term, to: self.address() },
            5 => RaftStatement::ReadIndex { ticket: beat },
            _ => RaftStatement::ReadAt { ticket: beat, to: self.address(), height },
        }
    }

    fn prepared(&mut self) -> PreparedCertificate {
        let (height, view, block_id) = (self.height(), self.round(), self.block_id());
        PreparedCertificate { height, view, block_id, prepares: self.list(Random::vote) }
    }

    fn view_change(&mut self) -> PbftStatement {
        let (view, height) = (self.round(), self.height());
        let (checkpoint, prepared) = (self.maybe(Random::extended_commit), self.maybe(Random::prepared));
        PbftStatement::ViewChange { view, height, checkpoint, prepared }
    }

    fn pbft_statement(&mut self) -> PbftStatement {
        let (view, height) = (self.round(), self.height());
        match self.below(3) {
            0 => self.view_change(),
            1 => {
                let view_changes = self.list(|r| {
                    let view_change = r.view_change();
                    r.statement(StatementBody::Pbft(Box::new(view_change)))
                });
                PbftStatement::NewView { view, height, view_changes, chosen: self.maybe(Random::block_id) }
            }
            _ => {
                let (active, proposal) = (self.flag(), self.maybe(|r| Box::new(r.proposal())));
                PbftStatement::Status { view, height, active, proposal }
            }
        }
    }

    fn statement(&mut self, body: StatementBody) -> Statement {
        Statement { by: self.address(), body, signature: self.signature() }
    }

    pub(super) fn direct(&mut self) -> (Algorithm, DirectMessage) {
        let algorithm = if self.flag() { Algorithm::Raft } else { Algorithm::Pbft };
        let message = match self.below(8) {
            0 => DirectMessage::Proposal { by: self.address(), proposal: self.proposal() },
            1 => DirectMessage::Part { height: self.height(), round: self.round(), part: self.part() },
            2 => DirectMessage::Vote(self.vote()),
            3 => DirectMessage::Commit(self.extended_commit()),
            _ => {
                let body = match algorithm {
                    Algorithm::Raft => StatementBody::Raft(self.raft_statement()),
                    _ => StatementBody::Pbft(Box::new(self.pbft_statement())),
                };
                DirectMessage::Statement(self.statement(body))
            }
        };
        (algorithm, message)
    }
}

/// All channels on which direct messages are said.
const CHANNELS: [Channel; 4] = [Channel::PbftControl, Channel::PbftData, Channel::RaftControl, Channel::RaftData];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_message_comes_back_on_its_own_channel_and_statements_on_no_other(seed: u64) {
        let (algorithm, message) = Random(seed).direct();
        let said = PeerMessage::Direct(algorithm, message.clone());
        let bytes = said.encode();
        let read = PeerMessage::decode(said.channel(), bytes.clone());
        prop_assert_eq!(read.as_ref(), Ok(&said));
        for channel in CHANNELS.into_iter().filter(|channel| *channel != said.channel()) {
            let read = PeerMessage::decode(channel, bytes.clone());
            let bound = matches!(message, DirectMessage::Statement(_)) || message.channel(algorithm) == channel;
            let fits = [Algorithm::Raft, Algorithm::Pbft].into_iter().any(|other| message.channel(other) == channel);
            prop_assert_eq!(read.is_ok(), !bound && fits, "{:?}", channel);
        }
    }

    #[test]
    fn a_bent_message_is_refused_or_is_another_message_in_its_one_encoding(seed: u64) {
        let r = &mut Random(seed);
        let mut bent = r.direct().1.encode().to_vec();
        for _ in 0..1 + r.below(3) {
            let at = r.below(bent.len() as u64) as usize;
            match r.below(3) {
                0 => bent[at] = r.next() as u8,
                1 => drop(bent.drain(at..bent.len().min(at + 1))),
                _ => bent.insert(at, r.below(20) as u8),
            }
        }
        let bent = Bytes::from(bent);
        if let Ok(message) = DirectMessage::decode(bent.clone()) {
            prop_assert_eq!(message.encode(), bent);
        }
    }
}

#[test]
fn padding_and_fields_nobody_reads_are_refused_at_every_depth() {
    let r = &mut Random(7);
    let inner = r.view_change();
    let view_changes = vec![r.statement(StatementBody::Pbft(Box::new(inner)))];
    let (view, height, chosen) = (Round::new(1), r.height(), None);
    let new_view = PbftStatement::NewView { view, height, view_changes, chosen };
    let message = DirectMessage::Statement(r.statement(StatementBody::Pbft(Box::new(new_view)))).encode();
    assert!(DirectMessage::decode(message.clone()).is_ok());
    for padding in [&[0x78, 1][..], &[0xba, 0x3e, 0], &[0x08, 0]] {
        let padded = Bytes::from([&message, padding].concat());
        assert!(DirectMessage::decode(padded).is_err(), "{padding:?}");
    }
    // A NEW-VIEW where only a VIEW-CHANGE may stand is as deep as anybody can go.
    let DirectMessage::Statement(outer) = DirectMessage::decode(message).expect("as above") else { panic!() };
    let nested = PbftStatement::NewView { view, height, view_changes: vec![outer], chosen };
    let nested = DirectMessage::Statement(r.statement(StatementBody::Pbft(Box::new(nested)))).encode();
    let why = DirectMessage::decode(nested).expect_err("too deep").to_string();
    assert!(why.ends_with("view_changes.pbft: is not a VIEW-CHANGE"), "{why}");
}

#[test]
fn more_votes_and_commit_entries_than_allowed_are_refused_before_they_are_read() {
    let absent = ExtendedCommitSig { sig: CommitSig::Absent, extension: Bytes::new(), extension_signature: None };
    let r = &mut Random(1);
    let mut commit = |entries: usize| {
        let signatures = vec![absent.clone(); entries];
        ExtendedCommit { height: r.height(), round: r.round(), block_id: r.block_id(), signatures }
    };
    let (largest, too_large) = (commit(Commit::SIGNATURES_MAX), commit(Commit::SIGNATURES_MAX + 1));
    assert!(DirectMessage::decode(DirectMessage::Commit(largest.clone()).encode()).is_ok());
    let why = DirectMessage::decode(DirectMessage::Commit(too_large).encode()).expect_err("too many").to_string();
    assert_eq!(why, "DirectMessage.commit.extended_signatures: has 10001 elements, at most 10000");

    let fit = (ENTRIES_MAX / (Commit::SIGNATURES_MAX + 1)).max(1);
    for (count, fits) in [(fit, true), (fit + 1, false)] {
        let view_changes = (0..count).map(|_| {
            let (view, height) = (r.round(), r.height());
            let body = PbftStatement::ViewChange { view, height, checkpoint: Some(largest.clone()), prepared: None };
            r.statement(StatementBody::Pbft(Box::new(body)))
        });
        let (view, height, view_changes) = (Round::ZERO, largest.height, view_changes.collect());
        let new_view = PbftStatement::NewView { view, height, view_changes, chosen: None };
        let message = DirectMessage::Statement(r.statement(StatementBody::Pbft(Box::new(new_view))));
        assert_eq!(DirectMessage::decode(message.encode()).is_ok(), fits, "{count} commits of the largest set");
    }
}

#[test]
fn what_is_signed_differs_by_chain_signer_protocol_and_content_and_is_never_a_vote() {
    let mut seen = std::collections::BTreeSet::new();
    let r = &mut Random(3);
    let (here, there, other) = (r.chain_id(), "another-chain".try_into().expect("legal"), r.address());
    const STATEMENTS: u32 = 200;
    for number in 0..STATEMENTS {
        let body = match r.flag() {
            true => StatementBody::Raft(RaftStatement::ReadIndex { ticket: number.into() }),
            false => {
                let (view, height) = (Round::new(number), r.height());
                StatementBody::Pbft(Box::new(PbftStatement::Status { view, height, active: false, proposal: None }))
            }
        };
        let statement = r.statement(body);
        assert!(seen.insert(statement.sign_bytes(&here)) && seen.insert(statement.sign_bytes(&there)));
        assert!(seen.insert(Statement { by: other, ..statement }.sign_bytes(&here)));
        let vote = r.vote();
        let canonical = [vote.sign_bytes(&here), vote.extension_sign_bytes(&here), r.proposal().sign_bytes(&here)];
        assert!(canonical.iter().all(|bytes| bytes[0] != 0), "a vote's begin with their length");
    }
    assert!(seen.iter().all(|bytes| bytes[0] == 0 && bytes.len() > 32));
}

#[test]
fn a_standing_comes_back_from_the_journal() {
    for seed in 0..50 {
        let r = &mut Random(seed);
        let standing = Standing { height: r.height(), round: r.round(), voted_for: r.maybe(Random::address) };
        let (at, record) = (r.time(), JournalRecord::Standing(standing));
        assert_eq!(journal::decode(&journal::encode(at, &record)), Ok((at, record)));
    }
}

#[test]
fn a_state_remembers_its_protocol_and_one_of_tendermint_has_the_bytes_of_cometbft() {
    let tendermint = Random(5).state();
    for algorithm in Algorithm::ALL {
        let state = ChainState { algorithm, ..tendermint.clone() };
        assert_eq!(ChainState::decode(state.encode()), Ok(state.clone()), "{algorithm}");
        let plain = tendermint.encode();
        match algorithm {
            Algorithm::Tendermint => assert_eq!(state.encode(), plain),
            _ => assert_eq!(state.encode(), [&plain[..], &[0xa2, 1, 4], algorithm.name().as_bytes()].concat()),
        }
    }
    let paxos = Bytes::from([&tendermint.encode()[..], &[0xa2, 1, 5], b"paxos"].concat());
    let why = ChainState::decode(paxos).expect_err("no such protocol").to_string();
    assert_eq!(why, "State.algorithm: must be tendermint, pbft or raft, got \"paxos\"");
}

/// The blocks of bytes in `docs/formats/direct.md`: of each line the words that are hex digits, up to the first that is not.
fn examples() -> Vec<Vec<u8>> {
    let page = include_str!("../../../docs/formats/direct.md");
    let blocks = page.split("```hex\n").skip(1).map(|rest| rest.split("```").next().expect("split gives one"));
    let line_bytes = |line: &str| line.split_whitespace().map_while(|word| hex::decode(word).ok()).collect::<Vec<_>>();
    blocks.map(|block| block.lines().flat_map(line_bytes).flatten().collect()).collect()
}

#[test]
fn the_example_of_the_page_is_what_is_written_and_signed() {
    let (term, height, beat) = (Round::new(4), crate::types::Height::new(8), 77);
    let statement = Statement {
        by: crate::types::Address::new([0x11; 20]),
        body: StatementBody::Raft(RaftStatement::Heartbeat { term, height, beat }),
        signature: crate::crypto::Signature::new([0x22; 64]),
    };
    let sign_bytes = statement.sign_bytes(&"test-chain".try_into().expect("legal"));
    let message = DirectMessage::Statement(statement);
    assert_eq!(examples(), [message.encode().to_vec(), sign_bytes]);
    assert_eq!(DirectMessage::decode(examples().remove(0).into()), Ok(message));
}

#[test]
fn a_commit_travels_with_the_parts_it_names_so_that_they_cannot_overtake_it() {
    let (height, round) = (crate::types::Height::FIRST, Round::ZERO);
    let blocks = crate::types::PartSet::cut(&Bytes::from_static(b"a block"));
    let part = blocks.part(0).expect("one part").clone();
    let commit = DirectMessage::Commit(Random(1).extended_commit());
    let part = DirectMessage::Part { height, round, part };
    for algorithm in [Algorithm::Raft, Algorithm::Pbft] {
        assert_eq!(commit.channel(algorithm), part.channel(algorithm), "{algorithm}");
    }
}
