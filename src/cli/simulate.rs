//! `quorate simulate`: networks in virtual time, one for each seed, with faults and liars; checkers judge what is seen.

mod app;
mod interrupt;
#[cfg(test)]
mod tests;

use super::args::SimulateArgs;
use super::output::{Output, complain, human_seconds};
use super::{CliError, Exit};
use crate::sim::campaign::{self, Found, Report};
use crate::sim::{Coverage, Level, Outcome, Plan, Trace, Violation, Wishes, panics, shrink};
use crate::types::Algorithm;
use interrupt::{Interrupt, interrupted};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seeds when nothing is said about how many.
const SEEDS_DEFAULT: u64 = 1000;
/// How often a campaign says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Plans tried to shrink one.
const SHRINK_TRIES: u32 = 400;
/// Longest time given to shrinking where nobody asked for it with `--shrink`.
const SHRINK_WITHIN: Duration = Duration::from_secs(60);
/// Lines of a trace that are shown of a violation.
const LINES_SHOWN: usize = 40;

/// Whether every event of a seed is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Events {
    Printed,
    Counted,
}

impl Events {
    /// Of the flag `--trace`.
    pub(super) fn of(flag: &super::args::Common) -> Events {
        if flag.trace { Events::Printed } else { Events::Counted }
    }
}

/// `1 seed`, `2 seeds`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// When a campaign ends.
#[derive(Debug, Clone, Copy)]
enum Until {
    Seeds(u64),
    Time(Duration),
}

pub(super) fn run(args: &SimulateArgs, events: Events, out: &Output) -> Result<(), CliError> {
    if args.app.is_given() {
        return app::run(args, &args.app, events, out);
    }
    let wishes = wishes(args)?;
    panics::keep_quiet();
    match args.seed {
        Some(seed) => one(campaign::run_twice, &wishes, seed, args, events, out),
        None if events == Events::Printed || args.trace_file.is_some() => {
            Err(usage("a trace is of one seed", "quorate simulate --algorithm NAME --seed SEED --trace"))
        }
        None => many(&wishes, args, out),
    }
}

/// Exit code 2: nothing was found out.
fn usage(what: impl std::fmt::Display, next: impl std::fmt::Display) -> CliError {
    CliError { exit: Exit::Usage, text: format!("{what}\n  next: {next}") }
}

fn wishes(args: &SimulateArgs) -> Result<Wishes, CliError> {
    let Some(name) = args.algorithm.as_deref() else {
        return Err(usage(
            "neither a protocol (--algorithm) nor an application (--app-command, --app) is named",
            "quorate simulate --algorithm raft",
        ));
    };
    let named = |algorithm: &Algorithm| algorithm.to_string() == name;
    let Some(algorithm) = Algorithm::ALL.into_iter().find(named) else {
        return Err(usage(
            format!("there is no protocol {name:?}; there are tendermint, pbft and raft"),
            "quorate simulate --algorithm raft",
        ));
    };
    Ok(Wishes { level: args.level, algorithm, nodes: args.nodes, heights: args.heights, calm: args.calm })
}

/// One seed: its plan, what happened, the verdict. Where it breaks a rule, what is told is the smallest plan that does.
/// `run` runs a plan.
fn one(
    run: impl Fn(&Plan, Trace) -> Outcome,
    wishes: &Wishes,
    seed: u64,
    args: &SimulateArgs,
    events: Events,
    out: &Output,
) -> Result<(), CliError> {
    let printed = events == Events::Printed;
    let plan = Plan::draw(seed, wishes);
    let traced = printed || args.trace_file.is_some();
    let trace = || if traced { Trace::with_lines() } else { Trace::hash_only() };
    let outcome = run(&plan, trace());
    let replay = replay_command(wishes, seed);
    let smallest = match &outcome.violation {
        // Whoever wants every event of this seed and did not ask for less gets just that.
        Some(_) if printed && !args.shrink => None,
        Some(violation) => {
            // At once: whoever stops the search for a smaller plan keeps what was found.
            Output::note(&format!("seed {seed}: {violation}\n  again: {replay}"));
            Some(smallest(run, &plan, violation, args))
        }
        None => None,
    };
    let shown = smallest.as_ref().filter(|_| args.shrink).map_or(&outcome, |shrunk| &shrunk.outcome);
    let written = args.trace_file.as_ref().map_or(Ok(()), |file| write_trace(file, &shown.lines));
    if let (Err(why), true) = (&written, outcome.violation.is_some()) {
        complain(why); // what was found is told in any case
    }
    if printed {
        shown.lines.iter().for_each(|line| out.line(line));
    } else {
        let (plan, told, tried) =
            smallest.as_ref().map_or((&plan, &outcome, 0), |it| (&it.plan, &it.outcome, it.tried));
        out.give(&tell_one(plan, told, tried, &replay), &one_as_json(seed, plan, told, &replay));
    }
    match &outcome.violation {
        None => written,
        Some(violation) => Err(CliError::failed(format!("seed {seed}: {violation}"), replay)),
    }
}

/// The smallest plan found that breaks the same rule, with its trace; the plan itself where it does not do so again.
fn smallest(
    run: impl Fn(&Plan, Trace) -> Outcome,
    plan: &Plan,
    violation: &Violation,
    args: &SimulateArgs,
) -> shrink::Shrunk {
    let (began, mut told) = (Instant::now(), PROGRESS_EVERY);
    let go_on = |tried: u32| {
        let elapsed = began.elapsed();
        if elapsed >= told {
            told = elapsed + PROGRESS_EVERY;
            let time = human_seconds(elapsed.as_secs());
            Output::note(&format!("{time:>6}  leaving out what it does not need, {tried} plans tried"));
        }
        tried < SHRINK_TRIES && (args.shrink || elapsed < SHRINK_WITHIN)
    };
    let mut shrunk = shrink::shrink_by(run, plan.clone(), violation, go_on);
    shrunk.outcome.violation.get_or_insert_with(|| violation.clone());
    shrunk
}

fn write_trace(file: &Path, lines: &[String]) -> Result<(), CliError> {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    fs::write(file, text).map_err(|why| {
        usage(
            format!("cannot write the trace to {}: {why}", file.display()),
            "name a file in a directory that can be written",
        )
    })
}

fn tell_one(plan: &Plan, outcome: &Outcome, tried: u32, replay: &str) -> String {
    let mut text = plan.tell();
    if tried > 0 {
        let broken = "The seed broke a rule.";
        text += &format!("{broken} This is what {tried} tries to leave something out left of its plan.\n");
    }
    text += &format!(
        "\nIt took {:.3} s of virtual time and {} events; trace {:016x}.\n",
        outcome.end.at().0 as f64 / 1e9,
        outcome.events,
        outcome.trace_hash
    );
    text += &covered(&outcome.coverage);
    match &outcome.violation {
        None => text += "No rule was broken.\n",
        Some(violation) => {
            text += &last_lines(&outcome.lines);
            text += &format!("\nBroken: {violation}\nAgain: {replay}\n");
        }
    }
    text
}

fn covered(coverage: &Coverage) -> String {
    let counts: Vec<String> = coverage.iter().map(|(what, times)| format!("{what} {times}")).collect();
    if counts.is_empty() { String::new() } else { format!("What happened how often: {}.\n", counts.join(", ")) }
}

fn last_lines(lines: &[String]) -> String {
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    shown.iter().fold(String::new(), |text, line| text + line + "\n")
}

/// Many seeds: progress while they run, then what they found.
fn many(wishes: &Wishes, args: &SimulateArgs, out: &Output) -> Result<(), CliError> {
    let until = match (args.seeds, args.minutes) {
        (_, Some(minutes)) => Until::Time(Duration::from_secs_f64(minutes * 60.0)),
        (seeds, None) => Until::Seeds(seeds.unwrap_or(SEEDS_DEFAULT).max(1)),
    };
    let (began, mut told, mut complaints) = (Instant::now(), Duration::ZERO, 0);
    let interrupt = Interrupt::listen();
    let report = campaign::run(wishes, args.from, |report| {
        report.elapsed = began.elapsed();
        // At once: whoever stops an hour's run keeps what it found.
        report.found[complaints..].iter().for_each(|found| Output::note(tell_found(wishes, found).trim_end()));
        complaints = report.found.len();
        if report.elapsed >= told + PROGRESS_EVERY {
            told = report.elapsed;
            Output::note(&progress(report));
        }
        let more = match until {
            Until::Seeds(seeds) => report.seeds < seeds,
            Until::Time(time) => report.elapsed < time,
        };
        more && !interrupt.came()
    });
    let came = interrupt.came();
    let mut text = tell_many(wishes, &report);
    if let (Some(found), false) = (report.found.first(), came) {
        let shrunk = shrunk(wishes, found);
        text += &format!("\nThe smallest form found of seed {} ({} tries):\n", found.seed, shrunk.tried);
        text += &shrunk.plan.tell();
        text += &last_lines(&shrunk.outcome.lines);
        if let Some(violation) = &shrunk.outcome.violation {
            text += &format!("\nBroken there: {violation}\n");
        }
    }
    let mut value = many_as_json(wishes, args.from, &report);
    value["interrupted"] = came.into();
    out.give(&text, &value);
    let next = args.from.wrapping_add(report.seeds);
    match (report.found.first(), came) {
        (Some(found), _) => Err(broken(wishes, &report, found)),
        (None, true) => Err(interrupted(
            format!("interrupted after {}; no rule was broken so far", counted(report.seeds, "seed")),
            command(wishes, &format!("--from {next}")),
        )),
        (None, false) => all_happened(wishes, &report),
    }
}

fn broken(wishes: &Wishes, report: &Report, Found { seed, violation }: &Found) -> CliError {
    let (broken, seeds) = (report.found.len(), counted(report.seeds, "seed"));
    CliError::failed(
        format!("{broken} of {seeds} broke a rule; seed {seed}: {violation}"),
        replay_command(wishes, *seed),
    )
}

/// An error when a long campaign never did what it should now and then.
fn all_happened(wishes: &Wishes, report: &Report) -> Result<(), CliError> {
    let never = report.never(wishes);
    if never.is_empty() {
        return Ok(());
    }
    Err(CliError::failed(
        format!(
            "in {} this never happened: {}; what was simulated is less than it should be",
            counted(report.seeds, "seed"),
            never.join(", ")
        ),
        "tell the developers of Quorate: the simulator draws too little",
    ))
}

fn shrunk(wishes: &Wishes, found: &Found) -> shrink::Shrunk {
    shrink::shrink(Plan::draw(found.seed, wishes), &found.violation, |tried| tried < SHRINK_TRIES)
}

fn progress(report: &Report) -> String {
    format!(
        "{:>6}  {}, {:.0} a minute, {}",
        human_seconds(report.elapsed.as_secs()),
        counted(report.seeds, "seed"),
        report.pace(),
        counted(report.found.len() as u64, "violation")
    )
}

fn tell_many(wishes: &Wishes, report: &Report) -> String {
    let differs = |found: &&Found| found.violation.checker == campaign::DETERMINISM;
    let differing = report.found.iter().filter(differs).count() as u64;
    let mut text = format!(
        "{}: {} in {:.1} s, {:.0} a minute; {} events; {} ran twice and did the same twice\n",
        wishes.algorithm,
        counted(report.seeds, "seed"),
        report.elapsed.as_secs_f64(),
        report.pace(),
        report.events,
        counted(report.twice - differing, "seed"),
    );
    text += &covered(&report.coverage);
    report.found.iter().for_each(|found| text += &tell_found(wishes, found));
    if report.found.is_empty() {
        text += "No rule was broken.\n";
    }
    text
}

fn tell_found(wishes: &Wishes, Found { seed, violation }: &Found) -> String {
    format!("seed {seed}: {violation}\n  again: {}\n", replay_command(wishes, *seed))
}

/// One command that does the same again.
fn replay_command(wishes: &Wishes, seed: u64) -> String {
    command(wishes, &format!("--seed {seed}"))
}

fn command(wishes: &Wishes, seeds: &str) -> String {
    let level = match wishes.level {
        Level::Bare => 1,
        Level::Whole => 2,
    };
    let mut command = format!("quorate simulate --algorithm {} --level {level} {seeds}", wishes.algorithm);
    if let Some(nodes) = wishes.nodes {
        command += &format!(" --nodes {nodes}");
    }
    if let Some(heights) = wishes.heights {
        command += &format!(" --heights {heights}");
    }
    if wishes.calm {
        command += " --calm";
    }
    command
}

fn one_as_json(seed: u64, plan: &Plan, outcome: &Outcome, replay: &str) -> Value {
    json!({
        "seed": seed,
        "algorithm": plan.algorithm.to_string(),
        "plan": plan.tell().lines().collect::<Vec<_>>(),
        "virtual_seconds": outcome.end.at().0 as f64 / 1e9,
        "events": outcome.events,
        "trace": format!("{:016x}", outcome.trace_hash),
        "coverage": coverage_as_json(&outcome.coverage),
        "violation": outcome.violation.as_ref().map(|violation| {
            json!({ "checker": violation.checker, "why": violation.to_string(), "replay": replay })
        }),
        "lines": &outcome.lines,
    })
}

fn many_as_json(wishes: &Wishes, from: u64, report: &Report) -> Value {
    let found = |found: &Found| {
        json!({
            "seed": found.seed,
            "checker": found.violation.checker,
            "why": found.violation.to_string(),
            "replay": replay_command(wishes, found.seed),
        })
    };
    json!({
        "algorithm": wishes.algorithm.to_string(),
        "from": from,
        "seeds": report.seeds,
        "seconds": report.elapsed.as_secs_f64(),
        "seeds_per_minute": report.pace(),
        "events": report.events,
        "ran_twice": report.twice,
        "coverage": coverage_as_json(&report.coverage),
        "never_happened": report.never(wishes),
        "violations": report.found.iter().map(found).collect::<Vec<_>>(),
    })
}

fn coverage_as_json(coverage: &Coverage) -> Value {
    coverage.iter().map(|(what, times)| (what.to_owned(), json!(times))).collect::<serde_json::Map<_, _>>().into()
}
