//! The protocol a command is told, and what a cluster under it survives, in words.

use super::CliError;
use super::error::Exit;
use crate::types::{Algorithm, GenesisDoc, Quorum};

/// The environment variable that names the protocol when no flag does.
pub(super) const VARIABLE: &str = "CONSENSUS_ALGORITHM";

/// The protocol the flag `--algorithm` names, else the environment; none when neither does. `command` is what to type
/// next when it is none of ours.
pub(super) fn chosen(
    flag: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    command: &str,
) -> Result<Option<Algorithm>, CliError> {
    let (origin, name) = match flag {
        Some(name) => ("flag --algorithm", name.to_owned()),
        None => match variable(VARIABLE).filter(|name| !name.is_empty()) {
            Some(name) => ("environment CONSENSUS_ALGORITHM", name),
            None => return Ok(None),
        },
    };
    Algorithm::from_name(&name).map(Some).ok_or_else(|| CliError {
        exit: Exit::Usage,
        text: format!(
            "{origin}: there is no {name:?}\n  expected: tendermint, pbft or raft\n  next: {command} --algorithm raft"
        ),
    })
}

/// What the genesis's validators survive, as a sentence without its full stop; what they do not survive is not hidden.
pub(super) fn tolerance(genesis: &GenesisDoc) -> String {
    let count = genesis.validators.len();
    if count == 0 {
        return "unknown until the application has named the validators".to_owned();
    }
    let quorum = genesis.algorithm.quorum();
    let failures = quorum.failures(genesis.validators.iter().map(|validator| validator.power));
    let (failure, enough) = match quorum {
        Quorum::MoreThanHalf => ("crash", 3),
        Quorum::MoreThanTwoThirds => ("crash or lie", 4),
    };
    match (failures, count) {
        (0, 1) => "none: the only validator decides alone".to_owned(),
        (0, _) if count >= enough => {
            format!("none: the strongest of the {count} validators has too much power to be missed")
        }
        (0, _) => {
            format!("none: all {count} validators must run. {enough} of equal power survive one that may {failure}")
        }
        (failures, _) if quorum == Quorum::MoreThanHalf => {
            format!("any {failures} of {count} validators may crash; none may lie")
        }
        (failures, _) => format!("any {failures} of {count} validators may {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::alone;
    use crate::crypto::PrivateKey;
    use crate::types::{GenesisValidator, Power};

    fn genesis(algorithm: Algorithm, powers: &[u64]) -> GenesisDoc {
        let key = PrivateKey::from_seed(&[1; 32]).public_key();
        let mut genesis = alone("story".try_into().unwrap(), &key, algorithm);
        let one = genesis.validators.remove(0);
        genesis.validators =
            powers.iter().map(|power| GenesisValidator { power: Power::new(*power), ..one.clone() }).collect();
        genesis
    }

    /// Protocol, powers, and what the sentence must contain. 12 cases.
    const CLUSTERS: &[(Algorithm, &[u64], &str)] = &[
        (Algorithm::Raft, &[1], "none: the only validator"),
        (Algorithm::Raft, &[1, 1], "none: all 2 validators must run. 3 of equal power"),
        (Algorithm::Raft, &[1, 1, 1], "any 1 of 3 validators may crash; none may lie"),
        (Algorithm::Raft, &[1, 1, 1, 1], "any 1 of 4"),
        (Algorithm::Raft, &[1, 1, 1, 1, 1], "any 2 of 5"),
        (Algorithm::Raft, &[2, 1, 1], "none: the strongest of the 3"),
        (Algorithm::Pbft, &[1, 1, 1], "none: all 3 validators must run. 4 of equal power"),
        (Algorithm::Pbft, &[1, 1, 1, 1], "any 1 of 4 validators may crash or lie"),
        (Algorithm::Pbft, &[9, 1, 1, 1, 1], "none: the strongest of the 5"),
        (Algorithm::Tendermint, &[10], "none: the only validator"),
        (Algorithm::Tendermint, &[1; 7], "any 2 of 7"),
        (Algorithm::Raft, &[], "named the validators"),
    ];

    #[test]
    fn a_cluster_says_what_it_survives_and_what_not() {
        for (algorithm, powers, part) in CLUSTERS {
            let sentence = tolerance(&genesis(*algorithm, powers));
            assert!(sentence.contains(part), "{algorithm} {powers:?}: {sentence}");
        }
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_an_unknown_name_is_refused_where_it_stands() {
        let variable = |name: &str| (name == VARIABLE).then(|| "pbft".to_owned());
        let none = |_: &str| None;
        assert_eq!(chosen(Some("raft"), variable, "x").unwrap(), Some(Algorithm::Raft));
        assert_eq!(chosen(None, variable, "x").unwrap(), Some(Algorithm::Pbft));
        assert_eq!(chosen(None, none, "x").unwrap(), None);
        let error = chosen(Some("paxos"), variable, "quorate init").unwrap_err();
        assert!(error.text.starts_with("flag --algorithm: there is no \"paxos\""), "{error}");
        let error = chosen(None, |_: &str| Some("Raft".to_owned()), "quorate init").unwrap_err();
        assert!(error.text.starts_with("environment CONSENSUS_ALGORITHM") && error.exit == Exit::Usage, "{error}");
    }
}
