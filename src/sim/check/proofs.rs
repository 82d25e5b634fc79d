//! What makes a certificate, said once for those who judge what is stated and those who judge what rests on it: commits,
//! prepared certificates and NEW-VIEWs (Castro and Liskov, OSDI '99, §4).

use super::book::{Found, PerNode, Place, Sets, Share, Signatures, whole};
use crate::sim::Scene;
use crate::types::{
    Address, BlockId, CommitSig, ExtendedCommit, Height, PbftStatement, PreparedCertificate, Round, Statement,
    StatementBody, ValidatorSet, VoteKind,
};

/// What certificates are held against. Where a set is not known they pass.
pub(super) struct Proofs<'a> {
    pub(super) scene: &'a Scene,
    pub(super) sets: &'a Sets,
    /// What honest keys signed; without it their names are taken on trust.
    pub(super) signed: Option<&'a PerNode<Signatures>>,
}

/// A VIEW-CHANGE, opened.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) height: Height,
    pub(super) view: Round,
    pub(super) checkpoint: Option<&'a ExtendedCommit>,
    pub(super) prepared: Option<&'a PreparedCertificate>,
}

/// A NEW-VIEW, opened.
#[derive(Clone, Copy)]
pub(super) struct NewView<'a> {
    pub(super) height: Height,
    pub(super) view: Round,
    pub(super) changes: &'a [Statement],
    pub(super) chosen: Option<BlockId>,
}

/// A statement, if it is a VIEW-CHANGE.
pub(super) fn view_change(statement: &Statement) -> Option<Change<'_>> {
    let StatementBody::Pbft(body) = &statement.body else { return None };
    let PbftStatement::ViewChange { view, height, checkpoint, prepared } = &**body else { return None };
    Some(Change { height: *height, view: *view, checkpoint: checkpoint.as_ref(), prepared: prepared.as_ref() })
}

/// A statement, if it is a NEW-VIEW.
pub(super) fn new_view(statement: &Statement) -> Option<NewView<'_>> {
    let StatementBody::Pbft(body) = &statement.body else { return None };
    let PbftStatement::NewView { view, height, view_changes, chosen } = &**body else { return None };
    Some(NewView { height: *height, view: *view, changes: view_changes, chosen: *chosen })
}

impl Proofs<'_> {
    /// Distinct members in their places, enough power for the block.
    pub(super) fn commit(&self, commit: &ExtendedCommit) -> Result<(), String> {
        let Some(set) = self.sets.at(self.scene, commit.height) else { return Ok(()) };
        let members = set.members();
        if commit.signatures.len() != members.len() {
            return Err(format!("a commit of {} entries for {} members", commit.signatures.len(), members.len()));
        }
        let mut power = 0;
        for (member, entry) in members.iter().zip(&commit.signatures) {
            let (part, block) = match &entry.sig {
                CommitSig::Absent => continue,
                CommitSig::Commit(part) => (part, Some(commit.block_id)),
                CommitSig::Nil(part) => (part, None),
            };
            if part.validator_address != member.address {
                return Err(format!("a commit with {} in the place of {}", part.validator_address, member.address));
            }
            let place = Place { height: commit.height, round: commit.round, step: 3 };
            self.vouch(&member.address, place, block)?;
            power += if block.is_some() { member.power.get() } else { 0 };
        }
        let whole = whole(set);
        if !Share::of(self.scene.plan.algorithm).is_in(power, whole) {
            return Err(format!("height {} is committed by {power} of {whole}", commit.height));
        }
        Ok(())
    }

    /// An honest key that stands in a certificate signed what it stands for.
    fn vouch(&self, by: &Address, place: Place, block: Option<BlockId>) -> Result<(), String> {
        let Some(signed) = self.signed else { return Ok(()) };
        let Some(author) = self.scene.node_of(by).filter(|author| self.scene.is_honest(*author)) else { return Ok(()) };
        match signed.get(author).map_or(Found::Nothing, |signed| signed.at(place)) {
            Found::This(print) if print.block == block => Ok(()),
            Found::Forgotten => Ok(()),
            Found::This(_) | Found::Nothing => {
                Err(format!("a certificate claims that node {} signed {block:?} at {place:?}", author.0))
            }
        }
    }

    /// §4.3, §4.4: at this height a VIEW-CHANGE proves the stable checkpoint, and what it says was prepared. One of a
    /// lower height proves nothing and need not.
    pub(super) fn change(&self, change: &Change<'_>, height: Height) -> Result<(), String> {
        if change.height < height {
            return Ok(());
        }
        match change.checkpoint {
            Some(commit) if commit.height.next() == height => self.commit(commit)?,
            None if height == self.scene.initial_height => {}
            _ => return Err(format!("a VIEW-CHANGE at height {height} without the commit of the height before")),
        }
        change.prepared.map_or(Ok(()), |prepared| self.prepared(prepared, change))
    }

    /// §4.2, the predicate prepared, in a view below the one asked for.
    fn prepared(&self, prepared: &PreparedCertificate, change: &Change<'_>) -> Result<(), String> {
        let PreparedCertificate { height, view, block_id, prepares } = prepared;
        if *height != change.height || *view >= change.view {
            return Err(format!("prepared at {height} in view {view}, in a VIEW-CHANGE for {}", change.view));
        }
        let Some(set) = self.sets.at(self.scene, *height) else { return Ok(()) };
        let mut power = 0;
        for (nr, vote) in prepares.iter().enumerate() {
            let at = (vote.kind, vote.height, vote.round, vote.block_id);
            if at != (VoteKind::Prevote, *height, *view, Some(*block_id)) {
                return Err(format!("a prepared certificate with a vote for something else: {vote:?}"));
            }
            if prepares[..nr].iter().any(|other| other.validator_address == vote.validator_address) {
                return Err(format!("a prepared certificate that counts {} twice", vote.validator_address));
            }
            power += power_of_member(set, &vote.validator_address)?;
            let place = Place { height: *height, round: *view, step: 2 };
            self.vouch(&vote.validator_address, place, vote.block_id)?;
        }
        if !Share::TwoThirds.is_in(power, whole(set)) {
            return Err(format!("a prepared certificate of {power} of {}", whole(set)));
        }
        Ok(())
    }

    /// §4.4: a NEW-VIEW follows from VIEW-CHANGEs of more than two thirds, and chooses what was prepared in the highest
    /// view, if anything was.
    pub(super) fn new_view(&self, made: &NewView<'_>) -> Result<(), String> {
        let NewView { height, view, changes, chosen } = *made;
        let Some(set) = self.sets.at(self.scene, height) else { return Ok(()) };
        let (mut power, mut highest, mut at_height) = (0, None, false);
        for (nr, statement) in changes.iter().enumerate() {
            let Some(change) = view_change(statement).filter(|change| change.view == view) else {
                return Err(format!("a NEW-VIEW for {view} with {statement:?}"));
            };
            if changes[..nr].iter().any(|other| other.by == statement.by) {
                return Err(format!("a NEW-VIEW that counts {} twice", statement.by));
            }
            if change.height > height {
                return Err(format!("a NEW-VIEW at height {height} with a VIEW-CHANGE at {}", change.height));
            }
            power += power_of_member(set, &statement.by)?;
            at_height |= change.height == height;
            self.change(&change, height)?;
            if let (true, Some(prepared)) = (change.height == height, change.prepared)
                && highest.is_none_or(|(best, _)| best < prepared.view)
            {
                highest = Some((prepared.view, prepared.block_id));
            }
        }
        if !at_height || !Share::TwoThirds.is_in(power, whole(set)) {
            return Err(format!("a NEW-VIEW on VIEW-CHANGEs of {power} of {}", whole(set)));
        }
        if chosen != highest.map(|(_, block)| block) {
            return Err(format!("a NEW-VIEW that chooses {chosen:?}, and {highest:?} was prepared"));
        }
        Ok(())
    }
}

fn power_of_member(set: &ValidatorSet, address: &Address) -> Result<u64, String> {
    let member = set.members().iter().find(|member| member.address == *address);
    member.map(|member| member.power.get()).ok_or_else(|| format!("a certificate with {address}, who is no member"))
}
