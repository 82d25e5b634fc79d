//! The names, types and labels of the metrics are a promise to dashboards.

use super::*;
use crate::types::{Address, Height, NodeId, Power, Round, VoteKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

/// Name, type and labels besides `chain_id`, as CometBFT v0.38 has them. 52 metrics.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("abci_connection_method_timing_seconds", "histogram", &["method", "type"]),
    ("blocksync_syncing", "gauge", &[]),
    ("consensus_block_gossip_parts_received", "counter", &["matches_current"]),
    ("consensus_block_interval_seconds", "histogram", &[]),
    ("consensus_block_parts", "counter", &["peer_id"]),
    ("consensus_block_size_bytes", "gauge", &[]),
    ("consensus_byzantine_validators", "gauge", &[]),
    ("consensus_byzantine_validators_power", "gauge", &[]),
    ("consensus_chain_size_bytes", "counter", &[]),
    ("consensus_duplicate_block_part", "counter", &[]),
    ("consensus_duplicate_vote", "counter", &[]),
    ("consensus_full_prevote_delay", "gauge", &["proposer_address"]),
    ("consensus_height", "gauge", &[]),
    ("consensus_late_votes", "counter", &["vote_type"]),
    ("consensus_latest_block_height", "gauge", &[]),
    ("consensus_missing_validators", "gauge", &[]),
    ("consensus_missing_validators_power", "gauge", &[]),
    ("consensus_num_txs", "gauge", &[]),
    ("consensus_proposal_create_count", "counter", &[]),
    ("consensus_proposal_receive_count", "counter", &["status"]),
    ("consensus_quorum_prevote_delay", "gauge", &["proposer_address"]),
    ("consensus_round_duration_seconds", "histogram", &[]),
    ("consensus_round_voting_power_percent", "gauge", &["vote_type"]),
    ("consensus_rounds", "gauge", &[]),
    ("consensus_step_duration_seconds", "histogram", &["step"]),
    ("consensus_total_txs", "gauge", &[]),
    ("consensus_validator_last_signed_height", "gauge", &["validator_address"]),
    ("consensus_validator_missed_blocks", "gauge", &["validator_address"]),
    ("consensus_validator_power", "gauge", &["validator_address"]),
    ("consensus_validators", "gauge", &[]),
    ("consensus_validators_power", "gauge", &[]),
    ("consensus_vote_extension_receive_count", "counter", &["status"]),
    ("mempool_active_outbound_connections", "gauge", &[]),
    ("mempool_already_received_txs", "counter", &[]),
    ("mempool_evicted_txs", "counter", &[]),
    ("mempool_failed_txs", "counter", &[]),
    ("mempool_recheck_times", "counter", &[]),
    ("mempool_rejected_txs", "counter", &[]),
    ("mempool_size", "gauge", &[]),
    ("mempool_size_bytes", "gauge", &[]),
    ("mempool_tx_size_bytes", "histogram", &[]),
    ("p2p_message_receive_bytes_total", "counter", &["message_type"]),
    ("p2p_message_send_bytes_total", "counter", &["message_type"]),
    ("p2p_num_txs", "gauge", &["peer_id"]),
    ("p2p_peer_pending_send_bytes", "gauge", &["peer_id"]),
    ("p2p_peer_receive_bytes_total", "counter", &["peer_id", "chID"]),
    ("p2p_peer_send_bytes_total", "counter", &["peer_id", "chID"]),
    ("p2p_peers", "gauge", &[]),
    ("state_block_processing_time", "histogram", &[]),
    ("state_consensus_param_updates", "counter", &[]),
    ("state_validator_set_updates", "counter", &[]),
    ("statesync_syncing", "gauge", &[]),
];

fn metrics() -> Metrics {
    Metrics::new("cometbft", &ChainId::try_from("test-chain").unwrap()).unwrap()
}

fn record_everything(metrics: &Metrics) {
    let address = Address::new([1; 20]);
    let peer = NodeId::new(address);
    let second = Duration::from_secs(1);
    let voters = VotersFacts { count: 4, power: Power::new(40) };
    let consensus = &metrics.consensus;
    consensus.height_begun(Height::new(7));
    consensus.round_begun(Round::new(1));
    consensus.round_ended(second);
    consensus.step_ended("Propose", second);
    consensus.block_decided(&BlockFacts {
        height: Height::new(7),
        txs: 3,
        bytes: 1000,
        interval: Some(second),
        validators: voters,
        missing: VotersFacts { count: 0, power: Power::ZERO },
        byzantine: VotersFacts { count: 0, power: Power::ZERO },
    });
    consensus.own_power(&address, Power::new(10));
    consensus.own_signed(&address, Height::new(7));
    consensus.own_missed(&address);
    consensus.part_received(&peer, PartUse::Current);
    consensus.part_duplicated();
    consensus.vote_duplicated();
    consensus.vote_late(VoteKind::Prevote);
    consensus.round_power(VoteKind::Precommit, 0.75);
    consensus.quorum_prevoted(&address, second);
    consensus.all_prevoted(&address, second);
    consensus.extension_received(Verdict::Accepted);
    consensus.proposal_received(Verdict::Rejected);
    consensus.proposal_made();
    metrics.mempool.waiting(5, 50);
    metrics.mempool.admitted(10);
    metrics.mempool.failed();
    metrics.mempool.rejected();
    metrics.mempool.evicted(2);
    metrics.mempool.rechecked(3);
    metrics.mempool.duplicated();
    metrics.mempool.sending_to(1);
    metrics.app.answered("finalize_block", second);
    metrics.app.answered_pipelined("check_tx", second);
    metrics.state.block_executed(second);
    metrics.state.params_updated();
    metrics.state.validators_updated();
    metrics.p2p.connected(1);
    metrics.blocksync.fetching_blocks();
    metrics.blocksync.fetching_snapshot();
    metrics.blocksync.caught_up();
}

#[test]
fn names_types_and_labels_are_cometbfts() {
    let metrics = metrics();
    record_everything(&metrics);
    let _connected = metrics.p2p.peer(&NodeId::new(Address::new([1; 20])));
    let mut found = BTreeMap::new();
    for family in metrics.registry.gather() {
        let labels: BTreeSet<String> = family.get_metric()[0].get_label().iter().map(|l| l.name().to_owned()).collect();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        found.insert(family.name().to_owned(), (kind, labels));
    }
    for (name, kind, labels) in PROMISED {
        let (found_kind, found_labels) = found.remove(&format!("cometbft_{name}")).expect(name);
        let expected: BTreeSet<_> = labels.iter().chain(&["chain_id"]).map(|label| (*label).to_owned()).collect();
        assert_eq!((found_kind.as_str(), found_labels), (*kind, expected), "{name}");
    }
    assert!(found.is_empty(), "not promised: {found:?}");
}

#[test]
fn metrics_without_labels_exist_at_zero_from_the_start() {
    let text = metrics().text();
    for (name, kind, _) in PROMISED.iter().filter(|(_, _, labels)| labels.is_empty()) {
        let suffix = if *kind == "histogram" { "_count" } else { "" };
        let line = format!("cometbft_{name}{suffix}{{chain_id=\"test-chain\"}} 0\n");
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn what_is_recorded_is_what_is_read() {
    let metrics = metrics();
    record_everything(&metrics);
    let text = metrics.text();
    for line in [
        "cometbft_consensus_height{chain_id=\"test-chain\"} 7\n",
        "cometbft_consensus_rounds{chain_id=\"test-chain\"} 1\n",
        "cometbft_consensus_total_txs{chain_id=\"test-chain\"} 3\n",
        "cometbft_consensus_chain_size_bytes{chain_id=\"test-chain\"} 1000\n",
        "cometbft_consensus_late_votes{vote_type=\"prevote\",chain_id=\"test-chain\"} 1\n",
        "cometbft_state_block_processing_time_sum{chain_id=\"test-chain\"} 1000\n",
        "cometbft_mempool_tx_size_bytes_bucket{chain_id=\"test-chain\",le=\"27\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_namespace_prometheus_refuses_is_an_error() {
    let chain = ChainId::try_from("c").unwrap();
    for bad in ["", "my chain", "1"] {
        assert!(Metrics::new(bad, &chain).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn prometheus_gets_the_text_over_http() {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, metrics(), Some(1), stop.clone()));
    // One connection at a time is allowed: the second gets its turn when the first closes.
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("cometbft_consensus_height{chain_id=\"test-chain\"} 0"), "{answer}");
    }
    stop.cancel();
    server.await.unwrap();
}
