//! `quorate why`: why is there no new block? Asks the running node what it knows, looks for some seconds where one look
//! does not tell, and says what is the matter. Exit code 0 when blocks are coming or nothing waits for one, 1 when the
//! chain is stuck or nobody answers.
//!
//! Reading order: `facts` (what a node tells) → `diagnosis` (what that means) → this file.

mod diagnosis;
mod facts;
#[cfg(test)]
mod tests;

pub(super) use facts::Facts;

use super::CliError;
use super::args::{Common, StatusArgs};
use super::http::{AskError, ask};
use super::output::{Output, Reader, human_seconds, plain, table};
use super::status::{candidates, nobody_there, text};
use crate::config::{Address, RunFile};
use diagnosis::{Diagnosis, Looked, Verdict, diagnose};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long is looked whether the chain moves: longer than an election, a view change, or a round with the usual
/// timeouts.
const LOOK_FOR: Duration = Duration::from_secs(6);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Validators shown to a person.
const SHOWN_MAX: usize = 50;
/// Longest text of the node's or the application's shown, in characters.
const TEXT_SHOWN_MAX: usize = 2000;

/// What the node told last, and what it means.
struct Answer {
    told: Value,
    facts: Facts,
    diagnosis: Diagnosis,
}

pub(super) fn run(common: &Common, args: &StatusArgs, out: &Output) -> Result<(), CliError> {
    let home = common.home()?;
    let run_file = RunFile::read(&home);
    let mut failures = Vec::new();
    for candidate in candidates(common, args, &home, run_file.as_ref())? {
        match look(&candidate.address) {
            Ok(mut answer) => {
                answer.diagnosis.point_to(&candidate.address, &which_node(common, args), &which_home(common, args));
                return conclude(&answer, out);
            }
            Err(AskError::Refused(why)) => {
                return Err(CliError::failed(why, format!("quorate status --node {}", candidate.address)));
            }
            Err(why) => failures.push((candidate, why)),
        }
    }
    Err(nobody_there(&home, run_file.as_ref(), &failures, out))
}

/// The flags that lead the next command to the same node.
fn which_node(common: &Common, args: &StatusArgs) -> String {
    match (&args.node, common.home()) {
        (Some(node), _) => format!(" --node {node}"),
        (None, Ok(home)) if common.names_home() => format!(" --home {}", home.path().display()),
        (None, _) => String::new(),
    }
}

/// The flags that lead to the home of the node that was asked; a node of another machine has one there.
fn which_home(common: &Common, args: &StatusArgs) -> String {
    match (&args.node, common.home()) {
        (None, Ok(home)) if common.names_home() => format!(" --home {}", home.path().display()),
        (Some(_), _) => " --home HOME".to_owned(),
        (None, _) => String::new(),
    }
}

fn facts(address: &Address) -> Result<(Value, Facts), AskError> {
    let told = ask(address, "why").map_err(|why| match why {
        AskError::NoConnection(_) => why,
        AskError::NoNode(_) | AskError::Refused(_) => without_the_route(address, why),
    })?;
    let facts = Facts::read(&told);
    let facts = facts.ok_or_else(|| AskError::NoNode("its answer to why is of another version".to_owned()))?;
    Ok((told, facts))
}

/// A node answers `status` in any case; what does not is none.
fn without_the_route(address: &Address, why: AskError) -> AskError {
    match ask(address, "status") {
        Ok(status) if status.pointer("/node_info/version").is_some() => AskError::Refused(format!(
            "the node at {address} does not know /why: it is CometBFT or an older quorate (version {})",
            plain(&text(&status, "/node_info/version"), 40)
        )),
        _ => AskError::NoNode(why.to_string()),
    }
}

fn look(address: &Address) -> Result<Answer, AskError> {
    let (told, first) = facts(address)?;
    let diagnosis = diagnose(&first, Looked::Once);
    let mut answer = Answer { told, facts: first, diagnosis };
    let (height, until) = (answer.facts.height, Instant::now() + LOOK_FOR);
    while answer.diagnosis.verdict == Verdict::Unsure {
        std::thread::sleep(LOOK_EVERY);
        let (told, now) = facts(address)?;
        let looked = match () {
            () if now.height > height => Looked::UntilItMoved,
            () if Instant::now() >= until => Looked::InVain,
            () => Looked::Once,
        };
        let diagnosis = diagnose(&now, looked);
        answer = Answer { told, facts: now, diagnosis };
    }
    Ok(answer)
}

fn conclude(answer: &Answer, out: &Output) -> Result<(), CliError> {
    match out.reader {
        Reader::Person => out.line(&screen(&answer.facts)),
        Reader::Program => {
            let Diagnosis { verdict, findings } = &answer.diagnosis;
            out.line(&format!("{:#}", json!({ "verdict": verdict, "findings": findings, "facts": answer.told })));
        }
    }
    let found = findings(&answer.diagnosis);
    match answer.diagnosis.verdict {
        Verdict::Stuck => Err(CliError {
            exit: super::Exit::Failed,
            text: format!("the chain is stuck, as this node sees it\n{found}"),
        }),
        Verdict::Coming | Verdict::Idle | Verdict::Unsure => {
            if out.reader == Reader::Person {
                out.line(&found);
            }
            Ok(())
        }
    }
}

fn findings(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for finding in &diagnosis.findings {
        let [what, why, fix] =
            [&finding.what, &finding.why, &finding.fix].map(|sentence| plain(sentence, TEXT_SHOWN_MAX));
        let _ = writeln!(text, "{what}\n  why: {why}\n  next: {fix}");
    }
    text.trim_end().to_owned()
}

fn screen(facts: &Facts) -> String {
    let mut screen = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(screen, "{name:<12} {value}");
    };
    line("chain", format!("{}, decided by {}", plain(&facts.chain, TEXT_SHOWN_MAX), plain(&facts.algorithm, 20)));
    line("deciding", format!("height {}, step {}", facts.height, plain(&facts.step, 20)));
    line("lead", plain(&facts.lead_line(), 200));
    let since = facts.since_last_block.map(|seconds| format!("{} ago", human_seconds(seconds)));
    line("last block", since.unwrap_or_else(|| "none yet".to_owned()));
    line("waiting", format!("{} transactions", facts.txs));
    line("peers", facts.peers.to_string());
    line("a block needs", format!("power {}", facts.power_needed));
    let word = |is: bool| if is { "yes" } else { "–" }.to_owned();
    let rows: Vec<Vec<String>> = facts
        .validators
        .iter()
        .take(SHOWN_MAX)
        .map(|one| {
            let (prevoted, precommitted) = (word(one.prevoted), word(one.precommitted));
            vec![plain(&one.address, 40), one.power.to_string(), prevoted, precommitted, diagnosis::heard(one)]
        })
        .collect();
    screen.push('\n');
    screen += &table(&["validator", "power", "prevoted", "precommitted", "last heard"], &rows);
    if facts.validators.len() > rows.len() {
        let _ = writeln!(screen, "and {} more: quorate why --json", facts.validators.len() - rows.len());
    }
    screen
}
