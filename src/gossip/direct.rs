//! What a replica of Raft or PBFT says, checked as far as it can be without the machine: beside the loop, because
//! signatures cost.

mod certificates;

use super::check::{check_part, check_proposal, check_vote};
use crate::consensus::Direct;
use crate::crypto::{BatchVerifier, Claim, KnownSignatures, PublicKey, Signature, Verified};
use crate::types::{
    AbciParams, Address, Algorithm, ChainId, ChainState, DirectMessage, ExtendedCommit, Extensions, Height, Proposal,
    Statement, StatementBody, ValidatorSet, Vote,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whose signatures count now, in a chain of Raft or PBFT. Made anew at every height; it must be there for those who
/// listen before anything of that height leaves.
#[derive(Debug, Clone)]
pub struct DirectSigners {
    /// The chain every signature is bound to.
    pub chain_id: ChainId,
    /// The protocol every statement is bound to.
    pub algorithm: Algorithm,
    /// The height being decided.
    pub height: Height,
    /// Who decides it.
    pub validators: Arc<ValidatorSet>,
    /// Who decided the height before; none at the initial height.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// Who will decide the height after.
    pub next_validators: Arc<ValidatorSet>,
    /// Whether precommits have extensions.
    pub abci: AbciParams,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeardDirect {
    /// For the machine, its signatures checked.
    Said(Direct),
    /// Of this height, whose validators are not known here yet: if it is true, blocks are missing. Nobody has checked
    /// that it is.
    Beyond(Height),
    /// Of a height decided long ago, or of somebody nobody knows any more; or blocks are being fetched.
    Useless,
}

/// The validators of a height, as far as they are known.
#[derive(Clone, Copy)]
enum Set<'a> {
    Known(&'a ValidatorSet),
    /// More than one height below ours, or before the first.
    Below,
    /// More than one height above ours.
    Beyond,
}

/// Signatures to verify: whose, over what. Each once, however often it stands in a message: the VIEW-CHANGEs of a
/// NEW-VIEW bring the same votes again and again.
#[derive(Default)]
struct Claims(BTreeSet<Claim>);

impl Claims {
    fn add(&mut self, key: PublicKey, sign_bytes: Vec<u8>, signature: Signature) {
        self.0.insert((key, sign_bytes, signature));
    }

    /// The item, if all the claims made about it hold.
    fn prove<T>(self, item: T) -> Option<Verified<T>> {
        let mut batch = BatchVerifier::new();
        self.0.into_iter().for_each(|(key, sign_bytes, signature)| batch.push(key, sign_bytes, signature));
        Verified::check_batch(item, &batch).ok()
    }

    /// The same, for what carries many signatures: those that are known cost nothing, or whoever repeats such a message
    /// would have us verify them all again each time.
    fn prove_once<T>(self, item: T, known: &KnownSignatures) -> Option<Verified<T>> {
        known.check(item, self.0).ok()
    }
}

impl DirectSigners {
    /// Whose signatures count while the block after this state is decided.
    pub fn of(state: &ChainState) -> DirectSigners {
        let first = state.last_block_height == Height::ZERO;
        DirectSigners {
            chain_id: state.chain_id.clone(),
            algorithm: state.algorithm,
            height: if first { state.initial_height } else { state.last_block_height.next() },
            validators: Arc::clone(&state.validators),
            last_validators: if first { None } else { state.last_validators.clone() },
            next_validators: Arc::clone(&state.next_validators),
            abci: state.consensus_params.abci,
        }
    }

    fn set(&self, height: Height) -> Set<'_> {
        match height.get().checked_sub(self.height.get()) {
            Some(0) => Set::Known(&self.validators),
            Some(1) => Set::Known(&self.next_validators),
            Some(_) => Set::Beyond,
            None if height.next() == self.height => self.last_validators.as_deref().map_or(Set::Below, Set::Known),
            None => Set::Below,
        }
    }

    /// The key of somebody who signs at our height, the one before or the one after.
    fn key(&self, address: &Address) -> Option<PublicKey> {
        let sets = [Some(&self.validators), self.last_validators.as_ref(), Some(&self.next_validators)];
        sets.into_iter().flatten().find_map(|set| set.by_address(address)).map(|(_, member)| member.public_key)
    }

    /// Whether the precommits in a commit have extensions. A block of our height may still turn them on for the next, so
    /// there what is seen counts, and whoever decides that height looks again.
    fn extensions(&self, commit: &ExtendedCommit) -> Extensions {
        let required = match commit.height > self.height {
            true => commit.signatures.iter().any(|entry| entry.extension_signature.is_some()),
            false => self.abci.extensions_enabled(commit.height),
        };
        if required { Extensions::Required } else { Extensions::Forbidden }
    }

    fn proposal_claim(&self, claims: &mut Claims, key: PublicKey, proposal: &Proposal) -> Result<(), &'static str> {
        check_proposal(proposal)?;
        claims.add(key, proposal.sign_bytes(&self.chain_id), proposal.signature);
        Ok(())
    }

    fn vote_claims(&self, claims: &mut Claims, set: &ValidatorSet, vote: &Vote) -> Result<(), &'static str> {
        check_vote(vote)?;
        let Some(voter) = set.by_index(vote.validator_index) else {
            return Err("vote of a validator that is not in the set");
        };
        if voter.address != vote.validator_address && !mutant!("G17") {
            return Err("vote whose index and address name different validators");
        }
        claims.add(voter.public_key, vote.sign_bytes(&self.chain_id), vote.signature);
        if let Some(signature) = vote.extension_signature.filter(|_| !mutant!("G18")) {
            claims.add(voter.public_key, vote.extension_sign_bytes(&self.chain_id), signature);
        }
        Ok(())
    }

    fn commit_claims(
        &self,
        claims: &mut Claims,
        set: &ValidatorSet,
        commit: &ExtendedCommit,
    ) -> Result<(), &'static str> {
        let (extensions, quorum) = (self.extensions(commit), self.algorithm.quorum());
        let found = set.extended_commit_claims(&self.chain_id, commit, extensions, quorum);
        for (key, sign_bytes, signature) in found.map_err(|_| "commit that no quorum of its height's set made")? {
            claims.add(key, sign_bytes, signature);
        }
        Ok(())
    }
}

/// Checks a peer's message: its form, and its signatures where the signers are known. The error is the peer's fault.
/// Signatures of certificates and commits are looked up in `known` and remembered there.
pub fn hear_direct(
    signers: Option<&DirectSigners>,
    known: &KnownSignatures,
    message: DirectMessage,
) -> Result<HeardDirect, &'static str> {
    check_form(&message)?;
    let Some(signers) = signers else { return Ok(HeardDirect::Useless) };
    match message {
        DirectMessage::Statement(statement) => hear_statement(signers, known, statement),
        DirectMessage::Proposal { by, proposal } => hear_proposal(signers, by, proposal),
        DirectMessage::Part { height, round, part } => Ok(match signers.set(height) {
            Set::Known(_) if height >= signers.height => HeardDirect::Said(Direct::Part { height, round, part }),
            Set::Beyond => HeardDirect::Beyond(height),
            Set::Known(_) | Set::Below => HeardDirect::Useless,
        }),
        DirectMessage::Vote(vote) => hear_vote(signers, vote),
        DirectMessage::Commit(commit) => hear_commit(signers, known, commit),
    }
}

/// What can be said of a message without knowing anybody.
fn check_form(message: &DirectMessage) -> Result<(), &'static str> {
    match message {
        DirectMessage::Statement(_) => Ok(()),
        DirectMessage::Proposal { proposal, .. } => check_proposal(proposal),
        DirectMessage::Part { part, .. } => check_part(part),
        DirectMessage::Vote(vote) => check_vote(vote),
        DirectMessage::Commit(commit) if commit.signatures.is_empty() => Err("commit without signatures"),
        DirectMessage::Commit(_) => Ok(()),
    }
}

/// Signatures in a message: how much work it is to check, and whether that belongs beside the runtime's workers.
pub fn signatures_in(message: &DirectMessage) -> usize {
    match message {
        DirectMessage::Statement(statement) => match &statement.body {
            StatementBody::Pbft(body) => 1 + certificates::signatures_in(body),
            StatementBody::Raft(_) => 1,
        },
        DirectMessage::Commit(commit) => commit.signatures.len(),
        DirectMessage::Proposal { .. } | DirectMessage::Vote(_) => 1,
        DirectMessage::Part { .. } => 0,
    }
}

fn hear_statement(
    signers: &DirectSigners,
    known: &KnownSignatures,
    statement: Statement,
) -> Result<HeardDirect, &'static str> {
    if statement.body.algorithm() != signers.algorithm && !mutant!("G19") {
        return Err("statement of a protocol that is not this chain's");
    }
    let Some(key) = signers.key(&statement.by) else {
        let height = statement.body.height().filter(|height| matches!(signers.set(*height), Set::Beyond));
        return Ok(height.map_or(HeardDirect::Said(Direct::Outsider(statement)), HeardDirect::Beyond));
    };
    let mut claims = Claims::default();
    if let StatementBody::Pbft(body) = &statement.body {
        certificates::check_counts(signers, body)?;
    }
    // Its own signature first: only validators make us look at more.
    claims.add(key, statement.sign_bytes(&signers.chain_id), statement.signature);
    let own = match &statement.body {
        StatementBody::Pbft(body) if certificates::signatures_in(body) > 0 => claims.prove_once(statement, known),
        StatementBody::Pbft(_) | StatementBody::Raft(_) => claims.prove(statement),
    };
    let statement = own.ok_or("statement that its validator did not sign")?;
    if let StatementBody::Pbft(body) = &statement.body
        && let Some(heard) = certificates::check(signers, known, statement.by, body)?
    {
        return Ok(heard);
    }
    Ok(HeardDirect::Said(Direct::Statement(statement)))
}

/// Whether `by` may propose is for the machine to say; that it could sign at all must be known here.
fn hear_proposal(signers: &DirectSigners, by: Address, proposal: Proposal) -> Result<HeardDirect, &'static str> {
    match signers.set(proposal.height) {
        Set::Known(_) if proposal.height >= signers.height => {}
        Set::Beyond => return Ok(HeardDirect::Beyond(proposal.height)),
        Set::Known(_) | Set::Below => return Ok(HeardDirect::Useless),
    }
    let Some(key) = signers.key(&by) else { return Ok(HeardDirect::Useless) };
    let mut claims = Claims::default();
    signers.proposal_claim(&mut claims, key, &proposal)?;
    let proposal = claims.prove(proposal).ok_or("proposal that the validator it names did not sign")?;
    Ok(HeardDirect::Said(Direct::Proposal { by, proposal }))
}

fn hear_vote(signers: &DirectSigners, vote: Vote) -> Result<HeardDirect, &'static str> {
    let set = match signers.set(vote.height) {
        Set::Known(set) => set,
        Set::Below => return Ok(HeardDirect::Useless),
        Set::Beyond => return Ok(HeardDirect::Beyond(vote.height)),
    };
    let mut claims = Claims::default();
    signers.vote_claims(&mut claims, set, &vote)?;
    let vote = claims.prove(vote).ok_or("vote, or its extension, that its validator did not sign")?;
    Ok(HeardDirect::Said(Direct::Vote(vote)))
}

fn hear_commit(
    signers: &DirectSigners,
    known: &KnownSignatures,
    commit: ExtendedCommit,
) -> Result<HeardDirect, &'static str> {
    let set = match signers.set(commit.height) {
        Set::Known(set) => set,
        Set::Below => return Ok(HeardDirect::Useless),
        Set::Beyond => return Ok(HeardDirect::Beyond(commit.height)),
    };
    let mut claims = Claims::default();
    signers.commit_claims(&mut claims, set, &commit)?;
    let commit = claims.prove_once(commit, known).ok_or("commit with a signature that its validator did not make")?;
    Ok(HeardDirect::Said(Direct::Commit(commit)))
}

#[cfg(test)]
mod tests;
