//! Stories of what is told of an application that fails, and when.

use super::*;
use crate::cli::Exit;
use crate::cli::args::{Arguments, Command};
use crate::cli::output::Reader;
use crate::cli::tests::{Printed, arguments};
use crate::rehearsal::tests::{Habit, Inside};
use std::cell::{Cell, RefCell};
use std::path::Path;
use tokio::sync::Notify;

thread_local! {
    /// What was said at once, in this test.
    static NOTED: RefCell<String> = const { RefCell::new(String::new()) };
}

const WORDS: [&str; 5] = ["simulate", "--app-command", "app {socket}", "--seed", "1"];

fn simulate_args(words: &[&str]) -> SimulateArgs {
    let Arguments { command: Some(Command::Simulate(args)), .. } = arguments(Path::new("/nowhere"), words) else {
        panic!("it is simulate")
    };
    args
}

/// What is printed, and how it ends, for an application with a habit; `interrupted` is given the number of hosts made.
async fn told_of(habit: Habit, words: &[&str], interrupt_at_host: u32) -> (String, Result<(), CliError>) {
    let args = simulate_args(words);
    let mut task = task(&args, &args.app).unwrap();
    task.note = |text| NOTED.with_borrow_mut(|noted| *noted += &format!("{text}\n"));
    let (made, enough) = (Cell::new(0), Notify::new());
    let hosts = || {
        made.set(made.get() + 1);
        if made.get() == interrupt_at_host {
            enough.notify_one();
        }
        Ok(Inside::new(habit, Hosting::Started))
    };
    let printed = Printed::default();
    let out = Output::new(Reader::Person, Box::new(printed.clone()));
    let (report, ended) = task.campaign(hosts, enough.notified(), Events::Counted, &out).await.unwrap();
    let end = task.conclude(&report, ended, Events::Counted, &out);
    let text = String::from_utf8(printed.0.borrow().clone()).unwrap();
    (text, end)
}

#[tokio::test]
async fn a_finding_is_said_before_it_is_made_smaller_and_is_not_lost_when_that_is_interrupted() {
    // The second host is the first one of shrinking.
    let (text, end) = told_of(Habit::HashByInstance, &WORDS, 2).await;
    let noted = NOTED.take();
    assert!(noted.starts_with("seed 1: height 1: app_hash is "), "{noted}");
    assert!(noted.contains("again: quorate simulate --app-command 'app {socket}' --seed 1"), "{noted}");
    assert!(text.contains("Found: height 1: app_hash is ") && text.contains("Not all was tried: it was interrupted"));
    assert!(text.contains("Again: quorate simulate "), "{text}");
    assert_eq!(end.unwrap_err().exit, Exit::Failed);
}

#[tokio::test]
async fn an_interruption_before_anything_is_found_says_how_far_it_was() {
    let (text, end) = told_of(Habit::Good, &WORDS, 1).await;
    assert_eq!(text, "");
    assert!(end.unwrap_err().text.starts_with("interrupted after 0 seeds without a finding"));
}

#[tokio::test]
async fn a_finding_of_chosen_faults_keeps_its_specific_cause() {
    let (text, _) = told_of(Habit::HashByRestarts, &WORDS, u32::MAX).await;
    let again = text.lines().find_map(|line| line.strip_prefix("Again: ")).unwrap_or_else(|| panic!("{text}"));
    let (_, chosen) = again.split_once("--heights ").unwrap();
    let words: Vec<&str> = WORDS.into_iter().chain(["--heights"]).chain(chosen.split(' ')).collect();
    assert!(words.contains(&"--only"), "{again}");
    let causes = |text: &str| text.split_once("Likely causes:\n").unwrap().1.lines().next().map(str::to_owned);
    let (replayed, _) = told_of(Habit::HashByRestarts, &words, u32::MAX).await;
    assert!(causes(&replayed).is_some_and(|cause| cause.contains("what a restart loses or keeps")), "{replayed}");
    assert_eq!(causes(&replayed), causes(&text));
    let causes_told = replayed.lines().filter(|line| line.starts_with("  - ")).count();
    assert_eq!(causes_told, 1, "{replayed}");
}

#[tokio::test]
async fn a_hash_that_differs_by_one_transaction_is_told_with_its_number_and_bytes() {
    let (text, _) = told_of(Habit::HashByKeyAndInstance, &WORDS, u32::MAX).await;
    let line = text.lines().find(|line| line.starts_with("Of the ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("it needs only transaction ") && line.contains("\"key3=value"), "{line}");
}

#[tokio::test]
async fn environments_that_are_not_the_same_are_in_the_story_and_named_when_they_are_the_cause() {
    let (text, _) = told_of(Habit::HashByEnvironment, &WORDS, u32::MAX).await;
    assert!(text.contains("it runs in another environment, TZ="), "{text}");
    assert!(text.contains("With the same environment in all instances it does not come."), "{text}");
    let likely = text.split_once("Likely causes:\n").unwrap().1;
    assert!(likely.starts_with("  - what differs between the environments"), "{text}");
}
