//! Stories about the address book.

use super::*;
use rand::SeedableRng as _;
use std::net::{Ipv4Addr, SocketAddr};

/// A book CometBFT v0.38.25 wrote.
const COMETBFT: &[u8] = include_bytes!("../../../tests/vectors/cometbft/addrbook.json");
const COMETBFT_ENTRIES: usize = 3;

fn id(number: u32) -> NodeId {
    format!("{number:040x}").parse().unwrap()
}

/// A node of the public internet: its /16 is the upper half of `number`.
fn at(number: u32) -> NetAddress {
    NetAddress::new(id(number), SocketAddr::from((Ipv4Addr::from(0x0b00_0000 + number), 26656)))
}

fn book() -> Book {
    Book::new(id(0), BTreeSet::from([id(7)]), Routability::Strict, "secret".to_owned())
}

fn day(days: i64) -> Time {
    Time::new(1_700_000_000 + days * 86_400, 0).unwrap()
}

fn chance() -> StdRng {
    StdRng::seed_from_u64(1)
}

/// Buckets hold what entries say, and nothing is beyond its limit.
fn check(book: &Book) {
    for (kind, buckets, most) in [(Kind::New, &book.new, NEW_BUCKETS), (Kind::Old, &book.old, OLD_BUCKETS)] {
        for (number, inside) in buckets {
            assert!(*number < most && !inside.is_empty() && inside.len() <= BUCKET_LEN_MAX);
            assert!(inside.iter().all(|id| book.entries[id].buckets.contains(number) && book.entries[id].kind == kind));
        }
        let places: usize = buckets.values().map(BTreeSet::len).sum();
        let of_kind = book.entries.values().filter(|entry| entry.kind == kind);
        assert_eq!(places, of_kind.map(|entry| entry.buckets.len()).sum::<usize>());
    }
    let in_buckets = |entry: &Entry| match entry.kind {
        Kind::New => (1..=NEW_BUCKETS_PER_ADDRESS).contains(&entry.buckets.len()),
        Kind::Old => entry.buckets.len() == 1,
    };
    assert!(book.entries.values().all(in_buckets));
}

#[test]
fn cometbfts_file_is_read_and_written_back_byte_for_byte() {
    let mut book = book();
    assert_eq!(book.take_json(COMETBFT), Ok(0));
    assert_eq!(book.len(), COMETBFT_ENTRIES);
    check(&book);
    assert_eq!(String::from_utf8(book.to_json()), String::from_utf8(COMETBFT.to_vec()));
}

/// What somebody may have done to an entry of the file. 8 cases.
const SPOILT: &[(&str, &str)] = &[
    ("\"bucket_type\": 1", "\"bucket_type\": 3"),
    ("\t157\n", "\t256\n"),
    ("\t157\n", "\t-1\n"),
    ("\"attempts\": 0", "\"attempts\": -1"),
    ("2026-11-23T08:21:20.053300197Z", "yesterday"),
    ("8.8.4.4", "10.0.0.1"),
    ("8.8.4.4", "0.0.0.0"),
    ("\"port\": 26656", "\"port\": 0"),
];

#[test]
fn an_entry_that_makes_no_sense_costs_only_itself() {
    let text = String::from_utf8(COMETBFT.to_vec()).unwrap();
    for (good, bad) in SPOILT {
        let spoilt = text.replacen(good, bad, 1);
        assert_ne!(spoilt, text, "{good} is there");
        let mut book = book();
        assert_eq!(book.take_json(spoilt.as_bytes()), Ok(1), "{bad}");
        assert_eq!(book.len(), COMETBFT_ENTRIES - 1, "{bad}");
        check(&book);
    }
    assert!(book().take_json(b"{\"key\": 1}").is_err());
    assert_eq!(book().take_json(b"{\"key\": \"\", \"addrs\": null}"), Ok(0), "Go's empty list");
}

#[test]
fn the_file_is_replaced_whole_and_a_missing_one_is_an_empty_book() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("addrbook.json");
    assert!(read_file(&path).unwrap().is_none());
    write_file(&path, COMETBFT).unwrap();
    assert_eq!(read_file(&path).unwrap().as_deref(), Some(COMETBFT));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    assert!(write_file(&folder.path().join("none/addrbook.json"), b"").is_err());
}

#[test]
fn addresses_of_ours_of_private_nodes_and_of_private_networks_are_refused() {
    let (mut book, mut chance) = (book(), chance());
    let mut add = |address, teller| book.add(day(0), address, teller, &mut chance);
    assert_eq!(add(at(0), at(1)), Err(NotAdded::Ours));
    assert_eq!(add(at(7), at(1)), Err(NotAdded::Private));
    assert_eq!(add(at(1), at(7)), Err(NotAdded::Private));
    let home = NetAddress { ip: Ipv4Addr::new(192, 168, 0, 1).into(), ..at(2) };
    assert_eq!(add(home, at(1)), Err(NotAdded::Address(AddressError::NotRoutable)));
    assert_eq!(add(at(2), at(1)), Ok(()));
}

#[test]
fn a_node_that_was_reached_cannot_be_moved_by_what_others_tell() {
    let (mut book, mut chance) = (book(), chance());
    book.add(day(0), at(1), at(2), &mut chance).unwrap();
    book.good(day(0), &id(1));
    let elsewhere = NetAddress { id: id(1), ..at(99) };
    assert_eq!(book.add(day(0), elsewhere, at(3), &mut chance), Err(NotAdded::Known));
    assert_eq!(book.address(&id(1)), Some(at(1)));
    check(&book);
}

#[test]
fn a_teller_of_one_network_fills_no_more_than_its_buckets() {
    let (mut book, mut chance) = (book(), chance());
    for number in 0..20_000 {
        let told = at(0x10_0000 + number * 131);
        let _ = book.add(day(0), told, at(1), &mut chance);
    }
    check(&book);
    assert!(book.new.len() <= NEW_BUCKETS_PER_GROUP as usize);
    assert!(book.len() <= NEW_BUCKETS_PER_GROUP as usize * BUCKET_LEN_MAX);
}

#[test]
fn a_full_old_bucket_makes_its_idlest_address_new_again() {
    let (mut book, mut chance) = (book(), chance());
    // One group has four old buckets: more than 4 × 64 reached nodes cannot all stay old.
    for number in 8..=400 {
        book.add(day(0), at(number), at(number * 65_536), &mut chance).unwrap();
        book.good(day(i64::from(number)), &id(number));
        check(&book);
    }
    let old = book.entries.values().filter(|entry| entry.kind == Kind::Old).count();
    assert!(old <= OLD_BUCKETS_PER_GROUP as usize * BUCKET_LEN_MAX && book.old.len() <= 4);
    assert_eq!(book.entries[&id(400)].kind, Kind::Old);
}

#[test]
fn addresses_that_never_answered_go_first() {
    let entry = |attempts, last_success| Entry { attempts, last_success, ..Entry::new(day(0), at(1), at(2)) };
    assert!(!entry(3, Time::ZERO).is_bad(day(0)), "just called");
    assert!(entry(3, Time::ZERO).is_bad(day(1)));
    assert!(!entry(2, Time::ZERO).is_bad(day(1)));
    assert!(entry(0, day(0)).is_bad(day(8)), "not seen for a week");
    assert!(entry(10, day(-7)).is_bad(day(1)));
    assert!(!entry(9, day(-7)).is_bad(day(1)));
    assert!(!Entry { kind: Kind::Old, ..entry(99, Time::ZERO) }.is_bad(day(99)));
}

#[test]
fn an_answer_has_a_quarter_of_the_book_within_limits_and_nobody_twice() {
    let lengths = [0, 1, 32, 100, 200, 1000, 5000].map(selection_len);
    assert_eq!(lengths, [0, 1, 32, 32, 46, 230, 250]);
    let (mut book, mut chance) = (book(), chance());
    for number in 1..=300 {
        book.add(day(0), at(number * 65_536), at(number * 65_536), &mut chance).unwrap();
        if number % 2 == 0 {
            book.good(day(0), &id(number * 65_536));
        }
    }
    book.ban(&id(2 * 65_536), day(1));
    for _ in 0..50 {
        for chosen in [book.selection(day(0), &mut chance), book.selection_with_bias(day(0), 30, &mut chance)] {
            let ids: BTreeSet<_> = chosen.iter().map(|address| address.id).collect();
            assert_eq!((chosen.len(), ids.len()), (68, 68));
            assert!(!ids.contains(&id(2 * 65_536)), "the banned one is not told");
        }
    }
    let biased = book.selection_with_bias(day(0), 30, &mut chance);
    let new = biased.iter().filter(|address| book.entries[&address.id].kind == Kind::New).count();
    assert_eq!(new, 21, "30 % of 68, rounded up");
}

#[test]
fn the_bias_decides_between_new_and_old_and_the_banned_are_not_called() {
    let (mut book, mut chance) = (book(), chance());
    assert_eq!(book.pick(day(0), 50, &mut chance), None);
    for number in [1, 2] {
        book.add(day(0), at(number * 65_536), at(9), &mut chance).unwrap();
    }
    book.good(day(0), &id(2 * 65_536));
    assert_eq!(book.pick(day(0), 100, &mut chance), Some(at(65_536)));
    assert_eq!(book.pick(day(0), 0, &mut chance), Some(at(2 * 65_536)));
    book.ban(&id(2 * 65_536), day(1));
    assert_eq!(book.pick(day(0), 0, &mut chance), None);
    assert_eq!(book.bans(day(0)).count(), 1);
    assert_eq!(book.pick(day(2), 0, &mut chance), Some(at(2 * 65_536)));
}
