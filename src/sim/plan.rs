//! What a seed draws before anything runs: the shape of the network, its weather, its misfortunes and its liars.
//!
//! Faults are a list with times, so that a failing run can be shrunk by leaving some of them out.

use super::{Dice, Woe};
use crate::consensus::{EmptyBlocks, Tick, Timeouts};
use crate::types::Algorithm;
use std::time::Duration;

/// A node of the simulated network, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNr(pub u8);

impl NodeNr {
    /// Its place in a list of all nodes.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How much of a node is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Protocol machines alone.
    Bare,
    /// Whole replicas: codecs, journal, store, application, mempool, block sync.
    Whole,
}

/// What the user wants to be other than drawn.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// How much is simulated.
    pub level: Level,
    /// The protocol.
    pub algorithm: Algorithm,
    /// How many nodes.
    pub nodes: Option<u8>,
    /// How many heights are to be decided.
    pub heights: Option<u64>,
    /// No faults, no liars, no bad weather: how fast is the simulator, does the happy path work?
    pub calm: bool,
}

/// How a node behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conduct {
    /// By the protocol.
    Honest,
    /// By the protocol, but what it says is rewritten.
    Liar(Vec<Lie>),
    /// By the protocol, with the key of another node.
    TwinOf(NodeNr),
}

/// One kind of lie (`liars/` tells them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lie {
    /// Another vote to some of the others.
    EquivocateVotes,
    /// Another proposal to some of the others.
    EquivocateProposals,
    /// Signs for whatever is proposed, whatever it is locked on or promised before.
    ForgetLocks,
    /// Claims proofs that do not exist: of locks, of prepared blocks, of views.
    ForgeProofs,
    /// Says nothing to some of the others.
    Withhold,
    /// Keeps some parts of its blocks from some of the others.
    WithholdParts,
    /// Proposes nothing.
    WithholdProposals,
    /// Votes for nothing, or against everything.
    VoteNil,
    /// Votes for blocks nobody proposed.
    VoteUnknown,
    /// Votes and states things of later rounds, terms, views and heights.
    LeapAhead,
    /// Says again what it or others said long ago.
    Replay,
    /// Blocks and parts that are not what they are said to be.
    BadBlocks,
    /// Small changes of what an honest node would say: a round more or less, the value before.
    Mutate,
    /// Signs late, right at the moment when the others stop to wait.
    Late,
    /// Votes with the index or the address of another.
    WrongName,
    /// Extensions of votes that are junk, too large, missing, or where none belong.
    BadExtensions,
    /// Commits with holes, duplicates, in the wrong order.
    BadCommits,
    /// Says that it is at another height or in another view.
    LieAboutPlace,
    /// Says its words as well, or only, signed for a chain of another name.
    OtherChain,
    /// Lies around consensus (level 2): which votes it has, where it stands, which blocks it gives, whom it accuses.
    Gossip,
    /// Accuses the innocent, itself, twice, of another time, of forks nobody followed; by gossip and in its blocks (level 2).
    Accuse,
    /// Proves blocks by the signatures it likes best, and no others (level 2).
    Favour,
    /// Times that no clock showed, in votes, proposals and headers (level 2).
    FalseTimes,
    /// Much of everything: old words, votes of all heights, transactions nobody takes, bytes that mean nothing (level 2).
    Flood,
    /// Is in a later term than anybody, again and again (Raft).
    InflateTerms,
    /// Is honest for three heights, tells its other lies for three, and so on.
    Flap,
}

/// What a life may lose when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// The process died: the disk has all it wrote.
    Kept,
    /// The power went: what was not synced may be lost.
    Lost,
}

/// Something bad that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub at: Tick,
    /// What.
    pub what: Misfortune,
}

/// Kinds of bad things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfortune {
    /// A node dies after so many more effects have been executed, and comes back after a while.
    Crash {
        /// Which.
        node: NodeNr,
        /// Effects until then, counted from the time of the fault.
        after_effects: u32,
        /// What the disk keeps.
        unsynced: Unsynced,
        /// How long it is away.
        away: Duration,
    },
    /// A node dies in the middle of its own way to the disk (level 2), and comes back after a while.
    DiskCrash {
        /// Which.
        node: NodeNr,
        /// Operations of its disk until then.
        after_operations: u32,
        /// What the disk keeps.
        unsynced: Unsynced,
        /// How long it is away.
        away: Duration,
    },
    /// The power of all nodes goes at once.
    Blackout {
        /// How long.
        away: Duration,
    },
    /// A node stands still; what comes meanwhile waits.
    Pause {
        /// Which.
        node: NodeNr,
        /// How long.
        lasting: Duration,
    },
    /// Links carry nothing, each in one direction.
    Cut {
        /// From whom to whom.
        links: Vec<(NodeNr, NodeNr)>,
        /// How long.
        lasting: Duration,
    },
    /// A node loses all its connections, and everybody notices (level 1).
    Unplugged {
        /// Which.
        node: NodeNr,
        /// How long.
        lasting: Duration,
    },
    /// The wall clock of a node jumps; monotonic time does not.
    ClockJump {
        /// Which.
        node: NodeNr,
        /// Nanoseconds, forward or back.
        by: i64,
    },
    /// From now on a node's clocks run faster or slower, by so many per mille.
    ClockRate {
        /// Which.
        node: NodeNr,
        /// More or less than a thousand.
        per_mille: u16,
    },
    /// The application of a node goes away, and comes back after a while (level 2).
    AppCrash {
        /// Which.
        node: NodeNr,
        /// How long.
        away: Duration,
    },
    /// Something is wrong with what a node relies on (level 2).
    Woe {
        /// Which.
        node: NodeNr,
        /// What.
        woe: Woe,
    },
    /// A validator's power changes, by the application, at the next height applied: 0 removes it.
    Power {
        /// Whose.
        node: NodeNr,
        /// To what.
        power: u64,
    },
}

/// How the network treats packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Shortest time on the way.
    pub delay_min: Duration,
    /// Longest time on the way.
    pub delay_max: Duration,
    /// Lost, of a hundred. At level 2 a lost packet breaks the connection, as TCP does.
    pub lost: u64,
    /// Delivered twice, of a hundred.
    pub doubled: u64,
    /// Delivered again much later, of a thousand.
    pub replayed: u64,
}

impl Weather {
    /// A good network.
    pub const CALM: Weather = Weather {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(3),
        lost: 0,
        doubled: 0,
        replayed: 0,
    };

    fn draw(dice: &mut Dice) -> Weather {
        if dice.chance(25) {
            return Weather::CALM;
        }
        let delay_max = *dice.pick(&[5, 20, 60, 200]).unwrap_or(&5);
        Weather {
            delay_min: Duration::from_millis(dice.below(5)),
            delay_max: Duration::from_millis(5 + delay_max),
            lost: *dice.pick(&[0, 0, 1, 5, 15, 30]).unwrap_or(&0),
            doubled: *dice.pick(&[0, 0, 5, 20]).unwrap_or(&0),
            replayed: *dice.pick(&[0, 0, 5, 50]).unwrap_or(&0),
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Its power at the first height; 0 for one that only follows.
    pub power: u64,
    /// How it behaves.
    pub conduct: Conduct,
}

/// Everything a run is made of but chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it was drawn from, and what chance is drawn from.
    pub seed: u64,
    /// How much is simulated.
    pub level: Level,
    /// The protocol.
    pub algorithm: Algorithm,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// How many heights are to be decided by every honest node.
    pub heights: u64,
    /// How long replicas wait for what.
    pub timeouts: Timeouts,
    /// What the network is like until it heals.
    pub weather: Weather,
    /// In order of time.
    pub faults: Vec<Fault>,
    /// From here on there are no faults, all links are whole and all nodes are up. Liars go on.
    pub heal_at: Tick,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(seed: u64, wishes: &Wishes) -> Plan {
        let (mut plan, dice) = Plan::draw_first(seed, wishes);
        if plan.level == Level::Whole && !wishes.calm {
            plan.draw_strains(&mut dice.fork("strains"));
        }
        plan
    }

    /// As plans were drawn before there were strains. Seeds of the corpus that are older tell their story so.
    #[cfg(test)]
    pub(super) fn draw_without_strains(seed: u64, wishes: &Wishes) -> Plan {
        Plan::draw_first(seed, wishes).0
    }

    fn draw_first(seed: u64, wishes: &Wishes) -> (Plan, Dice) {
        let mut dice = Dice::new(seed).fork("plan");
        let nodes = wishes.nodes.unwrap_or_else(|| *dice.pick(&[1, 2, 3, 4, 4, 4, 5, 6, 7]).unwrap_or(&4)).max(1);
        let heights = wishes.heights.unwrap_or_else(|| *dice.pick(&[1, 2, 3, 5, 10]).unwrap_or(&1));
        let mut plan = Plan {
            seed,
            level: wishes.level,
            algorithm: wishes.algorithm,
            nodes: (0..nodes).map(|_| NodePlan { power: 1, conduct: Conduct::Honest }).collect(),
            heights,
            timeouts: timeouts(),
            weather: Weather::CALM,
            faults: Vec::new(),
            heal_at: Tick(0),
        };
        if wishes.calm {
            return (plan, dice);
        }
        plan.draw_powers(&mut dice.fork("powers"));
        plan.draw_liars(&mut dice.fork("liars"));
        plan.weather = Weather::draw(&mut dice.fork("weather"));
        plan.draw_faults(&mut dice.fork("faults"));
        // By another name, seeds of the corpus would draw one.
        plan.draw_story(&mut dice.fork("a story"), wishes.heights);
        if plan.level == Level::Whole {
            plan.close_the_hole_of_odd_powers();
            plan.draw_woes(&mut dice.fork("woes"));
        }
        (plan, dice)
    }

    /// All nodes.
    pub fn all(&self) -> impl Iterator<Item = NodeNr> + use<> {
        (0..self.nodes.len() as u8).map(NodeNr)
    }

    /// True when the node behaves by the protocol and has its key for itself.
    pub fn is_honest(&self, node: NodeNr) -> bool {
        let doubled = self.nodes.iter().any(|other| other.conduct == Conduct::TwinOf(node));
        !doubled && self.nodes.get(node.index()).is_some_and(|node| node.conduct == Conduct::Honest)
    }

    /// Sum of all powers.
    pub fn total_power(&self) -> u64 {
        self.nodes.iter().map(|node| node.power).sum()
    }

    /// True when those who may lie have less than a third of the power.
    pub fn liars_are_few(&self) -> bool {
        let lying: u64 =
            self.all().filter(|node| !self.is_honest(*node)).map(|node| self.nodes[node.index()].power).sum();
        lying == 0 || lying * 3 < self.total_power()
    }

    fn draw_powers(&mut self, dice: &mut Dice) {
        let spread = *dice.pick(&[1, 1, 1, 2, 10, 1000]).unwrap_or(&1);
        for node in &mut self.nodes {
            node.power = dice.between(1, spread);
        }
        if self.nodes.len() > 4 && dice.chance(20) {
            let last = self.nodes.len() - 1;
            self.nodes[last].power = 0;
        }
    }

    /// Less than a third of the power lies, where the protocol stands against liars.
    fn draw_liars(&mut self, dice: &mut Dice) {
        if dice.chance(40) {
            return;
        }
        let lies = Lie::of(self.algorithm, self.level);
        if self.algorithm == Algorithm::Raft {
            return self.draw_echo(dice, &lies);
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        dice.shuffle(&mut order);
        let (total, mut lying) = (self.total_power(), 0);
        for at in order {
            let power = self.nodes[at].power;
            if power > 0 && (lying + power) * 3 < total && (lying == 0 || dice.chance(70)) {
                lying += power;
                if dice.chance(15) {
                    self.add_twin(at);
                } else {
                    self.nodes[at].conduct = Conduct::Liar(draw_lies(dice, &lies));
                }
            }
        }
    }

    /// Two nodes that behave, with one key: what the key says is what a liar would say.
    fn add_twin(&mut self, of: usize) {
        self.nodes.push(NodePlan { power: 0, conduct: Conduct::TwinOf(NodeNr(of as u8)) });
    }

    /// Tendermint mode keeps CometBFT's median time, which rounds half of an odd power down: liars of power 1 can end a chain
    /// by a time of long ago (docs/DIVERGENCES.md). That is known; even powers have no such half.
    fn close_the_hole_of_odd_powers(&mut self) {
        let lies = |node: &NodePlan| matches!(&node.conduct, Conduct::Liar(lies) if lies.contains(&Lie::FalseTimes));
        if self.algorithm == Algorithm::Tendermint && self.nodes.iter().any(lies) {
            self.nodes.iter_mut().for_each(|node| node.power *= 2);
        }
    }

    /// In Raft one of three or more may say old words again, and words of another chain: every key is still used as the
    /// protocol says.
    fn draw_echo(&mut self, dice: &mut Dice, lies: &[Lie]) {
        let at = dice.below(self.nodes.len() as u64) as usize;
        if self.nodes.len() > 2 && dice.chance(40) && self.nodes[at].power * 3 < self.total_power() {
            self.nodes[at].conduct = Conduct::Liar(draw_lies(dice, lies));
        }
    }

    fn draw_faults(&mut self, dice: &mut Dice) {
        let heights = u32::try_from(self.heights).unwrap_or(u32::MAX).min(100);
        let (unit, span) = match self.level {
            Level::Whole => (self.timeouts.propose, self.timeouts.propose * (4 + 2 * heights)),
            // Faults shall come while heights are decided, which takes some exchanges of words, or much longer.
            Level::Bare => {
                let pace = Duration::from_millis(*dice.pick(&[30, 100, 300, 1000]).unwrap_or(&100));
                (pace * *dice.pick(&[1, 3]).unwrap_or(&1), pace * (heights + 1))
            }
        };
        self.heal_at = Tick(0).plus(span);
        let count = dice.below(4 + self.heights.min(40));
        for _ in 0..count {
            let at = Tick(0).plus(dice.time(Duration::ZERO, span));
            if let Some(what) = self.draw_misfortune(dice, unit) {
                self.faults.push(Fault { at, what });
            }
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    fn draw_misfortune(&self, dice: &mut Dice, unit: Duration) -> Option<Misfortune> {
        let all: Vec<NodeNr> = self.all().collect();
        let node = *dice.pick(&all)?;
        let (away, lasting) = (dice.time(Duration::ZERO, unit * 6), dice.time(unit / 10, unit * 8));
        let unsynced = if dice.chance(50) { Unsynced::Lost } else { Unsynced::Kept };
        // Changes of power keep liars below a third: the application of level 1 sees to that.
        let kinds = if self.level == Level::Bare { 22 } else { 20 };
        Some(match dice.below(kinds) {
            0..=6 => Misfortune::Crash { node, after_effects: dice.below(60) as u32, unsynced, away },
            7..=9 => Misfortune::DiskCrash { node, after_operations: dice.below(80) as u32, unsynced, away },
            10 => Misfortune::Blackout { away },
            11..=12 => Misfortune::Pause { node, lasting },
            13..=16 => {
                let links = Some(draw_cut(dice, &all)).filter(|links| !links.is_empty())?;
                Misfortune::Cut { links, lasting }
            }
            17 => Misfortune::ClockJump { node, by: dice.below(7_200_000_000_000) as i64 - 3_600_000_000_000 },
            18 => Misfortune::ClockRate { node, per_mille: dice.between(900, 1100) as u16 },
            19 => Misfortune::AppCrash { node, away },
            _ => Misfortune::Power { node, power: *dice.pick(&[0, 0, 1, 2, 10, 1000]).unwrap_or(&1) },
        })
    }
}

/// One or some of these. Flapping alone is no lie.
fn draw_lies(dice: &mut Dice, from: &[Lie]) -> Vec<Lie> {
    let percent = *dice.pick(&[10, 25, 50]).unwrap_or(&25);
    let mut lies: Vec<Lie> = from.iter().copied().filter(|_| dice.chance(percent)).collect();
    if lies.iter().all(|lie| *lie == Lie::Flap) {
        lies.extend(dice.pick(from).copied());
    }
    lies
}

/// One of the shapes that break protocols: halves, one alone, one that only hears, one that only speaks, a ring.
fn draw_cut(dice: &mut Dice, all: &[NodeNr]) -> Vec<(NodeNr, NodeNr)> {
    let pairs = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))).filter(|(from, to)| from != to);
    let one = *dice.pick(all).unwrap_or(&NodeNr(0));
    let side = dice.roll();
    let in_first = |node: &NodeNr| side >> node.0 & 1 == 1;
    let ring = all.len() as u8;
    match dice.below(6) {
        0 => pairs.filter(|(from, to)| in_first(from) != in_first(to)).collect(),
        1 => pairs.filter(|(from, to)| *from == one || *to == one).collect(),
        2 => pairs.filter(|(from, _)| *from == one).collect(),
        3 => pairs.filter(|(_, to)| *to == one).collect(),
        4 => pairs.filter(|(from, to)| (from.0 + 1) % ring != to.0 && (to.0 + 1) % ring != from.0).collect(),
        _ => pairs.filter(|_| dice.chance(30)).collect(),
    }
}

/// A third of the defaults: short enough for many heights, long enough that a good network never waits for them.
fn timeouts() -> Timeouts {
    let ms = Duration::from_millis;
    Timeouts {
        propose: ms(1000),
        propose_delta: ms(200),
        prevote: ms(300),
        prevote_delta: ms(200),
        precommit: ms(300),
        precommit_delta: ms(200),
        commit: ms(50),
        skip_commit_when_all_voted: true,
        empty_blocks: EmptyBlocks::Always,
        election: ms(500),
        heartbeat: ms(50),
        view_change: ms(700),
    }
}

impl Lie {
    /// All of them.
    pub const ALL: &[Lie] = &[
        Lie::EquivocateVotes,
        Lie::EquivocateProposals,
        Lie::ForgetLocks,
        Lie::ForgeProofs,
        Lie::Withhold,
        Lie::VoteNil,
        Lie::VoteUnknown,
        Lie::LeapAhead,
        Lie::Replay,
        Lie::BadBlocks,
        Lie::Mutate,
        Lie::Late,
        Lie::WithholdParts,
        Lie::WithholdProposals,
        Lie::WrongName,
        Lie::BadExtensions,
        Lie::BadCommits,
        Lie::LieAboutPlace,
        Lie::OtherChain,
        Lie::Gossip,
        Lie::Flap,
        Lie::Accuse,
        Lie::Favour,
        Lie::FalseTimes,
        Lie::Flood,
        Lie::InflateTerms,
    ];

    /// Those that are told in this protocol at this level. Raft does not stand against liars; what it must stand are old
    /// words of its own, those of another chain, and who comes back from a later term.
    pub fn of(algorithm: Algorithm, level: Level) -> Vec<Lie> {
        let fits = |lie: &Lie| match (lie, algorithm) {
            (Lie::Replay | Lie::OtherChain, _) => true,
            (Lie::InflateTerms, algorithm) => algorithm == Algorithm::Raft,
            (_, Algorithm::Raft) => false,
            (Lie::Gossip | Lie::Accuse | Lie::Favour | Lie::FalseTimes | Lie::Flood, _) => level == Level::Whole,
            (Lie::ForgetLocks, Algorithm::Pbft) | (Lie::LieAboutPlace, Algorithm::Tendermint) => false,
            (Lie::BadCommits, Algorithm::Tendermint) => level == Level::Whole,
            _ => true,
        };
        Lie::ALL.iter().copied().filter(fits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(algorithm: Algorithm) -> Wishes {
        Wishes { level: Level::Bare, algorithm, nodes: None, heights: None, calm: false }
    }

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_seed_another() {
        let wishes = wishes(Algorithm::Pbft);
        assert_eq!(Plan::draw(7, &wishes), Plan::draw(7, &wishes));
        let different = (0..100).filter(|seed| Plan::draw(*seed, &wishes) != Plan::draw(seed + 1, &wishes)).count();
        assert_eq!(different, 100);
    }

    #[test]
    fn liars_have_less_than_a_third_of_the_power_and_in_raft_they_only_repeat() {
        let mut seen = 0;
        for algorithm in Algorithm::ALL {
            for seed in 0..2000 {
                let plan = Plan::draw(seed, &wishes(algorithm));
                let lying: u64 =
                    plan.all().filter(|node| !plan.is_honest(*node)).map(|node| plan.nodes[node.index()].power).sum();
                assert!(lying * 3 < plan.total_power() || lying == 0, "seed {seed}");
                let repeats = |lie: &Lie| matches!(lie, Lie::Replay | Lie::OtherChain | Lie::InflateTerms);
                let mild = |node: &NodePlan| match &node.conduct {
                    Conduct::Honest => true,
                    Conduct::Liar(lies) => lies.iter().all(repeats),
                    Conduct::TwinOf(_) => false,
                };
                assert!(algorithm != Algorithm::Raft || plan.nodes.iter().all(mild), "seed {seed}");
                seen += u64::from(lying > 0);
            }
        }
        assert!(seen > 1000, "liars were drawn {seen} times");
    }

    #[test]
    fn faults_come_in_order_and_before_the_healing() {
        for seed in 0..1000 {
            let plan = Plan::draw(seed, &wishes(Algorithm::Tendermint));
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at));
            assert!(plan.faults.iter().all(|fault| fault.at <= plan.heal_at));
        }
    }
}
