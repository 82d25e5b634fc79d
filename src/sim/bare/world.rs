//! The network: everybody's time, links and misfortunes, one event after the other.

use super::app::Habits;
use super::bound;
use super::chain::{self, Chain, PowerChange};
use super::clients::Clients;
use super::lie::{self, Liar};
use super::node::{Answer, Arrival, Node};
use super::protocol::{Sorted, Spread, Watched};
use super::signer::Key;
use super::verify::Gate;
use crate::consensus::{Effects, Input, RECENT_BLOCKS_MAX, Reaction, RoundNote, Start, Tick, Timeouts};
use crate::crypto::PublicKey;
use crate::sim::check;
use crate::sim::net::Order;
use crate::sim::patience::{Patience, QUIET_HEIGHTS};
use crate::sim::queue::Queue;
use crate::sim::{
    Checker, Conduct, Coverage, Dice, End, Net, NodeNr, Outcome, Packet, Plan, Scene, Seen, Trace, Watch, What, panics,
};
use crate::types::{Address, ConsensusParams, EvidenceParams, Height, NodeId, Source, TimerId};
use std::sync::Arc;
use std::time::Duration;

/// Events after which a run is given up: a machine that keeps itself busy without end.
const EVENTS_MAX: u64 = 20_000_000;
/// Things done at one moment of virtual time, by all together; who does more keeps itself busy without end.
const AT_ONCE_MAX: u32 = 300_000;
/// Steps of machines between two looks at how much one keeps.
const MEASURED_EVERY: u64 = 61;
/// Runs of a hundred that go on until heights begin in quiet.
const LONG_RUNS: u64 = 4;
/// Heights that nobody asked for begin after so many times the usual pause: faults still to come find a network at work,
/// and the run costs little.
pub(super) const IDLE_PAUSES: u32 = 8;
/// The protocol hands blocks to a peer a few behind; who is further behind fetches. As `replica` has it.
const HEIGHTS_AHEAD_TO_FETCH: u64 = RECENT_BLOCKS_MAX as u64 + 1;

/// What is to happen.
#[derive(Debug)]
pub(super) enum Event<M> {
    Packet(Packet<Arc<M>>),
    /// Something came to a node, if it is still in this life.
    Arrive {
        node: NodeNr,
        life: u32,
        arrival: Arrival<M>,
    },
    /// A timer is due, by the node's own clock.
    Timer {
        node: NodeNr,
        life: u32,
        timer: TimerId,
        at: Tick,
    },
    /// The time a machine named, by the node's own clock.
    Wake {
        node: NodeNr,
        life: u32,
        at: Tick,
    },
    Synced {
        node: NodeNr,
        life: u32,
    },
    Restart {
        node: NodeNr,
        life: u32,
    },
    Resume {
        node: NodeNr,
        life: u32,
    },
    AppBack {
        node: NodeNr,
    },
    /// The fault of this place in the plan.
    Fault(usize),
    /// The cut of this place in the plan is over.
    Mend(usize),
    Heal,
    /// Whatever was left of the faults is over by now.
    Quiet,
    Gossip {
        node: NodeNr,
    },
    Offer {
        from: NodeNr,
        to: NodeNr,
    },
    Fetch {
        node: NodeNr,
        life: u32,
    },
    /// A liar says something nobody asked for.
    Lie {
        node: NodeNr,
    },
    /// A liar says what it kept back.
    Release {
        node: NodeNr,
    },
    /// A client asks something.
    Client,
}

/// The whole network.
#[derive(Debug)]
pub(super) struct World<P: Watched> {
    pub(super) plan: Arc<Plan>,
    pub(super) watch: Watch,
    pub(super) queue: Queue<Event<P::Message>>,
    pub(super) net: Net<Arc<P::Message>>,
    pub(super) nodes: Vec<Node<P>>,
    pub(super) chain: Chain,
    pub(super) dice: Dice,
    /// What is looked at before machines are told what liars say.
    pub(super) gate: Gate,
    /// Those that lost all their connections.
    pub(super) unplugged: Vec<NodeNr>,
    /// Changes of power that clients want, and no block has.
    pub(super) wanted: Vec<PowerChange>,
    pub(super) clients: Clients,
    /// By node; none for those who behave.
    pub(super) liars: Vec<Option<Liar>>,
    /// Lies told.
    pub(super) told: Coverage,
    params: Arc<ConsensusParams>,
    pub(super) app: Habits,
    /// The height every honest node is to apply before the run may end.
    pub(super) goal: Height,
    /// Honest nodes that have not applied it.
    pub(super) unfinished: usize,
    healing: Healing,
    patience: Patience,
    /// Whose turn it is: whom to blame for a panic.
    acting: NodeNr,
    /// The moment of what was done last, and how much was done at it.
    moment: (Tick, u32),
    /// Of all machines.
    steps: u64,
    /// Reused for every step.
    out: Effects<P>,
    deadline: Tick,
}

/// How far the run is with its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Healing {
    Ahead,
    Done,
}

/// Runs a plan.
pub(super) fn run<P: Watched>(
    plan: Plan,
    checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>,
    trace: Trace,
) -> Outcome {
    let mut world = World::<P>::new(plan, checkers, trace);
    let end = match panics::caught(|| world.go()) {
        Ok(end) => end,
        Err(why) => {
            let at = world.queue.now();
            world.watch.complain("panic", at, world.acting, panics::describe(&*why));
            End::OutOfTime { at }
        }
    };
    world.net.fates().into_iter().for_each(|(fate, times)| world.told.count_all(fate, times));
    world.watch.add(&world.told);
    world.watch.finish(end)
}

fn params(extensions_from: Option<Height>) -> ConsensusParams {
    let mut params = ConsensusParams::default();
    params.abci.vote_extensions_enable_height = extensions_from;
    params
}

/// The connection of a node.
pub(super) fn id_of(node: NodeNr) -> NodeId {
    NodeId::new(Address::new([node.0 + 1; Address::LEN]))
}

/// The node behind a connection.
pub(super) fn node_of(id: &NodeId) -> NodeNr {
    NodeNr(id.as_bytes()[0].wrapping_sub(1))
}

impl<P: Watched> World<P> {
    fn new(plan: Plan, checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>, trace: Trace) -> World<P> {
        let plan = Arc::new(plan);
        let key_of = |node: NodeNr| match plan.nodes[node.index()].conduct {
            Conduct::TwinOf(other) => chain::key(other),
            Conduct::Honest | Conduct::Liar(_) => chain::key(node),
        };
        let keys: Vec<PublicKey> = plan.all().map(key_of).collect();
        let addresses: Vec<Address> = keys.iter().map(Address::from).collect();
        let app = Habits::draw(&plan);
        let chain = Chain::new(&plan, keys, app.extensions_from);
        let genesis = chain.genesis();
        let scene = Scene {
            plan: (*plan).clone(),
            chain_id: chain.id.clone(),
            initial_height: Height::FIRST,
            extensions_from: genesis.extensions_from,
            addresses: addresses.clone(),
            validators: Arc::clone(&genesis.validators),
            evidence: EvidenceParams::default(),
        };
        let checkers = checkers(&scene);
        let watch = Watch::new(scene, checkers, trace);
        // Over TCP nothing overtakes anything; packets that can get lost or doubled can be late as well.
        let weather = plan.weather;
        let order = if weather.lost + weather.doubled + weather.replayed == 0 { Order::Kept } else { Order::Mixed };
        let patience = Patience::draw(&plan, LONG_RUNS);
        let time = match patience {
            Patience::None | Patience::Short => bound::after_healing(&plan),
            Patience::Long => bound::after_healing(&plan) + bound::in_quiet(&plan, QUIET_HEIGHTS),
        };
        World {
            net: Net::new(watch.dice("net"), weather, order),
            dice: watch.dice("world"),
            nodes: addresses.iter().map(|own| Node::new(Key::new(*own), Arc::clone(&genesis))).collect(),
            chain,
            queue: Queue::default(),
            gate: if watch.dice("gate").chance(50) { Gate::Whole } else { Gate::SignaturesOnly },
            unplugged: Vec::new(),
            wanted: Vec::new(),
            clients: Clients::new(&plan, watch.dice("clients")),
            liars: lie::all(&plan, &addresses, &watch),
            told: Coverage::default(),
            params: Arc::new(params(genesis.extensions_from)),
            app,
            goal: Height::new(plan.heights),
            unfinished: watch.scene().honest().count(),
            healing: Healing::Ahead,
            patience,
            acting: NodeNr(0),
            moment: (Tick(0), 0),
            steps: 0,
            out: Vec::new(),
            deadline: plan.heal_at.plus(time),
            watch,
            plan,
        }
    }

    fn go(&mut self) -> End {
        self.queue.at(self.plan.heal_at, Event::Heal);
        for (place, fault) in self.plan.faults.iter().enumerate() {
            self.queue.at(fault.at, Event::Fault(place));
        }
        self.plan.all().for_each(|who| self.start_node(who));
        self.begin_gossip();
        self.begin_clients();
        self.begin_lies();
        let mut events = 0;
        while let Some(event) = self.queue.take() {
            let at = self.queue.now();
            events += 1;
            self.note_work(self.acting);
            self.handle(event);
            if self.unfinished == 0 && self.may_end() {
                return End::Done { at };
            }
            if self.watch.is_broken() {
                return End::OutOfTime { at };
            }
            if at > self.deadline || events > EVENTS_MAX {
                return self.give_up(at, events);
            }
        }
        self.give_up(self.queue.now(), events)
    }

    fn may_end(&self) -> bool {
        match self.patience {
            Patience::None => true,
            Patience::Short => self.healing == Healing::Done,
            Patience::Long => false,
        }
    }

    fn give_up(&mut self, at: Tick, events: u64) -> End {
        let stands = |who: NodeNr| {
            let node = &self.nodes[who.index()];
            let place = match &node.machine {
                Some(machine) => format!("at height {} round {}", machine.height(), machine.round()),
                None => "down".to_owned(),
            };
            format!("node {} {place}", who.0)
        };
        let places: Vec<String> = self.plan.all().map(stands).collect();
        let bound = Duration::from_nanos(self.deadline.0 - self.plan.heal_at.0).as_secs_f64();
        let why = match events > EVENTS_MAX {
            true => format!("{events} events and no end: {}", places.join(", ")),
            false => format!(
                "not everybody applied {} heights within {bound:.1} s after healing: {}",
                self.goal,
                places.join(", ")
            ),
        };
        let slowest = self.watch.scene().honest().min_by_key(|who| self.nodes[who.index()].state.height);
        self.watch.complain("liveness", at, slowest.unwrap_or(NodeNr(0)), why);
        End::OutOfTime { at }
    }

    fn handle(&mut self, event: Event<P::Message>) {
        match event {
            Event::Packet(Packet { from, to, load }) => {
                if self.nodes[to.index()].machine.is_some() {
                    self.arrive(to, Arrival::Word(from, load));
                }
            }
            Event::Arrive { node, life, arrival } => {
                if self.lives(node, life) {
                    match arrival {
                        Arrival::Answer(answer) => self.answered(node, answer),
                        arrival => self.arrive(node, arrival),
                    }
                }
            }
            Event::AppBack { node } => self.app_returns(node),
            Event::Timer { node, life, timer, at } => self.ring(node, life, at, Some(timer)),
            Event::Wake { node, life, at } => self.ring(node, life, at, None),
            Event::Synced { node, life } => {
                if self.lives(node, life) {
                    self.nodes[node.index()].syncing = false;
                    self.nodes[node.index()].disk.synced();
                    self.see(node, What::Synced);
                    self.run_node(node);
                }
            }
            Event::Restart { node, life } => {
                if self.nodes[node.index()].life == life && self.nodes[node.index()].machine.is_none() {
                    self.start_node(node);
                }
            }
            Event::Resume { node, life } => {
                if self.lives(node, life) {
                    let pauses = &mut self.nodes[node.index()].pauses;
                    *pauses = pauses.saturating_sub(1);
                    self.run_node(node);
                }
            }
            Event::Fault(place) => self.strike(place),
            Event::Mend(place) => self.mend(place),
            Event::Heal => self.be_healed(),
            Event::Quiet => {
                self.watch.count("heights begun in quiet");
                self.patience = Patience::Short;
                // One is under way.
                self.raise_goal(1 + QUIET_HEIGHTS);
            }
            Event::Gossip { node } => self.gossip(node),
            Event::Offer { from, to } => self.offer(from, to),
            Event::Fetch { node, life } => {
                if self.lives(node, life) {
                    self.fetch(node);
                }
            }
            Event::Client => self.ask(),
            Event::Lie { node } => self.lie(node),
            Event::Release { node } => self.release(node),
        }
    }

    /// What is waited for how long. When everybody has what was asked for, heights follow each other slowly.
    pub(super) fn pace(&self) -> Timeouts {
        let asked = self.plan.timeouts;
        match self.unfinished {
            0 => Timeouts { commit: asked.commit * IDLE_PAUSES, skip_commit_when_all_voted: false, ..asked },
            _ => asked,
        }
    }

    /// Healing. Whoever was level before has to decide once more: what the faults left behind may keep it from that.
    fn be_healed(&mut self) {
        self.heal();
        self.healing = Healing::Done;
        self.raise_goal(1);
        if self.patience == Patience::Long {
            self.queue.after(check::quiet_after(&self.plan), Event::Quiet);
        }
    }

    /// Every honest node is to apply so many heights more than anybody has taken up.
    fn raise_goal(&mut self, more: u64) {
        let highest = self.nodes.iter().map(|node| node.disk.stored()).max().unwrap_or(Height::ZERO);
        self.goal = self.goal.max(Height::new(highest.get() + more));
        let (goal, nodes) = (self.goal, &self.nodes);
        self.unfinished = self.watch.scene().honest().filter(|who| nodes[who.index()].state.height < goal).count();
    }

    /// True when the node is up and in this life.
    fn lives(&self, who: NodeNr, life: u32) -> bool {
        let node = &self.nodes[who.index()];
        node.life == life && node.machine.is_some()
    }

    /// A timer, or the time a machine named. A clock that runs slower by now is waited for.
    fn ring(&mut self, who: NodeNr, life: u32, at: Tick, timer: Option<TimerId>) {
        let now = self.queue.now();
        let node = &mut self.nodes[who.index()];
        if node.life != life || (timer.is_none() && node.wake != Some(at)) {
            return;
        }
        if node.clock.now(now).tick < at {
            let due = node.clock.global(at);
            let event = match timer {
                Some(timer) => Event::Timer { node: who, life, timer, at },
                None => Event::Wake { node: who, life, at },
            };
            return self.queue.at(due, event);
        }
        match timer {
            Some(timer) => self.arrive(who, Arrival::Timer(timer)),
            None => {
                node.wake = None;
                self.arrive(who, Arrival::Woken);
            }
        }
    }

    pub(super) fn arrive(&mut self, who: NodeNr, arrival: Arrival<P::Message>) {
        self.nodes[who.index()].inbox.push_back(arrival);
        self.run_node(who);
    }

    /// Something happened at a node, now.
    pub(super) fn see(&mut self, node: NodeNr, what: What<'_>) {
        let at = self.queue.now();
        self.watch.see(&Seen { at, node, what });
    }

    /// Something is done. Time that stands still because somebody is never done is a fault of its own, and the run would
    /// not end of it.
    fn note_work(&mut self, who: NodeNr) {
        let now = self.queue.now();
        if self.moment.0 != now {
            self.moment = (now, 0);
        }
        self.moment.1 += 1;
        if self.moment.1 > AT_ONCE_MAX {
            self.watch.complain("endless", now, who, format!("more than {AT_ONCE_MAX} things at one moment"));
        }
    }

    /// A node does what it can do now.
    pub(super) fn run_node(&mut self, who: NodeNr) {
        self.acting = who;
        while self.nodes[who.index()].is_free() && !self.watch.is_broken() {
            self.note_work(who);
            if !self.nodes[who.index()].work.is_empty() {
                self.execute_next(who);
                continue;
            }
            let node = &mut self.nodes[who.index()];
            node.recovering = false;
            if let Some(signed) = node.signed.pop_front() {
                self.step(who, Input::Signed(signed));
            } else if let Some(arrival) = node.inbox.pop_front() {
                self.take(who, arrival);
            } else {
                return;
            }
        }
    }

    fn take(&mut self, who: NodeNr, arrival: Arrival<P::Message>) {
        match arrival {
            Arrival::Word(from, message) => self.hear(who, from, &message),
            Arrival::Answer(Answer::Applied(height)) => self.applied(who, height),
            Arrival::Answer(answer) => {
                if let Answer::Checked(_, block, verdict) = &answer {
                    let accepted = *verdict == crate::consensus::BlockVerdict::Accept;
                    self.see(who, What::Checked { block, accepted });
                }
                if let Some(input) = answer.into_input() {
                    self.step(who, input);
                }
            }
            Arrival::Timer(timer) => {
                self.step(who, Input::TimerFired(timer));
            }
            Arrival::Woken => {
                self.step(who, Input::Woken);
            }
            Arrival::PeerUp(peer) => {
                self.step(who, Input::PeerUp(id_of(peer)));
            }
            Arrival::PeerDown(peer) => {
                self.step(who, Input::PeerDown(id_of(peer)));
            }
            Arrival::Read(number) => self.read(who, number),
        }
    }

    fn hear(&mut self, who: NodeNr, from: NodeNr, message: &Arc<P::Message>) {
        self.overhear(who, from, P::word(message));
        if !self.is_good(who, from, message) {
            return;
        }
        let node = &self.nodes[who.index()];
        let Some(machine) = &node.machine else { return };
        match machine.sort(&node.state, (**message).clone()) {
            Sorted::Said(said) => {
                self.see(who, What::Heard { from, word: P::word(&said) });
                match self.step(who, Input::Received { source: Source::Peer(id_of(from)), message: said }) {
                    Reaction::Accepted => self.shelve(who, message),
                    Reaction::Ignored(_) | Reaction::Later(_) => {}
                    Reaction::PeerFault(why) => self.see(who, What::Blamed { peer: from, why }),
                }
            }
            Sorted::Beyond(height) => {
                if height.get() >= node.state.height.next().get().saturating_add(HEIGHTS_AHEAD_TO_FETCH) {
                    self.fetch_soon(who);
                }
            }
            Sorted::Useless => {}
        }
    }

    /// Now and then it is looked how much a machine keeps of what others say.
    fn measure(&mut self, who: NodeNr) {
        self.steps += 1;
        if !self.steps.is_multiple_of(MEASURED_EVERY) {
            return;
        }
        let Some(sizes) = self.nodes[who.index()].machine.as_ref().map(P::sizes) else { return };
        self.watch.count("measured");
        for (limit, value) in sizes {
            let most = check::most(self.watch.scene(), limit);
            self.see(who, What::Measured { limit, value, most });
        }
    }

    /// Tells the machine a fact; what it orders is done next.
    pub(super) fn step(&mut self, who: NodeNr, input: Input<P::Message>) -> Reaction {
        let node = &mut self.nodes[who.index()];
        let Some(machine) = &mut node.machine else { return Reaction::Ignored("it is down") };
        let now = node.clock.now(self.queue.now());
        let before = (machine.height(), machine.round());
        let reaction = machine.step(now, input, &mut self.out);
        let moved = (machine.height(), machine.round()) != before;
        node.work.extend(self.out.drain(..));
        if moved {
            self.tell_place(who);
        }
        self.measure(who);
        reaction
    }

    /// A life begins.
    pub(super) fn start_node(&mut self, who: NodeNr) {
        let now = self.queue.now();
        self.acting = who;
        let node = &mut self.nodes[who.index()];
        node.clock.restart(now);
        let life = node.life;
        self.see(who, What::Started { life });
        // The handshake: the application executes what the store has and it has not.
        while self.nodes[who.index()].state.height < self.nodes[who.index()].disk.stored() {
            self.watch.count("block replayed at a start");
            self.apply_next(who);
        }
        self.recover(who);
        for peer in self.plan.all().filter(|peer| *peer != who) {
            if self.nodes[peer.index()].machine.is_some() {
                self.connect(who, peer);
                self.connect(peer, who);
            }
        }
        self.run_node(who);
    }

    pub(super) fn connect(&mut self, who: NodeNr, peer: NodeNr) {
        let wait = self.dice.time(Duration::from_micros(100), Duration::from_millis(3));
        let life = self.nodes[who.index()].life;
        self.queue.after(wait, Event::Arrive { node: who, life, arrival: Arrival::PeerUp(peer) });
    }

    /// Takes up the height after the last block applied, with what the journal has of it.
    pub(super) fn recover(&mut self, who: NodeNr) {
        let now = self.nodes[who.index()].clock.now(self.queue.now());
        let start = self.start(who, now.tick);
        self.see(who, What::Began { height: start.height, validators: &start.validators });
        let records = self.nodes[who.index()].disk.records(start.height);
        let machine = P::recover(now, start, &records, &mut self.out);
        let node = &mut self.nodes[who.index()];
        node.machine = Some(machine);
        node.work.clear();
        node.signed.clear();
        node.wake = None;
        node.recovering = true;
        node.work.extend(self.out.drain(..));
        self.shelve_journal(who, &records);
        self.tell_place(who);
    }

    /// What the machine needs to know to begin a height; `begin_at` by the node's own clock.
    pub(super) fn start(&self, who: NodeNr, begin_at: Tick) -> Start {
        let node = &self.nodes[who.index()];
        let last = node.disk.block(node.state.height);
        Start {
            chain_id: self.chain.id.clone(),
            height: node.state.height.next(),
            initial_height: Height::FIRST,
            validators: Arc::clone(&node.state.validators),
            next_validators: Arc::clone(&node.state.next_validators),
            last_validators: node.state.last_validators.clone(),
            last_commit: last.map(|decision| decision.commit.clone()),
            last_block: last.map(|decision| Arc::clone(&decision.block)),
            last_block_time: node.state.time,
            params: Arc::clone(&self.params),
            own: Some(self.watch.scene().addresses[who.index()]),
            timeouts: self.pace(),
            begin_at,
            proof_block_needed: node.state.height == Height::ZERO,
            txs_available: false,
        }
    }

    /// Says something to one node; or what a liar says instead.
    pub(super) fn say(&mut self, from: NodeNr, to: NodeNr, message: &Arc<P::Message>) {
        match &self.liars[from.index()] {
            Some(_) => self.say_falsely(from, to, message),
            None => self.put(from, to, message),
        }
    }

    /// Puts a word on the wire.
    pub(super) fn put(&mut self, from: NodeNr, to: NodeNr, message: &Arc<P::Message>) {
        self.see(from, What::Said { to, word: P::word(message) });
        let packet = Packet { from, to, load: Arc::clone(message) };
        for (at, packet) in self.net.send(self.queue.now(), &packet) {
            self.queue.at(at, Event::Packet(packet));
        }
    }

    /// Says something to everybody.
    pub(super) fn say_all(&mut self, from: NodeNr, message: P::Message) {
        let message = Arc::new(message);
        if P::SPREAD == Spread::Gossip {
            self.shelve(from, &message);
        }
        for to in self.plan.all().filter(|to| *to != from) {
            self.say(from, to, &message);
        }
    }

    /// What a machine notes, as states that should be reached in some runs.
    pub(super) fn count_note(&mut self, note: &RoundNote) {
        const LATE_ROUND: u32 = 3;
        match note {
            RoundNote::Relock { .. } => self.watch.count("relock"),
            RoundNote::Lock { round, .. } if round.get() > 0 => self.watch.count("lock in a later round"),
            RoundNote::Unlock { .. } => self.watch.count("unlock"),
            RoundNote::Timeout { .. } => self.watch.count("timeout"),
            RoundNote::Misconduct(_) => self.watch.count("misconduct noted"),
            RoundNote::NewRound { round, .. } if round.get() >= LATE_ROUND => self.watch.count("round 3 or later"),
            _ => {}
        }
    }
}
