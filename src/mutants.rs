//! Planted bugs. A suite of tests that is green proves nothing until it was seen red: each mutant is a plausible mistake of
//! one line, compiled in by the feature `mutants` and chosen by name, and `scripts/mutants` says which checker or test
//! notices it. A release never has the feature; without it a hook is the constant `false`, which the compiler removes.
//!
//! A hook stands where its rule stands: `last >= self.position() || mutant!("R1")`. Each hook has a row in a table, each
//! row one hook; a test holds them in step. Letters: T Tendermint, P PBFT, R Raft, V vote tally, Q quorum arithmetic,
//! H handshake and apply, W journal, K key guard, E evidence, N network and sync, M mempool, L light client, C codec,
//! D validator sets, G gossip, Z clients and searches, B blocks being gathered, A how a replica puts its parts together,
//! S the store, O the connections to the application, F files, configuration and commands.

mod chain;
mod consensus;
mod network;

/// True while the mutant of this name is chosen; always false without the feature `mutants`.
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutants::is_chosen(const { $crate::mutants::code_of($name) })
    };
}

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// The file of its hook.
    pub place: &'static str,
    /// What goes wrong.
    pub bug: &'static str,
    /// Who notices.
    pub killer: Killer,
}

/// Who notices a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killer {
    /// This checker of the simulator should; where no seed shows it, the unit tests of the module have to.
    Sim(&'static str),
    /// This checker of the simulator, and a unit test whose name begins so: each rule of the protocol should be looked at
    /// from both sides.
    Both {
        /// Of the simulator.
        checker: &'static str,
        /// The unit test.
        test: &'static str,
    },
    /// A unit test whose name begins with this.
    Test(&'static str),
    /// Nobody can: why.
    Equivalent(&'static str),
}

/// The code of a name, as hooks compare it: FNV-1a. Never 0, which stands for none.
pub const fn code_of(name: &str) -> u64 {
    let (bytes, mut hash, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash | 1
}

/// Never: this build has no mutants.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_chosen(_code: u64) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use choice::{VARIABLE, choose, is_chosen, reached};

/// Which mutant is chosen.
#[cfg(feature = "mutants")]
mod choice {
    use super::{all, code_of};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The environment variable that names the mutant of a process.
    pub const VARIABLE: &str = "QUORATE_MUTANT";
    /// Nobody has looked into the environment yet. No name has this code: codes are odd.
    const UNREAD: u64 = 2;
    const NONE: u64 = 0;

    static CHOSEN: AtomicU64 = AtomicU64::new(UNREAD);
    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Chooses a mutant, or none, for the whole process from now on.
    ///
    /// # Errors
    /// There is no mutant of this name.
    pub fn choose(name: Option<&str>) -> Result<(), String> {
        let known = |name: &&str| all().any(|mutant| mutant.name == *name);
        match name {
            Some(name) if !known(&name) => return Err(format!("there is no mutant {name:?}; see src/mutants.rs")),
            Some(name) => CHOSEN.store(code_of(name), Ordering::Relaxed),
            None => CHOSEN.store(NONE, Ordering::Relaxed),
        }
        REACHED.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// How often the hook of the chosen mutant was come by: 0 says that the run never got to its place.
    pub fn reached() -> u64 {
        REACHED.load(Ordering::Relaxed)
    }

    /// True when the mutant with this code is chosen. The first question of a process reads the environment.
    pub fn is_chosen(code: u64) -> bool {
        let chosen = match CHOSEN.load(Ordering::Relaxed) {
            UNREAD => read_environment(),
            chosen => chosen,
        };
        if chosen == code {
            REACHED.fetch_add(1, Ordering::Relaxed);
        }
        chosen == code
    }

    #[cold]
    fn read_environment() -> u64 {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        if let Err(why) = choose(name.as_deref()) {
            panic!("{VARIABLE}: {why}");
        }
        CHOSEN.load(Ordering::Relaxed)
    }
}

/// All of them, by module.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    [consensus::ROWS, chain::ROWS, network::ROWS].into_iter().flatten()
}

/// A row of a bug that this checker of the simulator should notice.
const fn noticed_in_simulation(
    name: &'static str,
    place: &'static str,
    bug: &'static str,
    checker: &'static str,
) -> Mutant {
    Mutant { name, place, bug, killer: Killer::Sim(checker) }
}

/// A row of a bug that this checker of the simulator notices, and this unit test.
const fn noticed_by_both(
    name: &'static str,
    place: &'static str,
    bug: &'static str,
    checker: &'static str,
    test: &'static str,
) -> Mutant {
    Mutant { name, place, bug, killer: Killer::Both { checker, test } }
}

/// A row of a bug that this unit test notices, or one whose name begins so.
const fn noticed_by(name: &'static str, place: &'static str, bug: &'static str, test: &'static str) -> Mutant {
    Mutant { name, place, bug, killer: Killer::Test(test) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash_points::tests::sources;
    use std::collections::{BTreeMap, BTreeSet};

    /// Name and file of every hook in `src`, but for this file.
    fn hooks() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (place, text) in sources().iter().filter(|(place, _)| place != "src/mutants.rs") {
            let names = text.split("mutant!(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            found.extend(names.map(|name| (name.to_owned(), place.clone())));
        }
        found
    }

    #[test]
    fn every_hook_has_its_row_and_every_row_its_hook() {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        hooks().into_iter().for_each(|(name, place)| places.entry(name).or_default().push(place));
        for Mutant { name, place, .. } in all() {
            assert_eq!(places.remove(*name), Some(vec![(*place).to_owned()]), "hooks of {name}");
        }
        assert_eq!(places, BTreeMap::new(), "hooks without a row");
    }

    #[test]
    fn names_and_codes_are_different() {
        let codes: BTreeSet<u64> = all().map(|mutant| code_of(mutant.name)).collect();
        assert_eq!(codes.len(), all().count());
    }

    #[test]
    #[cfg(not(feature = "mutants"))]
    fn no_mutant_can_be_chosen_without_the_feature() {
        assert!(all().all(|mutant| !is_chosen(code_of(mutant.name))));
    }

    #[test]
    #[cfg(feature = "mutants")]
    fn only_a_known_mutant_can_be_chosen() {
        assert!(choose(Some("no such")).is_err());
    }
}
