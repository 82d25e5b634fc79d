//! Liars among whole replicas: what an honest replica says is rewritten on its way out, for each receiver, in the bytes
//! of the real codecs, and signed with the node's real key.
//!
//! The replica of a liar believes that it said what it meant to say: what left a connection is counted to it as if it
//! had.

use super::events::{Event, Fact, Out};
use super::people::key_of;
use super::process::{Process, Scope};
use super::words;
use super::world::World;
use crate::consensus::Tick;
use crate::crypto::{PrivateKey, Signature};
use crate::replica::Replica;
use crate::sim::bare::decisions;
use crate::sim::liars::{Actor, Cx, Pen, Speech, UNPROMPTED_EVERY};
use crate::sim::{Conduct, Coverage, Dice, NodeNr, Plan, Scene, What, Word};
use crate::types::{
    Address, ChainId, PeerMessage, Proposal, Round, Statement, Time, UnsignedProposal, UnsignedStatement, UnsignedVote,
    Vote,
};
use bytes::Bytes;
use std::time::Duration;

/// One liar.
#[derive(Debug)]
pub(super) struct Liar {
    actor: Actor,
    pen: KeyPen,
    /// When it is asked for what it keeps back.
    asked_at: Option<Tick>,
    /// Lies told.
    pub(super) told: Coverage,
}

/// A validator's key without a guard.
struct KeyPen(PrivateKey);

impl std::fmt::Debug for KeyPen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPen({:?})", self.0.public_key())
    }
}

impl Pen for KeyPen {
    fn vote(&self, chain: &ChainId, unsigned: UnsignedVote) -> Vote {
        const NONE: Signature = Signature::new([0; 64]);
        let (timestamp, extended) = (unsigned.timestamp, unsigned.extension.is_some());
        let mut vote = unsigned.signed(timestamp, NONE, None);
        vote.signature = self.0.sign(&vote.sign_bytes(chain));
        vote.extension_signature = extended.then(|| self.0.sign(&vote.extension_sign_bytes(chain)));
        vote
    }

    fn proposal(&self, chain: &ChainId, unsigned: UnsignedProposal) -> Proposal {
        let signature = self.0.sign(&unsigned.sign_bytes(chain));
        let timestamp = unsigned.timestamp;
        unsigned.signed(timestamp, signature)
    }

    fn statement(&self, chain: &ChainId, unsigned: UnsignedStatement) -> Statement {
        let signature = self.0.sign(&unsigned.sign_bytes(chain));
        unsigned.signed(signature)
    }
}

impl Liar {
    /// The liar this node is by the plan, if it is one.
    pub(super) fn of(plan: &Plan, node: NodeNr, dice: &Dice) -> Option<Liar> {
        match &plan.nodes[node.index()].conduct {
            Conduct::Liar(lies) => {
                let key = key_of(plan, node);
                let own = Address::from(&key.public_key());
                let actor = Actor::new(own, lies.clone(), dice.fork("liar").fork(&node.0.to_string()));
                Some(Liar { actor, pen: KeyPen(key), asked_at: None, told: Coverage::default() })
            }
            Conduct::Honest | Conduct::TwinOf(_) => None,
        }
    }

    /// It remembers what it hears.
    pub(super) fn hear(&mut self, from: NodeNr, word: Word<'_>) {
        self.actor.hear(from, word);
    }

    /// Its life ended, and it remembers nothing.
    pub(super) fn forget(&mut self) {
        self.actor.forget();
        self.asked_at = None;
    }

    /// When it wants to say what it keeps back, if nobody is to ask it by then.
    pub(super) fn ask_at(&mut self) -> Option<Tick> {
        let due = self.actor.due().filter(|due| self.asked_at.is_none_or(|asked| *due < asked))?;
        self.asked_at = Some(due);
        Some(due)
    }

    /// Lets it say something, where its replica stands.
    fn act<T>(
        &mut self,
        scope: (Tick, Time, &Scene),
        replica: &Replica,
        say: impl FnOnce(&mut Actor, &mut Cx<'_>) -> T,
    ) -> T {
        let (now, wall, scene) = scope;
        let state = replica.state();
        let view = replica.view();
        let mut cx = Cx {
            now,
            wall,
            scene,
            height: view.as_ref().map_or(state.next_height(), |view| view.height),
            round: view.as_ref().map_or(Round::ZERO, |view| view.round),
            validators: &state.validators,
            pen: &self.pen,
            coverage: &mut self.told,
        };
        say(&mut self.actor, &mut cx)
    }
}

impl Process {
    /// A liar says what its replica does not.
    pub(super) fn lie(&self, scope: &mut Scope<'_>) {
        let words = self.act(scope, |actor, cx| actor.unprompted_speeches(cx));
        words.into_iter().for_each(|(to, speech)| self.utter(scope, to, speech));
    }

    /// A liar says what it kept back.
    pub(super) fn say_held(&self, scope: &mut Scope<'_>) {
        if let Some(liar) = &mut scope.liar {
            liar.asked_at = None;
        }
        let words = self.act(scope, |actor, cx| actor.release_speeches(cx));
        words.into_iter().for_each(|(to, speech)| self.utter(scope, to, speech));
    }

    /// What a liar says over its connection to `peer` where its replica says `message`, of so many bytes.
    pub(super) fn say_falsely(&self, scope: &mut Scope<'_>, peer: NodeNr, message: &PeerMessage, bytes: u64) {
        let words = self.act(scope, |actor, cx| actor.rewrite_peer_message(cx, peer, message.clone()));
        words.into_iter().for_each(|word| self.utter(scope, peer, Speech::Message(word)));
        if let Some(link) = self.peers.get(&peer) {
            scope.out.push(Out::Meant { to: peer, link: *link, channel: message.channel(), bytes });
        }
    }

    fn act<T: Default>(&self, scope: &mut Scope<'_>, say: impl FnOnce(&mut Actor, &mut Cx<'_>) -> T) -> T {
        let facts = (scope.at, scope.now.wall, scope.watch.scene());
        scope.liar.as_mut().map_or_else(T::default, |liar| liar.act(facts, &self.replica, say))
    }

    fn utter(&self, scope: &mut Scope<'_>, to: NodeNr, speech: Speech) {
        let Some(link) = self.peers.get(&to) else { return };
        let (channel, bytes): (_, Bytes) = match speech {
            Speech::Message(message) => {
                if let Some(word) = words::in_message(&message) {
                    scope.see(What::Said { to, word });
                }
                (message.channel(), message.encode())
            }
            Speech::Raw(channel, bytes) => (channel, bytes),
        };
        scope.out.push(Out::Send { to, link: *link, channel, bytes, counted: 0 });
    }
}

impl World {
    /// Liars begin to say what nobody asked for.
    pub(super) fn begin_lies(&mut self) {
        for node in self.plan.all() {
            if self.site(node).liar.is_some() {
                self.queue.after(UNPROMPTED_EVERY, Event::Lie(node));
            }
        }
    }

    /// A liar says what its replica does not.
    pub(super) fn lie(&mut self, node: NodeNr) {
        self.queue.after(UNPROMPTED_EVERY, Event::Lie(node));
        if self.site(node).paused.is_none() {
            self.tell(node, Fact::Lie);
        }
    }

    /// A liar is asked in time for what it keeps back.
    pub(super) fn plan_release(&mut self, node: NodeNr) {
        let now = self.queue.now();
        let site = self.site(node);
        let life = site.life;
        if let Some(due) = site.liar.as_mut().and_then(Liar::ask_at) {
            self.queue.at(due.max(Tick(now.0 + 1)), Event::Tell { node, life, fact: Fact::Release });
        }
    }
}

/// How long liars may hold the others up after healing, beside what honest networks take: as at level 1.
pub(super) fn cost_of_liars(plan: &Plan) -> Duration {
    let honest = plan.all().all(|node| plan.is_honest(node));
    if honest { Duration::ZERO } else { decisions(plan) }
}
