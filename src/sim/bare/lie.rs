//! Liars in the network: what their machines say is rewritten on its way out, and checked on its way in.

use super::protocol::Watched;
use super::signer::{signed_proposal, signed_statement, signed_vote};
use super::verify::Refused;
use super::world::{Event, World};
use crate::consensus::Tick;
use crate::sim::liars::{Actor, Cx, Pen, UNPROMPTED_EVERY};
use crate::sim::{Conduct, NodeNr, Plan, Watch, What, Word};
use crate::types::{
    Address, ChainId, DirectMessage, Proposal, Statement, UnsignedProposal, UnsignedStatement, UnsignedVote, Vote,
};
use std::sync::Arc;

/// One liar.
#[derive(Debug)]
pub(super) struct Liar {
    actor: Actor,
    pen: FakePen,
    /// When it is asked for what it keeps back.
    asked_at: Option<Tick>,
}

#[derive(Debug)]
struct FakePen(Address);

impl Pen for FakePen {
    fn vote(&self, chain: &ChainId, unsigned: UnsignedVote) -> Vote {
        signed_vote(&self.0, chain, unsigned)
    }

    fn proposal(&self, chain: &ChainId, unsigned: UnsignedProposal) -> Proposal {
        signed_proposal(&self.0, chain, unsigned)
    }

    fn statement(&self, chain: &ChainId, unsigned: UnsignedStatement) -> Statement {
        signed_statement(&self.0, chain, unsigned)
    }
}

/// The liars of a plan, by node.
pub(super) fn all(plan: &Plan, addresses: &[Address], watch: &Watch) -> Vec<Option<Liar>> {
    let of = |who: NodeNr| match &plan.nodes[who.index()].conduct {
        Conduct::Liar(lies) => {
            let own = addresses[who.index()];
            let dice = watch.dice("liar").fork(&who.0.to_string());
            Some(Liar { actor: Actor::new(own, lies.clone(), dice), pen: FakePen(own), asked_at: None })
        }
        Conduct::Honest | Conduct::TwinOf(_) => None,
    };
    plan.all().map(of).collect()
}

impl<P: Watched> World<P> {
    /// Liars begin to say what nobody asked for, each at its own time.
    pub(super) fn begin_lies(&mut self) {
        for who in self.plan.all() {
            if self.liars[who.index()].is_some() {
                self.queue.after(UNPROMPTED_EVERY, Event::Lie { node: who });
            }
        }
    }

    /// A liar says what its machine does not.
    pub(super) fn lie(&mut self, who: NodeNr) {
        self.queue.after(UNPROMPTED_EVERY, Event::Lie { node: who });
        self.act(who, |actor, cx| actor.unprompted(cx));
    }

    /// A liar says what it kept back.
    pub(super) fn release(&mut self, who: NodeNr) {
        if let Some(liar) = &mut self.liars[who.index()] {
            liar.asked_at = None;
        }
        self.act(who, |actor, cx| actor.release(cx.now));
    }

    /// What a liar really says to `to` where its machine says `message`.
    pub(super) fn say_falsely(&mut self, from: NodeNr, to: NodeNr, message: &P::Message) {
        let Some(machine) = &self.nodes[from.index()].machine else { return };
        let word = machine.spoken(message.clone());
        self.act(from, |actor, cx| actor.rewrite(cx, to, word).into_iter().map(|word| (to, word)).collect());
    }

    fn act(&mut self, who: NodeNr, say: impl FnOnce(&mut Actor, &mut Cx<'_>) -> Vec<(NodeNr, DirectMessage)>) {
        let node = &self.nodes[who.index()];
        let (Some(machine), Some(liar)) = (&node.machine, &mut self.liars[who.index()]) else { return };
        let now = self.queue.now();
        let mut cx = Cx {
            now,
            wall: node.clock.now(now).wall,
            scene: self.watch.scene(),
            height: machine.height(),
            round: machine.round(),
            validators: &node.state.validators,
            pen: &liar.pen,
            coverage: &mut self.told,
        };
        let words = say(&mut liar.actor, &mut cx);
        let due = liar.actor.due();
        if let Some(due) = due.filter(|due| liar.asked_at.is_none_or(|asked| *due < asked)) {
            liar.asked_at = Some(due);
            self.queue.at(due.max(Tick(now.0 + 1)), Event::Release { node: who });
        }
        for (to, word) in words {
            if let Some(message) = P::said(word).filter(|_| to != who) {
                self.put(who, to, &Arc::new(message));
            }
        }
    }

    /// A liar remembers what it hears.
    pub(super) fn overhear(&mut self, who: NodeNr, from: NodeNr, word: Word<'_>) {
        if let Some(liar) = &mut self.liars[who.index()] {
            liar.actor.hear(from, word);
        }
    }

    /// The liar died, and remembers nothing.
    pub(super) fn forget_lies(&mut self, who: NodeNr) {
        if let Some(liar) = &mut self.liars[who.index()] {
            liar.actor.forget();
            liar.asked_at = None;
        }
    }

    /// True when a word may reach the machine. What liars say is checked as a real node checks everything.
    pub(super) fn is_good(&mut self, who: NodeNr, from: NodeNr, message: &P::Message) -> bool {
        let node = &self.nodes[who.index()];
        let (Some(machine), Some(_)) = (&node.machine, &self.liars[from.index()]) else { return true };
        match machine.judge(self.gate, &self.chain.id, &node.state, message) {
            Ok(()) => true,
            Err(Refused::Useless) => false,
            Err(Refused::Fault(why)) => {
                self.watch.count("lie refused");
                self.see(who, What::Blamed { peer: from, why });
                false
            }
        }
    }
}
