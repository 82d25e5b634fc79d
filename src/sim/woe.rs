//! What goes wrong with what a node relies on: its disk, its signer, its application (level 2).

use super::disk::{FailedSync, Kind, Trouble};
use super::{Dice, Fault, Misfortune, NodeNr, Plan};
use crate::consensus::Tick;
use crate::types::Algorithm;
use std::time::Duration;

/// Disks that fail do so within so many operations of a kind.
const DISK_SKIPS: u64 = 60;
/// Applications that die do so within so many requests.
const REQUESTS: u64 = 30;

/// Something wrong with what a node relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woe {
    /// Its disk fails or is full. Once the node has stopped, its operator mends the disk and starts it again.
    Disk(Trouble),
    /// Its signer does not sign.
    Signer {
        /// What it does instead.
        mood: SignerMood,
        /// How long.
        lasting: Duration,
    },
    /// Its application answers nothing, and keeps its connections.
    AppHangs {
        /// How long.
        lasting: Duration,
    },
    /// Its application dies at one of the next requests of consensus, and comes back after a while.
    AppDies {
        /// Requests until then; counted anew with each connection.
        asked: u32,
        /// Whether it does what it is asked last.
        last: LastRequest,
        /// Commits its own disk lost.
        forgets: u8,
        /// How long it is away.
        away: Duration,
        /// When it dies.
        when: DeathOfApp,
    },
    /// Its application refuses every block it is shown.
    AppRefuses {
        /// How long.
        lasting: Duration,
    },
    /// Its application answers FinalizeBlock in a way that is not allowed. Once the node says so somebody mends it.
    AppErrs {
        /// How.
        answer: WrongAnswer,
        /// Whose application does.
        whose: Whose,
        /// How long mending takes.
        away: Duration,
    },
    /// From the next block on its application computes another hash than those of the others.
    AppDiverges,
    /// From the next block on its application and these compute another hash than those of the others, and neither side can
    /// decide alone. Nobody mends that: the network may stand still, but it must say why, and nobody may decide otherwise.
    ProgramsDiffer {
        /// Beside its own.
        with: Vec<NodeNr>,
    },
    /// Something works, and takes its time.
    Slow {
        /// What.
        what: SlowPart,
        /// How much longer than usual.
        takes: Duration,
        /// How long.
        lasting: Duration,
    },
    /// A client has the applications change the validators as far as they may be changed at once.
    Upheaval(Upheaval),
    /// Bits of its home rot. It is started again after a while, and its operator does what it says.
    Rot {
        /// Where.
        place: RotPlace,
        /// How long it is away.
        away: Duration,
    },
    /// It loses what its disk had, and its application too.
    Wiped {
        /// What is left.
        keeps: Keeps,
        /// How long it is away.
        away: Duration,
    },
}

/// An answer to FinalizeBlock that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongAnswer {
    /// It has a result too much.
    TooManyResults,
    /// It removes all validators.
    NoValidators,
    /// It gives a validator more power than a set may have.
    TooMuchPower,
    /// Its bytes are no answer: a negative power, a key of an unknown kind.
    NotReadable,
    /// It names a validator twice in one change.
    TwiceTheSame,
    /// It removes somebody who is no validator.
    RemovesAStranger,
}

/// What may be slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowPart {
    /// The application, for one call in four. The others wait for it.
    App,
    /// Syncs of the disk. The node waits for them.
    Disk,
    /// The signer. The node waits for it, and answers may come when the round is over.
    Signer,
}

/// An extreme change of the validators that an application may ask for: each is legal, and has to be survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upheaval {
    /// One validator is left: the first.
    OnlyOne,
    /// Every second validator goes: more than a third at a time.
    Half,
    /// All are replaced by nodes that were none; nothing happens where there are none.
    Exchange,
    /// The sum of all powers is as large as it may be.
    NearlyTooMuch,
    /// Who proposed the block is removed.
    Proposer,
    /// Every node is a validator, whoever was one before.
    Everybody,
}

impl Upheaval {
    /// All of them.
    pub const ALL: [Upheaval; 6] = [
        Upheaval::OnlyOne,
        Upheaval::Half,
        Upheaval::Exchange,
        Upheaval::NearlyTooMuch,
        Upheaval::Proposer,
        Upheaval::Everybody,
    ];

    /// As it stands in a transaction.
    pub fn name(self) -> &'static str {
        match self {
            Upheaval::OnlyOne => "only-one",
            Upheaval::Half => "half",
            Upheaval::Exchange => "exchange",
            Upheaval::NearlyTooMuch => "nearly-too-much",
            Upheaval::Proposer => "proposer",
            Upheaval::Everybody => "everybody",
        }
    }
}

/// One application, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of the node.
    One,
    /// Those of all nodes: it is the same program.
    All,
}

/// What rots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotPlace {
    /// A record of the journal before the last.
    Journal,
    /// A value of the store.
    Store,
    /// The file that says what was signed last.
    SignState,
}

/// What is left of a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Nothing, not even the key.
    Nothing,
    /// The key.
    Key,
    /// The key, and what was signed last.
    SignState,
}

/// What a signer does that does not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerMood {
    /// It says no.
    Refuses,
    /// It cannot be reached.
    Away,
    /// It signs and remembers, and its answer is lost.
    AnswersAreLost,
}

/// What becomes of the request at which an application dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRequest {
    /// Nothing.
    Undone,
    /// It is done, and nobody hears the answer.
    Done,
}

/// When an application dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathOfApp {
    /// Where it stands.
    AtWork,
    /// At once, and again while the node shows it what it missed.
    InHandshake,
}

impl Plan {
    /// Dice of their own: what older seeds drew stays what it was.
    pub(super) fn draw_woes(&mut self, dice: &mut Dice) {
        let span = Duration::from_nanos(self.heal_at.0);
        let unit = self.timeouts.propose;
        let all: Vec<NodeNr> = self.all().collect();
        for _ in 0..*dice.pick(&[0, 0, 1, 1, 2, 3]).unwrap_or(&0) {
            let at = Tick(0).plus(dice.time(Duration::ZERO, span));
            if let Some(node) = dice.pick(&all).copied() {
                let what = Misfortune::Woe { node, woe: Woe::draw(dice, self.algorithm, unit) };
                self.faults.push(Fault { at, what });
            }
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    /// What is no failure and still hurts, and answers that must stop a node. After the woes, with dice of their own: what
    /// older seeds drew stays what it was.
    pub(super) fn draw_strains(&mut self, dice: &mut Dice) {
        let span = Duration::from_nanos(self.heal_at.0);
        let unit = self.timeouts.propose;
        let all: Vec<NodeNr> = self.all().collect();
        for _ in 0..*dice.pick(&[0, 0, 0, 1, 2, 4]).unwrap_or(&0) {
            let at = Tick(0).plus(dice.time(Duration::ZERO, span));
            if let Some(node) = dice.pick(&all).copied() {
                let what = Misfortune::Woe { node, woe: self.draw_strain(dice, node, unit) };
                self.faults.push(Fault { at, what });
            }
        }
        self.faults.sort_by_key(|fault| fault.at);
    }

    fn draw_strain(&self, dice: &mut Dice, node: NodeNr, unit: Duration) -> Woe {
        let lasting = dice.time(unit / 10, unit * 6);
        match dice.below(10) {
            0..=4 => {
                let parts = [SlowPart::App, SlowPart::Disk, SlowPart::Signer];
                let ms = *dice.pick(&[50, 200, 500, 1000, 2000]).unwrap_or(&50);
                Woe::Slow {
                    what: *dice.pick(&parts).unwrap_or(&SlowPart::Disk),
                    takes: Duration::from_millis(ms),
                    lasting,
                }
            }
            // Elsewhere it is a woe. (A Tendermint validator that dies between its vote and its journal, and whose application has
            // changed its mind since, cannot vote in that round any more.)
            5 if self.algorithm == Algorithm::Pbft => Woe::AppRefuses { lasting },
            6 => {
                let answers = [WrongAnswer::TwiceTheSame, WrongAnswer::RemovesAStranger];
                let whose = if dice.chance(30) { Whose::All } else { Whose::One };
                Woe::AppErrs { answer: *dice.pick(&answers).unwrap_or(&answers[0]), whose, away: lasting }
            }
            7 if self.all().all(|node| self.is_honest(node)) && !self.may_cost_a_home() => {
                self.draw_programs(dice, node)
            }
            // Liars must stay few, and who loses its key must not have come to a third of the power.
            _ if self.all().all(|node| self.is_honest(node)) && !self.may_cost_a_home() => {
                Woe::Upheaval(*dice.pick(&Upheaval::ALL).unwrap_or(&Upheaval::Everybody))
            }
            _ => Woe::Slow { what: SlowPart::App, takes: unit / 4, lasting },
        }
    }

    /// So many that none of the two sides has what it takes to decide, or as near to it as powers allow.
    fn draw_programs(&self, dice: &mut Dice, node: NodeNr) -> Woe {
        let mut others: Vec<NodeNr> = self.all().filter(|other| *other != node).collect();
        dice.shuffle(&mut others);
        let mut power = self.nodes[node.index()].power;
        let is_spared = |power: u64| match self.algorithm {
            Algorithm::Raft => power * 2 < self.total_power(),
            Algorithm::Pbft | Algorithm::Tendermint => power * 3 <= self.total_power(),
        };
        let joins = |other: &NodeNr| {
            let joins = is_spared(power);
            power += self.nodes[other.index()].power;
            joins
        };
        Woe::ProgramsDiffer { with: others.into_iter().take_while(joins).collect() }
    }

    /// True when applications of too many compute another hash.
    pub fn has_programs_that_differ(&self) -> bool {
        let does = |fault: &Fault| matches!(&fault.what, Misfortune::Woe { woe: Woe::ProgramsDiffer { .. }, .. });
        self.faults.iter().any(does)
    }

    /// True when a node may have to fetch the whole chain anew.
    pub(super) fn may_cost_a_home(&self) -> bool {
        let costs = |fault: &Fault| matches!(&fault.what, Misfortune::Woe { woe, .. } if woe.may_cost_the_home());
        self.faults.iter().any(costs)
    }
}

impl Woe {
    /// True when a node may have to fetch the whole chain anew, perhaps without its key.
    pub fn may_cost_the_home(&self) -> bool {
        matches!(self, Woe::AppDiverges | Woe::Rot { .. } | Woe::Wiped { .. })
    }

    fn draw(dice: &mut Dice, algorithm: Algorithm, unit: Duration) -> Woe {
        let lasting = dice.time(unit / 10, unit * 6);
        match dice.below(17) {
            0..=3 => Woe::Disk(draw_trouble(dice)),
            4..=5 => {
                let moods = [SignerMood::Refuses, SignerMood::Away, SignerMood::AnswersAreLost];
                Woe::Signer { mood: *dice.pick(&moods).unwrap_or(&SignerMood::Refuses), lasting }
            }
            // Under PBFT it is drawn as a strain only: older seeds have an application that hangs in its place.
            7 if algorithm != Algorithm::Pbft => Woe::AppRefuses { lasting },
            6..=7 => Woe::AppHangs { lasting },
            8..=9 => {
                let answers = [
                    WrongAnswer::TooManyResults,
                    WrongAnswer::NoValidators,
                    WrongAnswer::TooMuchPower,
                    WrongAnswer::NotReadable,
                ];
                let whose = if dice.chance(30) { Whose::All } else { Whose::One };
                Woe::AppErrs { answer: *dice.pick(&answers).unwrap_or(&answers[0]), whose, away: lasting }
            }
            10 => Woe::AppDiverges,
            11..=12 => {
                let places = [RotPlace::Journal, RotPlace::Store, RotPlace::SignState];
                Woe::Rot { place: *dice.pick(&places).unwrap_or(&RotPlace::Store), away: lasting }
            }
            13..=14 => {
                let keeps = [Keeps::Nothing, Keeps::Key, Keeps::SignState];
                Woe::Wiped { keeps: *dice.pick(&keeps).unwrap_or(&Keeps::Nothing), away: lasting }
            }
            _ => Woe::AppDies {
                asked: draw_asked(dice),
                last: if dice.chance(50) { LastRequest::Done } else { LastRequest::Undone },
                forgets: *dice.pick(&[0, 0, 1, 2, 3]).unwrap_or(&0),
                away: lasting,
                when: if dice.chance(50) { DeathOfApp::InHandshake } else { DeathOfApp::AtWork },
            },
        }
    }
}

/// Handshakes are short.
fn draw_asked(dice: &mut Dice) -> u32 {
    let most = *dice.pick(&[4, REQUESTS]).unwrap_or(&REQUESTS);
    dice.below(most) as u32
}

fn draw_trouble(dice: &mut Dice) -> Trouble {
    if dice.chance(25) {
        return Trouble::Full { bytes: dice.below(40_000) };
    }
    let kinds = [Kind::Read, Kind::Write, Kind::Write, Kind::Sync, Kind::Sync, Kind::Names];
    Trouble::Fails {
        kind: *dice.pick(&kinds).unwrap_or(&Kind::Sync),
        skip: dice.below(DISK_SKIPS),
        times: *dice.pick(&[1, 1, u64::MAX]).unwrap_or(&1),
        leaves: if dice.chance(50) { FailedSync::LeavesNothing } else { FailedSync::LeavesEverything },
    }
}
