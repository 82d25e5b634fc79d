//! Stories about forming: every order of arrival, crashes at every point, wrong lists, strangers at an address.

use super::address::{ListError, Members, NodeAddress};
use super::agree::{Agreement, Network, Said, Step};
use super::memory::Memory;
use super::refusal::{FormingError, Refusal};
use super::statement::Statement;
use super::{form, is_name};
use crate::crypto::PrivateKey;
use crate::types::{Address, Algorithm, NodeId, Time};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Longest time a story may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn address(port: u16) -> NodeAddress {
    NodeAddress::new("127.0.0.1", port).unwrap()
}

/// A node whose keys come from its number.
fn node(number: u8, own: &NodeAddress, all: &[NodeAddress]) -> Statement {
    let key = |salt: u8| PrivateKey::from_seed(&[number, salt].repeat(16).try_into().unwrap()).public_key();
    Statement {
        name: format!("node-{number}"),
        address: own.clone(),
        members: Members::new(own, all).unwrap(),
        algorithm: Algorithm::Raft,
        node_id: NodeId::new(Address::from(&key(1))),
        validator: key(2),
        created: Time::new(1_700_000_000 + i64::from(number), 5).unwrap(),
        agreed: None,
    }
}

/// So many nodes that list each other.
fn nodes(count: u8) -> Vec<Statement> {
    let all: Vec<_> = (0..count).map(|number| address(8080 + u16::from(number))).collect();
    (0..count).map(|number| node(number + 1, &all[usize::from(number)], &all)).collect()
}

// ------------------------------------------------------------------------------------------------------------- lists

/// What people type, and what it is; none where it is refused. 25 cases.
const SPELLINGS: &[(&str, Option<&str>)] = &[
    ("127.0.0.1:8081", Some("127.0.0.1:8081")),
    ("localhost:8081", Some("127.0.0.1:8081")),
    ("LocalHost.:8081", Some("127.0.0.1:8081")),
    (":8081", Some("127.0.0.1:8081")),
    ("tcp://127.0.0.1:08081", Some("127.0.0.1:8081")),
    ("Node-2.Example.ORG:80", Some("node-2.example.org:80")),
    ("[::1]:80", Some("[::1]:80")),
    ("[0:0:0:0:0:0:0:1]:80", Some("[::1]:80")),
    ("192.168.1.5:64535", Some("192.168.1.5:64535")),
    ("", None),
    ("8081", None),
    ("127.0.0.1:", None),
    ("127.0.0.1:0", None),
    ("127.0.0.1:64536", None),
    ("127.0.0.1:65536", None),
    ("127.0.0.1:+80", None),
    ("0.0.0.0:80", None),
    ("[::]:80", None),
    ("::1:80", None),
    ("127.1:80", None),
    ("1.2.3.256:80", None),
    ("http://127.0.0.1:80", None),
    ("f4e88b6d0f011ecc8836dcbfd1cbadc400a20aa1@127.0.0.1:80", None),
    ("a b:80", None),
    ("a\n:80", None),
];

#[test]
fn every_address_has_one_spelling_and_what_nobody_can_call_is_refused() {
    for (text, expected) in SPELLINGS {
        match (text.parse::<NodeAddress>(), expected) {
            (Ok(found), Some(expected)) => assert_eq!(found.to_string(), *expected, "{text:?}"),
            (Err(why), None) => assert!(!why.to_string().contains(char::is_control), "{why}"),
            (outcome, _) => panic!("{text:?}: {outcome:?}"),
        }
    }
    assert_eq!(address(8080).rpc(), "127.0.0.1:9080");
}

#[test]
fn all_nodes_come_to_the_same_list_whatever_they_were_told_in_which_order() {
    let [a, b, c] = [8080, 8081, 10_000].map(address);
    let expected = Members::new(&a, &[b.clone(), c.clone()]).unwrap();
    for (own, told) in [(&b, [&c, &a]), (&c, [&a, &b]), (&a, [&c, &b])] {
        assert_eq!(Members::new(own, &told.map(Clone::clone)).unwrap(), expected);
    }
    assert_eq!(Members::new(&a, &[a.clone(), b.clone(), c.clone()]).unwrap(), expected, "the own address may be there");
    assert_eq!(expected.to_string(), "127.0.0.1:8080, 127.0.0.1:8081, 127.0.0.1:10000");
    assert_eq!(expected.flags(&b), "--peers 127.0.0.1:8080 --peers 127.0.0.1:10000");
}

#[test]
fn lists_with_a_node_twice_with_too_many_or_with_ports_that_meet_are_refused() {
    let [a, b, c] = [8080, 8081, 9080].map(address);
    let other = "localhost:8081".parse().unwrap();
    assert_eq!(Members::new(&a, &[b.clone(), other]), Err(ListError::Twice(b)));
    assert_eq!(Members::new(&a, std::slice::from_ref(&c)), Err(ListError::Overlap { clients: c, of: a.clone() }));
    let many: Vec<_> = (1..=64).map(address).collect();
    assert_eq!(Members::new(&a, &many), Err(ListError::TooMany(65)));
    assert!(Members::new(&many[0], &many).is_ok());
}

#[test]
fn names_are_names_of_directories() {
    for good in ["node-1", "a", "9.x_y"] {
        assert!(is_name(good), "{good}");
    }
    for bad in ["", ".", "..", "-x", "a/b", "a b", "é", &"x".repeat(65)] {
        assert!(!is_name(bad), "{bad}");
    }
}

// --------------------------------------------------------------------------------------------------------- agreement

fn said(statement: &Statement) -> Said {
    Said::Statement(Box::new(statement.clone()))
}

/// A node with its disk.
struct Machine {
    own: Statement,
    /// What its disk has.
    promise: Option<Network>,
    begun: Option<Network>,
    /// None while it is crashed or has begun.
    agreement: Option<Agreement>,
    up: bool,
    /// Everything it ever said: answers may arrive late.
    history: Vec<Statement>,
}

/// Where a node dies while it acts on what it heard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crash {
    Never,
    /// The promise is on disk and has not been said.
    AfterPromise,
    /// The genesis is not on disk yet.
    BeforeBegin,
}

impl Machine {
    fn new(own: Statement) -> Machine {
        let mut machine = Machine { own, promise: None, begun: None, agreement: None, up: false, history: Vec::new() };
        machine.start();
        machine
    }

    fn start(&mut self) {
        self.up = true;
        self.agreement = self.begun.is_none().then(|| Agreement::new(&self.own, self.promise.clone()));
        self.note();
    }

    fn crash(&mut self) {
        (self.up, self.agreement) = (false, None);
    }

    fn note(&mut self) {
        self.history.extend(self.agreement.as_ref().map(Agreement::statement));
    }

    /// What it answers now.
    fn answer(&self) -> Option<Said> {
        match (&self.begun, &self.agreement) {
            (Some(network), _) if self.up => Some(Said::Runs(Box::new(network.genesis.clone()))),
            (_, Some(agreement)) => Some(said(&agreement.statement())),
            _ => None,
        }
    }

    /// Hears an answer and does what follows from it.
    fn hear(&mut self, from: &NodeAddress, said: Said, crash: Crash) {
        let Some(agreement) = &mut self.agreement else { return };
        agreement.hear(from, said).unwrap();
        loop {
            let Some(agreement) = &mut self.agreement else { return };
            match agreement.step().unwrap() {
                Step::Wait(_) => return,
                Step::Promise(network) => {
                    assert!(self.promise.is_none(), "a second promise");
                    self.promise = Some(network.clone());
                    if crash == Crash::AfterPromise {
                        return self.crash();
                    }
                    agreement.promised(network);
                    self.note();
                }
                Step::Begin(_) if crash == Crash::BeforeBegin => return self.crash(),
                Step::Begin(network) => {
                    self.begun = Some(network);
                    self.agreement = None;
                }
            }
        }
    }
}

fn ask(machines: &mut [Machine], asker: usize, asked: usize, crash: Crash) {
    let from = machines[asked].own.address.clone();
    if let Some(answer) = machines[asked].answer() {
        machines[asker].hear(&from, answer, crash);
    }
}

fn one_genesis(machines: &[Machine]) {
    let mut begun = machines.iter().filter_map(|machine| machine.begun.as_ref());
    let Some(first) = begun.next() else { return };
    assert!(begun.all(|network| network.json == first.json), "two geneses");
    for machine in machines {
        let promised = machine.promise.as_ref().expect("all promised before anybody began");
        assert_eq!(promised.json, first.json);
    }
}

/// All 720 orders in which three nodes can ask each other, repeated until they are done.
#[test]
fn every_order_of_arrival_gives_the_same_genesis() {
    let mut orders = vec![Vec::new()];
    for pair in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let insert = |order: &Vec<(usize, usize)>| {
            let order = order.clone();
            (0..=order.len()).map(move |at| [&order[..at], &[pair], &order[at..]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(insert).collect();
    }
    assert_eq!(orders.len(), 720);
    let mut genesis = None;
    for order in orders {
        let mut machines: Vec<_> = nodes(3).into_iter().map(Machine::new).collect();
        for _ in 0..3 {
            for (asker, asked) in &order {
                ask(&mut machines, *asker, *asked, Crash::Never);
            }
        }
        one_genesis(&machines);
        assert!(machines.iter().all(|machine| machine.begun.is_some()), "{order:?}");
        let json = machines[0].begun.clone().unwrap().json;
        assert_eq!(*genesis.get_or_insert_with(|| json.clone()), json);
    }
}

/// A small generator: the seed is the story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// 3,000 schedules of two to four nodes with crashes at every point and answers that arrive late.
#[test]
fn crashes_at_any_point_never_make_two_geneses_and_the_nodes_complete_when_they_are_back() {
    for seed in 0..3_000 {
        let mut dice = Dice(seed);
        let count = 2 + dice.roll(3);
        let mut machines: Vec<_> = nodes(count as u8).into_iter().map(Machine::new).collect();
        for _ in 0..40 {
            let (one, other) = (dice.roll(count), dice.roll(count));
            let crash = [Crash::Never, Crash::Never, Crash::AfterPromise, Crash::BeforeBegin][dice.roll(4)];
            match dice.roll(6) {
                0 if machines[one].up => machines[one].crash(),
                0 | 1 if !machines[one].up => machines[one].start(),
                2 if one != other => {
                    let late = dice.roll(machines[other].history.len());
                    let (from, old) = (machines[other].own.address.clone(), machines[other].history[late].clone());
                    machines[one].hear(&from, said(&old), crash);
                }
                _ if one != other => ask(&mut machines, one, other, crash),
                _ => {}
            }
            one_genesis(&machines);
        }
        machines.iter_mut().filter(|machine| !machine.up).for_each(Machine::start);
        for _ in 0..3 {
            for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
                if one != other {
                    ask(&mut machines, one, other, Crash::Never);
                }
            }
        }
        one_genesis(&machines);
        assert!(machines.iter().all(|machine| machine.begun.is_some()), "seed {seed}");
    }
}

#[test]
fn a_node_alone_agrees_with_itself_and_the_genesis_has_what_was_stated() {
    let own = nodes(1).remove(0);
    let mut agreement = Agreement::new(&own, None);
    let Step::Promise(network) = agreement.step().unwrap() else { panic!("nobody to wait for") };
    agreement.promised(network.clone());
    assert_eq!(agreement.step(), Ok(Step::Begin(network.clone())));
    let genesis = &network.genesis;
    assert!(genesis.chain_id.as_str().starts_with("dev-") && genesis.chain_id.as_str().len() == 12);
    assert_eq!((genesis.algorithm, genesis.genesis_time), (Algorithm::Raft, own.created));
    assert_eq!((genesis.validators[0].public_key, genesis.validators[0].name.as_str()), (own.validator, "node-1"));
    assert_eq!(crate::codec::json::genesis::parse(&network.json).unwrap(), *genesis);
}

#[test]
fn every_word_of_a_statement_counts_for_the_name_of_the_chain() {
    let base = nodes(3);
    let chain = |members: &[Statement]| Network::of(members.to_vec()).genesis.chain_id;
    let mut names = vec![chain(&base)];
    let changes: [fn(&mut Statement); 4] = [
        |node| node.name = "other".to_owned(),
        |node| node.node_id = NodeId::new(Address::new([9; 20])),
        |node| node.created = Time::UNIX_EPOCH,
        |node| node.algorithm = Algorithm::Pbft,
    ];
    for change in changes {
        let mut members = base.clone();
        change(&mut members[1]);
        names.push(chain(&members));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
}

#[test]
fn a_node_that_does_not_fit_is_waited_for_and_who_what_and_the_remedy_are_known() {
    let all = nodes(3);
    let short = node(2, &all[1].address, &[all[0].address.clone()]);
    let with = |change: fn(&mut Statement)| {
        let mut other = all[1].clone();
        change(&mut other);
        other
    };
    let cases: [(Statement, &[&str]); 5] = [
        (
            short,
            &[
                "node-2 at 127.0.0.1:8081 was given another list",
                "it lists 127.0.0.1:8080, 127.0.0.1:8081; this node lists",
                "next: start node-2 again with --peers 127.0.0.1:8080 --peers 127.0.0.1:8082",
            ],
        ),
        (with(|other| other.algorithm = Algorithm::Pbft), &["with --algorithm pbft, this node with raft"]),
        (with(|other| other.name = "node-1".to_owned()), &["are both called node-1", "another --node-id"]),
        (with(|other| other.validator = nodes(1)[0].validator), &["have the same keys"]),
        (with(|other| other.address = address(8082)), &["answers at 127.0.0.1:8081 says it is at 127.0.0.1:8082"]),
    ];
    for (other, parts) in cases {
        let mut agreement = Agreement::new(&all[0], None);
        agreement.hear(&all[1].address, said(&other)).unwrap();
        let refusal = agreement.odd(&all[1].address).unwrap().to_string();
        assert!(matches!(agreement.step(), Ok(Step::Wait(missing)) if missing.len() == 2));
        assert!(parts.iter().all(|part| refusal.contains(part)), "{refusal}");
        assert!(refusal.lines().count() <= 3 && refusal.contains("next: "), "{refusal}");
        // Started again with the right line, it is as if nothing had been.
        agreement.hear(&all[1].address, said(&all[1])).unwrap();
        assert_eq!(agreement.odd(&all[1].address), None);
    }
}

/// Three nodes, of which the second has the wrong line, as it stands here. 5 cases.
fn wrong_lines() -> [(Statement, &'static str); 5] {
    let all = nodes(3);
    let with = |own: &NodeAddress, told: &[NodeAddress]| node(2, own, told);
    let [first, second, third] = [8080, 8081, 8082].map(address);
    [
        (
            Statement { algorithm: Algorithm::Pbft, ..all[1].clone() },
            "started with --algorithm pbft, but node-1 at 127.0.0.1:8080 and node-3 at 127.0.0.1:8082 with raft",
        ),
        (
            with(&second, std::slice::from_ref(&first)),
            "start this node with --peers 127.0.0.1:8080 --peers 127.0.0.1:8082",
        ),
        (
            with(&second, &[first.clone(), address(8089)]),
            "start this node with --peers 127.0.0.1:8080 --peers 127.0.0.1:8082",
        ),
        (
            with(&second, &[first.clone(), third.clone(), address(8083)]),
            "they list 127.0.0.1:8080, 127.0.0.1:8081, 127.0.0.1:8082; this",
        ),
        (
            with(&address(8085), &[first, third]),
            "they name no node at 127.0.0.1:8085: start this node where they miss one",
        ),
    ]
}

/// What each node hears, in every order of the three starting, until nothing is news any more. A node that ended does
/// not answer; members and witnesses are asked.
fn ended(statements: &[Statement], order: &[usize]) -> Vec<(usize, Refusal)> {
    let mut up: BTreeMap<usize, Agreement> = BTreeMap::new();
    let mut ended: Vec<(usize, Refusal)> = Vec::new();
    for started in order {
        up.insert(*started, Agreement::new(&statements[*started], None));
        for _ in 0..4 {
            for asker in up.keys().copied().collect::<Vec<_>>() {
                let Some(agreement) = up.get(&asker) else { continue };
                let members = statements[asker].members.others(&statements[asker].address).cloned();
                for asked in members.chain(agreement.witnesses()).collect::<Vec<_>>() {
                    let answers = up.iter().find(|(place, _)| statements[**place].address == asked);
                    let answer = answers.map(|(_, agreement)| said(&agreement.statement()));
                    let Some(agreement) = up.get_mut(&asker) else { break };
                    let heard = match answer {
                        Some(answer) => agreement.hear(&asked, answer),
                        None => {
                            agreement.fell_silent(&asked);
                            Ok(())
                        }
                    };
                    if let Err(refusal) = heard {
                        up.remove(&asker);
                        ended.push((asker, refusal));
                    }
                }
            }
        }
    }
    ended
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn of_three_nodes_only_the_one_with_the_wrong_line_ends_in_whatever_order_they_start() {
    let all = nodes(3);
    for (wrong, part) in wrong_lines() {
        for order in ORDERS {
            let ended = ended(&[all[0].clone(), wrong.clone(), all[2].clone()], &order);
            let [(1, refusal)] = &ended[..] else { panic!("{order:?} {part}: {ended:?}") };
            let text = refusal.to_string();
            assert!(text.contains(part) && text.contains("next: "), "{text}");
            assert_eq!(refusal.about(), [&all[0].address, &all[2].address]);
        }
    }
}

#[test]
fn nobody_ends_where_it_is_open_who_is_right() {
    let all = nodes(4);
    let pbft = |node: usize| Statement { algorithm: Algorithm::Pbft, ..all[node].clone() };
    let tendermint = Statement { algorithm: Algorithm::Tendermint, ..nodes(3)[2].clone() };
    let two = nodes(2);
    let other = Statement { algorithm: Algorithm::Pbft, ..two[1].clone() };
    // Two nodes; three with a line of its own each; two against two, whoever starts first.
    assert_eq!(ended(&[two[0].clone(), other], &[0, 1]), []);
    let three = nodes(3);
    let second = Statement { algorithm: Algorithm::Pbft, ..three[1].clone() };
    for order in ORDERS {
        assert_eq!(ended(&[three[0].clone(), second.clone(), tendermint.clone()], &order), []);
    }
    for order in [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3], [3, 1, 0, 2]] {
        assert_eq!(ended(&[all[0].clone(), all[1].clone(), pbft(2), pbft(3)], &order), []);
    }
    // One of four is told once the other three are there.
    let ended = ended(&[all[0].clone(), all[1].clone(), all[2].clone(), pbft(3)], &[0, 1, 3, 2]);
    assert!(matches!(&ended[..], [(3, Refusal::Outvoted { theirs, .. })] if theirs.len() == 3), "{ended:?}");
}

#[test]
fn of_two_nodes_with_one_name_the_older_stays_and_so_do_the_others() {
    let mut all = nodes(3);
    all[2].name = all[1].name.clone();
    for order in ORDERS {
        let ended = ended(&all, &order);
        assert!(matches!(&ended[..], [(2, Refusal::Twins { .. })]), "{order:?}: {ended:?}");
    }
    // To the third node both are the same; once one of them is called otherwise, it goes on.
    let mut third = Agreement::new(&all[0], None);
    third.hear(&all[2].address, said(&all[2])).unwrap();
    third.hear(&all[1].address, said(&all[1])).unwrap();
    assert!(third.odd(&all[1].address).is_some() && third.odd(&all[2].address).is_none());
    third.hear(&all[2].address, said(&Statement { name: "node-3".to_owned(), ..all[2].clone() })).unwrap();
    assert!(third.odd(&all[1].address).is_none());
    assert!(matches!(third.step(), Ok(Step::Promise(_))));
}

#[test]
fn a_member_that_runs_a_chain_alone_is_waited_for_and_a_network_that_runs_is_not() {
    let all = nodes(3);
    let runs = |members: &[Statement]| Said::Runs(Box::new(Network::of(members.to_vec()).genesis));
    let mut agreement = Agreement::new(&all[0], None);
    agreement.hear(&all[1].address, runs(&all[1..2])).unwrap();
    let odd = agreement.odd(&all[1].address).unwrap();
    assert!(
        odd.to_string().contains("it is alone on that chain") && odd.briefly().contains("runs chain dev-"),
        "{odd}"
    );
    agreement.hear(&all[1].address, said(&all[1])).unwrap();
    assert_eq!(agreement.odd(&all[1].address), None);
    let mut agreement = Agreement::new(&all[0], None);
    let refusal = agreement.hear(&all[1].address, runs(&all)).unwrap_err();
    assert!(refusal.to_string().contains("this node's home was removed since"), "{refusal}");
}

#[test]
fn after_the_promise_a_home_that_was_made_anew_is_refused() {
    let all = nodes(2);
    let mut agreement = Agreement::new(&all[0], None);
    agreement.hear(&all[1].address, said(&all[1])).unwrap();
    let Step::Promise(network) = agreement.step().unwrap() else { panic!("all were heard") };
    agreement.promised(network.clone());
    let anew = Statement { created: Time::UNIX_EPOCH, ..all[1].clone() };
    let refusal = agreement.hear(&all[1].address, said(&anew)).unwrap_err();
    assert!(matches!(refusal, Refusal::Changed(_)), "{refusal}");
    let elsewhere = Statement { agreed: Some(crate::crypto::sha256(b"x")), ..all[1].clone() };
    agreement.hear(&all[1].address, said(&elsewhere)).unwrap();
    assert!(matches!(agreement.step(), Err(Refusal::OtherGenesis(_))));
    let mut other = network.genesis.clone();
    other.genesis_time = Time::UNIX_EPOCH;
    let refusal = agreement.hear(&all[1].address, Said::Runs(Box::new(other.clone()))).unwrap_err();
    assert!(refusal.to_string().contains(&format!("runs chain {} already", other.chain_id)), "{refusal}");
}

#[test]
fn statements_survive_json_and_bad_ones_are_refused_by_field() {
    let agreed = Some(crate::crypto::sha256(b"genesis"));
    let statement = Statement { agreed, ..nodes(3).remove(1) };
    let json = String::from_utf8(statement.to_json()).unwrap();
    assert_eq!(Statement::parse(json.as_bytes()).unwrap(), statement);
    let weak = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [0_u8; 32]);
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, statement.validator.as_bytes());
    for (from, to, part) in [
        ("\"form\":1", "\"form\":2", "version 2"),
        ("node-2", "node/2", "name"),
        ("\"raft\"", "\"paxos\"", "algorithm"),
        ("127.0.0.1:8082", "x", "address"),
        (key.as_str(), weak.as_str(), "validator"),
        (key.as_str(), "AAAA", "validator"),
        ("2023-", "year-", "created"),
        ("\"agreed\":\"", "\"agreed\":\"z", "agreed"),
        ("\"node_id\":\"", "\"node_id\":\"z", "node_id"),
        ("{", "[", "line 1"),
    ] {
        assert!(json.contains(from), "{from} in {json}");
        let error = Statement::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(part), "{to}: {error}");
    }
}

#[test]
fn the_promise_reads_back_byte_for_byte_and_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forming.json");
    assert_eq!(Memory::load(&file).unwrap(), None);
    let all = nodes(3);
    let memory = Memory { own: all[0].clone(), promise: Some(Network::of(all.clone())) };
    memory.save(&file).unwrap();
    assert_eq!(Memory::load(&file).unwrap(), Some(memory));
    std::fs::write(&file, "{}").unwrap();
    let error = Memory::load(&file).unwrap_err().to_string();
    assert!(error.contains("forming.json: not what this node wrote") && error.contains("next: "), "{error}");
}

// -------------------------------------------------------------------------------------------------------- the exchange

/// A node of a story over real sockets: its door is open, so that its port is its own.
struct Door {
    listener: TcpListener,
    own: NodeAddress,
}

async fn door() -> Door {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        if let Some(port) = port.checked_sub(super::RPC_ABOVE_P2P).filter(|port| *port > 0) {
            return Door { listener, own: address(port) };
        }
    }
}

async fn doors(count: usize) -> (Vec<Door>, Vec<NodeAddress>) {
    let mut doors = Vec::new();
    for _ in 0..count {
        doors.push(door().await);
    }
    let all = doors.iter().map(|door| door.own.clone()).collect();
    (doors, all)
}

struct Home {
    folder: tempfile::TempDir,
    memory: Memory,
}

impl Home {
    fn new(own: Statement) -> Home {
        let home = Home { folder: tempfile::tempdir().unwrap(), memory: Memory { own, promise: None } };
        home.memory.save(&home.file()).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("forming.json")
    }

    /// Forms with what the disk has, as a started node does.
    async fn form(&self, listener: TcpListener, lines: &mut Vec<String>) -> Result<Network, FormingError> {
        let memory = Memory::load(&self.file()).unwrap().unwrap();
        let forming = async { form(memory, &self.file(), listener, &mut |line| lines.push(line.to_owned())).await };
        tokio::time::timeout(PATIENCE, forming).await.expect("no end")
    }
}

#[tokio::test]
async fn three_nodes_find_each_other_over_sockets_and_agree() {
    let (doors, all) = doors(3).await;
    let homes: Vec<_> = (1..).zip(&all).map(|(number, own)| Home::new(node(number, own, &all))).collect();
    let mut lines = [const { Vec::new() }; 3];
    let [first, second, third] = &mut lines;
    let mut doors = doors.into_iter().map(|door| door.listener);
    let mut next = || doors.next().unwrap();
    let (a, b, c) =
        tokio::join!(homes[0].form(next(), first), homes[1].form(next(), second), homes[2].form(next(), third));
    let networks = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert!(networks.iter().all(|network| *network == networks[0]));
    for (home, network) in homes.iter().zip(&networks) {
        assert_eq!(Memory::load(&home.file()).unwrap().unwrap().promise.as_ref(), Some(network));
    }
    assert!(lines[0][0].starts_with("waiting for 127.0.0.1:"), "{lines:?}");
}

#[tokio::test]
async fn a_node_that_crashed_after_its_promise_learns_from_one_that_runs_that_it_may_begin() {
    let (mut doors, all) = doors(3).await;
    let own: Vec<_> = (1..).zip(&all).map(|(number, own)| node(number, own, &all)).collect();
    let mut members = own.clone();
    members.sort_by(|one, other| one.address.cmp(&other.address));
    let network = Network::of(members);
    let home = Home::new(own[0].clone());
    Memory { own: own[0].clone(), promise: Some(network.clone()) }.save(&home.file()).unwrap();
    // The second runs; the third is away.
    let running = doors.remove(1).listener;
    let document = network.json.clone();
    let serve = tokio::spawn(async move { rpc_of_a_node(&running, &document).await });
    let begun = home.form(doors.remove(0).listener, &mut Vec::new()).await.unwrap();
    assert_eq!(begun, network);
    serve.abort();
}

/// Answers as the RPC of a node that runs.
async fn rpc_of_a_node(listener: &TcpListener, genesis: &[u8]) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let answer = if head[..read].starts_with(b"GET /genesis ") {
            let genesis = String::from_utf8(genesis.to_vec()).unwrap();
            format!("HTTP/1.0 200 OK\r\n\r\n{{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":{{\"genesis\":{genesis}}}}}")
        } else {
            "HTTP/1.0 404 Not Found\r\n\r\n404 page not found\n".to_owned()
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_list_ends_its_own_node_which_asked_a_third_and_the_others_say_who_and_what_and_go_on() {
    let (doors, all) = doors(3).await;
    let mut doors = doors.into_iter().map(|door| door.listener);
    let [first, second, third] = [(); 3].map(|()| doors.next().unwrap());
    // The same door again, so that nobody takes the port meanwhile.
    let second = second.into_std().unwrap();
    let [second, again] = [second.try_clone().unwrap(), second].map(|door| TcpListener::from_std(door).unwrap());
    let [right, other] = [1, 3].map(|number| Home::new(node(number, &all[usize::from(number) - 1], &all)));
    let wrong = Home::new(node(2, &all[1], &all[..1]));
    let corrected = Home::new(node(2, &all[1], &all));
    let (mut lines, mut more, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    let second_node = async {
        let error = wrong.form(second, &mut Vec::new()).await.unwrap_err().to_string();
        let remedy = format!("next: start this node with {}", Members::new(&all[1], &all).unwrap().flags(&all[1]));
        assert!(error.starts_with("this node was given another list") && error.contains(&remedy), "{error}");
        corrected.form(again, &mut rest).await
    };
    let (one, three, two) = tokio::join!(right.form(first, &mut lines), other.form(third, &mut more), second_node);
    let json = one.unwrap().json;
    assert!(json == two.unwrap().json && json == three.unwrap().json);
    for told in [lines, more] {
        let named =
            |line: &String| line.starts_with("node-2 at") && line.contains("another list") && line.contains("waits");
        assert_eq!(told.iter().filter(|line| named(line)).count(), 1, "{told:?}");
        assert!(told.iter().any(|line| line.contains("(node-2 lists other nodes)")), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_no_node_is_refused_whatever_it_speaks() {
    for (greeting, part) in [
        ("HTTP/1.1 200 OK\r\n\r\n<html>", "no node of this program's version"),
        ("HTTP/1.1 301 Moved\r\n\r\n", "with status 301"),
        ("SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        ("", "hangs up when it is asked"),
    ] {
        let (doors, all) = doors(2).await;
        let mut doors = doors.into_iter().map(|door| door.listener);
        let (ours, theirs) = (doors.next().unwrap(), doors.next().unwrap());
        let serve = tokio::spawn(async move {
            loop {
                let (mut stream, _) = theirs.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(greeting.as_bytes()).await;
            }
        });
        let error = Home::new(node(1, &all[0], &all)).form(ours, &mut Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(&format!("at {} there is no node", all[1])), "{error}");
        serve.abort();
    }
}

#[tokio::test]
async fn a_stranger_who_asks_is_named_and_floods_of_nonsense_change_nothing() {
    let (doors, all) = doors(2).await;
    let mut listeners = doors.into_iter().map(|door| door.listener);
    let (first, second) = (listeners.next().unwrap(), listeners.next().unwrap());
    let rpc = first.local_addr().unwrap();
    let (a, b) = (Home::new(node(1, &all[0], &all)), Home::new(node(2, &all[1], &all)));
    let (mut lines, mut more) = (Vec::new(), Vec::new());
    let later = async {
        for nonsense in
            ["GET /forming?from=127.0.0.1:1234&seen= HTTP/1.0\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"]
        {
            let mut stream = tokio::net::TcpStream::connect(rpc).await.unwrap();
            stream.write_all(nonsense.as_bytes()).await.unwrap();
            assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
        }
        for _ in 0..200 {
            let mut stream = tokio::net::TcpStream::connect(rpc).await.unwrap();
            stream.write_all(&[0xff; 8]).await.unwrap();
        }
        b.form(second, &mut more).await
    };
    let (a, b) = tokio::join!(a.form(first, &mut lines), later);
    assert_eq!(a.unwrap().json, b.unwrap().json);
    assert!(lines.iter().any(|line| line.contains("127.0.0.1:1234 asks to take part")), "{lines:?}");
}
