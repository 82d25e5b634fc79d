//! One instance of the application, as the run knows it.

use crate::abci::{Address, SocketApp};
use crate::sim::app::InstanceNr;
use std::collections::VecDeque;

/// How much of what happened to an instance is told.
const STORY_MAX: usize = 6;

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) nr: InstanceNr,
    /// Its connections; none while it is away.
    pub(super) app: Option<SocketApp>,
    /// Where it listens.
    pub(super) address: Option<Address>,
    /// The last height whose Commit it answered.
    pub(super) committed: u64,
    /// True knowledge is out of reach: a Commit was sent and never answered.
    pub(super) committing: Option<u64>,
    /// When it comes back.
    pub(super) back_at: Option<u64>,
    /// How often it was started.
    pub(super) lives: u32,
    /// What it was started with that the others were not: time zone and the like.
    pub(super) environment: Vec<(&'static str, String)>,
    /// What happened to it, newest last.
    story: VecDeque<String>,
}

impl Instance {
    pub(super) fn new(nr: InstanceNr) -> Instance {
        Instance {
            nr,
            app: None,
            address: None,
            committed: 0,
            committing: None,
            back_at: None,
            lives: 0,
            environment: Vec::new(),
            story: VecDeque::new(),
        }
    }

    /// Something happened to it.
    pub(super) fn note(&mut self, what: String) {
        if self.story.len() == STORY_MAX {
            self.story.pop_front();
        }
        self.story.push_back(what);
    }

    /// What happened to it, in one sentence.
    pub(super) fn story(&self) -> String {
        let pairs: Vec<String> = self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let environment = (!pairs.is_empty()).then(|| format!("it runs in another environment, {}", pairs.join(" ")));
        let told: Vec<String> = environment.into_iter().chain(self.story.iter().cloned()).collect();
        match told.len() {
            0 => format!("nothing special had happened to instance {}", self.nr),
            _ => format!("instance {}: {}", self.nr, told.join("; ")),
        }
    }

    /// For people: which one, and in which life.
    pub(super) fn name(&self) -> String {
        match self.lives {
            0 | 1 => format!("instance {}", self.nr),
            2 => format!("instance {} (restarted)", self.nr),
            lives => format!("instance {} (restarted {} times)", self.nr, lives - 1),
        }
    }
}
