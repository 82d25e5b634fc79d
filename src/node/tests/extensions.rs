//! An application refuses the vote extensions it made itself. As in CometBFT v0.38.25 a node does not show its own
//! extension to its own application, so no node refuses itself: each must say whom it refuses.

use super::bad_input::{network, node_id};
use super::*;
use crate::abci::{Answer, Application};
use crate::p2p::PeerAddress;
use crate::ports::Choice;
use crate::types::abci::{ExtendVoteRequest, Verdict, VerifyVoteExtensionRequest};

/// Longer than two nodes take to connect and vote on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct RefusesItself;

impl Application for RefusesItself {
    fn extend_vote(&mut self, _: ExtendVoteRequest) -> Answer<Bytes> {
        Ok(Bytes::from_static(b"mine"))
    }

    fn verify_vote_extension(&mut self, _: VerifyVoteExtensionRequest) -> Answer<Verdict> {
        Ok(Verdict::Reject)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_names_the_validators_whose_extensions_its_application_refuses() {
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let mut all: Vec<NodeOptions> =
        dirs.iter().map(|dir| options(dir.path(), memory_store(), LocalApp::new(RefusesItself))).collect();
    let mut genesis = all[0].genesis.clone();
    genesis.validators.extend(all[1].genesis.validators.clone());
    genesis.consensus_params.abci.vote_extensions_enable_height = Some(Height::FIRST);
    let addresses: Vec<Address> = genesis.validators.iter().map(|validator| validator.address).collect();
    let (first, at) = network(1, dirs[0].path(), Vec::new()).await;
    let address = PeerAddress { id: node_id(1), address: at.to_string() };
    let second = network(2, dirs[1].path(), vec![address]).await.0;
    for (options, network) in all.iter_mut().zip([first, second]) {
        options.genesis = genesis.clone();
        options.network = Some(network);
        options.timeouts.empty_blocks = EmptyBlocks::Always;
    }
    let stop = CancellationToken::new();
    let nodes: Vec<Running> = all.into_iter().map(|options| start(options, stop.clone()).expect("starts")).collect();
    for (node, other) in nodes.iter().zip(addresses.iter().rev()) {
        let look = async {
            loop {
                let situation = node.handle().situation().await.expect("it runs");
                let refused = situation.validators.iter().filter(|one| one.refused == Choice::Yes);
                let refused: Vec<Address> = refused.map(|one| one.address).collect();
                if !refused.is_empty() {
                    return (situation.height, refused);
                }
                tokio::task::yield_now().await;
            }
        };
        let (height, refused) = tokio::time::timeout(PATIENCE, look).await.expect("it says whom it refuses");
        assert_eq!((height, refused), (Height::FIRST, vec![*other]), "the other one, and not itself");
    }
    stop.cancel();
    for node in nodes {
        node.ended().await.expect("a clean end");
    }
}
