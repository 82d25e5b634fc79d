//! Whether a run ends as soon as everybody is level after healing, or goes on until heights begin in quiet: then they are
//! to take few rounds, and evidence is to be on the chain.

use super::{Dice, Level, Plan};
use crate::consensus::Tick;

/// Heights a patient run waits for once it is quiet, beside the one under way.
pub(super) const QUIET_HEIGHTS: u64 = 6;

/// Runs of a hundred that do not wait for healing, where one height is asked of machines alone.
const HASTY: u64 = 95;

/// How long a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It ends when the heights are applied, healed or not.
    None,
    /// It ends when it is healed and everybody is level.
    Short,
    /// It waits for quiet; then it has no more.
    Long,
}

impl Patience {
    /// Long for so many runs of a hundred, by dice of their own. Calm ones measure speed, and are
    /// short; those in which the network may stand still in the end are, too. Machines alone that decide one height are
    /// there to be many: most of them do not wait for their healing.
    pub(super) fn draw(plan: &Plan, percent: u64) -> Patience {
        let mut dice = Dice::new(plan.seed).fork("patience");
        let may = plan.heal_at > Tick(0) && !plan.has_programs_that_differ();
        if may && dice.chance(percent) {
            return Patience::Long;
        }
        let one_of_many = plan.level == Level::Bare && plan.heights == 1;
        if one_of_many && dice.chance(HASTY) { Patience::None } else { Patience::Short }
    }
}
