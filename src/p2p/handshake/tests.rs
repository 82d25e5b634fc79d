//! Handshakes between two honest ends, and between an honest end and all kinds of others. Time is tokio's, paused.

use super::*;
use crate::types::Algorithm;
use tokio::io::duplex;

const TIMEOUT: Duration = Duration::from_secs(3);

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

fn id(seed: u8) -> NodeId {
    NodeId::new(Address::from(&key(seed).public_key()))
}

/// What the node with this key says on chain `network`.
fn info(seed: u8, network: &str) -> NodeInfo {
    NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 1,
        node_id: id(seed),
        listen_addr: "tcp://0.0.0.0:26656".to_owned(),
        network: network.try_into().expect("short"),
        version: "0.38.25".to_owned(),
        channels: vec![0x40, 0x20, 0x21, 0x22, 0x23, 0x30, 0x38, 0x60, 0x61, 0],
        moniker: format!("node {seed}"),
        tx_index: "on".to_owned(),
        rpc_address: "tcp://127.0.0.1:26657".to_owned(),
    }
}

type Outcome = Result<Upgraded<tokio::io::DuplexStream>, HandshakeError>;

/// Node 1 calls; node 2, which says `theirs`, answers. Both outcomes.
async fn meet(ours: &NodeInfo, expected: Option<NodeId>, theirs: &NodeInfo) -> (Outcome, Outcome) {
    let (one, two) = duplex(64);
    let (one_key, two_key) = (key(1), key(2));
    tokio::join!(upgrade(one, &one_key, ours, expected, TIMEOUT), upgrade(two, &two_key, theirs, None, TIMEOUT))
}

#[tokio::test(start_paused = true)]
async fn two_honest_ends_learn_who_the_other_is_and_what_it_says() {
    let (ours, theirs) = (info(1, "chain"), info(2, "chain"));
    let (one, two) = meet(&ours, Some(id(2)), &theirs).await;
    let (one, two) = (one.expect("good"), two.expect("good"));
    assert_eq!((one.id, one.info), (id(2), theirs));
    assert_eq!((two.id, two.info), (id(1), ours));
}

#[tokio::test(start_paused = true)]
async fn somebody_else_where_a_node_was_called_is_refused() {
    let (one, two) = meet(&info(1, "chain"), Some(id(3)), &info(2, "chain")).await;
    let sentence = one.expect_err("not the one called").to_string();
    assert!(sentence.contains(&id(3).to_string()) && sentence.contains(&id(2).to_string()), "{sentence}");
    assert!(matches!(two, Err(HandshakeError::Closed(Stage::NodeInfo))), "{two:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_gives_another_name_than_its_keys_is_refused() {
    let (one, _) = meet(&info(1, "chain"), None, &info(3, "chain")).await;
    assert!(matches!(one, Err(HandshakeError::OtherName { proved, said }) if proved == id(2) && said == id(3)));
}

#[tokio::test(start_paused = true)]
async fn both_ends_name_both_chains_and_both_protocols_when_they_differ() {
    let (one, two) = meet(&info(1, "chain-a"), None, &info(2, "chain-b")).await;
    for outcome in [one, two] {
        let sentence = outcome.expect_err("other chain").to_string();
        assert!(sentence.contains("chain-a") && sentence.contains("chain-b"), "{sentence}");
    }
    let raft = NodeInfo { channels: vec![0x74, 0x40, 0x30, 0], ..info(2, "chain") };
    let (one, two) = meet(&info(1, "chain"), None, &raft).await;
    for outcome in [one, two] {
        let why = outcome.expect_err("other protocol");
        let HandshakeError::Incompatible(Incompatible::Algorithm { ours, theirs }) = why else { panic!("{why}") };
        assert!([ours, theirs].contains(&Algorithm::Raft) && [ours, theirs].contains(&Algorithm::Tendermint));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_calls_itself_notices() {
    let (one, two) = duplex(64);
    let (key, ours) = (key(1), info(1, "chain"));
    let (one, _) = tokio::join!(upgrade(one, &key, &ours, None, TIMEOUT), upgrade(two, &key, &ours, None, TIMEOUT));
    assert!(matches!(one, Err(HandshakeError::Ourselves)), "{one:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_end_is_given_up_after_the_deadline() {
    let (one, _silent) = duplex(64);
    let began = tokio::time::Instant::now();
    let outcome = upgrade(one, &key(1), &info(1, "chain"), None, TIMEOUT).await;
    assert!(matches!(outcome, Err(HandshakeError::Timeout(TIMEOUT))), "{outcome:?}");
    assert_eq!(began.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_drips_bytes_meets_the_same_deadline() {
    let (one, two) = duplex(64);
    let (_, mut drip) = tokio::io::split(two);
    let began = tokio::time::Instant::now();
    let dripping = async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        // The head of an ephemeral key, then a byte of it each second.
        for byte in [0x22, 0x0a, 0x20].into_iter().chain([7; 32]) {
            if drip.write_u8(byte).await.is_err() {
                break;
            }
            second.tick().await;
        }
        std::future::pending::<()>().await;
    };
    let (key, ours) = (key(1), info(1, "chain"));
    tokio::select! {
        outcome = upgrade(one, &key, &ours, None, TIMEOUT) => {
            assert!(matches!(outcome, Err(HandshakeError::Timeout(TIMEOUT))), "{outcome:?}");
        }
        () = dripping => {}
    }
    assert_eq!(began.elapsed(), TIMEOUT);
}

/// What strangers send instead of an ephemeral key, and a word of the sentence they get. 8 cases.
const STRANGERS: [(&[u8], &str); 8] = [
    (b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", "71 bytes was announced"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client hello", "cannot be read"),
    (b"\xff\xff\xff\xff\x0f", "at most 64"),
    (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "more than 10 bytes"),
    (b"\x00", "has 0 bytes"),
    (b"\x05\x0a\x03abc", "has 3 bytes"),
    (b"\x22\x0a\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "low order"),
    (b"\x22\x0a\x20half a key", "closed the connection"),
];

#[tokio::test(start_paused = true)]
async fn all_8_strangers_are_refused_with_a_sentence_that_says_what_they_did() {
    for (bytes, words) in STRANGERS {
        let (one, mut two) = duplex(4096);
        two.write_all(bytes).await.expect("room");
        two.shutdown().await.expect("open");
        let why = upgrade(one, &key(1), &info(1, "chain"), None, TIMEOUT).await.expect_err("not a node").to_string();
        assert!(why.contains(words), "{:?}: {why}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_garbage_after_the_keys_are_refused() {
    let (one, mut two) = duplex(4096);
    let hello = Hello::new(Zeroizing::new([3; 32]));
    let mut bytes = Vec::new();
    frame::append(&mut bytes, &hello.message().encode());
    bytes.extend_from_slice(&[0x5a; SEALED_LEN]);
    two.write_all(&bytes).await.expect("room");
    let outcome = upgrade(one, &key(1), &info(1, "chain"), None, TIMEOUT).await;
    assert!(matches!(outcome, Err(HandshakeError::Secret(SecretError::Forged))), "{outcome:?}");
}

/// Plays node 2 up to its proof and then says `message` in place of what `stage` awaits; gives the sentence of node 1.
async fn say(stage: Stage, message: &[u8]) -> String {
    let (one, two) = duplex(1 << 16);
    let (mut read_half, mut write_half) = tokio::io::split(two);
    let liar = async {
        let hello = Hello::new(Zeroizing::new([3; 32]));
        let mut bytes = Vec::new();
        frame::append(&mut bytes, &hello.message().encode());
        write_half.write_all(&bytes).await.expect("open");
        let theirs = read_ephemeral(&mut read_half).await.expect("honest");
        let Agreed { mut sealer, challenge, .. } = hello.agree(theirs).expect("good");
        let (mut plain, mut sealed) = (Vec::new(), Vec::new());
        if stage == Stage::NodeInfo {
            frame::append(&mut plain, &challenge.prove(&key(2)).encode());
        }
        plain.extend_from_slice(message);
        sealer.seal(&plain, &mut sealed);
        write_half.write_all(&sealed).await.expect("open");
        std::future::pending::<()>().await;
    };
    let (key, ours) = (key(1), info(1, "chain"));
    tokio::select! {
        outcome = upgrade(one, &key, &ours, None, TIMEOUT) => outcome.expect_err("lies").to_string(),
        () = liar => unreachable!("the liar waits"),
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::append(&mut out, body);
    out
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_none_is_refused() {
    let secp = b"\x0a\x23\x12\x21aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let signed_nothing = AuthSig { key: key(2).public_key(), signature: key(2).prove(&[0; 32]) }.encode();
    let all_zero =
        AuthSig { key: crate::crypto::PublicKey::new([0; 32]), signature: crate::crypto::Signature::new([0; 64]) };
    for (body, words) in [
        (framed(&signed_nothing), "does not prove"),
        (framed(secp), "secp256k1"),
        (framed(b""), "pub_key: is missing"),
        (framed(&[0x0a, 0x02, 0x0a, 0x00]), "pub_key"),
        (framed(&[1; 600]), "at most 512"),
    ] {
        let sentence = say(Stage::Proof, &body).await;
        assert!(sentence.contains(words), "{sentence}");
    }
    // Its one signature is valid for every message by ZIP-215.
    assert!(all_zero.key.verifies(b"anything", &all_zero.signature));
    let sentence = say(Stage::Proof, &framed(&all_zero.encode())).await;
    assert!(sentence.contains("does not prove"), "{sentence}");
}

#[tokio::test(start_paused = true)]
async fn a_node_info_of_the_wrong_form_is_refused() {
    let good = info(2, "chain");
    for (body, words) in [
        (framed(&NodeInfo { moniker: " ".to_owned(), ..good.clone() }.encode()), "moniker"),
        (framed(b"\xff"), "NodeInfo"),
        (framed(b""), "default_node_id"),
        (vec![0x81, 0x50], "10241 bytes was announced; at most 10240"),
    ] {
        let sentence = say(Stage::NodeInfo, &body).await;
        assert!(sentence.contains(words), "{sentence}");
    }
}
