//! Stories of applications that are led through faults: a good one is left in peace, each bad one is named.

mod bad;

use super::{CommandHost, End, Extensions, Host, HostError, Narrowed, Run, Script, narrow, rehearse, shrink};
use crate::abci::{Address, Application, Server};
use crate::rehearsal::host::Life;
use crate::sim::app::{Finding, Hosting, InstanceNr, Kind, Misfortune, Place, Plan, TxSource, Wishes};
pub(crate) use bad::Habit;
use bad::{Disk, Ledger};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Seeds a good application is led through.
const GOOD_SEEDS: u64 = 20;
/// Seeds within which a bad habit must be found.
const BAD_SEEDS: u64 = 30;
const HEIGHTS: u64 = 12;

/// Instances in this process: a server each, and a disk that outlives it.
pub(crate) struct Inside {
    habit: Habit,
    hosting: Hosting,
    directory: TempDir,
    disks: BTreeMap<InstanceNr, Arc<Disk>>,
    servers: BTreeMap<InstanceNr, tokio::task::JoinHandle<()>>,
    starts: u32,
}

impl Inside {
    pub(crate) fn new(habit: Habit, hosting: Hosting) -> Inside {
        let (disks, servers) = (BTreeMap::new(), BTreeMap::new());
        Inside { habit, hosting, directory: TempDir::new().unwrap(), disks, servers, starts: 0 }
    }

    fn serve(&mut self, nr: InstanceNr, app: impl Application) -> Address {
        self.starts += 1;
        let address = Address::Unix(self.directory.path().join(format!("{}.sock", self.starts)));
        let listens = address.clone();
        let server = tokio::spawn(async move {
            let server = Server::bind(&listens).await.unwrap();
            server.serve(app, std::future::pending()).await.ok();
        });
        self.servers.insert(nr, server);
        address
    }
}

impl Host for Inside {
    fn hosting(&self) -> Hosting {
        self.hosting
    }

    fn start(&mut self, nr: InstanceNr, environment: &[(&'static str, String)]) -> Result<Address, HostError> {
        let disk = Arc::clone(self.disks.entry(nr).or_default());
        let app = Ledger::open(self.habit, nr, disk, !environment.is_empty());
        Ok(self.serve(nr, app))
    }

    fn kill(&mut self, nr: InstanceNr) {
        if let Some(server) = self.servers.remove(&nr) {
            server.abort();
        }
    }

    fn life(&mut self, _nr: InstanceNr) -> Life {
        Life::Runs
    }

    fn last_words(&self, _nr: InstanceNr) -> String {
        String::new()
    }

    fn advice(&self) -> String {
        "a bug of this test".to_owned()
    }

    fn keep(&mut self) -> Option<PathBuf> {
        None
    }
}

fn script() -> Script {
    Script {
        call_timeout: Duration::from_secs(10),
        txs: TxSource::Drawn,
        genesis: None,
        extensions: Extensions::FromTheStart,
    }
}

fn wishes(hosting: Hosting, instances: u8) -> Wishes {
    Wishes { hosting, instances, heights: HEIGHTS, initial: 1, calm: false, only: None }
}

async fn led(habit: Habit, hosting: Hosting, seed: u64, script: &Script) -> (Plan, Run) {
    let plan = Plan::draw(seed, &wishes(hosting, 3));
    let run = rehearse(&mut Inside::new(habit, hosting), &plan, script).await.unwrap();
    (plan, run)
}

/// The first finding, in any of the seeds.
async fn first_finding(habit: Habit, hosting: Hosting, script: &Script) -> (Plan, Finding) {
    for seed in 0..BAD_SEEDS {
        let (plan, run) = led(habit, hosting, seed, script).await;
        if let Some(finding) = run.finding {
            return (plan, finding);
        }
    }
    panic!("{habit:?} was not found in {BAD_SEEDS} seeds")
}

#[tokio::test]
async fn an_application_that_keeps_the_rules_is_left_in_peace_and_sees_every_fault() {
    let mut coverage = BTreeMap::new();
    for seed in 0..GOOD_SEEDS {
        let (plan, run) = led(Habit::Good, Hosting::Started, seed, &script()).await;
        assert_eq!(run.finding, None, "{}", plan.tell());
        assert_eq!(run.remarks, Vec::<String>::new(), "{}", plan.tell());
        for (what, times) in run.coverage {
            *coverage.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "kills",
        "connections broken",
        "replays after a restart",
        "replays from the first block",
        "snapshots restored",
        "proposals no application made",
        "proposals that were not decided",
        "calls beside FinalizeBlock",
        "blocks that changed validators",
        "transactions refused by CheckTx",
        "ExtendVote",
        "VerifyVoteExtension",
        "OfferSnapshot",
    ] {
        assert!(coverage.get(what).is_some_and(|times| *times > 0), "{what} never happened: {coverage:?}");
    }
}

#[tokio::test]
async fn applications_that_run_already_are_compared_without_being_killed() {
    let (_, run) = led(Habit::Good, Hosting::Given, 1, &script()).await;
    assert_eq!((run.finding, run.coverage.get("kills")), (None, None));
    let (_, finding) = first_finding(Habit::HashByInstance, Hosting::Given, &script()).await;
    assert_eq!((finding.call, finding.field), ("FinalizeBlock", Some("app_hash")));
}

#[tokio::test]
async fn a_seed_asks_the_same_twice() {
    let calm = Wishes { calm: true, ..wishes(Hosting::Started, 3) };
    let plan = Plan::draw(4, &calm);
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let run = rehearse(&mut Inside::new(Habit::Good, Hosting::Started), &plan, &script()).await.unwrap();
        assert!(run.lines.len() > 100);
        hashes.push(run.hash());
    }
    assert_eq!(hashes[0], hashes[1]);
}

/// What a bad habit is called: its kind, the call, the field. 16 habits.
const NAMED: &[(Habit, Kind, &str, Option<&str>)] = &[
    (Habit::GasByInstance, Kind::Divergence, "FinalizeBlock", Some("gas_used")),
    (Habit::HashByInstance, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByKeyAndInstance, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByEnvironment, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByRestarts, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByProposals, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByChecks, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::HashByClock, Kind::Divergence, "FinalizeBlock", Some("app_hash")),
    (Habit::InitialHashByInstance, Kind::Divergence, "InitChain", Some("app_hash")),
    (Habit::PersistsTooEarly, Kind::Conformance, "Info", Some("last_block_height")),
    (Habit::RefusesItsOwn, Kind::Conformance, "ProcessProposal", Some("status")),
    (Habit::TooFewResults, Kind::Conformance, "FinalizeBlock", None),
    (Habit::RemovesAStranger, Kind::Conformance, "FinalizeBlock", None),
    (Habit::PreparesTooMuch, Kind::Conformance, "PrepareProposal", Some("txs")),
    (Habit::Panics, Kind::Crash, "FinalizeBlock", None),
    (Habit::VerdictByInstance, Kind::Divergence, "ProcessProposal", Some("status")),
];

#[tokio::test]
async fn each_bad_habit_is_found_and_named_with_its_call_and_field() {
    for (habit, kind, call, field) in NAMED {
        let (plan, finding) = first_finding(*habit, Hosting::Started, &script()).await;
        let named = (finding.kind, finding.call, finding.field);
        assert_eq!(named, (*kind, *call, *field), "{habit:?}: {}\n{}", finding.sentence(), plan.tell());
    }
}

#[tokio::test]
async fn data_that_is_lost_by_a_kill_is_found_though_the_height_is_kept() {
    let (_, finding) = first_finding(Habit::ForgetsWhenKilled, Hosting::Started, &script()).await;
    assert_eq!((finding.kind, finding.call, finding.field), (Kind::Divergence, "FinalizeBlock", Some("app_hash")));
    assert!(finding.before.iter().any(|story| story.contains("killed")), "{finding:?}");
}

#[tokio::test]
async fn a_difference_in_one_transaction_is_told_with_its_number_and_bytes() {
    let (_, finding) = first_finding(Habit::GasByInstance, Hosting::Started, &script()).await;
    let Place::Tx { tx, .. } = &finding.place else { panic!("{finding:?}") };
    assert!(!tx.is_empty());
    let sentence = finding.sentence();
    assert!(sentence.contains(": gas_used is ") && sentence.contains(" in instance B"), "{sentence}");
}

#[tokio::test]
async fn events_in_another_order_are_a_remark_and_no_divergence() {
    let (_, run) = led(Habit::EventsByInstance, Hosting::Started, 1, &script()).await;
    assert_eq!(run.finding, None);
    assert!(run.remarks.iter().any(|remark| remark.starts_with("events of FinalizeBlock differ")), "{:?}", run.remarks);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_does_not_answer_is_given_up_after_the_time_allowed() {
    let script = Script { call_timeout: Duration::from_millis(300), ..script() };
    let (_, finding) = first_finding(Habit::Hangs, Hosting::Started, &script).await;
    assert_eq!((finding.kind, finding.call), (Kind::Hang, "FinalizeBlock"));
}

#[tokio::test]
async fn what_is_left_of_a_plan_is_the_fault_that_the_mistake_needs() {
    let (plan, finding) = first_finding(Habit::HashByRestarts, Hosting::Started, &script()).await;
    let mut hosts = || Ok(Inside::new(Habit::HashByRestarts, Hosting::Started));
    let shrunk = shrink(&plan, &script(), &finding, Duration::from_secs(60), &mut hosts).await.unwrap();
    assert!(shrunk.run.is_some() && shrunk.tried < 40 && shrunk.end == End::Smallest, "{} runs", shrunk.tried);
    let [fault] = &shrunk.plan.faults[..] else { panic!("{}", shrunk.plan.tell()) };
    assert!(matches!(fault.what, Misfortune::Kill { .. }), "{}", fault.what);
    let chosen = [fault.number].into();
    let heights = shrunk.plan.heights;
    let again = Plan::draw(plan.seed, &Wishes { heights, only: Some(chosen), ..wishes(Hosting::Started, 3) });
    assert_eq!(again, shrunk.plan, "seed, heights and fault numbers say the same again");
}

/// How a block is narrowed for a habit, in the first seed that shows it.
async fn narrowed(habit: Habit) -> (Run, Narrowed) {
    let (plan, finding) = first_finding(habit, Hosting::Started, &script()).await;
    let mut hosts = || Ok(Inside::new(habit, Hosting::Started));
    let minute = Duration::from_secs(60);
    let shrunk = shrink(&plan, &script(), &finding, minute, &mut hosts).await.unwrap();
    let run = shrunk.run.unwrap();
    let narrowed = narrow(&shrunk.plan, &script(), &run, minute, &mut hosts).await.unwrap();
    (run, narrowed)
}

#[tokio::test]
async fn a_difference_that_shows_in_the_hash_alone_is_narrowed_to_the_transaction_it_needs() {
    let (run, narrowed) = narrowed(Habit::HashByKeyAndInstance).await;
    let Narrowed::To { places, .. } = narrowed else { panic!("{narrowed:?}") };
    let [place] = places[..] else { panic!("{places:?}") };
    assert!(run.txs[place].starts_with(b"key3="), "{run:?}");
    assert!(run.txs.len() > 1, "a block of one shows nothing");
}

#[tokio::test]
async fn a_hash_that_differs_whatever_is_in_the_block_needs_no_transaction() {
    let (run, narrowed) = narrowed(Habit::HashByInstance).await;
    assert_eq!(narrowed, Narrowed::NeedsNone, "{run:?}");
}

#[tokio::test]
async fn all_transactions_that_differ_are_named_by_their_numbers() {
    let mut several = 0;
    for seed in 0..BAD_SEEDS {
        let (_, run) = led(Habit::GasByInstance, Hosting::Started, seed, &script()).await;
        let sentence = run.finding.expect("it differs in every transaction").sentence();
        let Some((_, rest)) = sentence.split_once("differ: ") else { continue };
        assert!(rest.starts_with("transaction 1: gas_used"), "{sentence}");
        several += 1;
    }
    assert!(several > 0, "no first block had two transactions");
}

fn no_environment() -> [(&'static str, String); 0] {
    []
}

#[test]
fn a_process_and_what_it_started_are_gone_after_a_kill_and_so_is_its_directory() {
    let mut host = CommandHost::new("tail -f /dev/null & tail -f /dev/null # {socket}").unwrap();
    let a = InstanceNr(0);
    let Address::Unix(socket) = host.start(a, &no_environment()).unwrap() else { panic!("a socket is a path") };
    let directory = socket.parent().unwrap().parent().unwrap().to_owned();
    let group = host.group(a).unwrap();
    assert_eq!(host.life(a), Life::Runs);
    assert!(rustix::process::test_kill_process_group(group).is_ok());
    host.kill(a);
    assert!(
        rustix::process::test_kill_process_group(group).is_err(),
        "what it started would hold locks of the next life"
    );
    for _ in 0..20 {
        host.start(a, &no_environment()).unwrap();
        let group = host.group(a).unwrap();
        host.kill(a);
        assert!(rustix::process::test_kill_process_group(group).is_err(), "something is left");
    }
    assert!(directory.is_dir());
    drop(host);
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_command_that_ends_at_once_is_told_with_its_last_words() {
    let mut host = CommandHost::new("echo no module named abci; exit 3 # {socket}").unwrap();
    let plan = Plan::draw(1, &wishes(Hosting::Started, 2));
    let error = rehearse(&mut host, &plan, &script()).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("no module named abci"), "{error}");
}

#[test]
fn a_home_that_is_kept_is_still_there() {
    let mut host = CommandHost::new("true # {socket}").unwrap();
    let kept = host.keep().unwrap();
    drop(host);
    assert!(kept.is_dir());
    std::fs::remove_dir_all(kept).unwrap();
}

#[tokio::test]
async fn what_a_program_says_before_a_long_trace_is_told() {
    let command =
        "echo panic: no such table; for line in 1 2 3 4 5 6 7 8 9; do echo frame $line; done; exit 2 # {socket}";
    let mut host = CommandHost::new(command).unwrap();
    let plan = Plan::draw(1, &wishes(Hosting::Started, 2));
    let error = rehearse(&mut host, &plan, &script()).await.unwrap_err().to_string();
    assert!(error.contains("panic: no such table") && !error.contains("frame 9"), "{error}");
}
