//! What a machine orders, done one by one in its order. A crash may come between any two.

use super::node::{Answer, Arrival};
use super::protocol::Watched;
use super::world::{Event, World, node_of};
use super::{app, chain};
use crate::consensus::{BlockVerdict, BuildOrder, Decision, Effect, Input, Signed, Tick};
use crate::sim::{NodeNr, What, Word};
use crate::types::{CandidateBlock, Height, JournalRecord, SignRequest};
use std::sync::Arc;
use std::time::Duration;

/// How long the disk takes to sync.
const SYNC: (Duration, Duration) = (Duration::from_micros(50), Duration::from_micros(1500));
/// How long the application takes to answer, and to execute a block.
const APP: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));
/// How long it takes to fetch blocks.
const FETCH: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(60));

impl<P: Watched> World<P> {
    /// Does the next thing ordered, unless the node dies before it, or it has to wait for the disk.
    pub(super) fn execute_next(&mut self, who: NodeNr) {
        if self.dies(who) {
            return;
        }
        let node = &mut self.nodes[who.index()];
        let Some(effect) = node.work.pop_front() else { return };
        // The barrier, as `executor` has it: what was persisted is durable before a signature or a decision.
        if node.disk.is_dirty() && matches!(effect, Effect::Sign(_) | Effect::Decide(_)) {
            if let Some(doom) = &mut node.doom {
                doom.left += 1;
            }
            node.work.push_front(effect);
            node.syncing = true;
            let life = node.life;
            let wait = self.dice.time(SYNC.0, SYNC.1);
            return self.queue.after(wait, Event::Synced { node: who, life });
        }
        self.execute(who, effect);
    }

    /// Counts one more thing that is done; true when the node dies instead.
    fn dies(&mut self, who: NodeNr) -> bool {
        let Some(doom) = &mut self.nodes[who.index()].doom else { return false };
        if doom.left > 0 {
            doom.left -= 1;
            return false;
        }
        let doom = *doom;
        self.crash(who, doom.unsynced, doom.away);
        true
    }

    fn execute(&mut self, who: NodeNr, effect: Effect<P>) {
        match effect {
            Effect::Persist(record) => self.persist(who, record),
            Effect::Sign(request) => self.have_signed(who, request),
            Effect::Send(to, message) => self.say(who, node_of(&to), &Arc::new(message)),
            Effect::Broadcast(message) => self.say_all(who, message),
            Effect::SetTimer { timer, at, .. } => {
                let node = &self.nodes[who.index()];
                let (life, due) = (node.life, node.clock.global(at));
                self.queue.at(due, Event::Timer { node: who, life, timer, at });
            }
            Effect::WakeAt(at) => {
                let node = &mut self.nodes[who.index()];
                node.wake = Some(at);
                let (life, due) = (node.life, node.clock.global(at));
                self.queue.at(due, Event::Wake { node: who, life, at });
            }
            Effect::BuildBlock(order) => self.build(who, &order),
            Effect::CheckBlock { height, round, block } => {
                let verdict = self.judge(who, &block);
                self.answer(who, Answer::Checked((height, round), block, verdict));
            }
            Effect::ExtendVote { height, round, .. } => {
                self.answer(who, Answer::Extended(height, round, app::extension(height)));
            }
            Effect::VerifyExtension { vote, source } => {
                let accepted = vote.extension == app::extension(vote.height);
                self.watch.count(if accepted { "extension checked" } else { "extension refused" });
                self.answer(who, Answer::Verified(vote, source, accepted));
            }
            Effect::Decide(decision) => self.decide(who, decision),
            Effect::Accuse(accusation) => {
                self.watch.count("equivocation seen");
                self.see(who, What::Accused { first: &accusation.first, second: &accusation.second });
            }
            Effect::RequestSync(_) => self.fetch_soon(who),
            Effect::ReadAt(ticket, height) => self.read_granted(who, ticket, height),
            Effect::OfferTxs => self.watch.count("transactions offered again"),
            Effect::ReadRefused(..) => self.watch.count("read refused"),
            Effect::Note(note) => self.count_note(&note),
        }
    }

    /// What the rules and the application say about a block.
    fn judge(&mut self, who: NodeNr, block: &CandidateBlock) -> BlockVerdict {
        if !self.chain.is_valid(&self.nodes[who.index()].state, block.block()) {
            return BlockVerdict::Reject("not a block of this chain".into());
        }
        if self.app.refuse(&block.id()) {
            self.watch.count("application refused a block");
            return BlockVerdict::Reject("the application does not want it".into());
        }
        BlockVerdict::Accept
    }

    fn persist(&mut self, who: NodeNr, record: JournalRecord) {
        self.see(who, What::Persisted(&record));
        self.nodes[who.index()].disk.write(record);
    }

    fn have_signed(&mut self, who: NodeNr, request: SignRequest) {
        let by = self.watch.scene().addresses[who.index()];
        let signed = self.nodes[who.index()].key.answer(&self.chain.id, request);
        match &signed {
            Signed::Vote(vote) => self.see(who, What::Signed(Word::Vote(vote))),
            Signed::Proposal(proposal) => self.see(who, What::Signed(Word::Proposal { by: Some(by), proposal })),
            Signed::Statement(statement) => self.see(who, What::Signed(Word::Statement(statement))),
            Signed::Refused { .. } => self.watch.count("signer refused"),
        }
        self.nodes[who.index()].signed.push_back(signed);
    }

    fn build(&mut self, who: NodeNr, order: &BuildOrder) {
        let own = self.watch.scene().addresses[who.index()];
        let node = &self.nodes[who.index()];
        let now = node.clock.now(self.queue.now());
        let txs = self.wanted.iter().map(|change| chain::power_tx(*change));
        let txs = txs.chain(self.clients.waiting(who)).collect();
        let block = self.chain.build(&node.state, own, now.wall, txs);
        // After healing whatever is built is wanted.
        if self.queue.now() < self.plan.heal_at {
            self.app.taste(block.id());
        }
        self.answer(who, Answer::Built(order.height, order.round, block));
    }

    /// The application answers, some time later.
    fn answer(&mut self, who: NodeNr, answer: Answer) {
        let life = self.nodes[who.index()].life;
        let wait = self.dice.time(APP.0, APP.1);
        self.queue.after(wait, Event::Arrive { node: who, life, arrival: Arrival::Answer(answer) });
    }

    /// The application answered; when it is away, it will when it is back.
    pub(super) fn answered(&mut self, who: NodeNr, answer: Answer) {
        let node = &mut self.nodes[who.index()];
        if self.queue.now() < node.app_back {
            node.held.push(answer);
        } else {
            self.arrive(who, Arrival::Answer(answer));
        }
    }

    /// The application is back, unless it went away again meanwhile.
    pub(super) fn app_returns(&mut self, who: NodeNr) {
        let node = &mut self.nodes[who.index()];
        if self.queue.now() >= node.app_back {
            node.inbox.extend(node.held.drain(..).map(Arrival::Answer));
            self.run_node(who);
        }
    }

    /// Stores the block, ends the journal's height, has the block executed.
    fn decide(&mut self, who: NodeNr, decision: Decision) {
        let (now, height) = (self.queue.now(), decision.commit.height);
        self.see(who, What::Decided { block: &decision.block, commit: &decision.commit });
        let node = &mut self.nodes[who.index()];
        if height != node.disk.stored().next() {
            let why = format!("height {height} was decided, and the store ends at {}", node.disk.stored());
            return self.watch.complain("order", now, who, why);
        }
        node.decided_at = Some(node.clock.now(now).tick);
        node.disk.blocks.push(Arc::new(decision));
        self.see(who, What::Stored { height });
        self.persist(who, JournalRecord::EndHeight(height));
        self.answer(who, Answer::Applied(height));
    }

    /// The application executed a stored block: the next height begins.
    pub(super) fn applied(&mut self, who: NodeNr, height: Height) {
        if self.nodes[who.index()].state.height.next() != height {
            return; // blocks were fetched meanwhile, this one among them
        }
        self.apply_next(who);
        let pause = self.pace().commit;
        let node = &mut self.nodes[who.index()];
        let now = node.clock.now(self.queue.now()).tick;
        let begin_at = node.decided_at.take().unwrap_or(now).plus(pause);
        node.shelf.clear();
        self.begin_next(who, begin_at);
    }

    fn begin_next(&mut self, who: NodeNr, begin_at: Tick) {
        let start = self.start(who, begin_at);
        self.see(who, What::Began { height: start.height, validators: &start.validators });
        self.step(who, Input::BlockApplied(Box::new(start)));
    }

    /// Executes the block after the last one applied.
    pub(super) fn apply_next(&mut self, who: NodeNr) {
        let node = &mut self.nodes[who.index()];
        let height = node.state.height.next();
        let Some(decision) = node.disk.block(height).map(Arc::clone) else { return };
        let state = self.chain.apply(&node.state, &decision.block);
        node.state = Arc::clone(&state);
        self.wanted.retain(|change| !decision.block.block().txs.contains(&chain::power_tx(*change)));
        self.see(
            who,
            What::Applied {
                height,
                block_id: decision.block.id(),
                app_hash: &state.app_hash,
                next_validators: &state.next_validators,
            },
        );
        self.acknowledge(who, height, &decision.block);
        // A node applies each height once: what it applied its application keeps.
        if height == self.goal && self.watch.scene().is_honest(who) {
            self.unfinished -= 1;
        }
    }

    /// The node is behind: blocks are fetched, if anybody has them.
    pub(super) fn fetch_soon(&mut self, who: NodeNr) {
        let node = &mut self.nodes[who.index()];
        if !node.fetching {
            node.fetching = true;
            let life = node.life;
            let wait = self.dice.time(FETCH.0, FETCH.1);
            self.queue.after(wait, Event::Fetch { node: who, life });
        }
    }

    fn dies_fetching(&mut self, who: NodeNr) -> bool {
        let dies = self.dies(who);
        if dies {
            self.watch.count("crash while fetching");
        }
        dies
    }

    /// Blocks whose commit is in a later block of somebody connected are applied, and consensus begins anew behind them,
    /// with what the journal has.
    pub(super) fn fetch(&mut self, who: NodeNr) {
        self.nodes[who.index()].fetching = false;
        if !self.nodes[who.index()].is_free() {
            return self.fetch_soon(who);
        }
        let connected = |peer: &NodeNr| {
            *peer != who
                && self.nodes[peer.index()].machine.is_some()
                && !self.net.is_cut(*peer, who)
                && !self.net.is_cut(who, *peer)
        };
        let best = self.plan.all().filter(connected).max_by_key(|peer| self.nodes[peer.index()].disk.stored());
        let Some(best) = best else { return };
        let Some(last) = self.nodes[best.index()].disk.stored().previous() else { return };
        if last <= self.nodes[who.index()].disk.stored() {
            return;
        }
        self.watch.count("blocks fetched");
        if self.nodes[who.index()].disk.is_dirty() {
            self.nodes[who.index()].disk.synced();
            self.see(who, What::Synced);
        }
        while self.nodes[who.index()].disk.stored() < last {
            if self.dies_fetching(who) {
                return;
            }
            let height = self.nodes[who.index()].disk.stored().next();
            let Some(decision) = self.nodes[best.index()].disk.block(height).map(Arc::clone) else { return };
            self.see(who, What::Decided { block: &decision.block, commit: &decision.commit });
            self.nodes[who.index()].disk.blocks.push(decision);
            self.see(who, What::Stored { height });
            while self.nodes[who.index()].state.height < height {
                if self.dies_fetching(who) {
                    return;
                }
                self.apply_next(who);
            }
        }
        self.nodes[who.index()].decided_at = None;
        self.recover(who);
        for peer in self.plan.all().filter(|peer| *peer != who) {
            if self.nodes[peer.index()].machine.is_some() {
                self.nodes[who.index()].inbox.push_front(Arrival::PeerUp(peer));
            }
        }
        self.run_node(who);
    }
}

/// The longest a sync and an answer of the application take together.
pub(super) fn answer_max() -> Duration {
    SYNC.1 + APP.1
}

/// The longest it takes to fetch blocks.
pub(super) fn fetch_max() -> Duration {
    FETCH.1
}
