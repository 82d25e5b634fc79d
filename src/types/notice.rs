//! Notices: what one published fact means to subscribers, kind by kind, with the attributes queries look at
//! (reference §8.6). Borrowed views; nothing is copied until a query wants attributes.

use super::abci::{Event, TxResult};
use super::query::Attributes;
use super::{AppliedBlock, Evidence, Published, RoundEvent, RoundEventKind, ValidatorUpdate, Vote};
use crate::crypto::Hash;

/// One thing a subscriber may be told.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// A block with its results.
    NewBlock(&'a AppliedBlock),
    /// Its header alone.
    NewBlockHeader(&'a AppliedBlock),
    /// Its events alone.
    NewBlockEvents(&'a AppliedBlock),
    /// Misbehaviour proven in it.
    NewEvidence(&'a AppliedBlock, &'a Evidence),
    /// One of its transactions, by hash, with place and result.
    Tx(&'a Hash, &'a TxResult),
    /// Validators it changed; never empty.
    ValidatorSetUpdates(&'a [ValidatorUpdate]),
    /// A step inside a round.
    Round(&'a RoundEvent),
    /// A vote was counted.
    Vote(&'a Vote),
}

impl Published {
    /// Its notices in publishing order: for a block NewBlock, NewBlockHeader, NewBlockEvents, NewEvidence for each,
    /// Tx for each, ValidatorSetUpdates if any.
    pub fn notices(&self) -> Vec<Notice<'_>> {
        let block = match self {
            Published::Block(block) => block.as_ref(),
            Published::Round(event) => return vec![Notice::Round(event)],
            Published::Vote(vote) => return vec![Notice::Vote(vote)],
        };
        let mut notices = vec![Notice::NewBlock(block), Notice::NewBlockHeader(block), Notice::NewBlockEvents(block)];
        notices.extend(block.evidence().iter().map(|evidence| Notice::NewEvidence(block, evidence)));
        notices.extend(block.txs.iter().map(|(hash, result)| Notice::Tx(hash, result)));
        if !block.validator_updates().is_empty() {
            notices.push(Notice::ValidatorSetUpdates(block.validator_updates()));
        }
        notices
    }
}

impl Notice<'_> {
    /// The value of `tm.event`.
    pub fn kind(&self) -> &'static str {
        match self {
            Notice::NewBlock(_) => "NewBlock",
            Notice::NewBlockHeader(_) => "NewBlockHeader",
            Notice::NewBlockEvents(_) => "NewBlockEvents",
            Notice::NewEvidence(..) => "NewEvidence",
            Notice::Tx(..) => "Tx",
            Notice::ValidatorSetUpdates(_) => "ValidatorSetUpdates",
            Notice::Round(event) => event.kind.name(),
            Notice::Vote(_) => "Vote",
        }
    }

    /// What queries see: `tm.event`, the application's events of blocks and transactions flattened to `type.key` (all
    /// attributes, whatever their index flag), and for a transaction `tx.hash` and `tx.height`.
    pub fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        match self {
            Notice::NewBlock(block) | Notice::NewBlockEvents(block) => flatten(&block.results.events, &mut attributes),
            Notice::Tx(hash, result) => {
                flatten(&result.result.events, &mut attributes);
                add(&mut attributes, "tx.hash", hash.to_string());
                add(&mut attributes, "tx.height", result.height.to_string());
            }
            _ => {}
        }
        add(&mut attributes, "tm.event", self.kind().to_owned());
        attributes
    }
}

fn add(attributes: &mut Attributes, key: &str, value: String) {
    attributes.entry(key.to_owned()).or_default().push(value);
}

/// Events without a type and attributes without a key cannot be asked for and are left out, as in CometBFT.
fn flatten(events: &[Event], attributes: &mut Attributes) {
    for event in events.iter().filter(|event| !event.kind.is_empty()) {
        for attribute in event.attributes.iter().filter(|attribute| !attribute.key.is_empty()) {
            add(attributes, &format!("{}.{}", event.kind, attribute.key), attribute.value.clone());
        }
    }
}

impl RoundEventKind {
    /// The value of `tm.event`.
    pub fn name(&self) -> &'static str {
        match self {
            RoundEventKind::NewRoundStep => "NewRoundStep",
            RoundEventKind::NewRound { .. } => "NewRound",
            RoundEventKind::CompleteProposal(_) => "CompleteProposal",
            RoundEventKind::TimeoutPropose => "TimeoutPropose",
            RoundEventKind::TimeoutWait => "TimeoutWait",
            RoundEventKind::Polka => "Polka",
            RoundEventKind::Lock => "Lock",
            RoundEventKind::Relock => "Relock",
            RoundEventKind::Unlock => "Unlock",
            RoundEventKind::ValidBlock => "ValidBlock",
        }
    }
}
