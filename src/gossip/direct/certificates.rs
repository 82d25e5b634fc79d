//! What PBFT's statements carry as proof: PREPAREs, commits, VIEW-CHANGEs, the primary's proposal.
//!
//! Certificates are checked where they can matter: those of a height that is decided here, and whose validators are
//! forgotten, prove nothing any more, nor do those of VIEW-CHANGEs below the height of the NEW-VIEW that holds them
//! (nothing they prepared is open there). An honest primary holds on to such VIEW-CHANGEs without looking into them, so
//! nobody may blame it for what is in them.

use super::{Claims, DirectSigners, HeardDirect, Set};
use crate::crypto::KnownSignatures;
use crate::types::{
    Address, ExtendedCommit, Height, PbftStatement, Power, PreparedCertificate, Proposal, Round, Statement,
    StatementBody, Validator, ValidatorSet, VoteKind,
};
use std::collections::BTreeSet;

/// Collects the signatures that the certificates of one statement rest on.
struct Certificates<'a> {
    signers: &'a DirectSigners,
    claims: Claims,
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

/// Signatures that a statement carries beside its own.
pub(super) fn signatures_in(statement: &PbftStatement) -> usize {
    let within = |statement: &PbftStatement| match ViewChange::of(statement) {
        Some(said) => {
            let votes = said.prepared.map_or(0, |certificate| certificate.prepares.len());
            votes.saturating_add(said.checkpoint.map_or(0, |commit| commit.signatures.len()))
        }
        None => 0,
    };
    match statement {
        PbftStatement::ViewChange { .. } => within(statement),
        PbftStatement::NewView { view_changes, .. } => {
            let nested = view_changes.iter().map(|nested| match &nested.body {
                StatementBody::Pbft(body) => within(body).saturating_add(1),
                StatementBody::Raft(_) => 1,
            });
            nested.fold(0, usize::saturating_add)
        }
        PbftStatement::Status { proposal, .. } => usize::from(proposal.is_some()),
    }
}

/// What no honest replica says is too long for its validators: as many VIEW-CHANGEs, votes of a certificate and entries
/// of a commit as there are, at most. Counted before any signature is looked at, the statement's own too.
pub(super) fn check_counts(signers: &DirectSigners, statement: &PbftStatement) -> Result<(), &'static str> {
    match statement {
        PbftStatement::ViewChange { .. } => ViewChange::of(statement).map_or(Ok(()), |said| said.check_counts(signers)),
        PbftStatement::NewView { height, view_changes, .. } => {
            let Set::Known(set) = signers.set(*height) else { return Ok(()) };
            if view_changes.len() > set.len() && !mutant!("G29") {
                return Err("NEW-VIEW with more VIEW-CHANGEs than there are validators");
            }
            let bodies = view_changes.iter().filter_map(|nested| match &nested.body {
                StatementBody::Pbft(body) => ViewChange::of(body),
                StatementBody::Raft(_) => None,
            });
            bodies.filter(|said| said.height == *height).try_for_each(|said| said.check_counts(signers))
        }
        PbftStatement::Status { .. } => Ok(()),
    }
}

/// Checks the form of all that a statement by `by` carries, and its signatures. What is given back instead cannot be
/// checked here.
pub(super) fn check(
    signers: &DirectSigners,
    known: &KnownSignatures,
    by: Address,
    statement: &PbftStatement,
) -> Result<Option<HeardDirect>, &'static str> {
    let mut certificates = Certificates { signers, claims: Claims::default() };
    match statement {
        PbftStatement::ViewChange { height, .. } => {
            if matches!(signers.set(*height), Set::Beyond) {
                return Ok(Some(HeardDirect::Beyond(*height)));
            }
            let view_change = ViewChange::of(statement).expect("it is one");
            certificates.view_change(&view_change)?;
        }
        PbftStatement::NewView { view, height, view_changes, .. } => {
            let set = match signers.set(*height) {
                Set::Known(set) => set,
                Set::Below => return Ok(Some(HeardDirect::Useless)),
                Set::Beyond => return Ok(Some(HeardDirect::Beyond(*height))),
            };
            if primary(set, *view).address != by && !mutant!("G20") {
                return Err("NEW-VIEW of a replica that is not the primary of its view");
            }
            let said = certificates.view_changes(set, (*view, *height), view_changes)?;
            // Who makes VIEW-CHANGEs up does not make us look at what is in them.
            certificates.prove(known, "NEW-VIEW with a VIEW-CHANGE that its replica did not sign")?;
            said.iter().filter(|said| said.height == *height).try_for_each(|said| certificates.view_change(said))?;
        }
        PbftStatement::Status { view, height, proposal, .. } => {
            proposal.iter().try_for_each(|proposal| certificates.status_proposal(*view, *height, proposal))?;
        }
    }
    certificates.prove(known, "statement with a signature in it that its validator did not make")?;
    Ok(None)
}

/// p = v mod n (§4.1).
fn primary(set: &ValidatorSet, view: Round) -> &Validator {
    let members = set.members();
    &members[view.get() as usize % members.len()] // a set is never empty
}

impl ViewChange<'_> {
    fn check_counts(&self, signers: &DirectSigners) -> Result<(), &'static str> {
        let fits = |height: Height, count: usize| match signers.set(height) {
            Set::Known(set) => count <= set.len(),
            Set::Below | Set::Beyond => true, // nobody looks into it
        };
        if !self.checkpoint.is_none_or(|commit| fits(commit.height, commit.signatures.len())) {
            return Err("VIEW-CHANGE with a commit of more entries than there are validators");
        }
        let fits = |certificate: &PreparedCertificate| fits(self.height, certificate.prepares.len());
        if !self.prepared.is_none_or(fits) && !mutant!("G30") {
            return Err("certificate with more PREPAREs than there are validators");
        }
        Ok(())
    }
}

impl Certificates<'_> {
    /// Proves what was collected so far, and begins anew.
    fn prove(&mut self, known: &KnownSignatures, otherwise: &'static str) -> Result<(), &'static str> {
        let claims = std::mem::take(&mut self.claims);
        if claims.0.is_empty() || mutant!("G21") {
            return Ok(());
        }
        claims.prove_once((), known).map(drop).ok_or(otherwise)
    }

    /// §4.4: the proof that the height before is decided, and what prepared at this one.
    fn view_change(&mut self, said: &ViewChange<'_>) -> Result<(), &'static str> {
        match said.checkpoint {
            Some(commit) => self.checkpoint(said.height, commit)?,
            None if said.height > self.signers.height && !mutant!("G31") => {
                return Err("VIEW-CHANGE without its checkpoint");
            }
            None if said.height == self.signers.height && self.signers.last_validators.is_some() => {
                return Err("VIEW-CHANGE without its checkpoint");
            }
            None => {}
        }
        let Some(certificate) = said.prepared else { return Ok(()) };
        if certificate.height != said.height || (certificate.view >= said.view && !mutant!("G24")) {
            return Err("VIEW-CHANGE with a certificate of another height, or of a view that is not earlier");
        }
        match self.signers.set(said.height) {
            Set::Known(set) => self.prepared(set, certificate),
            Set::Below | Set::Beyond => Ok(()),
        }
    }

    fn checkpoint(&mut self, height: Height, commit: &ExtendedCommit) -> Result<(), &'static str> {
        if Some(commit.height) != height.previous() && !mutant!("G27") {
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
        let (mut voters, mut power) = (BTreeSet::new(), Power::ZERO);
        for vote in &certificate.prepares {
            let about = (vote.kind, vote.height, vote.round, vote.block_id);
            if about != (VoteKind::Prevote, certificate.height, certificate.view, Some(certificate.block_id)) {
                return Err("certificate with a vote for something else");
            }
            if !voters.insert(vote.validator_index) && !mutant!("G22") {
                return Err("certificate with two PREPAREs of one validator");
            }
            self.signers.vote_claims(&mut self.claims, set, vote)?;
            power = power + set.by_index(vote.validator_index).map_or(Power::ZERO, |member| member.power);
        }
        let enough = self.signers.algorithm.quorum().is_reached(power, set.total_power());
        if enough || mutant!("G23") { Ok(()) } else { Err("certificate without a quorum of PREPAREs") }
    }

    /// §4.4: a NEW-VIEW rests on VIEW-CHANGEs for its view, each of another replica, of more than two thirds together. So
    /// no liar can make one for a view that no honest replica wants, and none takes the place of an honest one.
    fn view_changes<'s>(
        &mut self,
        set: &ValidatorSet,
        at: (Round, Height),
        statements: &'s [Statement],
    ) -> Result<Vec<ViewChange<'s>>, &'static str> {
        let (view, height) = at;
        let (mut replicas, mut power, mut all): (BTreeSet<Address>, _, _) = (BTreeSet::new(), Power::ZERO, Vec::new());
        for statement in statements {
            let StatementBody::Pbft(body) = &statement.body else { return Err("NEW-VIEW with a foreign statement") };
            let Some(said) = ViewChange::of(body) else { return Err("NEW-VIEW with something else than VIEW-CHANGEs") };
            if said.view != view || said.height > height {
                return Err("NEW-VIEW with a VIEW-CHANGE for another view, or of a height above its own");
            }
            if !replicas.insert(statement.by) && !mutant!("G25") {
                return Err("NEW-VIEW with two VIEW-CHANGEs of one replica");
            }
            let Some((_, member)) = set.by_address(&statement.by) else {
                return Err("NEW-VIEW with a VIEW-CHANGE of somebody who is no validator");
            };
            power = power + member.power;
            self.claims.add(member.public_key, statement.sign_bytes(&self.signers.chain_id), statement.signature);
            all.push(said);
        }
        if !all.iter().any(|said| said.height == height) {
            return Err("NEW-VIEW of a height that none of its VIEW-CHANGEs is at");
        }
        if !self.signers.algorithm.quorum().is_reached(power, set.total_power()) && !mutant!("G26") {
            return Err("NEW-VIEW on VIEW-CHANGEs of too little power");
        }
        Ok(all)
    }

    /// The proposal of a view is its primary's (§4.1). One of a height that is not known here is of no use to anybody
    /// here: the machine takes none.
    fn status_proposal(&mut self, view: Round, height: Height, proposal: &Proposal) -> Result<(), &'static str> {
        if (proposal.height, proposal.round) != (height, view) && !mutant!("G28") {
            return Err("status with a proposal of another height or view");
        }
        let Set::Known(set) = self.signers.set(height) else { return Ok(()) };
        self.signers.proposal_claim(&mut self.claims, primary(set, view).public_key, proposal)
    }
}
