//! tendermint-rs's light client follows a running node over RPC. `scripts/light-client` starts four nodes under each protocol
//! and runs it; or start a node, then:
//! `QUORATE_RPC=http://127.0.0.1:26657 cargo test --test light_client -- --nocapture`

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};
use tendermint::Time;
use tendermint::block::signed_header::SignedHeader;
use tendermint::validator::{Info, Set};
use tendermint_light_client_verifier::options::Options;
use tendermint_light_client_verifier::types::{TrustThreshold, TrustedBlockState, UntrustedBlockState};
use tendermint_light_client_verifier::{ProdVerifier, Verdict, Verifier};

/// Consecutive heights verified.
const HEIGHTS: u64 = 100;
/// A node must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Most validators on one page of the RPC.
const PER_PAGE: u64 = 100;

/// A blocking GET; the answer's `result`.
fn get(base: &str, path: &str) -> serde_json::Value {
    let host = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap_or_else(|error| panic!("no node answers at {host}: {error}"));
    stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("a legal timeout");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{host}{path}: {error}"));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{host}{path}: no body in {answer}"));
    let json: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{host}{path}: {error} in {body}"));
    assert!(json["error"].is_null(), "{path}: {}", json["error"]);
    json["result"].clone()
}

fn number(json: &serde_json::Value) -> u64 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{json} is not a number in a string"))
}

fn signed_header(base: &str, height: u64) -> SignedHeader {
    let commit = get(base, &format!("/commit?height={height}"));
    serde_json::from_value(commit["signed_header"].clone())
        .unwrap_or_else(|error| panic!("{height}: {error}: {commit}"))
}

fn validators(base: &str, height: u64, header: &SignedHeader) -> Set {
    let mut all: Vec<Info> = Vec::new();
    for page in 1.. {
        let answer = get(base, &format!("/validators?height={height}&page={page}&per_page={PER_PAGE}"));
        let members: Vec<Info> = serde_json::from_value(answer["validators"].clone())
            .unwrap_or_else(|error| panic!("{height}: {error}: {answer}"));
        all.extend(members);
        if all.len() as u64 >= number(&answer["total"]) {
            break;
        }
    }
    let proposer = all.iter().find(|info| info.address == header.header.proposer_address).cloned();
    Set::new(all, proposer)
}

#[test]
fn a_light_client_follows_100_heights_of_a_running_node() {
    let Ok(base) = std::env::var("QUORATE_RPC") else {
        println!("skipped: QUORATE_RPC is not set; start a node and set it to http://host:port of its RPC");
        return;
    };
    let sync = get(&base, "/status")["sync_info"].clone();
    let (first, tip) = (number(&sync["earliest_block_height"]), number(&sync["latest_block_height"]));
    assert!(tip > first + HEIGHTS, "the node has heights {first} to {tip}; wait until it has {HEIGHTS} more than one");
    let options = Options {
        trust_threshold: TrustThreshold::TWO_THIRDS,
        trusting_period: Duration::from_secs(14 * 24 * 3600),
        clock_drift: Duration::from_secs(10),
    };
    let start = tip - HEIGHTS - 1;
    let mut trusted = signed_header(&base, start);
    let mut trusted_set = validators(&base, start, &trusted);
    assert_eq!(trusted.header.validators_hash, trusted_set.hash(), "height {start}");
    for height in start + 1..=start + HEIGHTS {
        let header = signed_header(&base, height);
        let set = validators(&base, height, &header);
        assert_eq!(header.header.hash(), header.commit.block_id.hash, "height {height}");
        let verdict = ProdVerifier::default().verify_update_header(
            UntrustedBlockState { signed_header: &header, validators: &set, next_validators: None },
            TrustedBlockState {
                chain_id: &trusted.header.chain_id,
                header_time: trusted.header.time,
                height: trusted.header.height,
                next_validators: if trusted.header.next_validators_hash == set.hash() { &set } else { &trusted_set },
                next_validators_hash: trusted.header.next_validators_hash,
            },
            &options,
            now(),
        );
        assert!(matches!(verdict, Verdict::Success), "height {height}: {verdict:?}");
        (trusted, trusted_set) = (header, set);
    }
    println!("verified heights {} to {}", start + 1, start + HEIGHTS);
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    Time::from_unix_timestamp(since.as_secs() as i64, since.subsec_nanos()).expect("in range")
}
