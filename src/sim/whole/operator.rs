//! The operator of a node that stopped: reads what it says, and does that. What a sentence does not say is not done, and
//! only a home that was harmed is put right: whoever stops for no reason stays down, and the run fails.

use super::app::ModelApp;
use super::people::key_of;
use super::world::{RESTART_AFTER, World};
use crate::sim::{Harm, Keeps, NodeNr, RotPlace, Unsynced, What, WrongAnswer};
use crate::types::{Algorithm, Height, SignPosition};
use std::sync::Arc;
use std::time::Duration;

/// How a halt for an answer is counted, and words that its sentence must have.
fn halt_for(answer: WrongAnswer) -> (&'static str, &'static str) {
    match answer {
        WrongAnswer::TooManyResults => ("halted for a result too much", "results"),
        WrongAnswer::NoValidators => ("halted for a set without validators", "no validator"),
        WrongAnswer::TooMuchPower => ("halted for too much power", "total voting power"),
        WrongAnswer::NotReadable => ("halted with an application nobody can read", ""),
        WrongAnswer::TwiceTheSame => ("halted for a validator named twice", "twice"),
        WrongAnswer::RemovesAStranger => ("halted for the removal of a stranger", "not in the set"),
    }
}

/// Whether a validator can still use its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Sound,
    /// Its home was harmed: it may have to keep silent for some heights, or for good.
    Harmed,
}

impl World {
    /// The node has stopped with a sentence. Its disk is off.
    pub(super) fn put_right(&mut self, node: NodeNr, why: &str) {
        let disk = &self.site(node).home.disk;
        if disk.is_troubled() {
            disk.mend();
            self.watch.count("operator mended a disk");
        }
        if self.site(node).voice == Voice::Sound {
            return;
        }
        let tendermint = self.plan.algorithm == Algorithm::Tendermint;
        if why.contains("damaged") && why.contains("journal") && tendermint {
            self.watch.count("operator set a damaged journal aside");
            self.site(node).home.set_journal_aside();
            self.replaced(node, &[RotPlace::Journal]);
        } else if why.contains("damaged") && tendermint {
            self.watch.count("operator removed a damaged store");
            self.begin_anew(node, Keeps::SignState);
        } else if why.contains("damaged") || why.contains("refused to take part") {
            self.watch.count("validator came back with a new key");
            self.begin_anew(node, Keeps::Nothing);
        } else if why.contains("priv_validator_state.json") {
            self.watch.count("operator advanced a sign state");
            let newest = self.sites.iter().map(|site| site.highest).max().unwrap_or(Height::ZERO);
            let next = newest.next().max(self.habits.genesis.initial_height);
            self.site(node).home.advance_sign_state(SignPosition::end_of(next));
            self.replaced(node, &[RotPlace::SignState]);
        }
    }

    /// What the home had is gone, and so is the application.
    pub(super) fn begin_anew(&mut self, node: NodeNr, keeps: Keeps) {
        let law = Arc::clone(&self.habits.law);
        let key = key_of(&self.plan, node);
        let site = self.site(node);
        site.home.begin_anew(&key, keeps);
        site.app = ModelApp::new(law);
        (site.applied, site.published, site.decided) = (Height::ZERO, Height::ZERO, Height::ZERO);
        site.diverged_after = None;
        self.see(node, What::Wiped);
        self.replaced(
            node,
            match keeps {
                Keeps::SignState => &[RotPlace::Journal, RotPlace::Store],
                Keeps::Nothing | Keeps::Key => &[RotPlace::Journal, RotPlace::Store, RotPlace::SignState],
            },
        );
    }

    /// What stood at these places of a home is gone, and what rotted there with it.
    fn replaced(&mut self, node: NodeNr, places: &[RotPlace]) {
        let site = self.site(node);
        site.rotten.retain(|place| !places.contains(place));
        if site.rotten.is_empty() {
            self.see(node, What::Mended { what: Harm::Home });
        }
    }

    /// The node goes down now, if it is up, and stays away for a while.
    fn take_down(&mut self, node: NodeNr, away: Duration) {
        if self.site(node).process.is_some() {
            self.crash(node, Unsynced::Kept, away);
        }
    }

    pub(super) fn wipe(&mut self, node: NodeNr, keeps: Keeps, away: Duration) {
        if self.can_spare(node) {
            self.see(node, What::Harmed { what: Harm::Home });
            self.site(node).voice = Voice::Harmed;
            self.take_down(node, away);
            self.begin_anew(node, keeps);
            self.watch.count(match keeps {
                Keeps::Nothing => "lost everything",
                Keeps::Key => "lost everything but the key",
                Keeps::SignState => "lost everything but key and sign state",
            });
        }
    }

    pub(super) fn rot(&mut self, node: NodeNr, place: RotPlace, away: Duration) {
        if !self.can_spare(node) {
            return;
        }
        self.take_down(node, away);
        let mut dice = self.dice.fork("rot");
        if self.site(node).home.harm(&mut dice, place) {
            self.see(node, What::Harmed { what: Harm::Home });
            self.site(node).voice = Voice::Harmed;
            self.site(node).rotten.push(place);
            self.watch.count(match place {
                RotPlace::Journal => "journal rotted",
                RotPlace::Store => "store rotted",
                RotPlace::SignState => "sign state rotted",
            });
        }
    }

    pub(super) fn diverge(&mut self, node: NodeNr) {
        if self.can_spare(node) {
            self.see(node, What::Harmed { what: Harm::Program });
            let before_first = self.habits.genesis.initial_height.get() - 1;
            let site = self.site(node);
            site.voice = Voice::Harmed;
            site.diverged_after = Some(site.app.executed().max(before_first));
            site.app.diverge();
            self.watch.count("application diverged");
        }
    }

    /// The node says that it cannot go on with its application.
    pub(super) fn halted(&mut self, node: NodeNr, why: &str) {
        // Whose program is right, where so many differ, people have not found out by the end of the run.
        let split = self.split.is_under_way();
        let site = self.site(node);
        let trouble = &mut site.app_trouble;
        // A wrong answer may be due that was not given yet.
        let erred = trouble.erred.take().inspect(|_| trouble.errs = None);
        let erred = erred.map(|(answer, away)| (halt_for(answer), away));
        // A node that says another reason stops for what diverges.
        let is_it = |says: &str| split || !site.app.diverges() || (!says.is_empty() && why.contains(says));
        if let Some(((counted, says), away)) = erred.filter(|((_, says), _)| is_it(says)) {
            if !split && !why.contains(says) {
                let why = format!("{counted}, and does not say so (\"{says}\"): {why}");
                self.watch.complain("stops", self.queue.now(), node, why);
            }
            self.watch.count(counted);
            self.crash_app(node, away);
        } else if site.app.diverges() && !split {
            self.watch.count("halted because its application diverged");
            let keeps = match self.plan.algorithm {
                Algorithm::Tendermint => Keeps::SignState,
                Algorithm::Pbft | Algorithm::Raft => Keeps::Nothing,
            };
            self.take_down(node, RESTART_AFTER);
            self.begin_anew(node, keeps);
        }
    }

    /// The node could not read an answer and gave the application up.
    pub(super) fn mend_unreadable(&mut self, node: NodeNr, away: Duration) {
        self.watch.count("answer nobody could read");
        self.site(node).app_trouble.errs = None;
        self.crash_app(node, away);
    }

    /// A node applied a block. What comes after a block its application diverged at says another hash than its own.
    pub(super) fn look_at_hash(&mut self, node: NodeNr, height: Height) {
        if let Some(after) = self.site(node).diverged_after
            && height.get() > after + 1
        {
            let why = format!("its application diverges since height {}, and it applied {height}", after + 1);
            self.watch.complain("divergence", self.queue.now(), node, why);
        }
    }

    /// True while the others decide without this node and all that were harmed or lie.
    fn can_spare(&self, node: NodeNr) -> bool {
        let mute = |other: &NodeNr| {
            *other == node || self.sites[other.index()].voice == Voice::Harmed || !self.plan.is_honest(*other)
        };
        let lost: u64 = self.plan.all().filter(mute).map(|other| self.plan.nodes[other.index()].power).sum();
        let total = self.plan.total_power();
        match self.plan.algorithm {
            Algorithm::Raft => lost * 2 < total,
            Algorithm::Pbft | Algorithm::Tendermint => lost * 3 < total,
        }
    }
}
