//! The rules of agreement, without clock, network or disk: what was heard goes in, what to do comes out.

use super::address::{MEMBERS_MAX, NodeAddress};
use super::refusal::Refusal;
use super::statement::Statement;
use crate::codec::json::genesis;
use crate::crypto::{Hash, sha256, sha256_many};
use crate::types::{Address, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Height};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// So many others who agree outvote a node that nobody agrees with.
const OUTVOTING: usize = 2;
/// Nodes asked besides the members: those that others list and this node does not.
pub(super) const WITNESSES_MAX: usize = MEMBERS_MAX;
/// Hexadecimal digits of the chain's name, after `dev-`.
const CHAIN_DIGITS: usize = 8;

/// What all agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What the chain starts from.
    pub genesis: GenesisDoc,
    /// Its file, byte for byte the same on all nodes.
    pub json: Vec<u8>,
    /// Everybody's statement, without promises, in the order of addresses.
    pub members: Vec<Statement>,
}

impl Network {
    /// Computes it from the statements of all. Everything in it comes from them.
    pub(super) fn of(members: Vec<Statement>) -> Network {
        let digest = members.iter().map(Statement::to_json).collect::<Vec<_>>();
        let digest = sha256_many(digest.iter().map(Vec::as_slice)).to_string().to_ascii_lowercase();
        let name = format!("dev-{}", digest.get(..CHAIN_DIGITS).expect("a hash has 64 digits"));
        let validator = |member: &Statement| GenesisValidator {
            address: Address::from(&member.validator),
            public_key: member.validator,
            power: GenesisValidator::USUAL_POWER,
            name: member.name.clone(),
        };
        let first = members.first().expect("a network has at least the node that forms it");
        let genesis = GenesisDoc {
            genesis_time: members.iter().map(|member| member.created).max().unwrap_or(first.created),
            chain_id: ChainId::try_from(name.as_str()).expect("12 characters fit"),
            initial_height: Height::FIRST,
            consensus_params: ConsensusParams::default(),
            validators: members.iter().map(validator).collect(),
            app_hash: Bytes::new(),
            app_state: Bytes::new(),
            algorithm: first.algorithm,
        };
        Network { json: genesis::render(&genesis), genesis, members }
    }

    /// What a promise names.
    pub fn hash(&self) -> Hash {
        sha256(&self.json)
    }
}

/// An answer from an address.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// It forms, too.
    Statement(Box<Statement>),
    /// It has begun, with this document.
    Runs(Box<GenesisDoc>),
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for the word of these.
    Wait(Vec<NodeAddress>),
    /// Write this down durably, then call [`Agreement::promised`] and say so.
    Promise(Network),
    /// All have promised the same: begin.
    Begin(Network),
}

/// One node's view of the agreement.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Ours, without the promise.
    own: Statement,
    /// The newest of each other member; never more than the list has.
    heard: BTreeMap<NodeAddress, Statement>,
    /// Members that answered and do not fit: they are waited for. Never one that is also in `heard`.
    odd: BTreeMap<NodeAddress, Refusal>,
    /// What those said whom others list and this node does not; they only show who is alone with its line.
    witnesses: BTreeMap<NodeAddress, Statement>,
    /// What this home promised; never another once it is there.
    promise: Option<Network>,
    /// A member runs what we promised: proof that all did.
    runs: bool,
}

impl Agreement {
    /// `promise` is what this home wrote down before.
    pub(super) fn new(own: &Statement, promise: Option<Network>) -> Agreement {
        Agreement {
            own: own.facts(),
            heard: BTreeMap::new(),
            odd: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            promise,
            runs: false,
        }
    }

    /// What to tell whoever asks.
    pub(super) fn statement(&self) -> Statement {
        Statement { agreed: self.promise.as_ref().map(Network::hash), ..self.own.clone() }
    }

    /// Those who were heard and still form, so that they may need our word.
    pub(super) fn forming(&self) -> impl Iterator<Item = &NodeAddress> {
        self.heard.keys()
    }

    /// The promise is on disk.
    pub(super) fn promised(&mut self, network: Network) {
        assert!(self.promise.is_none(), "a home promises once");
        self.promise = Some(network);
    }

    /// Takes an answer of a member or a witness. Whoever does not fit is waited for: it may be started again with
    /// another line. A refusal ends the forming of this node, which is the one to be corrected; nothing is lost by it.
    pub(super) fn hear(&mut self, from: &NodeAddress, said: Said) -> Result<(), Refusal> {
        if !self.own.members.all().contains(from) {
            self.hear_witness(from, said);
        } else if let Err(refusal) = self.judge(from, said) {
            if self.ends(&refusal) {
                return Err(refusal);
            }
            self.heard.remove(from);
            self.odd.insert(from.clone(), refusal);
        } else {
            self.odd.remove(from);
        }
        self.judge_twins_again();
        self.outvoted().map_or(Ok(()), Err)
    }

    /// Nobody answers there any more: what it said last may be corrected meanwhile.
    pub(super) fn fell_silent(&mut self, from: &NodeAddress) {
        self.odd.remove(from);
        self.witnesses.remove(from);
        if self.odd.values().any(|refusal| refusal.is_twin_of(from)) {
            self.heard.remove(from);
        }
        self.judge_twins_again();
    }

    /// Why this member does not fit, if it answered and does not.
    pub(super) fn odd(&self, member: &NodeAddress) -> Option<&Refusal> {
        self.odd.get(member)
    }

    /// Who could show which list is the odd one: listed by members whose list is another, and not by this node.
    pub(super) fn witnesses(&self) -> BTreeSet<NodeAddress> {
        let listed = self.odd.values().filter_map(Refusal::line).flat_map(|theirs| theirs.members.all());
        listed.filter(|address| !self.own.members.all().contains(address)).take(WITNESSES_MAX).cloned().collect()
    }

    fn hear_witness(&mut self, from: &NodeAddress, said: Said) {
        match said {
            Said::Statement(theirs) if theirs.address == *from && self.witnesses().contains(from) => {
                self.witnesses.insert(from.clone(), *theirs);
            }
            Said::Statement(_) | Said::Runs(_) => {
                self.witnesses.remove(from);
            }
        }
    }

    fn judge(&mut self, from: &NodeAddress, said: Said) -> Result<(), Refusal> {
        match said {
            Said::Statement(statement) => self.hear_statement(from, *statement),
            Said::Runs(genesis) => self.hear_running(from, &genesis),
        }
    }

    /// One of two twins may have left, or have another name now.
    fn judge_twins_again(&mut self) {
        let twins: Vec<_> = self.odd.values().filter_map(Refusal::twin).cloned().collect();
        for twin in twins {
            let address = twin.address.clone();
            if self.hear_statement(&address, twin).is_ok() {
                self.odd.remove(&address);
            }
        }
    }

    /// Whether this node is the one that has to be started otherwise. Not because of one other: who of two is right
    /// nobody knows, and both wait.
    fn ends(&self, refusal: &Refusal) -> bool {
        match refusal {
            Refusal::OtherList { .. } | Refusal::OtherAlgorithm { .. } | Refusal::OtherAddress { .. } => false,
            // The home that was made later is the one to change; a copied one is as old.
            Refusal::Twins { one, other } => one.address == self.own.address && other.created <= self.own.created,
            // Everybody in its genesis has agreed to it; a node that is alone in it was started without --peers.
            Refusal::RunsAnother { validators, .. } => {
                self.promise.is_some() || (self.heard.is_empty() && *validators >= OUTVOTING)
            }
            Refusal::Outvoted { .. }
            | Refusal::Changed(_)
            | Refusal::OtherGenesis(_)
            | Refusal::SomethingElse { .. } => true,
        }
    }

    /// Nobody agrees with this node's line, and several others agree on another.
    fn outvoted(&self) -> Option<Refusal> {
        if self.promise.is_some() || !self.heard.is_empty() {
            return None;
        }
        let told: Vec<_> = self.odd.values().filter_map(Refusal::line).chain(self.witnesses.values()).collect();
        let alike = |one: &Statement| -> Vec<Statement> {
            told.iter().filter(|other| other.has_line_of(one)).map(|other| (*other).clone()).collect()
        };
        let theirs = told.iter().map(|one| alike(one)).max_by_key(Vec::len)?;
        // Whom both lists name and nobody has heard yet may still agree with this node.
        let undecided = |address: &&NodeAddress| {
            let first = theirs.first();
            first.is_some_and(|first| first.members.all().contains(address)) && !self.odd.contains_key(*address)
        };
        let ours = 1 + self.own.members.others(&self.own.address).filter(undecided).count();
        (theirs.len() >= OUTVOTING && theirs.len() > ours)
            .then(|| Refusal::Outvoted { theirs, ours: Box::new(self.own.clone()) })
    }

    fn hear_statement(&mut self, from: &NodeAddress, theirs: Statement) -> Result<(), Refusal> {
        let own = &self.own;
        if theirs.address != *from {
            return Err(Refusal::OtherAddress { called: from.clone(), says: theirs.address });
        }
        if theirs.members != own.members {
            return Err(Refusal::OtherList { theirs: Box::new(theirs), ours: Box::new(own.clone()) });
        }
        if theirs.algorithm != own.algorithm {
            return Err(Refusal::OtherAlgorithm { theirs: Box::new(theirs), ours: own.algorithm });
        }
        let rest = self.heard.values().filter(|other| other.address != *from);
        if let Some(twin) = rest.chain([own]).find(|other| are_twins(other, &theirs)) {
            return Err(Refusal::Twins { one: Box::new(twin.clone()), other: Box::new(theirs) });
        }
        if let Some(network) = &self.promise
            && !network.members.contains(&theirs.facts())
        {
            return Err(Refusal::Changed(Box::new(theirs)));
        }
        self.heard.insert(from.clone(), theirs);
        Ok(())
    }

    fn hear_running(&mut self, from: &NodeAddress, genesis: &GenesisDoc) -> Result<(), Refusal> {
        match &self.promise {
            // It began because everybody had promised this, ourselves included.
            Some(network) if network.genesis == *genesis => {
                self.heard.remove(from);
                self.runs = true;
                Ok(())
            }
            _ => Err(Refusal::RunsAnother {
                who: from.clone(),
                chain: genesis.chain_id.clone(),
                validators: genesis.validators.len(),
            }),
        }
    }

    /// What to do with what was heard so far.
    pub(super) fn step(&self) -> Result<Step, Refusal> {
        let silent = |ready: &dyn Fn(&Statement) -> bool| -> Vec<NodeAddress> {
            let others = self.own.members.others(&self.own.address);
            others.filter(|address| !self.heard.get(address).is_some_and(ready)).cloned().collect()
        };
        let Some(network) = &self.promise else {
            let missing = silent(&|_| true);
            if !missing.is_empty() {
                return Ok(Step::Wait(missing));
            }
            let mut members: Vec<Statement> = self.heard.values().map(Statement::facts).collect();
            members.push(self.own.clone());
            members.sort_by(|one, other| one.address.cmp(&other.address));
            return Ok(Step::Promise(Network::of(members)));
        };
        let hash = network.hash();
        let differs = |statement: &&Statement| statement.agreed.is_some_and(|agreed| agreed != hash);
        if let Some(other) = self.heard.values().find(differs) {
            return Err(Refusal::OtherGenesis(Box::new(other.clone())));
        }
        let missing = silent(&|statement| statement.agreed == Some(hash));
        Ok(if self.runs || missing.is_empty() { Step::Begin(network.clone()) } else { Step::Wait(missing) })
    }
}

/// Two nodes that cannot be told apart, or share a key that must be one node's own.
fn are_twins(one: &Statement, other: &Statement) -> bool {
    one.name == other.name || one.node_id == other.node_id || one.validator == other.validator
}
