//! Nodes that have nothing to say to each other part with a sentence that names both sides.

use super::network::{Application, Net};
use super::stranger::Stranger;
use bytes::Bytes;
use quorate::p2p::{Fault, PeerUp, Receiver};
use quorate::types::{Algorithm, Channel, NodeId};
use std::sync::Arc;

#[test]
fn a_node_of_another_chain_is_refused_with_the_names_of_both_chains() {
    let ours = Net::started(1, Application::BuiltIn);
    let mut theirs = Net::new(1, 0, Application::BuiltIn);
    theirs.set_peers(0, &format!("{}@{}", ours.member(0).id, ours.member(0).p2p()));
    theirs.start([0]);
    let sentence = format!("it is on chain {:?}, this node on {:?}", ours.chain_id, theirs.chain_id);
    theirs.member(0).process().wait_for(&sentence);
    let table = theirs.member(0).command(&["net"]);
    assert!(table.contains(&sentence), "{table}");
    // Neither stops for it.
    for net in [&ours, &theirs] {
        net.await_height([0], 2);
    }
}

#[test]
fn a_node_of_another_protocol_is_refused_with_the_names_of_both_protocols() {
    let net = Net::started(1, Application::BuiltIn);
    let stranger = Stranger::join(&net.chain_id, Algorithm::Raft, Arc::new(Silent));
    stranger.call(net.member(0));
    let sentence = "it runs raft, this node tendermint";
    net.member(0).process().wait_for(sentence);
    let table = net.member(0).command(&["net"]);
    assert!(table.contains(sentence), "{table}");
}

struct Silent;

impl Receiver for Silent {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, _: Channel, _: Bytes) -> Result<(), Fault> {
        Ok(())
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, _: NodeId, _: String) {}
}
