//! What a seed draws for an application: which faults, at which height, in which instance.

use crate::sim::Dice;
use std::collections::BTreeSet;
use std::fmt;

/// Validators of the chain an application is shown.
const VALIDATORS: std::ops::RangeInclusive<u64> = 3..=6;
/// Longest absence of an instance, in heights.
const AWAY_MAX: u64 = 3;
/// Longest jump of block time: 40 days.
const JUMP_SECONDS_MAX: u64 = 40 * 86_400;

/// One instance of the application. Prints as a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceNr(pub u16);

impl InstanceNr {
    /// Its place in lists.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for InstanceNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nr @ 0..26 => write!(f, "{}", char::from(b'A' + nr as u8)),
            nr => write!(f, "I{nr}"),
        }
    }
}

/// Who starts the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosting {
    /// We do: they can be killed and started again.
    Started,
    /// They run already: only their connections can be broken.
    Given,
}

/// What is asked for; the rest is drawn.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Who starts the instances.
    pub hosting: Hosting,
    /// How many.
    pub instances: u8,
    /// How many blocks.
    pub heights: u64,
    /// Height of the first.
    pub initial: u64,
    /// No faults at all.
    pub calm: bool,
    /// Only the faults with these numbers; all when none.
    pub only: Option<BTreeSet<u32>>,
}

/// Everything that will happen to the application, apart from what its own answers lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Drawn from this.
    pub seed: u64,
    /// Instances that run from the beginning.
    pub instances: u8,
    /// Height of the first block.
    pub initial: u64,
    /// How many blocks.
    pub heights: u64,
    /// Powers of the validators.
    pub powers: Vec<u64>,
    /// In order of height.
    pub faults: Vec<Fault>,
}

/// Something that happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name on the command line.
    pub number: u32,
    /// When. The environment of an instance is of the height before the first.
    pub height: u64,
    /// What.
    pub what: Misfortune,
}

/// When in a height an instance is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is asked about the height.
    Begun,
    /// After PrepareProposal and ProcessProposal.
    Proposed,
    /// After FinalizeBlock, before Commit: what was executed must be forgotten.
    Finalized,
    /// While Commit runs: it must have happened wholly or not at all.
    Committing,
    /// After Commit: it must be kept.
    Committed,
}

/// What can happen to an application under a correct node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfortune {
    /// It runs with another time zone, locale, hash seed and number of threads than the others.
    Environment {
        /// Which.
        instance: InstanceNr,
    },
    /// `kill -9`, then it is started again and the node replays what it lacks.
    Kill {
        /// Which.
        instance: InstanceNr,
        /// When.
        when: Moment,
        /// Heights it misses; 0 is started again at once.
        away: u64,
    },
    /// All connections break; the node connects anew.
    Disconnect {
        /// Which.
        instance: InstanceNr,
        /// When.
        when: Moment,
    },
    /// A proposal that is prepared and accepted, and then another one is decided.
    Undecided {
        /// Who prepares it.
        proposer: InstanceNr,
    },
    /// A proposal no PrepareProposal made: transactions nobody checked.
    Foreign,
    /// ProcessProposal is asked twice for the same block, in two rounds.
    AskedTwice {
        /// Whom.
        instance: InstanceNr,
    },
    /// No ProcessProposal at all: the node was behind and got the block from others.
    NotAsked {
        /// Whom.
        instance: InstanceNr,
    },
    /// Info, Query and CheckTx on the other connections while FinalizeBlock runs.
    Bystanders {
        /// Whose.
        instance: InstanceNr,
    },
    /// A validator signed twice; the block says so.
    Misbehaviour,
    /// A validator does not sign.
    Absent,
    /// Block time jumps.
    Jump {
        /// By so much.
        seconds: u64,
    },
    /// A new instance is made from a snapshot, if there is one.
    Snapshot {
        /// Who gives it.
        from: InstanceNr,
    },
}

impl Plan {
    /// Draws it. A height's faults do not depend on how many heights there are.
    pub fn draw(seed: u64, wishes: &Wishes) -> Plan {
        let dice = Dice::new(seed);
        let mut shape = dice.fork("shape");
        let validators = shape.between(*VALIDATORS.start(), *VALIDATORS.end());
        let powers = (0..validators).map(|_| shape.between(1, 20)).collect();
        let mut drawn: Vec<(u64, Misfortune)> = Vec::new();
        if wishes.hosting == Hosting::Started {
            let others = (1..u16::from(wishes.instances)).map(InstanceNr);
            drawn.extend(
                others.map(|instance| (wishes.initial.saturating_sub(1), Misfortune::Environment { instance })),
            );
        }
        for height in wishes.initial..wishes.initial.saturating_add(wishes.heights) {
            let mut dice = dice.fork(&format!("faults of {height}"));
            drawn.extend(faults_of(&mut dice, wishes).into_iter().map(|what| (height, what)));
        }
        let numbered = (1..).zip(drawn).map(|(number, (height, what))| Fault { number, height, what });
        let wanted = |fault: &Fault| match &wishes.only {
            Some(only) => only.contains(&fault.number),
            None => !wishes.calm,
        };
        Plan {
            seed,
            instances: wishes.instances,
            initial: wishes.initial,
            heights: wishes.heights,
            powers,
            faults: numbered.filter(wanted).collect(),
        }
    }

    /// Dice for one purpose at one height.
    pub fn dice(&self, purpose: &str, height: u64) -> Dice {
        Dice::new(self.seed).fork(&format!("{purpose} of {height}"))
    }

    /// What happens at a height.
    pub fn at(&self, height: u64) -> impl Iterator<Item = &Misfortune> {
        self.faults.iter().filter(move |fault| fault.height == height).map(|fault| &fault.what)
    }

    /// The last height.
    pub fn last(&self) -> u64 {
        self.initial + self.heights.saturating_sub(1)
    }

    /// In words, a line for each fault.
    pub fn tell(&self) -> String {
        let head = format!(
            "Seed {}: heights {} to {}; instances: {}; validators: {}; faults: {}.\n",
            self.seed,
            self.initial,
            self.last(),
            self.instances,
            self.powers.len(),
            self.faults.len()
        );
        self.faults.iter().fold(head, |text, fault| {
            let place = match fault.what {
                Misfortune::Environment { .. } => "from the start".to_owned(),
                _ => format!("height {}", fault.height),
            };
            text + &format!("  {:>3}  {place}: {}\n", fault.number, fault.what)
        })
    }
}

fn faults_of(dice: &mut Dice, wishes: &Wishes) -> Vec<Misfortune> {
    let mut found = Vec::new();
    let some = |dice: &mut Dice| InstanceNr(dice.below(u64::from(wishes.instances)) as u16);
    let moment = |dice: &mut Dice| match dice.below(5) {
        0 => Moment::Begun,
        1 => Moment::Proposed,
        2 => Moment::Finalized,
        3 => Moment::Committing,
        _ => Moment::Committed,
    };
    if wishes.hosting == Hosting::Started && dice.chance(35) {
        let (instance, when) = (some(dice), moment(dice));
        // One instance is always there to go on with.
        let away = if instance.0 > 0 && dice.chance(30) { dice.between(1, AWAY_MAX) } else { 0 };
        found.push(Misfortune::Kill { instance, when, away });
    }
    if dice.chance(if wishes.hosting == Hosting::Given { 30 } else { 8 }) {
        let (instance, when) = (some(dice), moment(dice));
        // A Commit that still runs in a living process would race with what is replayed.
        let when = if when == Moment::Committing { Moment::Committed } else { when };
        found.push(Misfortune::Disconnect { instance, when });
    }
    if dice.chance(30) {
        found.push(Misfortune::Undecided { proposer: some(dice) });
    }
    if dice.chance(20) {
        found.push(Misfortune::Foreign);
    }
    if dice.chance(20) {
        found.push(Misfortune::AskedTwice { instance: some(dice) });
    }
    if dice.chance(25) {
        found.push(Misfortune::NotAsked { instance: some(dice) });
    }
    if dice.chance(25) {
        found.push(Misfortune::Bystanders { instance: some(dice) });
    }
    if dice.chance(10) {
        found.push(Misfortune::Misbehaviour);
    }
    if dice.chance(25) {
        found.push(Misfortune::Absent);
    }
    if dice.chance(10) {
        found.push(Misfortune::Jump { seconds: dice.between(60, JUMP_SECONDS_MAX) });
    }
    if wishes.hosting == Hosting::Started && dice.chance(10) {
        found.push(Misfortune::Snapshot { from: some(dice) });
    }
    found
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Moment::Begun => "before the height",
            Moment::Proposed => "after ProcessProposal",
            Moment::Finalized => "after FinalizeBlock, before Commit",
            Moment::Committing => "while Commit ran",
            Moment::Committed => "after Commit",
        })
    }
}

impl fmt::Display for Misfortune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfortune::Environment { instance } => {
                write!(f, "{instance} runs with another time zone, locale, hash seed and number of threads")
            }
            Misfortune::Kill { instance, when, away: 0 } => write!(f, "{instance} is killed {when}"),
            Misfortune::Kill { instance, when, away } => {
                write!(f, "{instance} is killed {when} and is away for {away} heights")
            }
            Misfortune::Disconnect { instance, when } => write!(f, "the connections of {instance} break {when}"),
            Misfortune::Undecided { proposer } => {
                write!(f, "a proposal of {proposer} is accepted, but another one is decided")
            }
            Misfortune::Foreign => write!(f, "a proposal that no PrepareProposal made"),
            Misfortune::AskedTwice { instance } => write!(f, "{instance} is asked ProcessProposal twice"),
            Misfortune::NotAsked { instance } => write!(f, "{instance} is not asked ProcessProposal"),
            Misfortune::Bystanders { instance } => {
                write!(f, "{instance} is asked Info, Query and CheckTx while FinalizeBlock runs")
            }
            Misfortune::Misbehaviour => write!(f, "the block proves that a validator signed twice"),
            Misfortune::Absent => write!(f, "a validator did not sign the block before"),
            Misfortune::Jump { seconds } => write!(f, "block time jumps by {seconds} s"),
            Misfortune::Snapshot { from } => write!(f, "a new instance is made from a snapshot of {from}"),
        }
    }
}
