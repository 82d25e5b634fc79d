//! What the node knows about the block that is not there yet, gathered in one question to the driver.

use super::driver::{Command, Driver};
use super::handle::Handle;
use crate::consensus::{EmptyBlocks, Lead, RaftRole, View, ViewPhase};
use crate::ports::{Choice, FetchView, HeardView, KeyView, LeadView, Node as _, Situation, ValidatorView};
use crate::sync::{Progress, Stage};
use crate::types::{ChainState, Height, NodeId, Power, Quorum, Round, Step, Time, ValidatorSet};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A condition, as ports say it.
const CHOICE: fn(bool) -> Choice = |is| if is { Choice::Yes } else { Choice::No };

/// What only the driver knows.
pub(super) struct DriverFacts {
    view: Option<View>,
    state: Arc<ChainState>,
    txs: u64,
    progress: Progress,
    /// The own key signs nothing yet: the node listens whether another one does with it.
    listening: Choice,
}

impl Driver {
    pub(super) fn why(&self) -> DriverFacts {
        DriverFacts {
            view: self.replica.view(),
            state: Arc::clone(self.replica.state()),
            txs: self.replica.mempool().count(),
            progress: self.replica.progress(),
            listening: CHOICE(self.replica.listens_for_own_key()),
        }
    }
}

impl Handle {
    /// None while the node stops.
    pub(super) async fn look(&self) -> Option<Situation> {
        let DriverFacts { view, state, txs, progress, listening } =
            self.ask_driver(|reply| Command::Why { reply }).await?;
        let (algorithm, fetching) = (state.algorithm, self.status.is_fetching());
        let set = view.as_ref().map_or(&state.validators, |view| &view.validators);
        let height = view.as_ref().map_or(state.next_height(), |view| view.height);
        Some(Situation {
            algorithm,
            height,
            round: view.as_ref().map_or(Round::ZERO, |view| view.round),
            step: view.as_ref().map_or(Step::NewHeight, |view| view.step),
            proposal: CHOICE(view.as_ref().is_some_and(|view| view.proposal.is_some())),
            lead: view.as_ref().map(|view| lead(&view.lead)),
            since_last_block: self.since_last_block(&state),
            txs,
            empty_blocks: CHOICE(self.empty_blocks == EmptyBlocks::Always),
            validators: self.validators(height, set, view.as_ref()),
            power_needed: least(algorithm.quorum(), set),
            peers: self.peers().len(),
            application: self.status.application().err(),
            halted: self.status.halted_because(),
            fetching: fetching.then(|| fetch_view(&progress)),
            key: self.key(listening),
        })
    }

    /// A block's own time is old where it was made after a long silence: what this process saw counts first.
    fn since_last_block(&self, state: &ChainState) -> Option<Duration> {
        let own_time = || Time::from(SystemTime::now()).since(state.last_block_time);
        let at_start = || (state.last_block_height > Height::ZERO).then(own_time);
        self.status.since_applied().or_else(at_start)
    }

    fn validators(&self, height: Height, set: &ValidatorSet, view: Option<&View>) -> Vec<ValidatorView> {
        let votes = view.and_then(|view| view.votes.iter().find(|votes| votes.round == view.round));
        let own = self.facts.validator.as_ref().map(crate::types::Address::from);
        let now = Instant::now();
        let refused = self.status.extensions_refused(height);
        let connected: BTreeSet<NodeId> = self.peers().iter().map(|peer| peer.info.node_id).collect();
        let has = |votes: Option<&Vec<Option<crate::types::Vote>>>, index: usize| {
            CHOICE(votes.and_then(|votes| votes.get(index)).is_some_and(Option::is_some))
        };
        let hearing = |who: &crate::types::Address| {
            let (ago, from) = self.heard.since(who, now)?;
            Some(HeardView { ago, cut: CHOICE(!connected.contains(&from)) })
        };
        let one = |(index, member): (usize, &crate::types::Validator)| ValidatorView {
            address: member.address,
            power: member.power,
            own: CHOICE(Some(member.address) == own),
            prevoted: has(votes.map(|votes| &votes.prevotes), index),
            precommitted: has(votes.map(|votes| &votes.precommits), index),
            refused: CHOICE(refused.contains(&member.address)),
            last_heard: hearing(&member.address),
        };
        set.members().iter().enumerate().map(one).collect()
    }

    fn key(&self, listening: Choice) -> KeyView {
        match self.status.signer() {
            _ if self.facts.validator.is_none() => KeyView::None,
            Err(why) => KeyView::Refused(why),
            Ok(()) if listening == Choice::Yes => KeyView::Listening,
            Ok(()) => KeyView::Signs,
        }
    }
}

fn lead(lead: &Lead) -> LeadView {
    match *lead {
        Lead::Proposer(proposer) => LeadView::Proposer(proposer),
        Lead::Primary { primary, phase } => {
            LeadView::Primary { primary, changing: CHOICE(phase == ViewPhase::Changing) }
        }
        Lead::Leader { leader, role } => LeadView::Leader {
            leader,
            role: match role {
                RaftRole::Learner => "learner",
                RaftRole::Follower => "follower",
                RaftRole::PreCandidate => "pre-candidate",
                RaftRole::Candidate => "candidate",
                RaftRole::Leader => "leader",
            },
        },
    }
}

fn fetch_view(progress: &Progress) -> FetchView {
    let stage = match progress.stage {
        Stage::Paused | Stage::Waiting => "waiting",
        Stage::OutOfReach => "out of reach",
        Stage::Fetching | Stage::Deciding => "fetching",
    };
    FetchView { stage, at: progress.at, target: progress.target }
}

/// The least power of a set that decides.
fn least(quorum: Quorum, set: &ValidatorSet) -> Power {
    let total = set.total_power();
    // The quotient rounds down: one more is the first that exceeds the fraction.
    let least = match quorum {
        Quorum::MoreThanTwoThirds => u128::from(total.get()) * 2 / 3 + 1,
        Quorum::MoreThanHalf => u128::from(total.get()) / 2 + 1,
    };
    Power::new(u64::try_from(least).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PublicKey;
    use crate::types::Validator;

    #[test]
    fn the_least_power_decides_and_one_less_does_not_for_every_total_up_to_100() {
        for total in 1..=100 {
            let one = Validator::new(PublicKey::new([1; PublicKey::LEN]), Power::new(total));
            let set = ValidatorSet::new([one]).expect("a set");
            for quorum in [Quorum::MoreThanTwoThirds, Quorum::MoreThanHalf] {
                let least = least(quorum, &set);
                assert!(quorum.is_reached(least, Power::new(total)), "{least} of {total}");
                assert!(!quorum.is_reached(Power::new(least.get() - 1), Power::new(total)), "{least} of {total}");
            }
        }
    }
}
