//! Situations, and what they are said to be.

use super::diagnosis::{Diagnosis, Looked, Verdict, diagnose};
use super::facts::{Facts, Fetching, Key, Lead, Validator};
use super::{AskError, findings, look, screen};
use crate::config::Address;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

fn name(index: usize) -> String {
    format!("{index:02}").repeat(20)
}

/// Four validators of power 10, the first our own, in the middle of a round that waits for prevotes, a minute after the
/// last block.
fn four(lead: Lead) -> Facts {
    let validator = |index| Validator {
        address: name(index),
        power: 10,
        own: index == 0,
        prevoted: true,
        precommitted: false,
        last_heard: Some(1),
        refused: false,
        cut: false,
    };
    Facts {
        chain: "chain-x".into(),
        algorithm: "tendermint".into(),
        height: 41,
        round: 3,
        step: "Prevote".into(),
        has_proposal: true,
        lead: Some(lead),
        since_last_block: Some(60),
        txs: 2,
        empty_blocks: true,
        validators: (0..4).map(validator).collect(),
        power_needed: 27,
        peers: 3,
        application: None,
        halted: None,
        fetching: None,
        key: Key::Signs,
        key_refused: None,
    }
}

fn tendermint() -> Facts {
    four(Lead::Proposer { address: name(1) })
}

fn pbft(changing: bool) -> Facts {
    four(Lead::Primary { address: name(1), changing })
}

fn raft(leader: Option<usize>, role: &str) -> Facts {
    Facts { power_needed: 21, ..four(Lead::Leader { address: leader.map(name), role: role.into() }) }
}

fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut facts);
    facts
}

fn two_gone(facts: &mut Facts) {
    for index in [2, 3] {
        facts.validators[index].prevoted = false;
        facts.validators[index].last_heard = if index == 2 { Some(31) } else { None };
    }
}

fn quiet(facts: &mut Facts) {
    (facts.txs, facts.empty_blocks, facts.has_proposal, facts.step) = (0, false, false, "NewRound".into());
}

fn fetching(stage: &str) -> Facts {
    with(tendermint(), |facts| facts.fetching = Some(Fetching { stage: stage.into(), at: 7, target: 90 }))
}

/// What is known, how it was looked, the verdict, and what the findings must say.
type Situation = (&'static str, Facts, Looked, Verdict, Vec<String>);

fn says(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Seven situations that are no fault of anybody, or not known to be one.
fn well_or_not_told_yet() -> Vec<Situation> {
    use Looked::{InVain, Once, UntilItMoved};
    use Verdict::{Coming, Idle, Stuck, Unsure};
    vec![
        ("idle", with(tendermint(), quiet), Once, Idle, says(&["nothing waits for a block"])),
        ("idle, PBFT", with(pbft(false), quiet), Once, Idle, says(&["no transaction waits"])),
        ("idle, Raft", with(raft(Some(1), "follower"), quiet), Once, Idle, says(&["no transaction waits"])),
        (
            "a long pause",
            with(tendermint(), |f| (f.has_proposal, f.step) = (false, "NewHeight".into())),
            InVain,
            Coming,
            says(&["blocks are coming"]),
        ),
        ("deciding", tendermint(), Once, Unsure, Vec::new()),
        ("it moved", tendermint(), UntilItMoved, Coming, says(&["height 41 is being decided"])),
        ("nobody is missing", tendermint(), InVain, Stuck, says(&["nobody is missing", "timeout_"])),
    ]
}

/// Five that this node has with itself.
fn of_this_node() -> Vec<Situation> {
    use Looked::{InVain, Once};
    use Verdict::{Coming, Stuck};
    vec![
        (
            "application away",
            with(tendermint(), |f| f.application = Some("gone; connecting again".into())),
            Once,
            Stuck,
            says(&["waits for its application", "gone", "start the application"]),
        ),
        (
            "halted",
            with(tendermint(), |f| f.halted = Some("app hash differs".into())),
            Once,
            Stuck,
            says(&["consensus stopped", "app hash differs"]),
        ),
        ("fetching", fetching("fetching"), Once, Coming, says(&["fetches blocks: 7 of 90"])),
        ("nobody to fetch from", fetching("waiting"), InVain, Stuck, says(&["waits for a peer", "quorate net"])),
        ("pruned away", fetching("out of reach"), Once, Stuck, says(&["block 8", "no peer has it"])),
    ]
}

/// Six where others are missing.
fn others_missing() -> Vec<Situation> {
    use Looked::InVain;
    use Verdict::Stuck;
    let both = || {
        let words = ["power 20 of 40 has prevoted", "7 is missing", "never heard"];
        words.into_iter().map(str::to_owned).chain([name(2), name(3)]).collect::<Vec<_>>()
    };
    vec![
        ("no peers", with(tendermint(), |f| f.peers = 0), InVain, Stuck, says(&["no peer is connected", "10 of 40"])),
        (
            "no peers, quiet",
            with(with(tendermint(), quiet), |f| f.peers = 0),
            InVain,
            Stuck,
            says(&["no peer is connected"]),
        ),
        (
            "too few peers",
            with(pbft(false), |f| f.peers = 1),
            InVain,
            Stuck,
            says(&["too few peers", "1 peer connected", "at most power 20"]),
        ),
        ("two killed", with(tendermint(), two_gone), InVain, Stuck, both()),
        ("two killed, PBFT", with(pbft(false), two_gone), InVain, Stuck, both()),
        (
            "no proposal",
            with(tendermint(), |f| (f.has_proposal, f.step) = (false, "Propose".into())),
            InVain,
            Stuck,
            vec![name(1), "has no proposal".into()],
        ),
    ]
}

/// Seven about who leads and who signs.
fn leads_and_keys() -> Vec<Situation> {
    use Looked::InVain;
    use Verdict::Stuck;
    vec![
        (
            "no leader",
            with(raft(None, "candidate"), two_gone),
            InVain,
            Stuck,
            vec!["no leader is known in term 3".into(), name(2), name(3), "1 is missing".into()],
        ),
        (
            "an election",
            raft(None, "follower"),
            InVain,
            Stuck,
            says(&["the election goes on", "all validators were heard"]),
        ),
        (
            "unacknowledged",
            raft(Some(0), "leader"),
            InVain,
            Stuck,
            vec![name(1), "power 0 of 40 has acknowledged".into()],
        ),
        (
            "ask the leader",
            raft(Some(1), "follower"),
            InVain,
            Stuck,
            vec![name(1), "only it sees who is missing".into()],
        ),
        (
            "view change",
            with(pbft(true), two_gone),
            InVain,
            Stuck,
            vec!["view change is under way".into(), name(1), name(3), "7 is missing".into()],
        ),
        (
            "key refused",
            with(tendermint(), |f| {
                two_gone(f);
                (f.key, f.key_refused) = (Key::Refused, Some("it would go back".into()));
            }),
            InVain,
            Stuck,
            says(&["own key refused", "it would go back"]),
        ),
        (
            "listening",
            with(tendermint(), |f| f.key = Key::Listening),
            InVain,
            Stuck,
            says(&["signs nothing yet", "--skip-doppelganger-check"]),
        ),
    ]
}

#[test]
fn each_situation_is_recognised_and_those_who_are_missing_are_named() {
    let situations: Vec<Situation> =
        [well_or_not_told_yet(), of_this_node(), others_missing(), leads_and_keys()].into_iter().flatten().collect();
    assert_eq!(situations.len(), 25);
    for (what, facts, looked, verdict, words) in situations {
        let diagnosis = diagnose(&facts, looked);
        let text = findings(&diagnosis);
        assert_eq!(diagnosis.verdict, verdict, "{what}:\n{text}");
        for word in words {
            assert!(text.contains(&word), "{what}: {word:?} in\n{text}");
        }
    }
}

#[test]
fn commands_go_to_the_node_that_was_asked() {
    let idle = || diagnose(&with(tendermint(), quiet), Looked::Once);
    let fix = |mut diagnosis: Diagnosis, address: &str, flags: &str| {
        diagnosis.point_to(&address.parse().unwrap(), flags, flags);
        diagnosis.findings.remove(0).fix
    };
    let query = "broadcast_tx_commit?tx=\"name=satoshi\"'";
    for (address, start) in [
        ("tcp://127.0.0.1:9080", "curl 'http://127.0.0.1:9080/"),
        ("tcp://0.0.0.0:26657", "curl 'http://127.0.0.1:26657/"),
        ("unix:///run/rpc.sock", "curl --unix-socket /run/rpc.sock 'http://localhost/"),
    ] {
        assert_eq!(fix(idle(), address, ""), format!("{start}{query}"));
    }
    let halted = diagnose(&with(tendermint(), |facts| facts.halted = Some("it differs".to_owned())), Looked::InVain);
    let told = fix(halted, "tcp://127.0.0.1:9080", " --home /h");
    assert!(told.ends_with("stop this node, then: quorate start --home /h"), "the node still holds its home: {told}");
    let alone = diagnose(&with(tendermint(), |facts| facts.peers = 0), Looked::InVain);
    assert_eq!(fix(alone, "tcp://127.0.0.1:9080", " --home /h"), "quorate net --home /h");
}

/// Answers every GET of a few as a server that has only `/status` would.
fn older_node(status: &'static str) -> Address {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            let answer = if head[..read].starts_with(b"GET /status ") { status } else { "404 page not found\n" };
            let code = if answer == status { "200 OK" } else { "404 Not Found" };
            stream.write_all(format!("HTTP/1.0 {code}\r\n\r\n{answer}").as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn a_node_without_the_route_is_told_from_something_that_is_no_node() {
    let address = older_node(r#"{"result":{"node_info":{"version":"0.38.25"}}}"#);
    let Err(AskError::Refused(why)) = look(&address) else { panic!("it has no /why") };
    assert_eq!(
        why,
        format!("the node at {address} does not know /why: it is CometBFT or an older quorate (version 0.38.25)")
    );
    assert!(matches!(look(&older_node("hello")), Err(AskError::NoNode(_))));
}

#[test]
fn a_node_without_a_vote_says_so_last() {
    let facts = with(tendermint(), |facts| {
        two_gone(facts);
        facts.validators[0].own = false;
        facts.key = Key::None;
    });
    let diagnosis = diagnose(&facts, Looked::InVain);
    let whats: Vec<&str> = diagnosis.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert!(whats[0].contains("waits for votes") && whats[1] == "this node is not a validator", "{whats:?}");
}

#[test]
fn a_validator_that_decides_alone_needs_no_peers() {
    let facts = with(tendermint(), |facts| {
        facts.validators.truncate(1);
        (facts.power_needed, facts.peers) = (7, 0);
        quiet(facts);
    });
    assert_eq!(diagnose(&facts, Looked::Once).verdict, Verdict::Idle);
}

#[test]
fn validators_whose_connections_just_ended_count_as_silent_although_they_were_heard_a_second_ago() {
    let mut facts = raft(None, "candidate");
    let said = |facts: &Facts| diagnose(facts, Looked::InVain).findings[0].why.clone();
    assert!(said(&facts).contains("all validators were heard"), "{}", said(&facts));
    for gone in [2, 3] {
        facts.validators[gone].cut = true;
    }
    let why = said(&facts);
    assert!(why.contains("power 20 of 40") && why.contains("heard 1 s ago over a connection that has ended"), "{why}");
}

#[test]
fn an_application_that_refuses_extensions_is_named_as_the_reason() {
    let mut facts = four(Lead::Proposer { address: name(1) });
    facts.step = "Precommit".into();
    for index in 1..4 {
        facts.validators[index].refused = true;
    }
    let findings = diagnose(&facts, Looked::InVain).findings;
    assert!(findings[0].what.contains("refuses the vote extensions"), "{findings:?}");
    assert!((1..4).all(|index| findings[0].what.contains(&name(index))), "{findings:?}");
    assert!(findings[0].fix.contains("VerifyVoteExtension"), "{findings:?}");
    facts.validators.iter_mut().for_each(|one| one.refused = false);
    assert!(diagnose(&facts, Looked::InVain).findings.iter().all(|finding| !finding.what.contains("refuses")));
}

fn answer() -> Value {
    let validator = json!({
        "address": name(0), "power": "10", "own": true, "prevoted": true, "precommitted": false, "last_heard": null,
        "refused": false, "cut": false
    });
    json!({
        "chain": "chain-x", "algorithm": "raft", "height": "221", "round": 7, "step": "Precommit",
        "has_proposal": true, "lead": {"kind": "leader", "address": null, "role": "candidate"},
        "since_last_block": "12", "txs": "2", "empty_blocks": false, "validators": [validator],
        "power_needed": "6", "peers": 3, "application": null, "halted": null,
        "fetching": {"stage": "waiting", "at": "3", "target": "0"}, "key": "refused", "key_refused": "it went back",
    })
}

#[test]
fn a_person_sees_who_leads_and_who_voted() {
    let facts = Facts::read(&answer()).unwrap();
    let screen = screen(&facts);
    for part in [
        "chain        chain-x, decided by raft",
        "lead         term 7, no leader is known; this node is candidate",
        "last block   12 s ago",
        "0000000000000000000000000000000000000000  10     yes       –             this node",
    ] {
        assert!(screen.contains(part), "{part} in\n{screen}");
    }
}

#[test]
fn an_answer_of_another_form_is_no_answer() {
    for (field, nonsense) in [("height", json!(5)), ("lead", json!({"kind": "king"})), ("validators", Value::Null)] {
        let mut answer = answer();
        answer[field] = nonsense;
        assert!(Facts::read(&answer).is_none(), "{field}");
    }
}
