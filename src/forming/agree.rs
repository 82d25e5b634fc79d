//! The rules of agreement, without clock, network or disk: what was heard goes in, what to do comes out.

use super::address::NodeAddress;
use super::refusal::Refusal;
use super::statement::Statement;
use crate::codec::json::genesis;
use crate::crypto::{Hash, sha256, sha256_many};
use crate::types::{Address, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Height, Power};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Power of each validator: all are equal.
const POWER: Power = Power::new(1);
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
            power: POWER,
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
    /// What this home promised; never another once it is there.
    promise: Option<Network>,
    /// A member runs what we promised: proof that all did.
    runs: bool,
}

impl Agreement {
    /// `promise` is what this home wrote down before.
    pub(super) fn new(own: &Statement, promise: Option<Network>) -> Agreement {
        Agreement { own: own.facts(), heard: BTreeMap::new(), promise, runs: false }
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

    /// Takes an answer of a listed address. A refusal ends the forming; nothing is lost by it.
    pub(super) fn hear(&mut self, from: &NodeAddress, said: Said) -> Result<(), Refusal> {
        match said {
            Said::Statement(statement) => self.hear_statement(from, *statement),
            Said::Runs(genesis) => self.hear_running(from, &genesis),
        }
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
            _ => Err(Refusal::RunsAnother { who: from.clone(), chain: genesis.chain_id.clone() }),
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
