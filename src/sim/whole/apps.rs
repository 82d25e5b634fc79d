//! The applications of the world, and when they answer.

use super::events::{AppAnswer, AppWork, Event, Fact};
use super::world::World;
use crate::ports::Connection;
use crate::sim::{AppCall, Harm, NodeNr, Upheaval, What, WrongAnswer};
use crate::types::Tx;
use crate::types::abci::{CheckTxRequest, Request, Response, Verdict};
use std::time::Duration;

/// An application that cannot be reached is called again after this long.
pub(super) const APP_RETRY: Duration = Duration::from_millis(500);

impl World {
    /// The node calls its application after a while, unless it is about to.
    pub(super) fn plan_dial_app(&mut self, node: NodeNr, wait: Duration) {
        let site = self.site(node);
        let life = site.life;
        if !std::mem::replace(&mut site.app_dialing, true) {
            self.queue.after(wait, Event::DialApp { node, life });
        }
    }

    pub(super) fn dial_app(&mut self, node: NodeNr, life: u32) {
        let takes = self.app_takes();
        let now = self.queue.now();
        let site = self.site(node);
        if site.life != life {
            return;
        }
        site.app_dialing = false;
        if site.process.is_none() || site.app_serves.is_some() {
            return;
        }
        if !site.app_up {
            return self.plan_dial_app(node, APP_RETRY);
        }
        site.app_connections += 1;
        let connection = site.app_connections;
        site.app_serves = Some(connection);
        site.app_work.clear();
        site.app_busy.clear();
        let info = site.app.info();
        let height = info.last_block_height.unsigned_abs();
        self.queue.at(now.plus(takes), Event::Tell { node, life, fact: Fact::AppUp { connection, info } });
        self.see(node, What::App { connection: Connection::Query, call: AppCall::Connected });
        self.see(node, What::App { connection: Connection::Query, call: AppCall::Info(height) });
    }

    pub(super) fn app_takes(&mut self) -> Duration {
        self.dice.time(Duration::ZERO, self.habits.app_takes)
    }

    /// What a slow application takes longer.
    fn app_dawdles(&mut self, node: NodeNr) -> Duration {
        let slow = self.site(node).app_trouble.slow;
        if slow.is_zero() || !self.dice.chance(25) {
            return Duration::ZERO;
        }
        self.watch.count("application answered late");
        slow
    }

    /// Each connection is served in order.
    pub(super) fn ask_app(&mut self, node: NodeNr, connection: u64, work: AppWork) {
        let takes = self.app_takes() + self.app_dawdles(node);
        let now = self.queue.now();
        self.asked += 1;
        let number = self.asked;
        let site = self.site(node);
        if !site.app_up || site.app_serves != Some(connection) {
            return;
        }
        let which = match work {
            AppWork::Call(..) => Connection::Consensus,
            AppWork::Check(..) => Connection::Mempool,
        };
        let busy = site.app_busy.entry(which).or_default();
        *busy = (*busy).max(now.plus(takes));
        let (at, life) = (*busy, site.life);
        site.app_work.insert(number, work);
        self.queue.at(at, Event::AppWorks { node, life, work: number });
    }

    pub(super) fn app_works(&mut self, node: NodeNr, life: u32, number: u64) {
        let site = self.site(node);
        let (Some(connection), Some(work)) = (site.app_serves, site.app_work.remove(&number)) else { return };
        let Some(work) = self.survives(node, work) else { return };
        if let Some(answer) = self.work_off(node, work) {
            let fact = Fact::Answered { connection, answer };
            self.queue.after(Duration::from_micros(50), Event::Tell { node, life, fact });
        }
    }

    /// The node died. What it had asked is in the socket already and is done; nobody hears the answers.
    pub(super) fn finish_app_work(&mut self, node: NodeNr) {
        for work in std::mem::take(&mut self.site(node).app_work).into_values() {
            self.work_off(node, work);
        }
    }

    pub(super) fn work_off(&mut self, node: NodeNr, work: AppWork) -> Option<AppAnswer> {
        let needed = self.sites.iter().map(|site| site.app.oldest()).min().unwrap_or(0);
        let site = self.site(node);
        site.app.need_from(needed);
        let shown = match &work {
            AppWork::Call(_, Request::ProcessProposal(request)) => Some((request.block.height, request.hash)),
            _ => None,
        };
        let refuses = shown.is_some_and(|block| site.app_trouble.refuses(block));
        let (mut unreadable, mut harmed) = (None, false);
        let (answer, connection, call) = match work {
            AppWork::Call(call, request) => {
                let named = call_of(&request);
                let answer = match refuses {
                    true => Ok(Response::ProcessProposal(Verdict::Reject)),
                    false => site.app.answer(request),
                };
                if let (Some(block), Ok(Response::ProcessProposal(Verdict::Accept))) = (shown, &answer) {
                    site.app_trouble.accepted(block);
                }
                let executes = matches!(named, AppCall::FinalizeBlock(_));
                let errs = site.app_trouble.errs.filter(|_| executes);
                if executes {
                    site.app_trouble.erred = errs;
                }
                harmed = errs.is_some();
                let answer = answer.map(|response| match errs {
                    Some((WrongAnswer::NotReadable, away)) => {
                        unreadable = Some(away);
                        None
                    }
                    Some((how, _)) => Some(AppAnswer::Call(call, site.app.spoil(response, how))),
                    None => Some(AppAnswer::Call(call, response)),
                });
                (answer, Connection::Consensus, named)
            }
            AppWork::Check(batch, kind, txs) => {
                let check =
                    |tx: &Tx| site.app.answer(Request::CheckTx(CheckTxRequest { tx: tx.bytes().clone(), kind }));
                let answers = txs.iter().map(check).collect::<Result<Vec<_>, _>>();
                (answers.map(|answers| Some(AppAnswer::Check(batch, answers))), Connection::Mempool, AppCall::CheckTx)
            }
        };
        for upheaval in site.app.take_upheavals() {
            self.watch.count(counted(upheaval));
        }
        self.see(node, What::App { connection, call });
        if harmed {
            self.see(node, What::Harmed { what: Harm::Answer });
        }
        if refuses {
            self.watch.count("application refused a block");
        }
        if let Err(why) = &answer {
            self.watch.complain("application", self.queue.now(), node, why.clone());
        }
        if let Some(away) = unreadable {
            self.mend_unreadable(node, away);
        }
        answer.ok().flatten()
    }

    pub(super) fn crash_app(&mut self, node: NodeNr, away: Duration) {
        let site = self.site(node);
        if !site.app_up {
            return;
        }
        site.app_up = false;
        site.app_serves = None;
        site.app_work.clear();
        site.app.crash();
        let life = site.life;
        self.watch.count("application crash");
        self.queue.after(away, Event::AppBack(node));
        if self.site(node).process.is_some() {
            let why = "the application closed its connections".to_owned();
            self.queue.after(Duration::ZERO, Event::Tell { node, life, fact: Fact::AppLost { why } });
            self.plan_dial_app(node, APP_RETRY);
        }
    }
}

/// How an upheaval is counted.
fn counted(upheaval: Upheaval) -> &'static str {
    match upheaval {
        Upheaval::OnlyOne => "validators: one is left",
        Upheaval::Half => "validators: every second one goes",
        Upheaval::Exchange => "validators: others in the place of all",
        Upheaval::NearlyTooMuch => "validators: as much power as there may be",
        Upheaval::Proposer => "validators: the proposer goes",
        Upheaval::Everybody => "validators: everybody",
    }
}

/// A call as the grammar of ABCI counts it.
fn call_of(request: &Request) -> AppCall {
    match request {
        Request::InitChain(_) => AppCall::InitChain,
        Request::PrepareProposal(request) => AppCall::PrepareProposal(request.block.height.get()),
        Request::ProcessProposal(request) => AppCall::ProcessProposal(request.block.height.get()),
        Request::ExtendVote(request) => AppCall::ExtendVote(request.block.height.get()),
        Request::VerifyVoteExtension(request) => AppCall::VerifyVoteExtension(request.height.get()),
        Request::FinalizeBlock(request) => AppCall::FinalizeBlock(request.block.height.get()),
        Request::Commit => AppCall::Commit,
        Request::CheckTx(_) => AppCall::CheckTx,
        Request::Info(_) => AppCall::Info(0),
        Request::Query(_) | Request::Echo(_) | Request::Flush => AppCall::Query,
        Request::ListSnapshots
        | Request::OfferSnapshot(_)
        | Request::LoadSnapshotChunk(_)
        | Request::ApplySnapshotChunk(_) => AppCall::Snapshot,
    }
}
