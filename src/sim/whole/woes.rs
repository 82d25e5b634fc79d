//! Disks, signers and applications that fail.

use super::clients::Load;
use super::events::{AppWork, Event, Out};
use super::world::{Pause, World};
use crate::crypto::Hash;
use crate::ports::Connection;
use crate::sim::disk::{Kind, Trouble};
use crate::sim::{DeathOfApp, Harm, LastRequest, NodeNr, SlowPart, What, Whose, Woe, WrongAnswer};
use crate::types::Height;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is wrong with a node's application.
#[derive(Debug, Default)]
pub(super) struct AppTrouble {
    /// When it dies.
    pub(super) dies: Option<AppDeath>,
    /// It refuses every block it did not accept before.
    refusing: bool,
    /// The blocks of the last height it accepted. A yes it does not take back, or it would not be deterministic, and a
    /// validator that signed for the block, lost its journal's tail and then hears a no cannot vote at all.
    said_yes: BTreeSet<(Height, Hash)>,
    /// How it answers FinalizeBlock, and how long mending it takes.
    pub(super) errs: Option<(WrongAnswer, Duration)>,
    /// How it answered last, while the node may still read that.
    pub(super) erred: Option<(WrongAnswer, Duration)>,
    /// What some of its calls take longer.
    pub(super) slow: Duration,
}

impl AppTrouble {
    /// True when it says no to the block, by its height and hash.
    pub(super) fn refuses(&self, block: (Height, Hash)) -> bool {
        self.refusing && !self.said_yes.contains(&block)
    }

    /// It said yes to the block.
    pub(super) fn accepted(&mut self, block: (Height, Hash)) {
        self.said_yes.retain(|(height, _)| *height >= block.0);
        self.said_yes.insert(block);
    }

    /// It judges blocks by what is in them again.
    pub(super) fn consents(&mut self) {
        self.refusing = false;
    }
}

/// A death of an application that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct AppDeath {
    /// Requests of consensus until then.
    left: u32,
    last: LastRequest,
    forgets: u8,
    away: Duration,
}

impl World {
    pub(super) fn strike_woe(&mut self, node: NodeNr, woe: Woe) {
        match woe {
            Woe::Disk(trouble) => {
                self.see(node, What::Harmed { what: Harm::Disk });
                self.site(node).home.disk.add_trouble(trouble);
            }
            Woe::Signer { mood, lasting } => {
                self.see(node, What::Harmed { what: Harm::Signer });
                self.site(node).home.mood.set(Some(mood));
                self.queue.after(lasting, Event::SignerBack(node));
            }
            Woe::AppHangs { lasting } => {
                self.watch.count("application hangs");
                let until = self.queue.now().plus(lasting);
                for connection in [Connection::Consensus, Connection::Mempool] {
                    let busy = self.site(node).app_busy.entry(connection).or_default();
                    *busy = (*busy).max(until);
                }
            }
            Woe::AppRefuses { lasting } => {
                self.site(node).app_trouble.refusing = true;
                self.queue.after(lasting, Event::AppConsents(node));
            }
            Woe::AppErrs { answer, whose, away } => {
                for node in self.plan.all().filter(|other| *other == node || whose == Whose::All) {
                    self.site(node).app_trouble.errs = Some((answer, away));
                }
            }
            Woe::AppDiverges => self.diverge(node),
            Woe::ProgramsDiffer { with } => self.split(node, &with),
            Woe::Slow { what, takes, lasting } => {
                self.slow_down(node, what, takes);
                self.queue.after(lasting, Event::SpeedUp(node, what));
            }
            Woe::Upheaval(upheaval) => self.send_tx(Load::Upheaval(upheaval)),
            Woe::Rot { place, away } => self.rot(node, place, away),
            Woe::Wiped { keeps, away } => self.wipe(node, keeps, away),
            Woe::AppDies { asked, last, forgets, away, when } => {
                if when == DeathOfApp::InHandshake {
                    self.site(node).app.forget_commits(usize::from(forgets));
                    self.crash_app(node, away);
                }
                let forgets = if when == DeathOfApp::InHandshake { 0 } else { forgets };
                self.site(node).app_trouble.dies = Some(AppDeath { left: asked, last, forgets, away });
            }
        }
    }

    fn slow_down(&mut self, node: NodeNr, what: SlowPart, takes: Duration) {
        let site = self.site(node);
        match what {
            SlowPart::App => site.app_trouble.slow = takes,
            SlowPart::Disk => {
                site.home.disk.add_trouble(Trouble::Slow { kind: Kind::Sync, each: takes });
                self.watch.count("disk was slow");
            }
            SlowPart::Signer => {
                site.home.mood.take_time(takes);
                self.watch.count("signer was slow");
            }
        }
    }

    pub(super) fn speed_up(&mut self, node: NodeNr, what: SlowPart) {
        let site = self.site(node);
        match what {
            SlowPart::App => site.app_trouble.slow = Duration::ZERO,
            SlowPart::Disk => site.home.disk.speed_up(),
            SlowPart::Signer => site.home.mood.take_time(Duration::ZERO),
        }
    }

    /// The node waits for its disk or its signer, with all it does. What it wants next, and what it is told meanwhile, comes
    /// after that.
    pub(super) fn stall(&mut self, node: NodeNr, lasting: Duration, wants: Vec<Out>) {
        let until = self.queue.now().plus(lasting);
        let site = self.site(node);
        if site.process.is_some() {
            site.paused = Some(Pause { until, wants, facts: Vec::new() });
            self.queue.at(until, Event::Resume(node));
        }
    }

    /// A life begins, and what failed the one before is not mended.
    pub(super) fn tell_harms_left(&mut self, node: NodeNr) {
        if self.site(node).home.disk.is_troubled() {
            self.see(node, What::Harmed { what: Harm::Disk });
        }
        if self.site(node).home.mood.get().is_some() {
            self.see(node, What::Harmed { what: Harm::Signer });
        }
    }

    /// Healing: nothing is wrong any more but what nodes remember.
    pub(super) fn end_woes(&mut self, node: NodeNr) {
        let site = self.site(node);
        site.home.disk.mend();
        // An answer may be on its way to a node that stands still.
        let AppTrouble { erred, said_yes, .. } = std::mem::take(&mut site.app_trouble);
        site.app_trouble = AppTrouble { erred, said_yes, ..AppTrouble::default() };
        site.home.mood.take_time(Duration::ZERO);
        self.signer_returns(node);
    }

    /// The signer signs again. Nobody restarts the node: what was refused it asks for again, or does without.
    pub(super) fn signer_returns(&mut self, node: NodeNr) {
        let site = self.site(node);
        let was_away = site.home.mood.get().is_some();
        site.home.mood.set(None);
        let had_refused = site.process.as_ref().is_some_and(|process| process.refused > 0);
        if was_away && had_refused {
            self.watch.count("signer came back to a node it had refused");
        }
        if was_away {
            self.see(node, What::Mended { what: Harm::Signer });
        }
    }

    /// The application is asked something. Gives it back unless the application dies of it.
    pub(super) fn survives(&mut self, node: NodeNr, work: AppWork) -> Option<AppWork> {
        if matches!(work, AppWork::Check(..)) {
            return Some(work);
        }
        let site = self.site(node);
        let Some(death) = &mut site.app_trouble.dies else { return Some(work) };
        if death.left > 0 {
            death.left -= 1;
            return Some(work);
        }
        let AppDeath { last, forgets, away, .. } = *death;
        site.app_trouble.dies = None;
        let handshake = site.process.as_ref().is_some_and(|process| process.is_in_handshake());
        self.watch.count(match handshake {
            true => "application died in a handshake",
            false => "application died of a request",
        });
        if last == LastRequest::Done {
            self.work_off(node, work);
        }
        self.crash_app(node, away);
        self.site(node).app.forget_commits(usize::from(forgets));
        None
    }
}

/// The name under which a failure is counted.
pub(super) fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "disk read failed",
        Kind::Write => "disk write failed",
        Kind::Sync => "disk sync failed",
        Kind::Names => "disk rename failed",
    }
}

/// All kinds of operations.
pub(super) const KINDS: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Sync, Kind::Names];
