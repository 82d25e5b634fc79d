//! What a node answers to `why`.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// What the route tells. Times are seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::cli) struct Facts {
    pub(super) chain: String,
    pub(super) algorithm: String,
    #[serde(deserialize_with = "number")]
    pub(super) height: u64,
    pub(super) round: u32,
    pub(super) step: String,
    pub(super) has_proposal: bool,
    /// None before the first handshake with the application.
    pub(super) lead: Option<Lead>,
    #[serde(deserialize_with = "number_if_any")]
    pub(super) since_last_block: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) txs: u64,
    pub(super) empty_blocks: bool,
    pub(super) validators: Vec<Validator>,
    #[serde(deserialize_with = "number")]
    pub(super) power_needed: u64,
    pub(super) peers: u64,
    pub(super) application: Option<String>,
    pub(super) halted: Option<String>,
    pub(super) fetching: Option<Fetching>,
    pub(super) key: Key,
    pub(super) key_refused: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(super) enum Lead {
    Proposer { address: String },
    Primary { address: String, changing: bool },
    Leader { address: Option<String>, role: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Validator {
    pub(super) address: String,
    #[serde(deserialize_with = "number")]
    pub(super) power: u64,
    pub(super) own: bool,
    pub(super) prevoted: bool,
    pub(super) precommitted: bool,
    #[serde(deserialize_with = "number_if_any")]
    pub(super) last_heard: Option<u64>,
    /// The application refuses the extension of its vote.
    #[serde(default)]
    pub(super) refused: bool,
    /// The connection over which it was heard last has ended.
    #[serde(default)]
    pub(super) cut: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Fetching {
    pub(super) stage: String,
    #[serde(deserialize_with = "number")]
    pub(super) at: u64,
    #[serde(deserialize_with = "number")]
    pub(super) target: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Key {
    None,
    Signs,
    Listening,
    Refused,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

fn number_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

impl Facts {
    /// Reads an answer; none when it is not one.
    pub(in crate::cli) fn read(answer: &Value) -> Option<Facts> {
        Facts::deserialize(answer).ok()
    }

    /// Who leads, in the protocol's own words.
    pub(in crate::cli) fn lead_line(&self) -> String {
        match &self.lead {
            None => "nobody yet: consensus has not begun".to_owned(),
            Some(Lead::Proposer { address }) => format!("round {}, its proposer is {address}", self.round),
            Some(Lead::Primary { address, changing: false }) => {
                format!("view {}, its primary is {address}", self.round)
            }
            Some(Lead::Primary { address, changing: true }) => {
                format!("changing to view {}, whose primary will be {address}", self.round)
            }
            Some(Lead::Leader { address: Some(address), role }) => {
                format!("term {}, its leader is {address}; this node is {role}", self.round)
            }
            Some(Lead::Leader { address: None, role }) => {
                format!("term {}, no leader is known; this node is {role}", self.round)
            }
        }
    }
}
