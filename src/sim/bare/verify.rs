//! The signatures in words of liars, and their form: what `gossip::hear` and `gossip::hear_direct` check, written down a
//! second time, for signatures that mean nothing.

use super::chain::State;
use super::signer::signature;
use crate::crypto::{PublicKey, Signature};
use crate::types::{
    Address, Algorithm, ChainId, DirectMessage, ExtendedCommit, Extensions, Height, Part, PartSet, PbftStatement,
    Power, PreparedCertificate, Proposal, Round, Statement, StatementBody, Validator, ValidatorSet, Vote, VoteKind,
};
use std::collections::BTreeSet;

/// Why a word does not reach the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is of no use here.
    Useless,
    /// Only a faulty peer says that.
    Fault(&'static str),
}

type Verdict = Result<(), Refused>;

fn fault<T>(why: &'static str) -> Result<T, Refused> {
    Err(Refused::Fault(why))
}

fn demand(holds: bool, otherwise: &'static str) -> Verdict {
    if holds { Ok(()) } else { fault(otherwise) }
}

/// How much is looked at before the machine is told. In a node the machine is the second line of defence: what is wrong in
/// form hardly ever comes to it. In some runs it has to stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Signatures and form, as a node has it.
    Whole,
    /// What machines take on trust: signatures, commits, and whatever is not of the height being decided.
    SignaturesOnly,
}

/// Where a node stands, and whose signatures count there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) gate: Gate,
    pub(super) chain: &'a ChainId,
    pub(super) algorithm: Algorithm,
    /// The height being decided.
    pub(super) ours: Height,
    pub(super) state: &'a State,
}

/// The validators of a height, as far as they are known.
enum Set<'a> {
    Known(&'a ValidatorSet),
    Below,
    Beyond,
}

/// A VIEW-CHANGE, open.
struct Change<'a> {
    view: Round,
    height: Height,
    checkpoint: Option<&'a ExtendedCommit>,
    prepared: Option<&'a PreparedCertificate>,
}

fn opened(body: &PbftStatement) -> Option<Change<'_>> {
    match body {
        PbftStatement::ViewChange { view, height, checkpoint, prepared } => {
            Some(Change { view: *view, height: *height, checkpoint: checkpoint.as_ref(), prepared: prepared.as_ref() })
        }
        PbftStatement::NewView { .. } | PbftStatement::Status { .. } => None,
    }
}

impl Judge<'_> {
    fn set(&self, height: Height) -> Set<'_> {
        let last = self.state.last_validators.as_deref();
        match height.get().checked_sub(self.ours.get()) {
            Some(0) => Set::Known(&self.state.validators),
            Some(1) => Set::Known(&self.state.next_validators),
            Some(_) => Set::Beyond,
            None if height.next() == self.ours => last.map_or(Set::Below, Set::Known),
            None => Set::Below,
        }
    }

    fn knows(&self, address: &Address) -> bool {
        let sets =
            [Some(&self.state.validators), self.state.last_validators.as_ref(), Some(&self.state.next_validators)];
        sets.into_iter().flatten().any(|set| set.by_address(address).is_some())
    }

    /// A demand that a machine makes of what is of its own height, too.
    fn demand_here(&self, height: Height, holds: bool, otherwise: &'static str) -> Verdict {
        let left_to_the_machine = self.gate == Gate::SignaturesOnly && height == self.ours;
        demand(holds || left_to_the_machine, otherwise)
    }

    /// In Tendermint; `proposer` is whose turn it is in the proposal's round, where that is known.
    pub(super) fn gossip(&self, proposer: Option<Address>, word: &DirectMessage) -> Verdict {
        match word {
            DirectMessage::Proposal { proposal, .. } => {
                self.proposal_form(proposal)?;
                match proposer.filter(|_| proposal.height == self.ours) {
                    Some(proposer) => self.proposal(&proposer, proposal),
                    None => Err(Refused::Useless),
                }
            }
            DirectMessage::Part { part, .. } => part_form(part),
            DirectMessage::Vote(vote) => {
                let late = vote.height.next() == self.ours && vote.kind == VoteKind::Precommit;
                match self.set(vote.height) {
                    Set::Known(set) if vote.height == self.ours || late => self.vote(set, vote),
                    _ => Err(Refused::Useless),
                }
            }
            DirectMessage::Statement(_) | DirectMessage::Commit(_) => Err(Refused::Useless),
        }
    }

    /// In Raft and PBFT. What is of another height than those known here is for `sort`.
    pub(super) fn direct(&self, word: &DirectMessage) -> Verdict {
        match word {
            DirectMessage::Proposal { by, proposal } => {
                self.proposal_form(proposal)?;
                match self.set(proposal.height) {
                    Set::Known(_) if proposal.height >= self.ours && self.knows(by) => self.proposal(by, proposal),
                    _ => Ok(()),
                }
            }
            DirectMessage::Part { part, .. } => part_form(part),
            DirectMessage::Vote(vote) => match self.set(vote.height) {
                Set::Known(set) => self.vote(set, vote),
                Set::Below | Set::Beyond => Ok(()),
            },
            DirectMessage::Commit(commit) => match self.set(commit.height) {
                Set::Known(set) => self.commit(set, commit),
                Set::Below | Set::Beyond => Ok(()),
            },
            DirectMessage::Statement(statement) => self.statement(statement),
        }
    }

    fn proposal_form(&self, proposal: &Proposal) -> Verdict {
        let total = proposal.block_id.parts.total;
        demand((1..=PartSet::PARTS_MAX).contains(&total), "proposal of a block of no or too many parts")?;
        let earlier = proposal.pol_round.is_none_or(|pol_round| pol_round < proposal.round);
        self.demand_here(proposal.height, earlier, "justified by a later round")
    }

    fn proposal(&self, by: &Address, proposal: &Proposal) -> Verdict {
        let signed = signature(by, &proposal.sign_bytes(self.chain)) == proposal.signature;
        demand(signed, "proposal that whom it names did not sign")
    }

    fn vote(&self, set: &ValidatorSet, vote: &Vote) -> Verdict {
        let may_extend = vote.kind == VoteKind::Precommit && vote.block_id.is_some();
        let extended = vote.extension_signature.is_some();
        demand(vote.extension.is_empty() || extended, "extension nobody signed")?;
        demand(may_extend || !extended, "extension that does not belong there")?;
        let Some(voter) = set.by_index(vote.validator_index) else { return fault("vote of nobody in the set") };
        demand(voter.address == vote.validator_address, "index and address of different validators")?;
        demand(
            signature(&voter.address, &vote.sign_bytes(self.chain)) == vote.signature,
            "vote not signed by its voter",
        )?;
        let of_extension = || signature(&voter.address, &vote.extension_sign_bytes(self.chain));
        demand(vote.extension_signature.is_none_or(|it| it == of_extension()), "extension not signed by its voter")
    }

    fn commit(&self, set: &ValidatorSet, commit: &ExtendedCommit) -> Verdict {
        // Of a height that is not here yet nobody knows whether it will have extensions: it must be of one kind.
        let extended = || commit.signatures.iter().any(|entry| entry.extension_signature.is_some());
        let required = match commit.height > self.ours {
            true => extended(),
            false => self.state.extensions_from.is_some_and(|first| commit.height >= first),
        };
        let extensions = if required { Extensions::Required } else { Extensions::Forbidden };
        let claims = set.extended_commit_claims(self.chain, commit, extensions, self.algorithm.quorum());
        let Ok(claims) = claims else { return fault("commit that no quorum made") };
        let good = |(key, bytes, it): &(PublicKey, Vec<u8>, Signature)| signature(&Address::from(key), bytes) == *it;
        demand(claims.iter().all(good), "commit with a signature its validator did not make")
    }

    fn is_signed(&self, statement: &Statement) -> bool {
        signature(&statement.by, &statement.sign_bytes(self.chain)) == statement.signature
    }

    fn statement(&self, statement: &Statement) -> Verdict {
        demand(statement.body.algorithm() == self.algorithm, "statement of another protocol")?;
        if !self.knows(&statement.by) {
            return Ok(());
        }
        demand(self.is_signed(statement), "statement that its validator did not sign")?;
        let StatementBody::Pbft(body) = &statement.body else { return Ok(()) };
        match &**body {
            PbftStatement::ViewChange { height, .. } => match (self.set(*height), opened(body)) {
                (Set::Known(_) | Set::Below, Some(change)) => self.change(&change),
                _ => Ok(()),
            },
            PbftStatement::NewView { view, height, view_changes, .. } => match self.set(*height) {
                Set::Known(set) => self.new_view(set, statement.by, (*view, *height), view_changes),
                Set::Below | Set::Beyond => Ok(()),
            },
            PbftStatement::Status { view, height, proposal, .. } => {
                let Some(proposal) = proposal else { return Ok(()) };
                demand((proposal.height, proposal.round) == (*height, *view), "status with a foreign proposal")?;
                match self.set(*height) {
                    Set::Known(set) => {
                        self.proposal_form(proposal)?;
                        self.proposal(&primary(set, *view).address, proposal)
                    }
                    Set::Below | Set::Beyond => Ok(()),
                }
            }
        }
    }

    /// §4.4: the proof that the height before is decided, and what prepared at this one.
    fn change(&self, change: &Change<'_>) -> Verdict {
        let needed = change.height > self.ours || (change.height == self.ours && self.state.last_validators.is_some());
        match change.checkpoint {
            None => demand(!needed, "VIEW-CHANGE without its checkpoint")?,
            Some(commit) => {
                let before = commit.height.next() == change.height;
                self.demand_here(change.height, before, "VIEW-CHANGE with the commit of another height")?;
                match self.set(commit.height) {
                    Set::Known(set) => self.commit(set, commit)?,
                    Set::Below => demand(change.height != self.ours, "a commit of before the first height")?,
                    Set::Beyond => {}
                }
            }
        }
        let Some(certificate) = change.prepared else { return Ok(()) };
        let fits = certificate.height == change.height && certificate.view < change.view;
        self.demand_here(change.height, fits, "certificate of another height or a later view")?;
        match self.set(change.height) {
            Set::Known(set) => self.prepared(set, certificate),
            Set::Below | Set::Beyond => Ok(()),
        }
    }

    /// §4.2, the predicate *prepared*.
    fn prepared(&self, set: &ValidatorSet, certificate: &PreparedCertificate) -> Verdict {
        let PreparedCertificate { height, view, block_id, prepares } = certificate;
        let (mut voters, mut power) = (BTreeSet::new(), Power::ZERO);
        for vote in prepares {
            let about = (vote.kind, vote.height, vote.round, vote.block_id);
            let fits = about == (VoteKind::Prevote, *height, *view, Some(*block_id));
            self.demand_here(*height, fits, "PREPARE of something else")?;
            self.demand_here(*height, voters.insert(vote.validator_index), "two PREPAREs of one validator")?;
            self.vote(set, vote)?;
            power = power + set.by_index(vote.validator_index).map_or(Power::ZERO, |member| member.power);
        }
        let enough = self.algorithm.quorum().is_reached(power, set.total_power());
        self.demand_here(*height, enough, "certificate without a quorum")
    }

    /// §4.4: VIEW-CHANGEs for this view, each of another replica, of more than two thirds together.
    fn new_view(
        &self,
        set: &ValidatorSet,
        by: Address,
        (view, height): (Round, Height),
        statements: &[Statement],
    ) -> Verdict {
        let demand = |holds, otherwise| self.demand_here(height, holds, otherwise);
        demand(primary(set, view).address == by, "NEW-VIEW of a replica that is not the primary")?;
        let (mut replicas, mut power, mut at_height) = (BTreeSet::new(), Power::ZERO, false);
        for statement in statements {
            let StatementBody::Pbft(body) = &statement.body else { return fault("NEW-VIEW with a foreign statement") };
            let Some(change) = opened(body) else { return fault("NEW-VIEW with something else than VIEW-CHANGEs") };
            demand(change.view == view && change.height <= height, "VIEW-CHANGE of another view or a later height")?;
            demand(replicas.insert(statement.by), "two VIEW-CHANGEs of one replica")?;
            let Some((_, member)) = set.by_address(&statement.by) else { return fault("VIEW-CHANGE of a stranger") };
            power = power + member.power;
            if !self.is_signed(statement) {
                return fault("VIEW-CHANGE that its replica did not sign");
            }
            if change.height == height {
                at_height = true;
                self.change(&change)?;
            }
        }
        demand(at_height, "NEW-VIEW of a height that none of its VIEW-CHANGEs is at")?;
        demand(self.algorithm.quorum().is_reached(power, set.total_power()), "VIEW-CHANGEs of too little power")
    }
}

/// p = v mod n (§4.1).
fn primary(set: &ValidatorSet, view: Round) -> &Validator {
    let members = set.members();
    &members[view.get() as usize % members.len()] // a set is never empty
}

fn part_form(part: &Part) -> Verdict {
    let (index, len) = (u64::from(part.index), part.bytes.len());
    demand(len <= PartSet::PART_BYTES, "part larger than a part may be")?;
    demand(index + 1 >= part.proof.total || len == PartSet::PART_BYTES, "short part that is not the last")?;
    demand(index == part.proof.index, "part with the proof of another")?;
    demand(part.proof.aunts.len() <= crate::crypto::merkle::AUNTS_MAX, "proof deeper than any tree")
}
