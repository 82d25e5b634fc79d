//! The world: virtual time, the network, the sites of all nodes, and what happens to them.

use super::app::ModelApp;
use super::apps::APP_RETRY;
use super::blocks::Blocks;
use super::clients::Clients;
use super::clock::Clock;
use super::events::{AppWork, Event, Fact, Out, Parcel};
use super::habits::Habits;
use super::home::Home;
use super::lie::{Liar, cost_of_liars};
use super::links::Links;
use super::operator::Voice;
use super::orders::applied;
use super::people::{People, key_of};
use super::process::{Death, Process, Scope};
use super::split::Split;
use super::woes::AppTrouble;
use crate::consensus::Tick;
use crate::gossip::Decided;
use crate::pipeline::recover;
use crate::ports::Connection;
use crate::sim::check;
use crate::sim::disk::{Batches, Kindness, PowerCut};
use crate::sim::patience::{Patience, QUIET_HEIGHTS};
use crate::sim::{
    Checker, Dice, End, Net, NodeNr, Order, Outcome, Packet, Plan, Queue, RotPlace, Scene, Seen, Trace, Unsynced,
    Watch, Weather, What, panics,
};
use crate::types::abci::InitChainResponse;
use crate::types::{Address, CandidateBlock, Height};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a node is away that stopped itself, as its supervisor has it.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How long after healing everything has to be well again, and for each height.
const RECOVERY: Duration = Duration::from_secs(60);
const RECOVERY_PER_HEIGHT: Duration = Duration::from_secs(4);
/// Runs of a hundred that go on until heights begin in quiet.
const LONG_RUNS: u64 = 10;
/// Facts between two looks at how much a node keeps.
const MEASURED_EVERY: u64 = 31;
/// Events after which a run is given up: it goes round in circles.
const EVENTS_MAX: u64 = 20_000_000;

/// One node's place: what stays when a life ends.
pub(super) struct Site {
    pub(super) home: Home,
    pub(super) app: ModelApp,
    pub(super) clock: Clock,
    pub(super) life: u32,
    pub(super) process: Option<Box<Process>>,
    /// Who rewrites what it says, if it lies.
    pub(super) liar: Option<Liar>,
    /// The wake planned, in virtual time.
    pub(super) wakes: Option<Tick>,
    /// It stands still.
    pub(super) paused: Option<Pause>,
    /// What becomes of it when its fuse burns down.
    pub(super) doom: Option<(Unsynced, Duration)>,
    /// A start is planned.
    pub(super) starting: bool,
    pub(super) app_up: bool,
    /// The node is about to call it.
    pub(super) app_dialing: bool,
    /// The connection the application serves, and how many there were.
    pub(super) app_serves: Option<u64>,
    pub(super) app_connections: u64,
    /// What it was asked on that connection and has not done yet, in order.
    pub(super) app_work: BTreeMap<u64, AppWork>,
    /// When the application is free for the next call, by connection.
    pub(super) app_busy: BTreeMap<Connection, Tick>,
    /// The last block it was seen to decide.
    pub(super) decided: Height,
    pub(super) app_trouble: AppTrouble,
    pub(super) voice: Voice,
    /// Where its home rotted and nobody has replaced it.
    pub(super) rotten: Vec<RotPlace>,
    /// The last height before its application went its own way.
    pub(super) diverged_after: Option<u64>,
    /// The highest height it took up.
    pub(super) highest: Height,
    pub(super) applied: Height,
    /// The last block in which clients find their transactions.
    pub(super) published: Height,
}

/// A node stands still.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: Tick,
    /// What it wants of the world then, first.
    pub(super) wants: Vec<Out>,
    /// What it is told then.
    pub(super) facts: Vec<Fact>,
}

pub(super) struct World {
    pub(super) queue: Queue<Event>,
    pub(super) watch: Watch,
    pub(super) plan: Plan,
    pub(super) habits: Habits,
    pub(super) people: People,
    pub(super) sites: Vec<Site>,
    pub(super) links: Links,
    pub(super) net: Net<Parcel>,
    pub(super) clients: Clients,
    pub(super) blocks: Blocks,
    pub(super) dice: Dice,
    pub(super) out: Vec<Out>,
    pub(super) healed: bool,
    pub(super) split: Split,
    /// What applications were asked so far.
    pub(super) asked: u64,
    /// What nodes were told so far.
    facts: u64,
    patience: Patience,
    /// The height every honest node is to reach.
    target: Height,
}

impl World {
    pub(super) fn new(plan: Plan, checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>, trace: Trace) -> World {
        let dice = Dice::new(plan.seed).fork("whole");
        let habits = Habits::draw(&plan, &mut dice.fork("habits"));
        let people = People::new(&plan);
        let mut disks = dice.fork("disks");
        let site = |node: NodeNr| Site {
            home: Home::make(&key_of(&plan, node), &mut disks),
            liar: Liar::of(&plan, node, &dice),
            app: ModelApp::new(Arc::clone(&habits.law)),
            clock: Clock::new(habits.genesis.genesis_time.plus(Duration::from_secs(10))),
            life: 0,
            process: None,
            wakes: None,
            paused: None,
            doom: None,
            starting: true,
            app_up: true,
            app_dialing: false,
            app_serves: None,
            app_connections: 0,
            app_work: BTreeMap::new(),
            app_busy: BTreeMap::new(),
            decided: Height::ZERO,
            app_trouble: AppTrouble::default(),
            voice: Voice::Sound,
            rotten: Vec::new(),
            diverged_after: None,
            highest: Height::ZERO,
            applied: Height::ZERO,
            published: Height::ZERO,
        };
        let sites = plan.all().map(site).collect();
        // Over a connection nothing is doubled or replayed, and what is lost ends it.
        let weather = Weather { lost: 0, doubled: 0, replayed: 0, ..plan.weather };
        let first = recover::first_state(&habits.genesis, &InitChainResponse::default(), 0);
        let scene = Scene {
            chain_id: habits.genesis.chain_id.clone(),
            initial_height: habits.genesis.initial_height,
            extensions_from: habits.genesis.consensus_params.abci.vote_extensions_enable_height,
            addresses: plan.all().map(|node| Address::from(&key_of(&plan, node).public_key())).collect(),
            validators: first.expect("the genesis document is legal").validators,
            evidence: habits.genesis.consensus_params.evidence,
            plan: plan.clone(),
        };
        let checkers = checkers(&scene);
        let target = Height::new(habits.genesis.initial_height.get() + plan.heights - 1);
        World {
            queue: Queue::default(),
            watch: Watch::new(scene, checkers, trace),
            habits,
            people,
            sites,
            links: Links::default(),
            net: Net::new(dice.fork("net"), weather, Order::Kept),
            clients: Clients::new(dice.fork("clients")),
            blocks: Blocks::default(),
            dice,
            out: Vec::new(),
            healed: false,
            split: Split::default(),
            asked: 0,
            facts: 0,
            patience: Patience::draw(&plan, LONG_RUNS),
            target,
            plan,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        for node in self.plan.all() {
            let wait = self.dice.time(Duration::ZERO, Duration::from_millis(50));
            self.queue.after(wait, Event::Start(node));
        }
        for (index, fault) in self.plan.faults.iter().enumerate() {
            self.queue.at(fault.at, Event::Fault(index));
        }
        self.queue.at(self.plan.heal_at, Event::Heal);
        self.queue.after(Duration::from_millis(300), Event::Clients);
        self.begin_lies();
        let heights = u32::try_from(self.plan.heights).unwrap_or(u32::MAX);
        let mut time = RECOVERY + RECOVERY_PER_HEIGHT * heights + cost_of_liars(&self.plan);
        if self.patience == Patience::Long {
            let quiet = check::quiet_after(&self.plan);
            self.queue.at(self.plan.heal_at.plus(quiet), Event::Quiet);
            time += quiet + RECOVERY + RECOVERY_PER_HEIGHT * (QUIET_HEIGHTS as u32 + 1) + cost_of_liars(&self.plan);
        }
        let deadline = self.plan.heal_at.plus(time);
        let mut events = 0_u64;
        let end = loop {
            let Some(event) = self.queue.take() else { break End::OutOfTime { at: self.queue.now() } };
            events += 1;
            if self.watch.is_broken() || events > EVENTS_MAX || self.queue.now() > deadline {
                break End::OutOfTime { at: self.queue.now() };
            }
            let asks = matches!(event, Event::Clients);
            self.happen(event);
            if asks && self.is_done() {
                break End::Done { at: self.queue.now() };
            }
        };
        if let End::OutOfTime { at } = end
            && !self.watch.is_broken()
        {
            self.watch.complain("liveness", at, NodeNr(0), self.describe());
        }
        self.judge_split();
        for liar in self.sites.iter().filter_map(|site| site.liar.as_ref()) {
            self.watch.add(&liar.told);
        }
        self.watch.finish(end)
    }

    pub(super) fn is_done(&self) -> bool {
        let is_well = self.clients.are_content() && self.lowest() >= self.target();
        self.healed && (is_well && self.patience == Patience::Short || self.has_stood_long_enough())
    }

    /// The height every honest node is to reach.
    pub(super) fn target(&self) -> Height {
        self.target
    }

    /// It is quiet: some heights more, of which all but the one under way begin in it.
    fn be_quiet(&mut self) {
        self.watch.count("heights begun in quiet");
        self.patience = Patience::Short;
        let highest = self.sites.iter().map(|site| site.highest).max().unwrap_or(Height::ZERO);
        self.target = self.target.max(Height::new(highest.get() + QUIET_HEIGHTS));
    }

    /// How far the honest node is that is furthest behind.
    pub(super) fn lowest(&self) -> Height {
        let honest = self.plan.all().filter(|node| self.plan.is_honest(*node));
        honest.map(|node| self.sites[node.index()].applied).min().unwrap_or(Height::ZERO)
    }

    /// Why nothing goes on, in words.
    pub(super) fn describe(&self) -> String {
        let mut text = format!(
            "no progress: target {}, transactions waiting {:?};",
            self.target(),
            self.clients.waiting().collect::<Vec<_>>()
        );
        for (index, site) in self.sites.iter().enumerate() {
            let process = site.process.as_ref().map_or("is down".to_owned(), |process| process.describe());
            text += &format!(" node {index}: {process};");
        }
        text
    }

    pub(super) fn site(&mut self, node: NodeNr) -> &mut Site {
        &mut self.sites[node.index()]
    }

    pub(super) fn see(&mut self, node: NodeNr, what: What<'_>) {
        self.watch.see(&Seen { at: self.queue.now(), node, what });
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Fault(index) => self.strike(index),
            Event::Mend(links) => {
                self.net.mend(&links);
                links.iter().for_each(|(from, to)| self.release(*from, *to));
            }
            Event::Heal => self.heal(),
            Event::Quiet => self.be_quiet(),
            Event::Start(node) => self.start(node),
            Event::Resume(node) => self.resume(node),
            Event::Dial(one, other) => self.dial(one, other),
            Event::Arrive(Packet { from, to, load }) => self.arrive(from, to, load),
            Event::Tell { node, life, fact } if self.site(node).life == life => self.tell(node, fact),
            Event::Tell { .. } => {}
            Event::DialApp { node, life } => self.dial_app(node, life),
            Event::AppWorks { node, life, work } => self.app_works(node, life, work),
            Event::AppBack(node) => {
                self.site(node).app_up = true;
            }
            Event::SignerBack(node) => self.signer_returns(node),
            Event::AppConsents(node) => self.site(node).app_trouble.consents(),
            Event::SpeedUp(node, what) => self.speed_up(node, what),
            Event::Clients => self.clients_act(),
            Event::Lie(node) => self.lie(node),
        }
    }

    // ------------------------------------------------------------------------------------------ lives and deaths

    pub(super) fn start(&mut self, node: NodeNr) {
        let now = self.queue.now();
        let site = &mut self.sites[node.index()];
        site.starting = false;
        if site.process.is_some() {
            return;
        }
        site.life += 1;
        site.wakes = None;
        site.paused = None;
        site.app_dialing = false;
        site.clock.begin(now);
        let life = site.life;
        self.see(node, What::Started { life: life - 1 });
        self.tell_harms_left(node);
        let (genesis, how) = (Arc::clone(&self.habits.genesis), self.habits.beginning());
        let site = &mut self.sites[node.index()];
        let local = site.clock.now(now);
        let (home, decided) = (&site.home, site.decided);
        let begun = panics::caught(|| {
            let mut process = Process::begin(home, &genesis, how, local)?;
            let found = process.found_above(decided, local)?;
            Ok::<_, String>((Box::new(process), found))
        });
        match begun {
            Ok(Ok((process, found))) => {
                self.watch.count("lives");
                self.show_found(node, &process, found.as_ref());
                self.site(node).process = Some(process);
                self.plan_dial_app(node, Duration::from_millis(1));
                for other in self.plan.all().filter(|other| *other != node) {
                    self.plan_call(node, other, Duration::from_millis(20));
                }
            }
            Ok(Err(why)) => self.stopped(node, &why),
            Err(panic) => self.unwound(node, panic),
        }
    }

    /// What the store has when a life begins. The one before may have ended just when it was there.
    fn show_found(&mut self, node: NodeNr, process: &Process, found: Option<&Decided>) {
        let (tip, state) = (process.stored(), process.state());
        if let Some(Decided { block, commit }) = found {
            self.see(node, What::Decided { block, commit });
            self.note_decided(node, block);
        }
        if tip > Height::ZERO {
            self.see(node, What::Stored { height: tip });
        }
        if let Some(applied) = applied(state) {
            self.see(node, applied);
            let (site, height) = (self.site(node), state.last_block_height);
            (site.applied, site.published) = (site.applied.max(height), site.published.max(height));
        }
    }

    fn note_decided(&mut self, node: NodeNr, block: &CandidateBlock) {
        let block = block.block();
        self.site(node).decided = block.header.height;
        self.clients.decided(block.header.height, &block.txs);
    }

    /// A life ends by a fault.
    pub(super) fn crash(&mut self, node: NodeNr, unsynced: Unsynced, away: Duration) {
        let site = &mut self.sites[node.index()];
        if site.process.is_none() && site.starting {
            return; // it is away already
        }
        if unsynced == Unsynced::Kept && self.dice.chance(50) {
            self.finish_app_work(node);
        }
        self.see(node, What::Crashed { unsynced });
        self.watch.count(match unsynced {
            Unsynced::Kept => "process killed",
            Unsynced::Lost => "power cut",
        });
        let site = &mut self.sites[node.index()];
        match unsynced {
            Unsynced::Kept => {
                let batches = if self.dice.chance(50) { Batches::Kept } else { Batches::Lost };
                site.home.disk.kill(batches);
            }
            Unsynced::Lost => {
                let kindness = Kindness::draw(&mut self.dice);
                let taken = site.home.disk.power_cut(&mut self.dice, kindness);
                self.watch.count_taken(taken);
                site.app.crash();
                if self.dice.chance(20) {
                    site.app.forget_commits(1 + self.dice.below(2) as usize);
                }
            }
        }
        self.bury(node, away);
    }

    /// The node stopped itself. A supervisor starts it again.
    pub(super) fn stopped(&mut self, node: NodeNr, why: &str) {
        self.see(node, What::Halted { why });
        self.watch.count("node stopped itself");
        self.site(node).home.disk.kill(Batches::Kept);
        self.put_right(node, why);
        self.bury(node, RESTART_AFTER);
    }

    /// What is left of a life is thrown away. The disk is off already, so that nothing dropped can write.
    pub(super) fn bury(&mut self, node: NodeNr, away: Duration) {
        let site = self.site(node);
        site.app_serves = None;
        site.app_work.clear();
        site.process = None;
        if let Some(liar) = &mut site.liar {
            liar.forget();
        }
        site.doom = None;
        site.paused = None;
        if !std::mem::replace(&mut site.starting, true) {
            self.queue.after(away, Event::Start(node));
        }
        for other in self.plan.all().filter(|other| *other != node) {
            self.hang_up(node, other);
        }
    }

    /// Something unwound: the disk's fuse, or a mistake of ours.
    pub(super) fn unwound(&mut self, node: NodeNr, panic: Box<dyn std::any::Any + Send>) {
        let (unsynced, away) = self.site(node).doom.take().unwrap_or((Unsynced::Lost, RESTART_AFTER));
        if panic.is::<PowerCut>() {
            self.watch.count("died inside a disk operation");
            return self.crash(node, unsynced, away);
        }
        let why = panics::describe(&*panic);
        self.watch.complain("panic", self.queue.now(), node, why);
    }

    /// Now and then it is looked how much a node keeps of what others say.
    fn measure(&mut self, node: NodeNr, process: &Process) {
        self.facts += 1;
        if !self.facts.is_multiple_of(MEASURED_EVERY) {
            return;
        }
        self.watch.count("measured");
        for (limit, value) in process.sizes() {
            let most = match limit {
                "transactions" => self.habits.mempool.size,
                "bytes of transactions" => self.habits.mempool.max_txs_bytes,
                _ => check::most(self.watch.scene(), limit),
            };
            self.see(node, What::Measured { limit, value, most });
        }
    }

    pub(super) fn resume(&mut self, node: NodeNr) {
        let now = self.queue.now();
        let Some(pause) = self.site(node).paused.take_if(|pause| pause.until <= now) else { return };
        self.out = pause.wants;
        self.do_what_it_wants(node);
        for fact in pause.facts {
            self.tell(node, fact);
        }
    }

    // ------------------------------------------------------------------------------------------------- nodes

    /// Tells a node something, and does what it wants then.
    pub(super) fn tell(&mut self, node: NodeNr, fact: Fact) {
        let at = self.queue.now();
        let site = &mut self.sites[node.index()];
        if let Some(pause) = &mut site.paused {
            return pause.facts.push(fact);
        }
        match &fact {
            Fact::Wake => site.wakes = None,
            // It broke before the answer to Info was here.
            Fact::AppUp { connection, .. } if site.app_serves != Some(*connection) => return,
            _ => {}
        }
        let Some(mut process) = site.process.take() else { return };
        let now = site.clock.now(at);
        let (people, blocks, watch, out) = (&self.people, &mut self.blocks, &mut self.watch, &mut self.out);
        let (clients, liar) = (&mut self.clients, site.liar.as_mut());
        let mut scope = Scope { at, node, now, people, blocks, watch, clients, out, liar };
        let lived = panics::caught(|| process.take(&mut scope, fact));
        match lived {
            Ok(Ok(())) => {
                self.measure(node, &process);
                self.site(node).process = Some(process);
                self.plan_wake(node);
                self.plan_release(node);
            }
            Ok(Err(Death::Fuse)) => {
                self.watch.count("died between two orders");
                let (unsynced, away) = self.site(node).doom.take().unwrap_or((Unsynced::Kept, RESTART_AFTER));
                self.crash(node, unsynced, away);
            }
            Ok(Err(Death::Stopped(why))) => {
                // What it did before it stopped comes first: whoever mends the home may begin it anew.
                self.do_what_it_wants(node);
                self.stopped(node, &why);
            }
            Err(panic) => self.unwound(node, panic),
        }
        self.do_what_it_wants(node);
    }

    pub(super) fn plan_wake(&mut self, node: NodeNr) {
        let site = &mut self.sites[node.index()];
        let Some(due) = site.process.as_ref().and_then(|process| process.due()) else { return };
        let due = site.clock.when(due).max(self.queue.now());
        if site.wakes.is_none_or(|planned| due < planned) {
            site.wakes = Some(due);
            let life = site.life;
            self.queue.at(due, Event::Tell { node, life, fact: Fact::Wake });
        }
    }

    pub(super) fn do_what_it_wants(&mut self, node: NodeNr) {
        let mut wants = std::mem::take(&mut self.out).into_iter();
        while let Some(out) = wants.next() {
            match out {
                Out::Stall(lasting) => return self.stall(node, lasting, wants.collect()),
                Out::Send { to, link, channel, bytes, counted } => {
                    self.post(node, to, Parcel { link, channel, bytes, counted });
                }
                Out::Meant { to, link, channel, bytes } => self.tell_written(node, to, (link, channel, bytes)),
                Out::Drop { peer, link } => {
                    if self.links.between(node, peer) == Some(link) {
                        self.hang_up(node, peer);
                    }
                }
                Out::Ask { connection, work } => self.ask_app(node, connection, work),
                Out::DialApp => {
                    self.site(node).app_serves = None;
                    self.plan_dial_app(node, APP_RETRY);
                }
                Out::Decided(block) => self.note_decided(node, &block),
                Out::Applied(height) => {
                    let site = self.site(node);
                    site.applied = site.applied.max(height);
                    site.highest = site.highest.max(height.next());
                    self.look_at_hash(node, height);
                }
                Out::Published(height) => self.sites[node.index()].published = height,
                Out::Halted(why) => {
                    self.halted(node, &why);
                    if self.sites[node.index()].process.is_none() {
                        return; // the home began anew, and knows nothing of the rest
                    }
                }
                Out::HashesDiffer => self.hashes_differ(node),
                Out::Refused => self.watch.count("transaction refused"),
            }
        }
    }
}
