//! Bounded resources: nothing that is kept of what others say is above its limit. The limits are written down here a second
//! time, as tight as the size of the network allows: a machine whose own are a thousand times higher is not excused.

use crate::sim::{Checker, Scene, Seen, What};

/// Most of what a machine or a node keeps under this name. What nobody wrote a limit for may not be kept at all; what the
/// configuration limits the world knows.
pub fn most(scene: &Scene, name: &str) -> u64 {
    let nodes = scene.addresses.len() as u64;
    match name {
        // A peer may open two rounds beyond the next one (reference §6.3).
        "rounds ahead" => 2 * nodes.saturating_sub(1).min(32),
        // Tendermint: of this round and the next; PBFT: of the last view, this one and the next.
        "proposals" => 3,
        "peers" => nodes.saturating_sub(1),
        // One of each key there is.
        "view changes" | "heights of members" | "ballots" | "refusals" => nodes,
        "proposals for the next height" => 2,
        // Two kinds of each member.
        "votes for the next height" => 2 * nodes,
        "NEW-VIEWs for the next height" => nodes,
        "reads waiting" => 4096,
        "words to sign" => 256,
        "evidence" => 4096,
        _ => 0,
    }
}

/// Keeps nothing.
#[derive(Debug, Default)]
pub struct Resources;

impl Checker for Resources {
    fn name(&self) -> &'static str {
        "resources"
    }

    fn see(&mut self, _: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match seen.what {
            What::Measured { limit, value, most } if value > most => {
                Err(format!("{limit} is {value}, and may be {most} at most"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::Stage;
    use crate::types::Algorithm;

    #[test]
    fn the_limit_itself_is_fine_and_one_more_is_not() {
        let mut stage = Stage::of(Algorithm::Pbft, 4, Resources);
        let limit = "votes for the next height";
        let most = most(&stage.scene, limit);
        assert_eq!(most, 8);
        stage.fine(0, What::Measured { limit, value: 8, most });
        let why = stage.wrong(0, What::Measured { limit, value: 9, most });
        assert_eq!(why, "votes for the next height is 9, and may be 8 at most");
    }

    #[test]
    fn what_has_no_limit_may_not_be_kept() {
        let stage = Stage::of(Algorithm::Raft, 4, Resources);
        assert_eq!(most(&stage.scene, "something new"), 0);
    }
}
