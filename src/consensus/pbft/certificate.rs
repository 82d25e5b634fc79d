//! What VIEW-CHANGEs prove, and what a NEW-VIEW has to do with it (§4.4): plain functions, the same for the primary that
//! makes a NEW-VIEW and the backups that recompute it. Signatures were checked before.

use crate::consensus::quorum;
use crate::types::{
    Address, BlockId, ExtendedCommit, Height, PbftStatement, Power, PreparedCertificate, Round, Statement,
    StatementBody, ValidatorSet, Vote, VoteKind,
};
use std::collections::BTreeSet;

/// A VIEW-CHANGE, opened.
#[derive(Clone, Copy)]
pub(super) struct ViewChange<'a> {
    pub(super) by: Address,
    pub(super) view: Round,
    pub(super) height: Height,
    pub(super) checkpoint: Option<&'a ExtendedCommit>,
    pub(super) prepared: Option<&'a PreparedCertificate>,
}

/// Opens a statement if it is a VIEW-CHANGE.
pub(super) fn view_change(statement: &Statement) -> Option<ViewChange<'_>> {
    let StatementBody::Pbft(body) = &statement.body else { return None };
    let PbftStatement::ViewChange { view, height, checkpoint, prepared } = &**body else { return None };
    let (checkpoint, prepared) = (checkpoint.as_ref(), prepared.as_ref());
    Some(ViewChange { by: statement.by, view: *view, height: *height, checkpoint, prepared })
}

/// §4.2, *prepared*: PREPAREs for one block, in one view below `below`, of more than two thirds of the set. "Below",
/// because a replica that asks for a view has prepared nothing in it.
pub(super) fn holds(
    certificate: &PreparedCertificate,
    height: Height,
    below: Round,
    set: &ValidatorSet,
) -> Result<(), &'static str> {
    if certificate.height != height || (certificate.view >= below && !mutant!("P19")) {
        return Err("prepared certificate of another height, or of a view that is not below the one asked for");
    }
    if certificate.prepares.len() > set.len() {
        return Err("prepared certificate with more PREPAREs than members");
    }
    let fits = |vote: &Vote| {
        (vote.kind == VoteKind::Prevote || mutant!("P20"))
            && (vote.height, vote.round) == (height, certificate.view)
            && (vote.block_id == Some(certificate.block_id) || mutant!("P21"))
    };
    let (mut voters, mut power) = (BTreeSet::new(), Power::ZERO);
    for vote in &certificate.prepares {
        let member = set
            .by_index(vote.validator_index)
            .filter(|member| member.address == vote.validator_address || mutant!("P23"));
        let Some(member) = member.filter(|_| fits(vote)) else {
            return Err("prepared certificate with a vote that is no PREPARE of a member for its block");
        };
        if !voters.insert(vote.validator_index) && !mutant!("P22") {
            return Err("prepared certificate that counts a member twice");
        }
        power = power + member.power;
    }
    if !quorum::more_than_two_thirds(power, set.total_power()) && !mutant!("P1") {
        return Err("prepared certificate of too little power");
    }
    Ok(())
}

/// Whether a VIEW-CHANGE counts for a NEW-VIEW at `height`. One of a lower height proves that nothing was prepared here
/// by its sender, and what it carries is of no use; one of this height must prove the stable checkpoint below it (§4.3)
/// and what it says was prepared.
pub(super) fn supports(
    change: &ViewChange<'_>,
    height: Height,
    initial: Height,
    set: &ValidatorSet,
) -> Result<(), &'static str> {
    if change.height < height {
        return Ok(());
    }
    if change.height > height {
        return Err("VIEW-CHANGE of a greater height");
    }
    let proved = match change.checkpoint {
        None => height == initial,
        Some(commit) => height > initial && (mutant!("P24") || commit.height.get().saturating_add(1) == height.get()),
    };
    if !proved {
        return Err("VIEW-CHANGE without the commit of the height before");
    }
    change.prepared.map_or(Ok(()), |certificate| holds(certificate, height, change.view, set))
}

/// §4.4: the block prepared in the highest view, among the VIEW-CHANGEs of this height.
pub(super) fn chosen<'a>(changes: impl Iterator<Item = ViewChange<'a>>, height: Height) -> Option<BlockId> {
    let certificates =
        changes.filter(|change| change.height == height || mutant!("P25")).filter_map(|change| change.prepared);
    certificates
        .max_by_key(|certificate| if mutant!("P5") { Round::ZERO } else { certificate.view })
        .map(|certificate| certificate.block_id)
}

/// What follows from the VIEW-CHANGEs of a NEW-VIEW, computed anew (§4.4): they are for its view, of more than two thirds
/// of the set, each member once, none beyond its height and at least one at it.
pub(super) fn recompute(
    statements: &[Statement],
    at: (Round, Height),
    initial: Height,
    set: &ValidatorSet,
) -> Result<Option<BlockId>, &'static str> {
    let (view, height) = at;
    if statements.len() > set.len() {
        return Err("NEW-VIEW with more VIEW-CHANGEs than members");
    }
    let (mut senders, mut power, mut changes) = (BTreeSet::new(), Power::ZERO, Vec::new());
    for statement in statements {
        let Some(change) = view_change(statement).filter(|change| change.view == view || mutant!("P26")) else {
            return Err("NEW-VIEW with a statement that is no VIEW-CHANGE for its view");
        };
        let Some((index, member)) = set.by_address(&change.by) else {
            return Err("NEW-VIEW with a VIEW-CHANGE of one who is no member");
        };
        if !senders.insert(index) && !mutant!("P12") {
            return Err("NEW-VIEW that counts a member twice");
        }
        supports(&change, height, initial, set)?;
        power = power + member.power;
        changes.push(change);
    }
    if !quorum::more_than_two_thirds(power, set.total_power()) && !mutant!("P27") {
        return Err("NEW-VIEW on VIEW-CHANGEs of too little power");
    }
    if !changes.iter().any(|change| change.height == height) && !mutant!("P28") {
        return Err("NEW-VIEW for a height that none of its VIEW-CHANGEs is at");
    }
    Ok(chosen(changes.into_iter(), height))
}
