//! From what a node knows to why there is no new block. Pure: the same facts give the same findings, in the same order.

use super::facts::{Facts, Key, Lead, Validator};
use crate::cli::http::curl;
use crate::config::Address;
use serde::Serialize;

/// Seconds after which a validator counts as silent: many elections and view changes long.
const SILENT_AFTER: u64 = 10;
/// Validators named in one sentence; of more, the number is told.
const NAMED_MAX: usize = 10;

/// What is known beyond one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    Once,
    UntilItMoved,
    InVain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Blocks are coming.
    Coming,
    /// Nothing waits for a block, and nothing is in the way of one.
    Idle,
    /// One look does not tell: look longer.
    Unsure,
    /// No block comes until something changes.
    Stuck,
}

/// What happened, why, and what to do. For people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) fix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Diagnosis {
    pub(super) verdict: Verdict,
    /// The most important first.
    pub(super) findings: Vec<Finding>,
}

/// Stands in a remedy for the start of a `curl` command that reaches the node.
const CURL: &str = "{curl}";
/// Commands of remedies that ask this same node.
const ASKING: [&str; 3] = ["quorate net", "quorate status", "seconds: quorate why"];
/// Commands of remedies that need the home of this node to themselves.
const AT_HOME: [&str; 2] = ["quorate start", "quorate advance-sign-state"];

impl Diagnosis {
    /// Makes the remedies commands for this node: at its address, with the flags that named it, and for those at its home
    /// with the flags that name that.
    pub(super) fn point_to(&mut self, address: &Address, which_node: &str, which_home: &str) {
        for finding in &mut self.findings {
            finding.fix = finding.fix.replace(CURL, &curl(address));
            for command in ASKING {
                finding.fix = finding.fix.replace(command, &format!("{command}{which_node}"));
            }
            for command in AT_HOME {
                finding.fix = finding.fix.replace(command, &format!("{command}{which_home}"));
            }
        }
    }
}

fn finding(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { what: what.into(), why: why.into(), fix: fix.into() }
}

/// What is the matter.
pub(super) fn diagnose(facts: &Facts, looked: Looked) -> Diagnosis {
    if let Some(finding) = application(facts) {
        return Diagnosis { verdict: Verdict::Stuck, findings: vec![finding] };
    }
    if let Some((verdict, finding)) = fetching(facts, looked) {
        return Diagnosis { verdict, findings: vec![finding] };
    }
    // In the way of every block, whether one is wanted or not.
    let mut findings: Vec<Finding> = lead(facts).into_iter().chain(peers(facts)).collect();
    let clear = findings.is_empty();
    let verdict = match looked {
        Looked::UntilItMoved => Verdict::Coming,
        _ if clear && facts.is_idle() => Verdict::Idle,
        Looked::Once => Verdict::Unsure,
        Looked::InVain if clear && facts.is_pausing() => Verdict::Coming,
        Looked::InVain => Verdict::Stuck,
    };
    match verdict {
        Verdict::Coming => findings = vec![coming(facts)],
        Verdict::Idle => findings.push(idle(facts)),
        Verdict::Unsure | Verdict::Stuck => findings.extend(extensions(facts).into_iter().chain(votes(facts))),
    }
    findings.extend(own_key(facts));
    if findings.is_empty() && verdict == Verdict::Stuck {
        findings.push(unknown(facts));
    }
    findings.extend(follower(facts));
    Diagnosis { verdict, findings }
}

// -------------------------------------------------------------------------------------------------- this node's own

fn application(facts: &Facts) -> Option<Finding> {
    if let Some(why) = &facts.application {
        let fix = "start the application at the address of proxy_app; the node connects again by itself";
        return Some(finding("this node waits for its application", why.as_str(), fix));
    }
    let why = facts.halted.as_deref()?;
    let fix = "repair the application as its own log says, stop this node, then: quorate start";
    Some(finding("consensus stopped on this node and stays so until people act", why, fix))
}

fn fetching(facts: &Facts, looked: Looked) -> Option<(Verdict, Finding)> {
    let fetching = facts.fetching.as_ref()?;
    let (at, target) = (fetching.at, fetching.target);
    Some(match fetching.stage.as_str() {
        "out of reach" => {
            let what = format!("this node needs block {}, and no peer has it any more", at.saturating_add(1));
            let fix = "connect to a node with a longer history (p2p.persistent_peers), or restore a newer backup";
            (Verdict::Stuck, finding(what, "its peers removed old blocks", fix))
        }
        "waiting" => {
            let why = format!("it has block {at} and asks before it votes; {} connected", count(facts.peers, "peer"));
            let verdict = if looked == Looked::Once { Verdict::Unsure } else { Verdict::Stuck };
            (verdict, finding("this node waits for a peer that says which blocks it has", why, "quorate net"))
        }
        _ => {
            let what = format!("this node fetches blocks: {at} of {target}");
            (Verdict::Coming, finding(what, "it was behind; it votes once it has them", "quorate status"))
        }
    })
}

fn own_key(facts: &Facts) -> Option<Finding> {
    facts.own()?;
    match facts.key {
        Key::None | Key::Signs => None,
        Key::Listening => Some(finding(
            "this validator signs nothing yet",
            "it listens whether another node signs with its key; that ends with the next block, or after one round",
            "wait; if no other node can have the key, stop this node, then: quorate start --skip-doppelganger-check",
        )),
        Key::Refused => Some(finding(
            "this node's own key refused to sign",
            facts.key_refused.clone().unwrap_or_else(|| "it did not say why".to_owned()),
            "stop this node; then restore blocks, cs.wal and priv_validator_state.json from one backup, or: quorate \
             advance-sign-state",
        )),
    }
}

fn follower(facts: &Facts) -> Option<Finding> {
    if facts.own().is_some() {
        return None;
    }
    let why = "its key is not in the validator set: it follows, and no block depends on it";
    Some(finding("this node is not a validator", why, "to vote, the application must give its key power"))
}

// ------------------------------------------------------------------------------------------------- all of them

fn coming(facts: &Facts) -> Finding {
    let height = facts.height;
    let since = facts.since_last_block.map(|since| format!("the last one came {since} s ago; "));
    let why = format!("{}height {height} is being decided", since.unwrap_or_default());
    finding("blocks are coming", why, "quorate status")
}

fn idle(facts: &Facts) -> Finding {
    let why = format!("no transaction waits, and without one no block is due; height {} is next", facts.height);
    finding("nothing waits for a block", why, format!("{CURL}broadcast_tx_commit?tx=\"name=satoshi\"'"))
}

fn unknown(facts: &Facts) -> Finding {
    let why = format!("what a quorum has to say is here: {}, step {}", facts.lead_line(), facts.step);
    let fix = "look at the node's log; a timeout may be long: grep timeout_ config/config.toml";
    finding(format!("height {} is not decided, and nobody is missing", facts.height), why, fix)
}

/// Raft without a leader, PBFT between two views.
fn lead(facts: &Facts) -> Option<Finding> {
    let (what, words) = match facts.lead.as_ref()? {
        Lead::Leader { address: None, .. } => {
            (format!("no leader is known in term {}; the election goes on", facts.round), "to elect one")
        }
        Lead::Primary { changing: true, address } => {
            (format!("a view change is under way: to view {} with primary {address}", facts.round), "to begin a view")
        }
        Lead::Leader { .. } | Lead::Primary { .. } | Lead::Proposer { .. } => return None,
    };
    let silent: Vec<&Validator> = facts.validators.iter().filter(|one| is_silent(one)).collect();
    let heard = facts.total().saturating_sub(power(&silent));
    let needed = facts.power_needed;
    if silent.is_empty() {
        let why = format!("all validators were heard within {SILENT_AFTER} s; power {needed} must agree {words}");
        return Some(finding(what, why, "ask again in a few seconds: quorate why"));
    }
    let short = if heard < needed { format!(", {} is missing", needed - heard) } else { String::new() };
    let why = format!(
        "power {heard} of {} was heard within {SILENT_AFTER} s, {needed} is needed {words}{short}. Silent: {}",
        facts.total(),
        named(&silent)
    );
    Some(finding(what, why, "start the nodes of the silent validators, or repair the way to them: quorate net"))
}

fn peers(facts: &Facts) -> Option<Finding> {
    let own = facts.own().map_or(0, |own| own.power);
    let mut others: Vec<u64> = facts.validators.iter().filter(|one| !one.own).map(|one| one.power).collect();
    if own >= facts.power_needed || others.is_empty() {
        return None;
    }
    let needed = facts.power_needed;
    if facts.peers == 0 {
        let why = format!("its own power is {own} of {}, a block needs {needed}", facts.total());
        return Some(finding("no peer is connected, and this node cannot decide alone", why, "quorate net"));
    }
    if matches!(facts.lead, Some(Lead::Proposer { .. })) || facts.own().is_none() {
        return None; // one peer passes on what the others say
    }
    others.sort_unstable_by(|a, b| b.cmp(a));
    let connected = usize::try_from(facts.peers).unwrap_or(usize::MAX);
    let reach = others.iter().take(connected).fold(own, |sum, power| sum.saturating_add(*power));
    (reach < needed).then(|| {
        let what = format!("too few peers for a quorum: {} connected", count(facts.peers, "peer"));
        let why = format!("this node and they have at most power {reach}, a block needs {needed} of {}", facts.total());
        finding(what, why, "quorate net")
    })
}

/// Votes that came and do not count.
fn extensions(facts: &Facts) -> Option<Finding> {
    let refused: Vec<&Validator> = facts.validators.iter().filter(|one| one.refused).collect();
    let what = format!("this node's application refuses the vote extensions of {}", named(&refused));
    let why = "such a vote does not count; what the application itself extends is shown to the others' only, so one that \
               refuses what it makes stops the chain";
    let fix = "compare ExtendVote with VerifyVoteExtension in the application, repair it, restart it on every node";
    (!refused.is_empty()).then(|| finding(what, why, fix))
}

/// Who has not said yet what the current step waits for.
fn votes(facts: &Facts) -> Option<Finding> {
    if lead(facts).is_some() {
        return None; // nobody votes meanwhile
    }
    match facts.lead.as_ref()? {
        Lead::Leader { address: Some(leader), role } if role != "leader" => Some(asks_leader(facts, leader)),
        Lead::Leader { .. } => missing(facts, "acknowledged", |one| one.precommitted),
        Lead::Proposer { address } | Lead::Primary { address, .. }
            if !facts.has_proposal && facts.step == "Propose" =>
        {
            Some(no_proposal(facts, address))
        }
        Lead::Proposer { .. } | Lead::Primary { .. } => match facts.step.as_str() {
            "Precommit" | "PrecommitWait" | "Commit" => missing(facts, "precommitted", |one| one.precommitted),
            _ => missing(facts, "prevoted", |one| one.prevoted),
        },
    }
}

fn asks_leader(facts: &Facts, leader: &str) -> Finding {
    let heard = facts.validators.iter().find(|one| one.address == leader).map_or("unknown".to_owned(), heard);
    let why = format!("acknowledgements go to the leader {leader} ({heard}): only it sees who is missing");
    let fix = "on the leader's node: quorate why, or from here: quorate why --node tcp://HOST:PORT (its rpc.laddr)";
    finding(format!("the leader of term {} has not committed height {}", facts.round, facts.height), why, fix)
}

fn no_proposal(facts: &Facts, proposer: &str) -> Finding {
    let what = format!("height {} round {} has no proposal", facts.height, facts.round);
    match facts.validators.iter().find(|one| one.address == proposer) {
        Some(one) if one.own => {
            let why = "this node is to propose, and its application has not made a block yet";
            finding(what, why, "look at the application's log: it may be slow in PrepareProposal")
        }
        one => {
            let why = format!("{proposer} is to propose ({})", one.map_or("unknown".to_owned(), heard));
            finding(what, why, "start its node, or repair the way to it: quorate net")
        }
    }
}

fn missing(facts: &Facts, verb: &str, has: fn(&Validator) -> bool) -> Option<Finding> {
    let silent: Vec<&Validator> = facts.validators.iter().filter(|one| !has(one)).collect();
    let total = facts.total();
    let here = total.saturating_sub(power(&silent));
    let needed = facts.power_needed;
    (here < needed).then(|| {
        let what = format!("height {} waits for votes of {}", facts.height, named(&silent));
        let why = format!(
            "power {here} of {total} has {verb} in round {}, {needed} is needed, {} is missing",
            facts.round,
            needed - here
        );
        finding(what, why, "start their nodes, or repair the way to them: quorate net; there: quorate why")
    })
}

// --------------------------------------------------------------------------------------------------------- words

impl Facts {
    /// Nothing is to be decided: no transaction waits, no block is due without one, and none is begun.
    fn is_idle(&self) -> bool {
        let between =
            !matches!(self.lead, Some(Lead::Proposer { .. })) || matches!(&*self.step, "NewHeight" | "NewRound");
        self.txs == 0 && !self.empty_blocks && !self.has_proposal && between
    }

    /// Between two blocks, for as long as timeout_commit says.
    fn is_pausing(&self) -> bool {
        self.step == "NewHeight"
            && !self.has_proposal
            && (self.txs == 0 || matches!(self.lead, Some(Lead::Proposer { .. })))
    }

    fn total(&self) -> u64 {
        self.validators.iter().fold(0, |sum, one| sum.saturating_add(one.power))
    }

    fn own(&self) -> Option<&Validator> {
        self.validators.iter().find(|one| one.own)
    }
}

fn power(of: &[&Validator]) -> u64 {
    of.iter().fold(0, |sum, one| sum.saturating_add(one.power))
}

fn is_silent(one: &Validator) -> bool {
    !one.own && (one.cut || one.last_heard.is_none_or(|seconds| seconds > SILENT_AFTER))
}

pub(super) fn heard(one: &Validator) -> String {
    match one.last_heard {
        _ if one.own => "this node".to_owned(),
        Some(seconds) if one.cut => format!("heard {seconds} s ago over a connection that has ended"),
        Some(seconds) => format!("heard {seconds} s ago"),
        None => "never heard".to_owned(),
    }
}

fn named(those: &[&Validator]) -> String {
    let mut names: Vec<String> = those
        .iter()
        .take(NAMED_MAX)
        .map(|one| format!("{} (power {}, {})", one.address, one.power, heard(one)))
        .collect();
    if those.len() > names.len() {
        names.push(format!("{} more", those.len() - names.len()));
    }
    names.join(", ")
}

/// `1 peer`, `2 peers`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
