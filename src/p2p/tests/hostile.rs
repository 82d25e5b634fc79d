//! Stories about callers that do not finish the handshake, and peers that do not read, beside an honest one.

use super::attacker::{Attacker, call_from, hung_up};
use super::*;
use std::net::Ipv4Addr;
use tokio::net::TcpStream;

/// Callers from one IP address, and callers at all, in the middle of their handshake (docs/LIMITS.md).
const HALF_OPEN_PER_IP_MAX: usize = 32;
const HALF_OPEN_MAX: usize = 256;
/// For a handshake, in stories in which it passes.
const SHORT: Duration = Duration::from_secs(2);
/// For a handshake, in stories that are over long before: who is hung up on is refused.
const NEVER: Duration = Duration::from_secs(3600);

/// A node and an honest peer that are connected.
async fn two(change: impl FnOnce(&mut NetworkOptions)) -> (Node, Node) {
    let mut one = node(1, change).await;
    let mut two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
    (one, two)
}

/// Both still talk over the connection they had: nothing else was heard of it.
async fn still_talk(one: &mut Node, two: &mut Node) {
    talk(one, two, "are you there?").await;
    talk(two, one, "yes").await;
}

/// Silent callers from one address after the other, at most so many from each.
async fn silent(count: usize, at: SocketAddr) -> Vec<TcpStream> {
    let mut callers = Vec::new();
    for caller in 0..count {
        let from = Ipv4Addr::new(127, 0, 1, 1 + (caller / HALF_OPEN_PER_IP_MAX) as u8);
        callers.push(call_from(from, at).await);
    }
    callers
}

#[tokio::test]
async fn silent_callers_of_one_address_are_bounded_and_keep_nobody_else_out() {
    let (mut one, mut two) = two(|options| options.settings.handshake_timeout = NEVER).await;
    let callers = silent(HALF_OPEN_PER_IP_MAX, one.at).await;
    hung_up(&mut call_from(Ipv4Addr::new(127, 0, 1, 1), one.at).await).await;
    let mut three = node(3, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(three.id).await;
    three.expect_up(one.id).await;
    still_talk(&mut one, &mut two).await;
    assert!(callers.iter().all(|caller| caller.try_write(&[0]).is_ok()), "the first ones are not thrown out");
}

#[tokio::test]
async fn silent_callers_of_all_addresses_together_are_bounded_and_whoever_leaves_makes_room() {
    let (mut one, mut two) = two(|options| options.settings.handshake_timeout = NEVER).await;
    let callers = silent(HALF_OPEN_MAX, one.at).await;
    hung_up(&mut call_from(Ipv4Addr::LOCALHOST, one.at).await).await;
    still_talk(&mut one, &mut two).await;
    drop(callers);
    let mut three = node(3, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(three.id).await;
    three.expect_up(one.id).await;
}

#[tokio::test]
async fn a_caller_that_stops_after_any_step_of_the_handshake_is_given_up_and_named_once_it_is_known() {
    let (mut one, mut two) = two(|options| options.settings.handshake_timeout = SHORT).await;
    hung_up(&mut call_from(Ipv4Addr::LOCALHOST, one.at).await).await;
    Attacker::agree(1, one.at).await.hung_up().await;
    let mut proved = Attacker::agree(2, one.at).await;
    proved.prove().await;
    proved.hung_up().await;
    one.learns(proved.id, "the handshake was not over after 2s").await;
    still_talk(&mut one, &mut two).await;
}

#[tokio::test]
async fn a_handshake_of_wrong_bytes_ends_at_once_and_harms_nobody_else() {
    let (mut one, mut two) = two(|_| ()).await;
    let hellos: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        // A TLS ClientHello begins so.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and what a browser says after that",
        // A length that never ends, one that is too large, a key that is too short, one of low order.
        &[0xff; 64],
        &[0x80, 0x80, 0x80, 0x01],
        &[0x02, 0x0a, 0x00],
        &[&[0x22, 0x0a, 0x20][..], &[0; 32]].concat(),
    ];
    for hello in hellos {
        let mut caller = call_from(Ipv4Addr::LOCALHOST, one.at).await;
        tokio::io::AsyncWriteExt::write_all(&mut caller, hello).await.unwrap();
        hung_up(&mut caller).await;
    }
    let mut unsealed = Attacker::agree(1, one.at).await;
    unsealed.write(&[0; 4096]).await;
    unsealed.hung_up().await;
    let mut nonsense = Attacker::agree(2, one.at).await;
    nonsense.say(&[0x05, 1, 2, 3, 4, 5]).await;
    nonsense.hung_up().await;
    for (number, info, sentence) in [
        (3, vec![0xff; 64], "instead of its node info it sent something else"),
        (4, vec![0x03, 0xff, 0xff, 0xff], "its node info cannot be read"),
    ] {
        let mut attacker = Attacker::agree(number, one.at).await;
        attacker.prove().await;
        attacker.say(&info).await;
        attacker.hung_up().await;
        one.learns(attacker.id, sentence).await;
    }
    let mut stranger = Attacker::join(5, one.at, "another-chain").await;
    stranger.hung_up().await;
    one.learns(stranger.id, "it is on chain \"another-chain\", this node on \"chain\"").await;
    still_talk(&mut one, &mut two).await;
}

/// A message of channel 0x20, of which the queue holds 16.
const LONG: Bytes = Bytes::from_static(&[7; 64 << 10]);

#[tokio::test]
async fn a_peer_that_does_not_read_is_dropped_when_its_queue_is_full_and_others_are_told_everything() {
    let (mut one, mut two) = two(|_| ()).await;
    let deaf = Attacker::join(1, one.at, "chain").await;
    one.expect_up(deaf.id).await;
    // The socket's buffers take some megabytes, then the queue fills.
    loop {
        one.network.send(two.id, Channel::State, LONG).unwrap();
        assert_eq!(two.next().await, Event::Message(one.id, LONG));
        match one.network.send(deaf.id, Channel::State, LONG) {
            Ok(()) => {}
            Err(NotSent::Full) => break,
            Err(why) => panic!("{why}"),
        }
        let deaf = one.network.peers().into_iter().find(|peer| peer.info.node_id == deaf.id).unwrap();
        let queue = deaf.channels.iter().find(|channel| channel.id == Channel::State.id()).unwrap();
        assert!(queue.queued <= 17, "{queue:?}");
    }
    let sentence = "does not read what we say: its queue of channel 0x20 is full";
    assert_eq!(one.next().await, Event::Down(deaf.id, sentence.to_owned()));
    one.learns(deaf.id, sentence).await;
    still_talk(&mut one, &mut two).await;
}
