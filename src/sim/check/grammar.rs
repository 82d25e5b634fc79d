//! Grammar: what an application is asked, in which order, as CometBFT promises it (spec/abci,
//! `abci++_comet_expected_behavior.md`): Info first; InitChain once, when the application is empty; then for each height
//! proposals and votes, FinalizeBlock, Commit; each height once over all lives, counted from what Info answered.
//!
//! Rounds are not seen from here, and any order of PrepareProposal, ProcessProposal, ExtendVote and
//! VerifyVoteExtension is one of rounds. CheckTx, Query and the snapshot calls may come at any time; Info, too, once the
//! start is over.

use super::book::PerNode;
use crate::sim::{AppCall, Checker, Scene, Seen, What};

/// What the application of each node was asked.
#[derive(Debug, Default)]
pub struct Grammar {
    nodes: PerNode<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    phase: Phase,
    /// The height after which the application's state is.
    height: u64,
    /// The highest height it ever committed.
    ever: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Info is missing.
    #[default]
    New,
    /// Info answered 0: InitChain is missing, or a snapshot is being restored.
    Empty,
    /// Between heights, or in the rounds of one.
    Ready,
    /// FinalizeBlock came; Commit is missing.
    Finalized,
}

impl Checker for Grammar {
    fn name(&self) -> &'static str {
        "grammar"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let calls = self.nodes.of(seen.node);
        match seen.what {
            What::Started { .. } | What::Crashed { .. } => {
                calls.phase = Phase::New;
                Ok(())
            }
            What::App { call, .. } if scene.is_honest(seen.node) => calls.take(scene.initial_height.get(), call),
            _ => Ok(()),
        }
    }
}

impl Calls {
    fn take(&mut self, initial: u64, call: AppCall) -> Result<(), String> {
        let next = if self.height == 0 { initial } else { self.height + 1 };
        let wrong = |why: &str| Err(format!("{call:?} when the application is at height {}: {why}", self.height));
        match (call, self.phase) {
            (AppCall::CheckTx | AppCall::Query | AppCall::Snapshot, _) => {}
            (AppCall::Connected, _) => self.phase = Phase::New,
            (AppCall::Info(height), Phase::New) => {
                if height > self.ever && self.ever > 0 {
                    return wrong("it never committed so much");
                }
                self.height = height;
                self.phase = if height == 0 { Phase::Empty } else { Phase::Ready };
            }
            // A snapshot was restored: the application is where it says.
            (AppCall::Info(height), Phase::Empty) if height > 0 => {
                self.height = height;
                self.phase = Phase::Ready;
            }
            // Asked by an operator.
            (AppCall::Info(height), Phase::Ready) if height != self.height => return wrong("its height is another"),
            (AppCall::Info(_), _) => {}
            (_, Phase::New) => return wrong("Info is missing"),
            (AppCall::InitChain, Phase::Empty) => self.phase = Phase::Ready,
            (AppCall::InitChain, _) => return wrong("it has a state"),
            (_, Phase::Empty) => return wrong("InitChain is missing"),
            (AppCall::Commit, Phase::Finalized) => {
                self.phase = Phase::Ready;
                self.height = next;
                self.ever = self.ever.max(next);
            }
            (AppCall::Commit, _) => return wrong("FinalizeBlock is missing"),
            (_, Phase::Finalized) => return wrong("Commit is missing"),
            (AppCall::FinalizeBlock(height), Phase::Ready) => {
                if height != next {
                    return wrong("it is not the next height");
                }
                self.phase = Phase::Finalized;
            }
            (
                AppCall::PrepareProposal(height)
                | AppCall::ProcessProposal(height)
                | AppCall::ExtendVote(height)
                | AppCall::VerifyVoteExtension(height),
                Phase::Ready,
            ) if height != next => return wrong("it is not the next height"),
            (
                AppCall::PrepareProposal(_)
                | AppCall::ProcessProposal(_)
                | AppCall::ExtendVote(_)
                | AppCall::VerifyVoteExtension(_),
                Phase::Ready,
            ) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Connection;
    use crate::sim::AppCall::{
        CheckTx, Commit, Connected, ExtendVote, FinalizeBlock, Info, InitChain, PrepareProposal, ProcessProposal,
        Query, VerifyVoteExtension,
    };
    use crate::sim::Unsynced;
    use crate::sim::check::story::Stage;
    use crate::types::Algorithm;

    fn stage() -> Stage<Grammar> {
        Stage::of(Algorithm::Tendermint, 4, Grammar::default())
    }

    fn ask(stage: &mut Stage<Grammar>, calls: &[AppCall]) -> Result<(), String> {
        let ask = |call: &AppCall| stage.see(0, What::App { connection: Connection::Consensus, call: *call });
        calls.iter().map(ask).collect::<Result<Vec<()>, String>>().map(|_| ())
    }

    const CLEAN: [AppCall; 3] = [Connected, Info(0), InitChain];

    #[test]
    fn a_clean_start_rounds_a_crash_before_the_commit_and_a_recovery_are_fine() {
        let mut stage = stage();
        assert_eq!(ask(&mut stage, &CLEAN), Ok(()));
        let rounds = [ProcessProposal(1), CheckTx, PrepareProposal(1), ProcessProposal(1), VerifyVoteExtension(1)];
        assert_eq!(ask(&mut stage, &rounds), Ok(()));
        assert_eq!(ask(&mut stage, &[ExtendVote(1), FinalizeBlock(1), Query, Commit, Info(1)]), Ok(()));
        assert_eq!(ask(&mut stage, &[FinalizeBlock(2)]), Ok(()));
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        assert_eq!(ask(&mut stage, &[Connected, Info(1), FinalizeBlock(2), Commit, PrepareProposal(3)]), Ok(()));
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        assert_eq!(ask(&mut stage, &[Connected, Info(0), InitChain, FinalizeBlock(1), Commit]), Ok(()), "wiped");
    }

    #[test]
    fn each_call_out_of_order_is_caught() {
        let bad: [&[AppCall]; 13] = [
            &[InitChain],
            &[Connected, FinalizeBlock(1)],
            &[Info(0), PrepareProposal(1)],
            &[Info(0), FinalizeBlock(1)],
            &[Info(0), InitChain, InitChain],
            &[Info(0), InitChain, Commit],
            &[Info(0), InitChain, FinalizeBlock(2)],
            &[Info(0), InitChain, FinalizeBlock(1), FinalizeBlock(2)],
            &[Info(0), InitChain, FinalizeBlock(1), PrepareProposal(2)],
            &[Info(0), InitChain, FinalizeBlock(1), Commit, ProcessProposal(1)],
            &[Info(0), InitChain, FinalizeBlock(1), Commit, ExtendVote(3)],
            &[Info(0), InitChain, FinalizeBlock(1), Commit, VerifyVoteExtension(1)],
            &[Info(0), InitChain, FinalizeBlock(1), Commit, Commit],
        ];
        for calls in bad {
            assert!(ask(&mut stage(), calls).is_err(), "{calls:?}");
            let (_, right) = calls.split_last().expect("some");
            assert_eq!(ask(&mut stage(), right), Ok(()), "only the last call is wrong in {calls:?}");
        }
    }

    #[test]
    fn a_block_executed_twice_is_caught_also_across_a_restart() {
        let mut stage = stage();
        assert_eq!(ask(&mut stage, &CLEAN), Ok(()));
        assert_eq!(ask(&mut stage, &[FinalizeBlock(1), Commit]), Ok(()));
        assert!(ask(&mut stage, &[FinalizeBlock(1)]).is_err());
        stage.fine(0, What::Started { life: 1 });
        assert_eq!(ask(&mut stage, &[Connected, Info(1)]), Ok(()));
        assert!(ask(&mut stage, &[FinalizeBlock(1)]).is_err());
        assert!(ask(&mut stage, &[InitChain]).is_err());
        stage.fine(0, What::Started { life: 2 });
        assert!(ask(&mut stage, &[Connected, Info(2)]).is_err(), "ahead of all that was committed");
    }
}
