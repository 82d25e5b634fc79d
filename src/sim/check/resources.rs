//! Bounded resources: nothing that was measured is above its limit.

use crate::sim::{Checker, Scene, Seen, What};

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
        stage.fine(0, What::Measured { limit: "votes kept", value: 8, most: 8 });
        let why = stage.wrong(0, What::Measured { limit: "votes kept", value: 9, most: 8 });
        assert_eq!(why, "votes kept is 9, and may be 8 at most");
    }
}
