//! Checking what replicas of Raft and PBFT say: a little of it at once, much of it on a blocking thread, where it keeps
//! no other peer waiting.

use crate::crypto::KnownSignatures;
use crate::gossip::{DirectSigners, HeardDirect, hear_direct, signatures_in};
use crate::types::DirectMessage;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// A message with more signatures than this goes to a blocking thread: they take milliseconds.
const AT_ONCE_MAX: usize = 64;
/// Large messages checked at once. The others wait in their peers' tasks, first come first served; a peer waits with all
/// it says.
const LARGE_AT_ONCE: usize = 2;

/// What peers' tasks share to check what they hear.
#[derive(Debug)]
pub(super) struct Verifier {
    known: Arc<KnownSignatures>,
    large: Arc<Semaphore>,
}

impl Default for Verifier {
    fn default() -> Verifier {
        Verifier { known: Arc::default(), large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }
}

impl Verifier {
    /// Checks a message; see [`hear_direct`].
    ///
    /// # Errors
    /// A sentence about the peer that sent it.
    pub(super) async fn hear(
        &self,
        signers: Option<Arc<DirectSigners>>,
        message: DirectMessage,
    ) -> Result<HeardDirect, &'static str> {
        if signatures_in(&message) <= AT_ONCE_MAX {
            return hear_direct(signers.as_deref(), &self.known, message);
        }
        let permit = Arc::clone(&self.large).acquire_owned().await.expect("nobody closes this semaphore");
        let known = Arc::clone(&self.known);
        let work = move || {
            let heard = hear_direct(signers.as_deref(), &known, message);
            // Held by the work, not by the peer's task: one that hangs up and calls again is not let in earlier.
            drop(permit);
            heard
        };
        spawn_blocking(work).await.expect("checking signatures does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{PrivateKey, Signature};
    use crate::types::tests::{Signers as Keys, block_id, chain_id};
    use crate::types::{
        AbciParams, Address, Algorithm, ExtendedCommit, Height, PbftStatement, Round, StatementBody, UnsignedStatement,
    };

    /// Enough for a commit to go to a blocking thread.
    const VALIDATORS: u8 = 70;

    struct World {
        keys: Keys,
        signers: Arc<DirectSigners>,
        verifier: Verifier,
    }

    impl World {
        /// Height 8 of a chain whose validators stay.
        fn new() -> World {
            let keys = Keys::of((1..=VALIDATORS).map(|number| (PrivateKey::from_seed(&[number; 32]), 1)).collect());
            let set = Arc::new(keys.set.clone());
            let signers = DirectSigners {
                chain_id: chain_id(),
                algorithm: Algorithm::Pbft,
                height: Height::new(8),
                validators: Arc::clone(&set),
                last_validators: Some(Arc::clone(&set)),
                next_validators: set,
                abci: AbciParams { vote_extensions_enable_height: None },
            };
            World { keys, signers: Arc::new(signers), verifier: Verifier::default() }
        }

        /// With the commit of the height before.
        fn view_change(&self, by: usize) -> DirectMessage {
            let commit = self.keys.commit(Height::new(7), block_id("b"), 100);
            let body = PbftStatement::ViewChange {
                view: Round::new(3),
                height: Height::new(8),
                checkpoint: Some(ExtendedCommit::from(commit)),
                prepared: None,
            };
            let key = &self.keys.keys[by];
            let body = StatementBody::Pbft(Box::new(body));
            let unsigned = UnsignedStatement { by: Address::from(&key.public_key()), body };
            let signature = key.sign(&unsigned.sign_bytes(&chain_id()));
            DirectMessage::Statement(unsigned.signed(signature))
        }

        /// How many signatures were verified for a message that must be believed.
        async fn cost(&self, message: DirectMessage) -> u64 {
            let before = self.verifier.known.verified();
            let heard = self.verifier.hear(Some(Arc::clone(&self.signers)), message).await;
            assert!(matches!(heard, Ok(HeardDirect::Said(_))), "{heard:?}");
            self.verifier.known.verified() - before
        }
    }

    #[tokio::test]
    async fn a_view_change_that_is_replayed_for_ever_is_verified_once_and_another_costs_what_is_new_in_it() {
        let world = World::new();
        let all = u64::from(VALIDATORS);
        assert_eq!(world.cost(world.view_change(0)).await, all + 1);
        for _ in 0..20 {
            assert_eq!(world.cost(world.view_change(0)).await, 0);
        }
        assert_eq!(world.cost(world.view_change(1)).await, 1);
    }

    #[tokio::test]
    async fn a_large_message_with_a_signature_nobody_made_is_its_bearers_fault() {
        let world = World::new();
        world.cost(world.view_change(0)).await;
        let DirectMessage::Statement(mut statement) = world.view_change(0) else { panic!("it is one") };
        statement.signature = Signature::new([1; 64]);
        let heard = world.verifier.hear(Some(Arc::clone(&world.signers)), DirectMessage::Statement(statement)).await;
        assert_eq!(heard, Err("statement that its validator did not sign"));
    }
}
