//! Stories of a seed that breaks a rule: what somebody who names it alone is told.

use super::*;
use crate::cli::Exit;
use crate::cli::args::{Arguments, Command};
use crate::cli::output::Reader;
use crate::cli::tests::{Printed, arguments};
use crate::consensus::Tick;
use crate::sim::Misfortune;

const WORDS: [&str; 5] = ["simulate", "--algorithm", "raft", "--seed", "3"];

fn simulate_args(words: &[&str]) -> SimulateArgs {
    let Arguments { command: Some(Command::Simulate(args)), .. } = arguments(Path::new("/nowhere"), words) else {
        panic!("it is simulate")
    };
    args
}

/// Runs a plan of machines that are wrong as soon as one of them crashes.
fn wrong_after_a_crash(plan: &Plan, trace: Trace) -> Outcome {
    let mut outcome = campaign::run_twice(plan, trace);
    if plan.faults.iter().any(|fault| matches!(fault.what, Misfortune::Crash { .. })) {
        let why = "a node that crashed says something else".to_owned();
        outcome.violation = Some(Violation { checker: "planted", at: Tick(0), node: None, why });
    }
    outcome
}

fn told_of(words: &[&str]) -> (String, CliError) {
    let args = simulate_args(words);
    let printed = Printed::default();
    let out = Output::new(Reader::Person, Box::new(printed.clone()));
    let wishes = wishes(&args).unwrap();
    let refused = one(wrong_after_a_crash, &wishes, 3, &args, Events::Counted, &out).unwrap_err();
    let text = String::from_utf8(printed.0.borrow().clone()).unwrap();
    (text, refused)
}

#[test]
fn one_seed_that_breaks_a_rule_is_told_as_the_smallest_plan_that_does_with_the_end_of_its_trace() {
    let drawn = Plan::draw(3, &wishes(&simulate_args(&WORDS)).unwrap());
    assert!(drawn.faults.len() > 1, "a seed of which nothing can be left out shows nothing");
    let (text, refused) = told_of(&WORDS);
    let faults = text.lines().filter(|line| line.contains("effects later")).count();
    assert_eq!(faults, 1, "{text}");
    assert!(text.contains("tries to leave something out"), "{text}");
    assert!(text.lines().any(|line| line.starts_with('{') && line.contains("\"event\"")), "no trace: {text}");
    assert!(text.contains("Broken: ") && text.contains("a node that crashed says something else"), "{text}");
    assert_eq!(refused.exit, Exit::Failed);
    assert!(refused.text.ends_with("next: quorate simulate --algorithm raft --level 1 --seed 3"), "{refused}");
}

#[test]
fn the_file_of_a_trace_has_the_seed_as_drawn_and_with_shrink_the_smallest_plan() {
    let directory = tempfile::TempDir::new().unwrap();
    let lines = |flags: &[&str]| {
        let file = directory.path().join("trace");
        told_of(&[&WORDS[..], &["--trace-file", file.to_str().unwrap()], flags].concat());
        fs::read_to_string(file).unwrap().lines().count()
    };
    let drawn = Plan::draw(3, &wishes(&simulate_args(&WORDS)).unwrap());
    assert_eq!(lines(&[]), campaign::run_twice(&drawn, Trace::with_lines()).lines.len());
    assert!(lines(&["--shrink"]) < lines(&[]));
}
