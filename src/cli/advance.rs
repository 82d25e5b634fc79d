//! `advance-sign-state`: for a validator whose sign state was lost or is older than its blocks.
//!
//! It only ever moves the state forward, so it can make the validator sign less, never more. By default the whole height
//! after the newest block is given up: whatever the key signed there, nothing contradicts it. That is safe without
//! trusting anything but the blocks, and costs one height. Where the others cannot decide that height alone, giving it
//! up would stop the chain for good; then, and only on the operator's word that the journal is this validator's own and
//! newest, the state becomes exactly what blocks and journal show: a vote leaves a node only after it is in the journal.
//! It is synced there later than it leaves: what the machine, and not just the node, lost with its power is not shown.
//! Heights further on, which another node may have signed, are what listening for one's own key is for.

use super::CliError;
use super::args::{AdvanceArgs, Common};
use super::output::Output;
use crate::config::{Config, HomeLock};
use crate::disk::OsDisk;
use crate::node::{self, HomeShows, Weight};
use crate::privval::FileSigner;
use crate::types::{Address, Height, SignPosition};
use serde_json::{Value, json};

pub(super) fn run(common: &Common, args: &AdvanceArgs, out: &Output) -> Result<(), CliError> {
    let home = common.home()?;
    home.create()?;
    let _lock = HomeLock::take(&home)?;
    let config = Config::load(&home, &common.overrides())?.0;
    let own = Address::from(&FileSigner::public_key_of(&OsDisk, &config.files.priv_validator_key)?);
    let shows = node::home_shows(&config, &own)
        .map_err(|error| CliError::failed(error, "see to the store and the journal first"))?;
    let to = target(args, &shows)?;
    let file = &config.files.priv_validator_state;
    let before = FileSigner::advance(&OsDisk, file, to)?;
    let after = before.map_or(to, |before| before.max(to));
    out.give(&text(&shows, before, after), &value(&shows, before, after));
    Ok(())
}

/// How far the state is moved.
fn target(args: &AdvanceArgs, shows: &HomeShows) -> Result<SignPosition, CliError> {
    let signed = shows.signed.map_or(SignPosition::START, |shown| shown.at);
    if args.trust_journal {
        let nothing = || {
            let what = "refused: neither blocks nor journal show anything signed by this key: they are not its own";
            CliError::failed(what, "quorate advance-sign-state, without --trust-journal")
        };
        return shows.signed.map(|shown| shown.at).ok_or_else(nothing);
    }
    let next = shows.next.max(signed.height);
    let Some(asked) = args.height else {
        refuse_to_stop_the_chain(shows)?;
        return Ok(SignPosition::end_of(next));
    };
    match i64::try_from(asked).ok().and_then(|asked| Height::try_from(asked).ok()) {
        Some(asked) if asked >= next => Ok(SignPosition::end_of(asked)),
        _ => Err(CliError::failed(
            format!("--height must be {next} or more, the height after the newest block, got {asked}"),
            "leave --height away, or take the height another node's /status shows, plus one",
        )),
    }
}

/// Giving up the next height is no remedy where the others cannot decide it.
fn refuse_to_stop_the_chain(shows: &HomeShows) -> Result<(), CliError> {
    let Some(weight) = shows.weight.filter(|weight| !weight.others_decide()) else { return Ok(()) };
    let Weight { own, total, .. } = weight;
    let next = shows.next;
    let what = format!(
        "refused: this validator has {own} of {total} power, and the others cannot decide height {next} without it: \
         giving that height up would stop the chain. Nothing was changed"
    );
    let remedy = format!(
        "quorate advance-sign-state --trust-journal, if cs.wal is this validator's own and newest; or --height {next}, if \
         the others are past it"
    );
    Err(CliError::failed(what, remedy))
}

fn text(shows: &HomeShows, before: Option<SignPosition>, after: SignPosition) -> String {
    let before = before.map_or("missing".to_owned(), |before| before.to_string());
    let signed = shows.signed.map_or("nothing by this key is shown here".to_owned(), |shown| shown.to_string());
    let next = if after.at_end() {
        format!("signs again from height {}", after.height.next())
    } else {
        format!("signs again after {after}")
    };
    format!(
        "newest   block {}\nshown    {signed}\nbefore   {before}\nafter    {next}\nnext     quorate start",
        shows.tip
    )
}

fn value(shows: &HomeShows, before: Option<SignPosition>, after: SignPosition) -> Value {
    let position = |at: SignPosition| json!({ "height": at.height.to_string(), "round": at.round.as_i32(), "step": at.step as u8 });
    json!({
        "newest_block": shows.tip.to_string(),
        "shown": shows.signed.map(|shown| position(shown.at)),
        "before": before.map(position),
        "after": position(after),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seed 1795477500005902 of Tendermint, level 2.
    #[test]
    fn on_a_chain_that_begins_at_a_later_height_that_one_is_given_up_and_not_the_first() {
        let shows = HomeShows { tip: Height::ZERO, next: Height::new(5), signed: None, weight: None };
        let args = |height| AdvanceArgs { height, trust_journal: false };
        let given_up = |height| target(&args(height), &shows).map_err(|error| error.to_string());
        assert_eq!(given_up(None), Ok(SignPosition::end_of(Height::new(5))));
        assert!(given_up(Some(4)).is_err_and(|why| why.contains("--height must be 5 or more")));
    }
}
