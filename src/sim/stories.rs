//! Misfortunes that belong together (level 1): what breaks a protocol is seldom one fault, but some in the right order.
//!
//! Tendermint and PBFT: in each phase, about a round or a view long, one node is mute. It hears the others and is not
//! heard, so it may be the only one that knows of a quorum: it is locked, or has prepared, alone. Another is deaf for about
//! as long as a round waits for its proposal, so that the others get no quorum. Who was mute may die then, and come back
//! with what its disk kept.
//!
//! Raft: one after the other loses all its connections, and everybody notices. If it led, the others need not wait for
//! it, and for a while there are two who think they lead.

use super::{Dice, Fault, Level, Misfortune, NodeNr, Plan, Unsynced};
use crate::consensus::Tick;
use crate::types::Algorithm;
use std::time::Duration;

/// Seeds of a hundred that draw a story.
const STORIES: u64 = 12;
/// Most phases of a story.
const PHASES_MAX: u64 = 4;
/// Heights of a story of leaders: there shall be some left when the second of them leads.
const LEADERS_HEIGHTS: u64 = 40;
/// How exactly the deaf hear again when the others have waited.
const AROUND: Duration = Duration::from_millis(150);

impl Plan {
    /// Some seeds of level 1 draw a story beside their other faults. Who asks for one height wants many seeds a minute, and
    /// a story takes its time.
    pub(super) fn draw_story(&mut self, dice: &mut Dice, wished: Option<u64>) {
        let members: Vec<NodeNr> = self.all().filter(|node| self.nodes[node.index()].power > 0).collect();
        if self.level != Level::Bare || wished == Some(1) || members.len() < 3 || !dice.chance(STORIES) {
            return;
        }
        let end = match self.algorithm {
            Algorithm::Raft => {
                self.heights = wished.unwrap_or(LEADERS_HEIGHTS);
                self.draw_lost_leaders(dice, &members)
            }
            Algorithm::Tendermint | Algorithm::Pbft => self.draw_lonely_quorums(dice, &members),
        };
        self.heal_at = self.heal_at.max(Tick(0).plus(end));
        self.faults.sort_by_key(|fault| fault.at);
    }

    fn draw_lonely_quorums(&mut self, dice: &mut Dice, members: &[NodeNr]) -> Duration {
        let mut begin = Duration::ZERO;
        for phase in 0..dice.between(1, PHASES_MAX) as u32 {
            let mut order = members.to_vec();
            dice.shuffle(&mut order);
            let (wait, rest) = self.phase(phase);
            let lasting = wait + dice.time(rest / 3, rest);
            let all = || self.all();
            let speaks = |mute: NodeNr| all().filter(move |to| *to != mute).map(move |to| (mute, to)).collect();
            let hears = |deaf: NodeNr| all().filter(move |from| *from != deaf).map(move |from| (from, deaf)).collect();
            let at = Tick(0).plus(begin);
            let mute = Misfortune::Cut { links: speaks(order[0]), lasting: lasting * dice.between(1, 2) as u32 };
            let deaf = Misfortune::Cut { links: hears(order[1]), lasting: dice.time(wait, wait + AROUND) };
            self.faults.extend([mute, deaf].map(|what| Fault { at, what }));
            if dice.chance(25) {
                let unsynced = if dice.chance(50) { Unsynced::Lost } else { Unsynced::Kept };
                let away = dice.time(Duration::ZERO, rest);
                let what = Misfortune::Crash { node: order[0], after_effects: 0, unsynced, away };
                self.faults.push(Fault { at: at.plus(dice.time(wait / 2, lasting)), what });
            }
            begin += lasting;
        }
        begin
    }

    /// How long a round or view waits for its proposal, and how long it goes on then.
    fn phase(&self, number: u32) -> (Duration, Duration) {
        let times = &self.timeouts;
        match self.algorithm {
            Algorithm::Pbft => (times.view_change * (1 << number), times.view_change / 2),
            Algorithm::Tendermint | Algorithm::Raft => {
                let votes = times.prevote + times.precommit + (times.prevote_delta + times.precommit_delta) * number;
                (times.propose + times.propose_delta * number, votes)
            }
        }
    }

    fn draw_lost_leaders(&mut self, dice: &mut Dice, members: &[NodeNr]) -> Duration {
        let election = self.timeouts.election;
        // The first leader is elected after one to two of them.
        let mut at = dice.time(election, election * 2);
        for _ in 0..dice.between(1, PHASES_MAX) {
            let Some(node) = dice.pick(members).copied() else { break };
            let lasting = dice.time(election / 2, election * 3);
            self.faults.push(Fault { at: Tick(0).plus(at), what: Misfortune::Unplugged { node, lasting } });
            at += dice.time(election / 2, election * 3);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Wishes;

    fn plan(algorithm: Algorithm, seed: u64) -> Plan {
        Plan::draw(seed, &Wishes { level: Level::Bare, algorithm, nodes: None, heights: None, calm: false })
    }

    /// 1,000 seeds of each protocol.
    #[test]
    fn some_seeds_of_every_protocol_draw_a_story_whose_faults_end_before_healing() {
        for algorithm in Algorithm::ALL {
            let mut stories = 0;
            for seed in 0..1000 {
                let mut plan = plan(algorithm, seed);
                let before = plan.faults.len();
                plan.draw_story(&mut Dice::new(seed), None);
                assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
                assert!(plan.faults.iter().all(|fault| fault.at <= plan.heal_at));
                stories += usize::from(plan.faults.len() > before);
            }
            assert!((50..=150).contains(&stories), "{stories} of 1000 under {}", algorithm.name());
        }
    }
}
