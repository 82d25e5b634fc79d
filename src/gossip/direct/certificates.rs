//! What PBFT's statements carry as proof: PREPAREs, commits, VIEW-CHANGEs, the primary's proposal.
//!
//! Certificates are checked where they can matter: those of a height that is decided here, and whose validators are
//! forgotten, prove nothing any more, nor do those of VIEW-CHANGEs below the height of the NEW-VIEW that holds them
//! (nothing they prepared is open there). An honest primary holds on to such VIEW-CHANGEs without looking into them, so
//! nobody may blame it for what is in them.

use super::{Claims, DirectSigners, HeardDirect, Set};
use crate::types::{
    Address, ExtendedCommit, Height, PbftStatement, Power, PreparedCertificate, Proposal, Round, Statement,
    StatementBody, ValidatorSet, VoteKind,
};
use std::collections::BTreeSet;

/// Collects the signatures that the certificates of one statement rest on.
pub(super) struct Certificates<'a> {
    signers: &'a DirectSigners,
    pub(super) claims: Claims,
}

/// The parts of a VIEW-CHANGE.
struct ViewChange<'a> {
    view: Round,
    height: Height,
    checkpoint: Option<&'a ExtendedCommit>,
    prepared: Option<&'a PreparedCertificate>,
}

impl<'a> ViewChange<'a> {
    fn of(statement: &'a PbftStatement) -> Option<ViewChange<'a>> {
        match statement {
            PbftStatement::ViewChange { view, height, checkpoint, prepared } => Some(ViewChange {
                view: *view,
                height: *height,
                checkpoint: checkpoint.as_ref(),
                prepared: prepared.as_ref(),
            }),
            PbftStatement::NewView { .. } | PbftStatement::Status { .. } => None,
        }
    }
}

fn view_change_at(statement: &Statement, height: Height) -> bool {
    let StatementBody::Pbft(body) = &statement.body else { return false };
    matches!(**body, PbftStatement::ViewChange { height: at, .. } if at == height)
}

impl Certificates<'_> {
    pub(super) fn new(signers: &DirectSigners) -> Certificates<'_> {
        Certificates { signers, claims: Claims::default() }
    }

    /// Checks the form of all that a statement carries and collects its signatures. What is given back instead cannot be
    /// checked here.
    pub(super) fn check(&mut self, statement: &PbftStatement) -> Result<Option<HeardDirect>, &'static str> {
        match statement {
            PbftStatement::ViewChange { height, .. } => {
                if matches!(self.signers.set(*height), Set::Beyond) {
                    return Ok(Some(HeardDirect::Beyond(*height)));
                }
                let view_change = ViewChange::of(statement).expect("it is one");
                self.view_change(&view_change).map(|()| None)
            }
            PbftStatement::NewView { view, height, view_changes, .. } => self.new_view(*view, *height, view_changes),
            PbftStatement::Status { view, height, proposal, .. } => {
                proposal.iter().try_for_each(|proposal| self.status_proposal(*view, *height, proposal)).map(|()| None)
            }
        }
    }

    /// §4.4: the proof that the height before is decided, and what prepared at this one.
    fn view_change(&mut self, said: &ViewChange<'_>) -> Result<(), &'static str> {
        match said.checkpoint {
            Some(commit) => self.checkpoint(said.height, commit)?,
            None if said.height > self.signers.height => return Err("VIEW-CHANGE without its checkpoint"),
            None if said.height == self.signers.height && self.signers.last_validators.is_some() => {
                return Err("VIEW-CHANGE without its checkpoint");
            }
            None => {}
        }
        let Some(certificate) = said.prepared else { return Ok(()) };
        if certificate.height != said.height || certificate.view >= said.view {
            return Err("VIEW-CHANGE with a certificate of another height, or of a view that is not earlier");
        }
        match self.signers.set(said.height) {
            Set::Known(set) => self.prepared(set, certificate),
            Set::Below | Set::Beyond => Ok(()),
        }
    }

    fn checkpoint(&mut self, height: Height, commit: &ExtendedCommit) -> Result<(), &'static str> {
        if Some(commit.height) != height.previous() {
            return Err("VIEW-CHANGE with the commit of another height than the one before");
        }
        match self.signers.set(commit.height) {
            Set::Known(set) => self.signers.commit_claims(&mut self.claims, set, commit),
            Set::Below if height == self.signers.height => Err("VIEW-CHANGE with a commit of before the first height"),
            Set::Below | Set::Beyond => Ok(()),
        }
    }

    /// §4.2, the predicate *prepared*: a quorum of PREPAREs by different members for this block in this view.
    fn prepared(&mut self, set: &ValidatorSet, certificate: &PreparedCertificate) -> Result<(), &'static str> {
        if certificate.prepares.len() > set.len() {
            return Err("certificate with more PREPAREs than there are validators");
        }
        let (mut voters, mut power) = (BTreeSet::new(), Power::ZERO);
        for vote in &certificate.prepares {
            let about = (vote.kind, vote.height, vote.round, vote.block_id);
            if about != (VoteKind::Prevote, certificate.height, certificate.view, Some(certificate.block_id)) {
                return Err("certificate with a vote for something else");
            }
            if !voters.insert(vote.validator_index) {
                return Err("certificate with two PREPAREs of one validator");
            }
            self.signers.vote_claims(&mut self.claims, set, vote)?;
            power = power + set.by_index(vote.validator_index).map_or(Power::ZERO, |member| member.power);
        }
        let enough = self.signers.algorithm.quorum().is_reached(power, set.total_power());
        if enough { Ok(()) } else { Err("certificate without a quorum of PREPAREs") }
    }

    fn new_view(
        &mut self,
        view: Round,
        height: Height,
        view_changes: &[Statement],
    ) -> Result<Option<HeardDirect>, &'static str> {
        let set = match self.signers.set(height) {
            Set::Known(set) => set,
            Set::Below => return Ok(Some(HeardDirect::Useless)),
            Set::Beyond => return Ok(Some(HeardDirect::Beyond(height))),
        };
        if view_changes.len() > set.len() {
            return Err("NEW-VIEW with more VIEW-CHANGEs than there are validators");
        }
        if !view_changes.iter().any(|statement| view_change_at(statement, height)) {
            return Err("NEW-VIEW of a height that none of its VIEW-CHANGEs is at");
        }
        let mut replicas: BTreeSet<Address> = BTreeSet::new();
        for statement in view_changes {
            let StatementBody::Pbft(body) = &statement.body else { return Err("NEW-VIEW with a foreign statement") };
            let Some(said) = ViewChange::of(body) else { return Err("NEW-VIEW with something else than VIEW-CHANGEs") };
            if said.view != view || said.height > height {
                return Err("NEW-VIEW with a VIEW-CHANGE for another view, or of a height above its own");
            }
            if !replicas.insert(statement.by) {
                return Err("NEW-VIEW with two VIEW-CHANGEs of one replica");
            }
            let Some(key) = self.signers.key(&statement.by) else {
                return Err("NEW-VIEW with a VIEW-CHANGE of somebody who is no validator");
            };
            self.claims.add(key, statement.sign_bytes(&self.signers.chain_id), statement.signature);
            if said.height == height {
                self.view_change(&said)?;
            }
        }
        Ok(None)
    }

    /// The proposal of a view is its primary's (§4.1). One of a height that is not known here is of no use to anybody
    /// here: the machine takes none.
    fn status_proposal(&mut self, view: Round, height: Height, proposal: &Proposal) -> Result<(), &'static str> {
        if (proposal.height, proposal.round) != (height, view) {
            return Err("status with a proposal of another height or view");
        }
        let Set::Known(set) = self.signers.set(height) else { return Ok(()) };
        let members = set.members();
        let primary = &members[view.get() as usize % members.len()]; // a set is never empty
        self.signers.proposal_claim(&mut self.claims, primary.public_key, proposal)
    }
}
