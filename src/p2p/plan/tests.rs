//! Scenarios of the planner: a clock turned by hand, and what it orders.

use super::*;
use crate::codec::wire::pex::{NetAddress as WireAddress, PexMessage};
use crate::types::{ChainId, Channel};

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u8) -> NodeId {
    format!("{number:040x}").parse().unwrap()
}

fn info(number: u8) -> NodeInfo {
    NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 0,
        node_id: id(number),
        listen_addr: format!("8.{number}.0.1:26656"),
        network: ChainId::try_from("chain").unwrap(),
        version: "0.38.25".to_owned(),
        channels: vec![Channel::Vote.id(), Channel::Pex.id()],
        moniker: "m".to_owned(),
        tx_index: String::new(),
        rpc_address: String::new(),
    }
}

fn peer(number: u8) -> PeerAddress {
    PeerAddress { id: id(number), address: format!("8.{number}.0.1:26656") }
}

fn settings() -> Settings {
    Settings {
        max_inbound: 2,
        max_outbound: 2,
        strict: true,
        allow_duplicate_ip: false,
        ..crate::p2p::tests::settings()
    }
}

struct World {
    planner: Planner,
    at: Duration,
}

impl World {
    /// Node 5, so that there are smaller and greater ids.
    fn new(change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = settings();
        change(&mut settings);
        let now = Now { at: Duration::ZERO, wall: Time::UNIX_EPOCH };
        World { planner: Planner::new(settings, &info(5), None, now, [1; 32]).0, at: Duration::ZERO }
    }

    /// Effects but for what is said and saved.
    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = Now { at: self.at, wall: Time::UNIX_EPOCH.plus(self.at) };
        self.planner.step(now, input, &mut effects);
        effects.retain(|effect| !matches!(effect, Effect::Say { .. } | Effect::Save { .. }));
        effects
    }

    /// What the operator is told.
    fn said(&mut self, input: Input) -> Vec<(Level, String)> {
        let mut effects = Vec::new();
        let now = Now { at: self.at, wall: Time::UNIX_EPOCH.plus(self.at) };
        self.planner.step(now, input, &mut effects);
        let said = effects.into_iter().filter_map(|effect| match effect {
            Effect::Say { level, text } if level != Level::Debug => Some((level, text)),
            _ => None,
        });
        said.collect()
    }

    /// What the operator is told when the next call fails.
    fn said_when_a_call_fails(&mut self, why: &str) -> Vec<(Level, String)> {
        let (conn, ..) = self.next_call();
        self.said(Input::Ended { conn, end: End::Lost(why.to_owned()) })
    }

    fn tick(&mut self, later: Duration) -> Vec<Effect> {
        self.at += later;
        self.step(Input::Tick)
    }

    /// Turns the clock to the planner's next wish until it calls somebody.
    fn next_call(&mut self) -> (ConnId, NodeId, Duration) {
        let before = self.at;
        for _ in 0..20_000 {
            self.at = self.planner.wake_at().max(self.at);
            for effect in self.step(Input::Tick) {
                if let Effect::Dial { conn, id, .. } = effect {
                    return (conn, id, self.at - before);
                }
            }
        }
        panic!("nobody is called");
    }

    fn accept(&mut self, number: u8) -> (ConnId, Vec<Effect>) {
        let conn = self.planner.new_conn();
        let ip = IpAddr::from([8, number, 0, 1]);
        assert_eq!(self.step(Input::Accepted { conn, ip })[0], Effect::Begin { conn });
        (conn, self.authenticate(conn, number))
    }

    fn authenticate(&mut self, conn: ConnId, number: u8) -> Vec<Effect> {
        self.step(Input::Authenticated { conn, id: id(number), remote: ([8, number, 0, 1], 40_000).into() })
    }

    fn introduce(&mut self, conn: ConnId, number: u8) -> Vec<Effect> {
        self.step(Input::Introduced { conn, info: info(number) })
    }

    fn end(&mut self, conn: ConnId, end: End) -> Vec<Effect> {
        self.step(Input::Ended { conn, end })
    }

    fn lost(&mut self, conn: ConnId) -> Vec<Effect> {
        self.end(conn, End::Lost("gone".to_owned()))
    }

    /// A node that called is up.
    fn caller_up(&mut self, number: u8) -> ConnId {
        let (conn, effects) = self.accept(number);
        assert_eq!(effects, [Effect::Proceed { conn }]);
        assert_eq!(self.introduce(conn, number)[0], Effect::Up { conn });
        conn
    }

    fn pex(&mut self, conn: ConnId, message: PexMessage) -> Vec<Effect> {
        self.step(Input::Pex { conn, message: message.encode() })
    }
}

fn closes(effects: &[Effect], number: ConnId, what: &str) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Close { conn, why } if *conn == number && why.contains(what)))
}

#[test]
fn a_persistent_peer_is_called_for_ever_with_pauses_that_grow_to_a_cap() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    let (mut conn, called, _) = world.next_call();
    assert_eq!(called, id(1));
    let mut pauses = Vec::new();
    for _ in 0..250 {
        world.lost(conn);
        let (next, _, pause) = world.next_call();
        (conn, pauses) = (next, [pauses, vec![pause.as_secs_f64()]].concat());
    }
    let within = |pause: f64, middle: f64| (0.79 * middle..1.21 * middle).contains(&pause);
    assert!(within(pauses[0], 0.1) && within(pauses[3], 0.8) && within(pauses[10], 3.0), "{pauses:?}");
    assert!(within(pauses[199], 3.0) && within(pauses[249], 30.0));
    assert!(pauses[20..100].windows(2).any(|pair| pair[0] != pair[1]), "they differ, lest two nodes stay in step");
}

#[test]
fn a_call_that_waited_in_vain_has_paused_enough() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    for _ in 0..20 {
        let (conn, _, pause) = world.next_call();
        assert!(pause < SECOND, "{pause:?}");
        world.at += 3 * SECOND;
        world.lost(conn);
    }
}

#[test]
fn a_peer_that_takes_us_and_drops_us_is_not_called_without_pause() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (conn, _, pause) = world.next_call();
        pauses.push(pause);
        world.authenticate(conn, 1);
        world.introduce(conn, 1);
        world.lost(conn);
    }
    assert!(pauses[7] > 2 * SECOND, "{pauses:?}");
    // One that stood is lost by chance, and called at once.
    let (conn, ..) = world.next_call();
    world.authenticate(conn, 1);
    world.introduce(conn, 1);
    world.at += 60 * SECOND;
    world.lost(conn);
    assert!(world.next_call().2 < SECOND / 5);
}

/// In which order a call and a caller of the same node prove who they are. 2 cases for each side.
const ORDERS: [bool; 2] = [true, false];

#[test]
fn of_two_connections_at_once_the_smaller_id_closes_the_second_and_the_greater_holds_it() {
    for (other, smaller) in [(9, true), (1, false)] {
        for call_first in ORDERS {
            let mut world = World::new(|settings| settings.persistent_peers = vec![peer(other)]);
            let (call, ..) = world.next_call();
            let caller = world.planner.new_conn();
            world.step(Input::Accepted { conn: caller, ip: IpAddr::from([8, other, 0, 1]) });
            let (first, second) = if call_first { (call, caller) } else { (caller, call) };
            assert_eq!(world.authenticate(first, other), [Effect::Proceed { conn: first }]);
            let effects = world.authenticate(second, other);
            assert_eq!(closes(&effects, second, "another connection"), smaller, "{effects:?}");
            let effects = world.introduce(first, other);
            assert_eq!(effects[0] == Effect::Up { conn: first }, smaller, "{effects:?}");
            assert!(effects.contains(&Effect::Up { conn: first }));
            assert_eq!(closes(&effects, second, "another connection"), !smaller);
            world.end(second, End::Closed(String::new()));
            let view = &world.planner.known(Now { at: world.at, wall: Time::UNIX_EPOCH })[0];
            assert_eq!((view.connected, view.failures, &view.last_error), (true, 0, &None), "it is no failure");
        }
    }
}

#[test]
fn a_held_connection_goes_on_when_the_first_one_fails() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    let (call, ..) = world.next_call();
    world.authenticate(call, 1);
    let (caller, effects) = world.accept(1);
    assert_eq!(effects, []);
    assert_eq!(world.lost(call), [Effect::Proceed { conn: caller }]);
    assert_eq!(world.introduce(caller, 1)[0], Effect::Up { conn: caller });
}

#[test]
fn a_node_that_calls_anew_has_lost_its_connection_and_comes_up_after_the_old_one_is_down() {
    let mut world = World::new(|_| ());
    let old = world.caller_up(1);
    world.at += 5 * SECOND;
    let (young, effects) = world.accept(1);
    assert!(closes(&effects, young, "another connection"), "its call may have been under way: {effects:?}");
    world.lost(young);
    world.at += 6 * SECOND;
    let (new, effects) = world.accept(1);
    assert!(closes(&effects, old, "anew") && effects.contains(&Effect::Proceed { conn: new }), "{effects:?}");
    assert_eq!(world.introduce(new, 1), [], "the node does not know yet that the old one is down");
    assert_eq!(world.lost(old)[0], Effect::Up { conn: new });
}

#[test]
fn callers_are_limited_by_number_address_ban_and_list() {
    let mut world = World::new(|settings| {
        settings.unconditional.insert(id(4));
        settings.persistent_peers = vec![peer(6)];
    });
    world.tick(Duration::ZERO);
    world.caller_up(1);
    let bad = world.caller_up(2);
    let (third, effects) = world.accept(3);
    assert!(closes(&effects, third, "max_num_inbound_peers is 2"));
    world.caller_up(4);
    world.end(bad, End::Fault("lies".to_owned()));
    let (again, effects) = world.accept(2);
    assert!(closes(&effects, again, "banned for 10 s more: lies"), "{effects:?}");
    world.tick(11 * SECOND);
    let twin = world.planner.new_conn();
    world.step(Input::Accepted { conn: twin, ip: IpAddr::from([8, 1, 0, 1]) });
    let remote = ([8, 1, 0, 1], 1).into();
    let effects = world.step(Input::Authenticated { conn: twin, id: id(3), remote });
    assert!(closes(&effects, twin, "allow_duplicate_ip"), "{effects:?}");
    world.caller_up(2);

    let mut world = World::new(|settings| {
        settings.peers_only.insert(id(1));
        settings.persistent_peers = vec![peer(6)];
    });
    let (stranger, effects) = world.accept(2);
    assert!(closes(&effects, stranger, "peers_only"));
    world.caller_up(1);
    let (myself, effects) = world.accept(5);
    assert!(closes(&effects, myself, "own key"));
}

/// More than may be in the middle of a handshake from one address.
const FLOOD: u8 = 200;

#[test]
fn a_flood_of_callers_from_one_address_is_cut_before_their_handshakes() {
    let mut world = World::new(|_| ());
    let mut begun = 0;
    for _ in 0..FLOOD {
        let conn = world.planner.new_conn();
        let effects = world.step(Input::Accepted { conn, ip: IpAddr::from([8, 1, 0, 1]) });
        begun += usize::from(effects == [Effect::Begin { conn }]);
    }
    assert_eq!(begun, 32);
    world.caller_up(2);
}

#[test]
fn addresses_are_asked_for_learned_and_called_and_a_caller_is_its_own_teller() {
    let mut world = World::new(|settings| settings.seeds = vec![peer(1)]);
    let (seed, called, _) = world.next_call();
    assert_eq!(called, id(1), "the book is empty");
    world.authenticate(seed, 1);
    let effects = world.introduce(seed, 1);
    assert_eq!(effects[1], Effect::Pex { conn: seed, message: PexMessage::Request.encode() });
    let told = |number: u8| WireAddress { id: id(number).to_string(), ip: format!("8.{number}.0.1"), port: 26656 };
    assert_eq!(world.pex(seed, PexMessage::Addrs(vec![told(2), told(3), told(5)])), []);
    let (_, called, pause) = world.next_call();
    assert!([id(2), id(3)].contains(&called) && pause <= 31 * SECOND, "{called} after {pause:?}");
    world.caller_up(8);
    let Effect::Pex { message, .. } = world.pex(seed, PexMessage::Request).remove(0) else { panic!("an answer") };
    let PexMessage::Addrs(answer) = PexMessage::decode(message).unwrap() else { panic!("addresses") };
    let told: Vec<_> = answer.into_iter().map(|address| address.id).collect();
    assert!([2, 3, 8].iter().all(|number| told.contains(&id(*number).to_string())), "{told:?}");
    assert!(!told.contains(&id(5).to_string()), "we are not in our own book");
}

#[test]
fn sixty_four_calls_are_under_way_at_once_and_the_next_when_one_ended() {
    let mut world = World::new(|settings| settings.persistent_peers = (10..110).map(peer).collect());
    let mut called = |ended: &[ConnId]| {
        let ends: Vec<Effect> = ended.iter().flat_map(|conn| world.lost(*conn)).collect();
        let effects = ends.into_iter().chain(world.tick(SECOND)).filter_map(|effect| match effect {
            Effect::Dial { conn, .. } => Some(conn),
            _ => None,
        });
        effects.collect::<Vec<_>>()
    };
    let first = called(&[]);
    assert_eq!((first.len(), called(&[]).len()), (64, 0));
    assert_eq!(called(&first[..2]).len(), 2);
}

/// It was banned before anybody told of its address: the book knows nothing of the ban.
#[test]
fn a_banned_node_of_which_others_tell_is_not_called() {
    let mut world = World::new(|settings| settings.seeds = vec![peer(1)]);
    let now = Now { at: world.at, wall: Time::UNIX_EPOCH };
    world.planner.ban(now, id(2), 3600 * SECOND);
    let (seed, ..) = world.next_call();
    world.authenticate(seed, 1);
    world.introduce(seed, 1);
    let told = |number: u8| WireAddress { id: id(number).to_string(), ip: format!("8.{number}.0.1"), port: 26656 };
    world.pex(seed, PexMessage::Addrs(vec![told(2)]));
    let called = (0..60).flat_map(|_| world.tick(30 * SECOND)).any(|effect| matches!(effect, Effect::Dial { .. }));
    assert!(!called, "half an hour of the ban's hour");
}

#[test]
fn whoever_misuses_the_exchange_is_dropped_and_banned_for_a_day() {
    let mut world = World::new(|_| ());
    let conn = world.caller_up(1);
    let effects = world.pex(conn, PexMessage::Addrs(Vec::new()));
    assert!(closes(&effects, conn, "nobody asked"));
    world.end(conn, End::Closed(String::new()));
    world.at += 23 * 3600 * SECOND;
    let (again, effects) = world.accept(1);
    assert!(closes(&effects, again, "banned"));

    let conn = world.caller_up(2);
    assert_eq!(world.pex(conn, PexMessage::Request).len(), 1);
    assert_eq!(world.pex(conn, PexMessage::Request).len(), 1);
    let effects = world.pex(conn, PexMessage::Request);
    assert!(closes(&effects, conn, "more often"), "{effects:?}");

    let conn = world.caller_up(3);
    let effects = world.step(Input::Pex { conn, message: Bytes::from_static(b"\xff") });
    assert!(closes(&effects, conn, "malformed"));
}

#[test]
fn an_address_nobody_answers_at_is_given_up_and_one_with_another_node_at_once() {
    let mut world = World::new(|settings| settings.seeds = vec![peer(1)]);
    let (seed, ..) = world.next_call();
    world.authenticate(seed, 1);
    world.introduce(seed, 1);
    let told = |number: u8| WireAddress { id: id(number).to_string(), ip: format!("8.{number}.0.1"), port: 26656 };
    world.pex(seed, PexMessage::Addrs(vec![told(2)]));
    let mut calls = 0;
    while world.planner.book.len() > 1 {
        let (conn, called, _) = world.next_call();
        assert_eq!(called, id(2));
        world.lost(conn);
        calls += 1;
    }
    assert_eq!(calls, 17, "sixteen failures are forgiven, as in CometBFT");
    assert!(world.at > 18 * 3600 * SECOND, "the last pause is 18 hours");

    world
        .planner
        .book
        .add(
            Time::UNIX_EPOCH,
            NetAddress::new(id(3), ([8, 3, 0, 1], 1).into()),
            world.planner.teller,
            &mut world.planner.chance,
        )
        .unwrap();
    let (conn, called, _) = world.next_call();
    assert_eq!(called, id(3));
    world.end(conn, End::WrongNode("somebody else".to_owned()));
    assert_eq!(world.planner.book.len(), 1);
}

#[test]
fn a_seed_tells_once_and_hangs_up() {
    let mut world = World::new(|settings| settings.seed_mode = true);
    let conn = world.caller_up(1);
    assert_eq!(world.pex(conn, PexMessage::Request).len(), 1);
    assert_eq!(world.pex(conn, PexMessage::Request), [], "the second request is not worth an answer");
    assert!(world.planner.wake_at() <= world.at + 3 * SECOND);
    let effects = world.tick(3 * SECOND);
    assert!(closes(&effects, conn, "hangs up"));
}

#[test]
fn a_seed_calls_whom_it_knows_asks_them_and_hangs_up() {
    let mut world = World::new(|settings| {
        settings.seed_mode = true;
        settings.seeds = vec![peer(1)];
    });
    let (conn, called, _) = world.next_call();
    assert_eq!(called, id(1));
    world.authenticate(conn, 1);
    assert!(matches!(world.introduce(conn, 1)[..], [Effect::Up { .. }, Effect::Pex { .. }]));
    let told = WireAddress { id: id(2).to_string(), ip: "8.2.0.1".to_owned(), port: 26656 };
    let effects = world.pex(conn, PexMessage::Addrs(vec![told]));
    assert!(closes(&effects, conn, "hangs up"));
    world.end(conn, End::Closed(String::new()));
    assert_eq!(world.next_call().1, id(2));
}

#[test]
fn a_peer_that_is_starting_gets_one_calm_line_and_one_that_stays_away_a_warning_for_each_reason() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    assert_eq!(world.said_when_a_call_fails("closed"), [], "both may have called at once");
    let said = world.said_when_a_call_fails("refused");
    assert!(matches!(&said[..], [(Level::Info, text)] if text.contains("not there yet")), "{said:?}");
    let mut said = Vec::new();
    while world.at < 6 * SECOND {
        said.extend(world.said_when_a_call_fails("refused"));
    }
    assert_eq!(said, []);
    world.at += 2 * SECOND;
    for why in ["refused", "refused", "wrong chain", "wrong chain", "refused"] {
        said.extend(world.said_when_a_call_fails(why));
    }
    assert!(said.len() == 3 && said.iter().all(|(level, _)| *level == Level::Warn), "{said:?}");
}

#[test]
fn a_peer_of_another_chain_is_a_warning_at_once_that_says_what_is_wrong_and_is_called_again() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    let (conn, ..) = world.next_call();
    let why = "it runs raft, this node tendermint";
    let said = world.said(Input::Ended { conn, end: End::Unfit(why.to_owned()) });
    let [(Level::Warn, text)] = &said[..] else { panic!("{said:?}") };
    assert!(text.contains("is there and does not fit") && text.ends_with(why), "{text}");
    let (conn, ..) = world.next_call();
    assert_eq!(world.said(Input::Ended { conn, end: End::Unfit(why.to_owned()) }), [], "each reason once");
}

#[test]
fn another_node_at_the_address_of_a_peer_is_a_warning_at_once() {
    let mut world = World::new(|settings| settings.persistent_peers = vec![peer(1)]);
    let (conn, ..) = world.next_call();
    let said = world.said(Input::Ended { conn, end: End::WrongNode("somebody else".to_owned()) });
    assert!(matches!(said[..], [(Level::Warn, _)]), "{said:?}");
}

#[test]
fn what_a_peer_says_cannot_forge_lines_of_the_log() {
    let mut world = World::new(|_| ());
    let conn = world.caller_up(1);
    let said = world.said(Input::Ended { conn, end: End::Fault("is on chain a\nb\u{1b}[2J".to_owned()) });
    assert!(matches!(&said[..], [(Level::Info, text)] if text.contains("a\\nb") && !text.contains(char::is_control)));
}

/// Calls of a banned node.
const KNOCKS: usize = 100;

#[test]
fn a_banned_node_that_calls_again_and_again_fills_neither_the_log_nor_memory() {
    let mut world = World::new(|_| ());
    let bad = world.caller_up(1);
    world.end(bad, End::Fault("lies".to_owned()));
    let mut said = Vec::new();
    for _ in 0..KNOCKS {
        world.at += SECOND / 11;
        let conn = world.planner.new_conn();
        world.step(Input::Accepted { conn, ip: IpAddr::from([8, 1, 0, 1]) });
        let remote = ([8, 1, 0, 1], 40_000).into();
        said.extend(world.said(Input::Authenticated { conn, id: id(1), remote }));
        world.end(conn, End::Closed(String::new()));
    }
    assert_eq!(said, []);
    let known = world.planner.known(Now { at: world.at, wall: Time::UNIX_EPOCH });
    assert_eq!(known[0].last_error.as_deref(), Some("it is banned for 0 s more: lies"));
}

#[test]
fn the_book_is_saved_every_two_minutes() {
    let mut world = World::new(|_| ());
    world.caller_up(1);
    let mut saves = 0;
    for _ in 0..300 {
        world.at += SECOND;
        let now = Now { at: world.at, wall: Time::UNIX_EPOCH };
        let mut effects = Vec::new();
        world.planner.step(now, Input::Useful { id: id(1), messages: 1 }, &mut effects);
        saves += effects.iter().filter(|effect| matches!(effect, Effect::Save { .. })).count();
    }
    assert_eq!(saves, 2, "after the one at once, every two minutes");
}

/// Random lives of a node with five others, each from its own seed.
const LIVES: u64 = 200;
/// Things that happen in each.
const EVENTS: usize = 300;

#[test]
fn whatever_happens_no_node_has_two_connections_up_and_every_end_is_final() {
    use rand::RngExt as _;
    for seed in 0..LIVES {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut world = World::new(|settings| {
            settings.persistent_peers = vec![peer(1), peer(9)];
            settings.max_inbound = 3;
        });
        // Connections as the shell sees them: number of the node, told up.
        let mut alive: BTreeMap<ConnId, (u8, bool)> = BTreeMap::new();
        for _ in 0..EVENTS {
            let pick = (!alive.is_empty()).then(|| chance.random_range(0..alive.len()));
            let picked = pick.and_then(|at| alive.iter().nth(at)).map(|(conn, (number, _))| (*conn, *number));
            let input = match (chance.random_range(0..10), picked) {
                (0 | 1, _) => {
                    world.at += Duration::from_millis(chance.random_range(0..20_000));
                    Input::Tick
                }
                (2, _) => {
                    let conn = world.planner.new_conn();
                    let number = chance.random_range(1..=9);
                    alive.insert(conn, (number, false));
                    Input::Accepted { conn, ip: IpAddr::from([8, number, 0, 1]) }
                }
                (3..=5, Some((conn, number))) => {
                    Input::Authenticated { conn, id: id(number), remote: ([8, number, 0, 1], 1).into() }
                }
                (6 | 7, Some((conn, number))) => Input::Introduced { conn, info: info(number) },
                (8, Some((conn, _))) => {
                    alive.remove(&conn);
                    let ends = [End::Lost("a".into()), End::Fault("b".into()), End::WrongNode("c".into())];
                    Input::Ended { conn, end: ends[chance.random_range(0..3)].clone() }
                }
                (_, Some((conn, _))) => Input::Pex { conn, message: PexMessage::Request.encode() },
                (_, None) => Input::Tick,
            };
            for effect in world.step(input) {
                match effect {
                    Effect::Dial { conn, id: whom, .. } => {
                        let number = whom.as_bytes()[19];
                        assert!(!alive.values().any(|(other, up)| *other == number && *up), "seed {seed}");
                        alive.insert(conn, (number, false));
                    }
                    Effect::Up { conn } => {
                        let number = alive[&conn].0;
                        assert!(!alive.values().any(|(other, up)| *other == number && *up), "seed {seed}: two up");
                        alive.insert(conn, (number, true));
                    }
                    Effect::Proceed { conn } => assert!(alive.contains_key(&conn), "seed {seed}"),
                    _ => {}
                }
            }
            assert!(world.planner.conns.keys().all(|conn| alive.contains_key(conn)), "seed {seed}: a ghost");
            assert!(world.planner.wake_at() >= Duration::ZERO);
        }
    }
}
