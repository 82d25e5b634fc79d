//! Whether two nodes have anything to say to each other (reference §5.2).

use crate::types::{Algorithm, ChainId, NodeInfo};

/// Channels on which a protocol speaks. A node shows by them which protocol its chain runs; CometBFT's are Tendermint's.
const SPOKEN_ON: [(Algorithm, std::ops::RangeInclusive<u8>); 3] =
    [(Algorithm::Tendermint, 0x20..=0x23), (Algorithm::Pbft, 0x70..=0x73), (Algorithm::Raft, 0x74..=0x77)];

/// Why they have not. Each sentence names both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// Blocks of another format.
    #[error("it has block format {theirs}, this node {ours}: they cannot be on one chain")]
    BlockVersion {
        /// This node's.
        ours: u64,
        /// The peer's.
        theirs: u64,
    },
    /// Another chain.
    #[error(
        "it is on chain {theirs:?}, this node on {ours:?}: give both the same genesis file, or remove it from \
         p2p.persistent_peers"
    )]
    Chain {
        /// This node's.
        ours: ChainId,
        /// The peer's.
        theirs: ChainId,
    },
    /// Another protocol.
    #[error(
        "it runs {theirs}, this node {ours}: all nodes of a chain must run one protocol; give both the same genesis file, \
         or remove it from p2p.persistent_peers"
    )]
    Algorithm {
        /// This node's.
        ours: Algorithm,
        /// The peer's.
        theirs: Algorithm,
    },
    /// Nothing to talk about.
    #[error("it speaks on channels {}, this node on {}: none in common", hex::encode(theirs), hex::encode(ours))]
    Channels {
        /// This node's.
        ours: Vec<u8>,
        /// The peer's.
        theirs: Vec<u8>,
    },
}

/// The protocol a node's channels belong to; none for one that only exchanges addresses.
pub(super) fn algorithm(channels: &[u8]) -> Option<Algorithm> {
    let speaks = |range: &std::ops::RangeInclusive<u8>| channels.iter().any(|id| range.contains(id));
    SPOKEN_ON.iter().find(|(_, range)| speaks(range)).map(|(algorithm, _)| *algorithm)
}

/// Holds the peer's words against ours. Versions of the p2p protocol and of the software are not compared, as in
/// CometBFT.
pub(super) fn check(ours: &NodeInfo, theirs: &NodeInfo) -> Result<(), Incompatible> {
    if ours.block_version != theirs.block_version && !mutant!("N31") {
        return Err(Incompatible::BlockVersion { ours: ours.block_version, theirs: theirs.block_version });
    }
    if ours.network != theirs.network && !mutant!("N30") {
        return Err(Incompatible::Chain { ours: ours.network.clone(), theirs: theirs.network.clone() });
    }
    if let (Some(ours), Some(theirs)) = (algorithm(&ours.channels), algorithm(&theirs.channels))
        && ours != theirs
        && !mutant!("N32")
    {
        return Err(Incompatible::Algorithm { ours, theirs });
    }
    // A node without channels is a test.
    if !ours.channels.is_empty() && !mutant!("N33") && !ours.channels.iter().any(|id| theirs.channels.contains(id)) {
        return Err(Incompatible::Channels { ours: ours.channels.clone(), theirs: theirs.channels.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Address, NodeId};

    fn info(network: &str, block_version: u64, channels: &[u8]) -> NodeInfo {
        NodeInfo {
            p2p_version: 8,
            block_version,
            app_version: 0,
            node_id: NodeId::new(Address::new([1; 20])),
            listen_addr: "127.0.0.1:26656".to_owned(),
            network: network.try_into().expect("short"),
            version: "0.38.25".to_owned(),
            channels: channels.to_vec(),
            moniker: "m".to_owned(),
            tx_index: "on".to_owned(),
            rpc_address: String::new(),
        }
    }

    #[test]
    fn a_mismatch_is_refused_with_a_sentence_that_names_both_sides() {
        let ours = info("one", 11, &[0x40, 0x20, 0x21, 0x22, 0x23, 0x30, 0]);
        let cases: [(NodeInfo, &[&str]); 5] = [
            (info("two", 11, &ours.channels), &["two", "one"]),
            (info("one", 12, &ours.channels), &["12", "11"]),
            (info("one", 11, &[0x70, 0x30, 0]), &["pbft", "tendermint"]),
            (info("one", 11, &[0x74, 0x30, 0]), &["raft", "tendermint"]),
            (info("one", 11, &[0x99]), &["99", "40202122233000"]),
        ];
        for (theirs, words) in cases {
            let sentence = check(&ours, &theirs).expect_err("they differ").to_string();
            assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
        }
    }

    #[test]
    fn the_name_of_a_strangers_chain_cannot_forge_lines_of_the_log() {
        let theirs = info("x\n2026 INFO all is well\u{1b}[2J", 11, &[0x40]);
        let sentence = check(&info("one", 11, &[0x40]), &theirs).expect_err("they differ").to_string();
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
    }

    #[test]
    fn one_common_channel_is_enough_and_software_versions_may_differ() {
        let ours = info("one", 11, &[0x40, 0x20, 0]);
        let seed = NodeInfo { version: "1.0.0".to_owned(), p2p_version: 9, ..info("one", 11, &[0]) };
        assert_eq!(check(&ours, &seed), Ok(()));
        assert_eq!(check(&info("one", 11, &[]), &seed), Ok(()), "without channels one only tests");
    }
}
