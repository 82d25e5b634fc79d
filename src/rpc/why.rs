//! `why`, a route of our own: what this node knows about the block that is not there yet. Times are whole seconds;
//! 64-bit numbers are strings, as everywhere in this RPC.

use super::Shared;
use super::call::Outcome;
use crate::codec::json::{Int, to_bytes};
use crate::ports::{Choice, KeyView, LeadView, Node, Situation, ValidatorView};
use crate::types::{Address, Height, Power};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct WhyAnswer<'a> {
    chain: &'a str,
    algorithm: &'static str,
    height: Int<Height>,
    round: u32,
    step: &'static str,
    has_proposal: bool,
    lead: Option<LeadAnswer>,
    /// Seconds.
    since_last_block: Option<Int<u64>>,
    txs: Int<u64>,
    /// Whether blocks are made at once although no transaction waits.
    empty_blocks: bool,
    validators: Vec<ValidatorAnswer>,
    power_needed: Int<Power>,
    peers: usize,
    /// Why the application is away.
    application: Option<&'a str>,
    /// Why consensus stopped.
    halted: Option<&'a str>,
    fetching: Option<FetchAnswer>,
    /// `none`, `signs`, `listening` or `refused`.
    key: &'static str,
    key_refused: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum LeadAnswer {
    Proposer { address: String },
    Primary { address: String, changing: bool },
    Leader { address: Option<String>, role: &'static str },
}

#[derive(Serialize)]
struct ValidatorAnswer {
    address: String,
    power: Int<Power>,
    own: bool,
    prevoted: bool,
    precommitted: bool,
    /// Seconds.
    last_heard: Option<Int<u64>>,
    /// Whether the application refuses its vote's extension.
    refused: bool,
    /// Whether the connection over which it was heard last has ended.
    cut: bool,
}

#[derive(Serialize)]
struct FetchAnswer {
    stage: &'static str,
    at: Int<Height>,
    target: Int<Height>,
}

fn is(choice: Choice) -> bool {
    choice == Choice::Yes
}

fn seconds(span: Duration) -> Int<u64> {
    Int(span.as_secs())
}

impl From<&LeadView> for LeadAnswer {
    fn from(lead: &LeadView) -> LeadAnswer {
        let text = |address: &Address| address.to_string();
        match lead {
            LeadView::Proposer(address) => LeadAnswer::Proposer { address: text(address) },
            LeadView::Primary { primary, changing } => {
                LeadAnswer::Primary { address: text(primary), changing: is(*changing) }
            }
            LeadView::Leader { leader, role } => LeadAnswer::Leader { address: leader.as_ref().map(text), role },
        }
    }
}

impl From<&ValidatorView> for ValidatorAnswer {
    fn from(view: &ValidatorView) -> ValidatorAnswer {
        ValidatorAnswer {
            address: view.address.to_string(),
            power: Int(view.power),
            own: is(view.own),
            prevoted: is(view.prevoted),
            precommitted: is(view.precommitted),
            last_heard: view.last_heard.map(|heard| seconds(heard.ago)),
            refused: is(view.refused),
            cut: view.last_heard.is_some_and(|heard| is(heard.cut)),
        }
    }
}

fn render(chain: &str, situation: &Situation) -> Vec<u8> {
    let (key, key_refused) = match &situation.key {
        KeyView::None => ("none", None),
        KeyView::Signs => ("signs", None),
        KeyView::Listening => ("listening", None),
        KeyView::Refused(why) => ("refused", Some(why.as_str())),
    };
    to_bytes(&WhyAnswer {
        chain,
        algorithm: situation.algorithm.name(),
        height: Int(situation.height),
        round: situation.round.get(),
        step: situation.step.name().trim_start_matches("RoundStep"),
        has_proposal: is(situation.proposal),
        lead: situation.lead.as_ref().map(LeadAnswer::from),
        since_last_block: situation.since_last_block.map(seconds),
        txs: Int(situation.txs),
        empty_blocks: is(situation.empty_blocks),
        validators: situation.validators.iter().map(ValidatorAnswer::from).collect(),
        power_needed: Int(situation.power_needed),
        peers: situation.peers,
        application: situation.application.as_deref(),
        halted: situation.halted.as_deref(),
        fetching: situation.fetching.as_ref().map(|fetching| FetchAnswer {
            stage: fetching.stage,
            at: Int(fetching.at),
            target: Int(fetching.target),
        }),
        key,
        key_refused,
    })
}

impl<N: Node> Shared<N> {
    pub(super) async fn why(&self) -> Outcome {
        let situation = self.node.situation().await.ok_or("the node is stopping")?;
        Ok(render(self.node.facts().network.as_str(), &situation))
    }
}
