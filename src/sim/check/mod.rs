//! The rules a run must keep, one file each. See [`super::Checker`].
//!
//! A checker knows what was seen and nothing else, and does its own arithmetic (`book`): it shares no code with what it
//! judges. Where the world does not show an event, the checkers that need it are silent.

mod agreement;
mod blame;
mod book;
mod causes;
mod certificates;
mod durability;
mod evidence;
mod exactly_once;
mod grammar;
mod headers;
mod liveness;
mod one_signature;
mod patience;
mod proofs;
mod resources;
mod rotation;
mod rules_pbft;
mod rules_raft;
mod rules_tendermint;
mod stops;
#[cfg(test)]
mod story;
mod validity;

pub use agreement::Agreement;
pub use blame::Blame;
pub use causes::Causes;
pub use certificates::Certificates;
pub use durability::Durability;
pub use evidence::Evidence;
pub use exactly_once::ExactlyOnce;
pub use grammar::Grammar;
pub use headers::Headers;
pub use liveness::{Liveness, quiet_after};
pub use one_signature::OneSignature;
pub use resources::{Resources, most};
pub use rules_pbft::RulesPbft;
pub use rules_raft::RulesRaft;
pub use rules_tendermint::RulesTendermint;
pub use stops::Stops;
pub use validity::Validity;

use super::{Checker, Level, Scene};
use crate::types::Algorithm;

/// Those that fit the run, fresh.
pub fn all(scene: &Scene) -> Vec<Box<dyn Checker>> {
    let rules: Box<dyn Checker> = match scene.plan.algorithm {
        Algorithm::Tendermint => Box::<RulesTendermint>::default(),
        Algorithm::Pbft => Box::<RulesPbft>::default(),
        Algorithm::Raft => Box::<RulesRaft>::default(),
    };
    let mut all: Vec<Box<dyn Checker>> = vec![
        Box::<Agreement>::default(),
        Box::<OneSignature>::default(),
        Box::<Durability>::default(),
        rules,
        Box::<Certificates>::default(),
        Box::<Validity>::default(),
        Box::<Headers>::default(),
        Box::<ExactlyOnce>::default(),
        Box::<Evidence>::default(),
        Box::<Blame>::default(),
        Box::<Resources>::default(),
        Box::<Liveness>::default(),
    ];
    if scene.plan.level == Level::Whole {
        all.push(Box::<Grammar>::default());
        all.push(Box::<Stops>::default());
        all.push(Box::<Causes>::default());
    }
    all
}
