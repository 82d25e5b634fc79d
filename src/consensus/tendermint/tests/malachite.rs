//! Malachite's Quint specification as an oracle: its recorded traces are replayed through our tally and machine.
//!
//! The specification handles one "upon" clause a step; we fire all that apply. So per validator the *things said* are
//! compared (votes, proposals, decisions, values asked for, timers), and what is ours or theirs alone must be listed
//! in [`DIFFERENCES`].

use super::story::{block, now_at, proposal_of, sign, start, validators, vote_of};
use crate::consensus::tally::Tally;
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{BlockVerdict, Effect, Input, Protocol, Start, Tick};
use crate::crypto::{PublicKey, Verified};
use crate::types::{
    Address, BlockId, CandidateBlock, Height, NodeId, Power, Proposal, Round, SignRequest, Source, Step, TimerId,
    Validator, ValidatorSet, Vote, VoteKind,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// What differs on purpose: how our or their words begin, who alone says them, how often, and why.
const DIFFERENCES: &[(&str, Only, usize, &str)] = &[
    ("PrevoteWaitTimeout", Only::Theirs, 71, "we precommit at once: a timer for the prevotes would do nothing"),
    ("PrecommitWaitTimeout", Only::Theirs, 21, "we decide at once: a timer for the precommits would do nothing"),
    ("ProposeTimeout 0 0", Only::Ours, 1, "their test decides from votes it put into the state before the start"),
    ("ProposeTimeout", Only::Ours, 5, "line 21 has no timer for a proposer; CometBFT sets one, and so do we"),
    ("ProposeTimeout", Only::Theirs, 2, "their test put the votes of a later round into the state, not into an input"),
    ("Prevote 0 0 a", Only::Ours, 1, "their test decides from votes it put into the state before the start"),
    ("Decided", Only::Theirs, 2, "their test put the precommits into the state, not into an input"),
    ("Precommit 0 0 a", Only::Theirs, 1, "their test put the prevotes into the state, not into an input"),
    ("Prevote 0 1 green", Only::Ours, 1, "we keep a proposal for the next round, and prevote it on getting there"),
    (
        "Prevote 0 1 red",
        Only::Ours,
        1,
        "hidden lock: an equivocator's second vote counts with us, so we see the quorum",
    ),
    ("Prevote 0 1 nil", Only::Theirs, 1, "hidden lock: they drop the second vote, and time out"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    Ours,
    Theirs,
}

/// The files in a tar archive: 512-byte headers with the name at 0 and the size in octal at 124.
fn untar(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut rest = archive;
    while rest.len() >= 512 && rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = &rest[range];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).expect("an octal size");
        files.push((text(0..100), rest[512..512 + size].to_vec()));
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    files
}

/// All traces by name, read once.
static TRACES: LazyLock<Vec<(String, Value)>> = LazyLock::new(traces);

fn traces() -> Vec<(String, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/malachite-quint/itf-traces.tar.xz");
    let packed = std::fs::read(path).expect("the archive is part of the repository");
    let mut archive = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut archive).expect("an xz file");
    let mut files = untar(&archive);
    files.retain(|(name, _)| name.ends_with(".itf.json"));
    files.sort();
    files.into_iter().map(|(name, bytes)| (name, serde_json::from_slice(&bytes).expect("JSON"))).collect()
}

fn number(value: &Value) -> i64 {
    let text = value["#bigint"].as_str().expect("a number");
    text.parse().expect("a number")
}

fn tag(value: &Value) -> &str {
    value["tag"].as_str().expect("a variant")
}

fn word(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// `Val(v)` is a block, `Nil` none.
fn choice(value: &Value) -> Option<&str> {
    (tag(value) == "Val").then(|| word(&value["value"]))
}

fn kind(value: &Value) -> VoteKind {
    if tag(value) == "Prevote" { VoteKind::Prevote } else { VoteKind::Precommit }
}

/// Specification heights begin at 0, ours at 1.
fn height_of(value: &Value) -> u64 {
    number(&value["height"]) as u64 + 1
}

fn seat(name: &str) -> usize {
    name.trim_start_matches('v').parse::<usize>().expect("v and a number") - 1
}

/// The start of a height that begins when the specification says so.
fn waiting(set: &Arc<ValidatorSet>, own: usize, height: u64) -> Start {
    Start { begin_at: Tick(1), ..start(set, Some(own), height) }
}

/// One validator of a trace and everything it said.
struct Replica {
    machine: Tendermint,
    to_sign: Vec<SignRequest>,
    set: Arc<ValidatorSet>,
    own: usize,
    decided: bool,
    blocks: BTreeMap<BlockId, String>,
    said: BTreeSet<String>,
}

impl Replica {
    fn new(size: usize, own: usize) -> Replica {
        // The specification's proposer of round r is number r + 1 (from 0), ours in a fresh set number r.
        let set = Arc::new(validators(&vec![1; size]).advanced(1));
        let mut out = Vec::new();
        let machine = Tendermint::recover(now_at(Tick(0)), waiting(&set, own, 1), &[], &mut out);
        let (blocks, said) = (BTreeMap::new(), BTreeSet::new());
        let mut replica = Replica { machine, to_sign: Vec::new(), set, own, decided: false, blocks, said };
        replica.hear_orders(out);
        replica
    }

    fn step(&mut self, input: Input<Message>) {
        let mut out = Vec::new();
        self.machine.step(now_at(Tick(0)), input, &mut out);
        self.hear_orders(out);
    }

    fn name(&self, id: Option<BlockId>) -> String {
        id.map_or_else(|| "nil".to_owned(), |id| self.blocks.get(&id).cloned().unwrap_or_else(|| "?".to_owned()))
    }

    fn block(&mut self, height: u64, value: &str) -> Arc<CandidateBlock> {
        let made = block(height, value);
        self.blocks.insert(made.id(), value.to_owned());
        made
    }

    fn hear_orders(&mut self, orders: Vec<Effect<Tendermint>>) {
        for order in orders {
            let height = self.machine.height().get() - 1;
            match order {
                Effect::Sign(request) => {
                    let words = match &request {
                        SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
                        SignRequest::Vote(vote) => {
                            format!("{:?} {height} {} {}", vote.kind, vote.round, self.name(vote.block_id))
                        }
                        SignRequest::Proposal(proposal) => {
                            let pol = Round::option_as_i32(proposal.pol_round);
                            format!("Proposal {height} {} {} {pol}", proposal.round, self.name(Some(proposal.block_id)))
                        }
                    };
                    self.said.insert(words);
                    self.to_sign.push(request);
                }
                Effect::SetTimer { timer, .. } if timer.step != Step::NewHeight => {
                    self.said.insert(format!("{:?}Timeout {height} {}", timer.step, timer.round));
                }
                Effect::BuildBlock(order) => {
                    self.said.insert(format!("GetValue {height} {}", order.round));
                }
                Effect::Decide(decision) => {
                    self.decided = true;
                    self.said.insert(format!("Decided {height} {}", self.name(Some(decision.block.id()))));
                }
                Effect::CheckBlock { height, round, block } => {
                    let invalid = self.name(Some(block.id())) == "invalid";
                    let no = BlockVerdict::Reject("invalid".to_owned());
                    let verdict = if invalid { no } else { BlockVerdict::Accept };
                    self.step(Input::BlockChecked { height, round, block_id: block.id(), verdict });
                }
                _ => {}
            }
        }
    }

    /// One input of the specification's driver.
    fn input(&mut self, input: &Value) {
        let value = &input["value"];
        match tag(input) {
            "StartDInput" => {
                if self.decided {
                    self.decided = false;
                    let next = self.machine.height().next().get();
                    self.step(Input::BlockApplied(Box::new(waiting(&self.set, self.own, next))));
                }
                self.timer(Step::NewHeight);
            }
            "ProposeValueDInput" => {
                let (height, round) = (self.machine.height(), self.machine.round());
                let built = self.block(height.get(), word(value));
                self.step(Input::BlockBuilt { height, round, block: built });
            }
            "ProposalDInput" => self.proposal(value),
            "VoteDInput" => self.vote(value),
            "CertificateDInput" => value["#set"].as_array().expect("a set").iter().for_each(|vote| self.vote(vote)),
            "TimeoutDInput" => {
                let step = match tag(value) {
                    "ProposeTimeout" => Step::Propose,
                    "PrevoteTimeout" => Step::PrevoteWait,
                    _ => Step::PrecommitWait,
                };
                self.timer(step);
            }
            _ => {}
        }
    }

    fn timer(&mut self, step: Step) {
        let (height, round) = (self.machine.height(), self.machine.round());
        self.step(Input::TimerFired(TimerId { height, round, step }));
    }

    /// The signer's answer to what is asked for, when the specification takes our own message in.
    fn own(&mut self, wanted: impl Fn(&SignRequest) -> bool) {
        if let Some(at) = self.to_sign.iter().position(wanted) {
            let request = self.to_sign.remove(at);
            self.step(Input::Signed(sign(request)));
        }
    }

    fn proposal(&mut self, value: &Value) {
        let (height, round) = (height_of(value), number(&value["round"]) as u32);
        let block = self.block(height, word(&value["proposal"]));
        if seat(word(&value["srcAddress"])) == self.own {
            let ours = |request: &SignRequest| matches!(request, SignRequest::Proposal(p) if p.round == Round::new(round) && p.block_id == block.id());
            return self.own(ours);
        }
        let pol = u32::try_from(number(&value["validRound"])).ok();
        let proposal: Proposal = proposal_of(height, round, pol, block.id());
        self.hear(Message::Proposal(Verified::trusted(proposal)));
        for part in block.parts().parts() {
            let (height, round) = (Height::new(height), Round::new(round));
            self.hear(Message::Part { height, round, part: part.clone() });
        }
    }

    fn vote(&mut self, value: &Value) {
        let at = (height_of(value), number(&value["round"]) as u32);
        let (from, kind) = (seat(word(&value["srcAddress"])), kind(&value["voteType"]));
        let id = choice(&value["valueId"]).map(|name| self.block(at.0, name).id());
        if from == self.own {
            let round = Round::new(at.1);
            let ours = |request: &SignRequest| matches!(request, SignRequest::Vote(v) if (v.round, v.kind, v.block_id) == (round, kind, id));
            return self.own(ours);
        }
        let vote: Vote = vote_of(&self.set, from, kind, at, id);
        self.hear(Message::Vote(Verified::trusted(vote)));
    }

    fn hear(&mut self, message: Message) {
        // A peer for each message: the window of unexpected rounds is another test's matter.
        let source = Source::Peer(NodeId::new(Address::new([self.said.len() as u8; 20])));
        self.step(Input::Received { source, message });
    }
}

/// What the specification says, in our words.
fn their_words(height: i64, output: &Value) -> Vec<String> {
    let value = &output["value"];
    let timeout = |kind: &Value, round: i64| {
        let step = match tag(kind) {
            "ProposeTimeout" => "Propose",
            "PrevoteTimeout" => "PrevoteWait",
            _ => "PrecommitWait",
        };
        format!("{step}Timeout {height} {round}")
    };
    let tuple = |i: usize| &value["#tup"][i];
    match tag(output) {
        "VoteOutput" => {
            let (kind, round) = (kind(&value["voteType"]), number(&value["round"]));
            vec![format!("{kind:?} {height} {round} {}", choice(&value["valueId"]).unwrap_or("nil"))]
        }
        "ProposalOutput" => {
            let (round, pol) = (number(&value["round"]), number(&value["validRound"]));
            vec![format!("Proposal {height} {round} {} {pol}", word(&value["proposal"]))]
        }
        "DecidedOutput" => vec![format!("Decided {height} {}", word(tuple(1)))],
        "TimeoutOutput" => vec![timeout(tuple(1), number(tuple(0)))],
        "GetValueAndScheduleTimeoutOutput" => {
            let round = number(tuple(1));
            vec![format!("GetValue {height} {round}"), timeout(tuple(2), round)]
        }
        _ => Vec::new(),
    }
}

/// Validator, input, output: a record in most traces, a tuple in some.
fn history(value: &Value) -> (&str, &Value, &Value) {
    match value.get("#tup") {
        Some(tuple) => (word(&tuple[0]), &tuple[1], &tuple[2]),
        None => (word(&value["validator"]), &value["input"], &value["output"]),
    }
}

/// The state of one validator in the specification.
fn replica_state<'a>(system: &'a Value, validator: &str) -> &'a Value {
    let map = system["#map"].as_array().expect("a map");
    &map.iter().find(|entry| entry[0] == validator).expect("in the system")[1]["es"]
}

/// Replays one module of one trace; returns steps replayed, things both said, and things one alone said.
fn replay(states: &[Value], module: &str) -> (usize, usize, Vec<(Only, String)>) {
    let (hist, system) = (format!("{module}_hist"), format!("{module}system"));
    let mut replicas: BTreeMap<String, Replica> = BTreeMap::new();
    let mut theirs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut steps = 0;
    for pair in states.windows(2) {
        let Some(value) = pair[1].get(&hist) else { continue };
        let (validator, input, output) = history(value);
        if validator == "INIT" {
            continue;
        }
        let after = replica_state(&pair[1][&system], validator);
        // The network moved, this validator did not.
        if pair[0].get(&hist) == Some(value) && replica_state(&pair[0][&system], validator) == after {
            continue;
        }
        let size = after["valset"]["#map"].as_array().expect("a map").len();
        steps += 1;
        replicas.entry(validator.to_owned()).or_insert_with(|| Replica::new(size, seat(validator))).input(input);
        let height = number(&after["cs"]["height"]);
        theirs.entry(validator.to_owned()).or_default().extend(their_words(height, output));
    }
    let mut both = 0;
    let mut alone = Vec::new();
    for (validator, replica) in &replicas {
        let theirs = &theirs[validator];
        both += replica.said.intersection(theirs).count();
        alone.extend(replica.said.difference(theirs).map(|words| (Only::Ours, words.clone())));
        alone.extend(theirs.difference(&replica.said).map(|words| (Only::Theirs, words.clone())));
    }
    (steps, both, alone)
}

#[test]
fn the_machine_says_what_the_specification_says_in_24_recorded_runs() {
    let (mut runs, mut steps, mut both) = (0, 0, 0);
    let mut alone: Vec<(String, Only, String)> = Vec::new();
    for (name, trace) in TRACES.iter() {
        let states = trace["states"].as_array().expect("states");
        let Some(first) = states.first() else { continue };
        let variables = first.as_object().expect("a state").keys();
        for module in variables.filter_map(|variable| variable.strip_suffix("_hist")) {
            let (more, same, different) = replay(states, module);
            runs += 1;
            steps += more;
            both += same;
            alone.extend(different.into_iter().map(|(only, words)| (name.clone(), only, words)));
        }
    }
    for (beginning, only, times, why) in DIFFERENCES {
        let found = alone.iter().filter(|(_, who, words)| who == only && words.starts_with(beginning)).count();
        assert_eq!(found, *times, "{beginning}, {only:?} alone: {why}");
        alone.retain(|(_, who, words)| who != only || !words.starts_with(beginning));
    }
    assert!(alone.is_empty(), "differences nobody explained: {alone:#?}");
    assert_eq!((runs, steps, both), (24, 1_641, 639), "the counts may only grow");
}

/// The threshold a vote reached, as the specification's vote keeper and our tally name it.
fn threshold_agrees(tally: &Tally, output: &Value, blocks: &BTreeMap<String, BlockId>) -> bool {
    let value = &output["value"];
    let round = |value: &Value| Round::new(number(value) as u32);
    let pair = || (round(&value["#tup"][0]), blocks.get(word(&value["#tup"][1])).copied());
    match tag(output) {
        "PolkaAnyVKOutput" => tally.has_two_thirds_any(round(value), VoteKind::Prevote),
        "PolkaNilVKOutput" => tally.majority(round(value), VoteKind::Prevote) == Some(None),
        "PolkaValueVKOutput" => tally.majority(pair().0, VoteKind::Prevote) == Some(pair().1),
        "PrecommitAnyVKOutput" => tally.has_two_thirds_any(round(value), VoteKind::Precommit),
        "PrecommitValueVKOutput" => tally.majority(pair().0, VoteKind::Precommit) == Some(pair().1),
        "SkipVKOutput" => tally.round_to_skip_to() == Some(round(value)),
        other => panic!("an output this test does not know: {other}"),
    }
}

/// The members of the specification's set by name, in our set.
fn weighted(state: &Value) -> (Arc<ValidatorSet>, BTreeMap<String, usize>) {
    let members = state["bookkeeper"]["validatorSet"]["#map"].as_array().expect("a map");
    let keys: Vec<_> = (0..members.len()).map(|i| PublicKey::new([i as u8 + 1; 32])).collect();
    let power = |member: &Value| Power::new(number(&member[1]) as u64);
    let set = ValidatorSet::new(members.iter().zip(&keys).map(|(member, key)| Validator::new(*key, power(member))));
    let set = set.expect("a legal set");
    let index = |key: &PublicKey| set.by_address(&Address::from(key)).expect("a member").0 as usize;
    let names = members.iter().zip(&keys).map(|(member, key)| (word(&member[0]).to_owned(), index(key))).collect();
    (Arc::new(set), names)
}

#[test]
fn the_tally_reaches_the_thresholds_the_specification_reaches_in_10_recorded_runs() {
    let (mut runs, mut votes, mut thresholds) = (0, 0, 0);
    for (name, trace) in TRACES.iter() {
        let states = trace["states"].as_array().expect("states");
        let Some(first) = states.first().filter(|state| state.get("weightedVote").is_some()) else { continue };
        let (set, names) = weighted(first);
        let mut tally = Tally::new(Height::FIRST, Arc::clone(&set));
        let mut blocks = BTreeMap::new();
        let mut skipped = false;
        for state in states.iter().filter(|state| tag(&state["weightedVote"]) == "WV") {
            let (vote, round) =
                (&state["weightedVote"]["value"]["#tup"][0], &state["weightedVote"]["value"]["#tup"][2]);
            let id =
                choice(&vote["valueId"]).map(|value| *blocks.entry(value.to_owned()).or_insert(block(1, value).id()));
            let at = (1, number(&vote["round"]) as u32);
            let from = names[word(&vote["srcAddress"])];
            tally.enter(Round::new(number(round) as u32));
            tally.add(vote_of(&set, from, kind(&vote["voteType"]), at, id), Source::Own);
            votes += 1;
            let output = &state["lastEmitted"];
            if tag(output) == "NoVKOutput" {
                assert!(skipped || tally.round_to_skip_to().is_none(), "{name}: a skip they do not see");
                continue;
            }
            assert!(threshold_agrees(&tally, output, &blocks), "{name}: {output}");
            skipped |= tag(output) == "SkipVKOutput";
            thresholds += 1;
        }
        runs += 1;
    }
    assert_eq!((runs, votes, thresholds), (10, 48, 10), "the counts may only grow");
}
