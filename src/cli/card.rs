//! The identity card: who this node is, once, before it runs, in the language of its protocol.

use super::algorithm::tolerance;
use super::keys::public_key_json;
use super::output::{Output, Reader};
use crate::config::{Config, LogFormat};
use crate::crypto::PublicKey;
use crate::types::{Address, Algorithm, GenesisDoc, NodeId};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What the card is made of.
pub(super) struct Card<'a> {
    pub(super) config: &'a Config,
    pub(super) node_id: NodeId,
    pub(super) validator: PublicKey,
    /// The document the chain began with.
    pub(super) genesis: &'a GenesisDoc,
    /// The protocol that decides the next block.
    pub(super) algorithm: Algorithm,
    /// Where RPC and peers are answered; the real ports where 0 was configured.
    pub(super) rpc: Vec<String>,
    pub(super) p2p: Vec<String>,
    /// How the home came to be, where that limits what it is good for.
    pub(super) remark: Option<&'a str>,
}

impl Card<'_> {
    /// Prints it as the reader or the log wants it.
    pub(super) fn show(&self, out: &Output) {
        if out.reader == Reader::Program || self.config.log.format == LogFormat::Json {
            out.line(&self.json().to_string());
        } else {
            out.line(&self.text());
        }
    }

    /// Our power in the genesis, if we are in it.
    fn power(&self) -> Option<u64> {
        let validators = &self.genesis.validators;
        validators.iter().find(|validator| validator.public_key == self.validator).map(|found| found.power.get())
    }

    /// What this node does in the chain, in its protocol's words.
    fn role(&self) -> String {
        let total: u64 = self.genesis.validators.iter().map(|validator| validator.power.get()).sum();
        let does = match self.algorithm {
            Algorithm::Tendermint => "proposes in turn and votes",
            Algorithm::Pbft => "replica, primary when the view says so",
            Algorithm::Raft => "follower, leader when elected",
        };
        match self.power() {
            Some(power) => format!("power {power} of {total} in the genesis: {does}"),
            None => "not in the genesis: follows until the application adds it".to_owned(),
        }
    }

    fn text(&self) -> String {
        let (config, genesis) = (self.config, self.genesis);
        let listen = |addresses: &[String]| if addresses.is_empty() { "off".to_owned() } else { addresses.join(", ") };
        let metrics = config.metrics.as_ref().map(|metrics| format!("http://{}/metrics", metrics.listen));
        let mut card = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(card, "{name:<12} {value}");
        };
        line("quorate", format!("{}  {}  {}", super::version::short(), config.moniker, self.node_id));
        line("chain", format!("{}  from height {}", genesis.chain_id, genesis.initial_height));
        line("protocol", format!("{}, {}", self.algorithm, decides(self.algorithm)));
        line("survives", tolerance(genesis));
        line("validator", format!("{}  {}", Address::from(&self.validator), self.role()));
        line("application", config.application.to_string());
        line("rpc", listen(&self.rpc));
        line("p2p", listen(&self.p2p));
        line("metrics", metrics.unwrap_or_else(|| "off".to_owned()));
        line("storage", format!("{} in {}", config.storage.backend, config.storage.dir.display()));
        line("home", config.home.path().display().to_string());
        if let Some(remark) = self.remark {
            line("remark", remark.to_owned());
        }
        card
    }

    fn json(&self) -> Value {
        let config = self.config;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "moniker": config.moniker,
            "node_id": self.node_id.to_string(),
            "chain_id": self.genesis.chain_id.as_str(),
            "protocol": self.algorithm.name(),
            "tolerates": tolerance(self.genesis),
            "validator": {
                "address": Address::from(&self.validator).to_string(),
                "pub_key": public_key_json(&self.validator),
                "genesis_power": self.power(),
            },
            "application": config.application.to_string(),
            "rpc": self.rpc,
            "p2p": self.p2p,
            "metrics": config.metrics.as_ref().map(|metrics| &metrics.listen),
            "storage": { "backend": config.storage.backend.to_string(), "dir": config.storage.dir },
            "home": config.home.path(),
            "remark": self.remark,
        })
    }
}

/// What decides a block.
fn decides(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Tendermint => "decided by more than 2/3 of the power, each round by another proposer",
        Algorithm::Pbft => "decided by more than 2/3 of the power under the primary of a view",
        Algorithm::Raft => "decided by more than 1/2 of the power under the leader of a term",
    }
}
