//! The rules a run must keep, one file each. See [`super::Checker`].
//!
//! A checker knows what was seen and nothing else, and does its own arithmetic (`book`): it shares no code with what it
//! judges. Where the world does not show an event, the checkers that need it are silent.

mod agreement;
mod blame;
mod book;
mod certificates;
mod durability;
mod exactly_once;
mod grammar;
mod one_signature;
mod resources;
mod rotation;
mod rules_tendermint;
#[cfg(test)]
mod story;
mod validity;

pub use agreement::Agreement;
pub use blame::Blame;
pub use certificates::Certificates;
pub use durability::Durability;
pub use exactly_once::ExactlyOnce;
pub use grammar::Grammar;
pub use one_signature::OneSignature;
pub use resources::Resources;
pub use rules_tendermint::RulesTendermint;
pub use validity::Validity;

use super::{Checker, Level, Scene};
use crate::types::Algorithm;

/// Those that fit the run, fresh.
pub fn all(scene: &Scene) -> Vec<Box<dyn Checker>> {
    let mut all: Vec<Box<dyn Checker>> = vec![
        Box::<Agreement>::default(),
        Box::<OneSignature>::default(),
        Box::<Durability>::default(),
        Box::<Validity>::default(),
        Box::<Certificates>::default(),
        Box::<ExactlyOnce>::default(),
        Box::<Blame>::default(),
        Box::<Resources>::default(),
    ];
    if scene.plan.algorithm == Algorithm::Tendermint {
        all.push(Box::<RulesTendermint>::default());
    }
    if scene.plan.level == Level::Whole {
        all.push(Box::<Grammar>::default());
    }
    all
}
