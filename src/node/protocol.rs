//! A home remembers its protocol: which one is in force is a fact of the chain, not of a flag.
//!
//! The genesis document names the protocol of the first block, the state that of the next one. What an operator expects
//! is only held against it; a protocol is changed by the chain, never by how one of its nodes is started.

use super::NodeError;
use crate::config::ExpectedAlgorithm;
use crate::ports::Store;
use crate::types::GenesisDoc;

/// Refuses to start under another protocol than the chain's. `genesis` is the document the chain began with.
pub(super) fn refuse_another(
    store: &dyn Store,
    genesis: &GenesisDoc,
    expected: Option<&ExpectedAlgorithm>,
) -> Result<(), NodeError> {
    let Some(ExpectedAlgorithm { algorithm: wanted, origin }) = expected else { return Ok(()) };
    let state = store.state()?;
    let in_force = state.as_ref().map_or(genesis.algorithm, |state| state.algorithm);
    if in_force == *wanted {
        return Ok(());
    }
    let since = match state {
        Some(state) => format!("decides block {} by {in_force}", state.next_height()),
        None => format!("begins under {in_force}"),
    };
    Err(NodeError::Genesis(format!(
        "{origin} asks for {wanted}, but the chain of this home, {}, {since}: all its nodes must agree on the protocol, so \
         a flag cannot change it\n  next: start without it. For a chain under {wanted}: quorate init --algorithm {wanted} \
         --home ANOTHER_DIRECTORY",
        genesis.chain_id
    )))
}

/// Refuses a genesis file that names another protocol than the document the chain began with: other differences are set
/// aside with a warning, but whoever edited this one expects another node than would run.
pub(super) fn refuse_edited(file: &GenesisDoc, began_with: &GenesisDoc) -> Result<(), NodeError> {
    if file.algorithm == began_with.algorithm {
        return Ok(());
    }
    Err(NodeError::Genesis(format!(
        "genesis.json says {}, but chain {} began under {}: editing the file changes no running chain\n  next: put \"algorithm\": \
         \"{}\" back into genesis.json. For a chain under {}: quorate init --algorithm {} --home ANOTHER_DIRECTORY",
        file.algorithm, began_with.chain_id, began_with.algorithm, began_with.algorithm, file.algorithm, file.algorithm
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::storage::{self, Backend, Indexing};
    use crate::types::Algorithm;

    fn genesis(algorithm: Algorithm) -> GenesisDoc {
        let json = br#"{"chain_id":"story","genesis_time":"2026-01-01T00:00:00Z"}"#;
        GenesisDoc { algorithm, ..crate::codec::json::genesis::parse(json).unwrap() }
    }

    fn expected(algorithm: Algorithm) -> ExpectedAlgorithm {
        ExpectedAlgorithm { algorithm, origin: Origin::Flag("algorithm".to_owned()) }
    }

    #[test]
    fn a_chain_is_not_started_under_another_protocol_than_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let store = storage::open(Backend::Memory, folder.path(), Indexing::Off).unwrap();
        for ours in Algorithm::ALL {
            refuse_another(&*store, &genesis(ours), None).unwrap();
            for wanted in Algorithm::ALL {
                let outcome = refuse_another(&*store, &genesis(ours), Some(&expected(wanted)));
                assert_eq!(outcome.is_ok(), wanted == ours, "{wanted} on a chain of {ours}");
                let Err(error) = outcome else { continue };
                let said = error.to_string();
                let next = format!("quorate init --algorithm {wanted} --home");
                assert!(said.starts_with("flag --algorithm asks for") && said.contains(&next), "{said}");
            }
        }
    }

    #[test]
    fn a_genesis_file_edited_to_another_protocol_is_refused() {
        let (raft, pbft) = (genesis(Algorithm::Raft), genesis(Algorithm::Pbft));
        refuse_edited(&raft, &raft).unwrap();
        let said = refuse_edited(&pbft, &raft).unwrap_err().to_string();
        assert!(said.contains("genesis.json says pbft, but chain story began under raft"), "{said}");
    }
}
