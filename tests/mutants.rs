//! Runs every mutant of `quorate::mutants` until somebody notices it, and prints who. `scripts/mutants` builds and starts it.
//!
//! A mutant runs in processes of its own: a campaign of the simulator in each of three ranges of seeds, until a checker
//! complains, at level 1 where that runs its code and, where that notices nothing, at level 2; and where neither does, the unit tests of its module.
//! A panic does not count: a bug must be called by its name. As many mutants run at once as there are processors.

use quorate::mutants::{self, Killer, Mutant, all};
use quorate::sim::campaign::{self, Found};
use quorate::sim::{Level, Wishes, panics};
use quorate::types::Algorithm;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, iter, thread};

/// Where the three ranges of seeds begin.
const RANGES: [u64; 3] = [0, 1_000_000_000, 2_000_000_000];
/// Seeds of a range after which a mutant has survived it.
const SEEDS_MAX: u64 = 1_000_000;
/// How long a range may take unless told otherwise.
const SECONDS_DEFAULT: u64 = 60;
/// A process that needs so much longer hangs.
const GRACE: Duration = Duration::from_secs(20);
/// How long the unit tests of a module may take.
const TESTS_LIMIT: Duration = Duration::from_secs(300);
/// One seed in so many carries a planted bug: a canary.
const CANARY_EVERY: u64 = 100;
/// The canaries, by turns. Seven or more seeds of ten show each; the rest have one node, say, or no election.
const CANARIES: [(&str, Algorithm); 6] = [
    ("T9", Algorithm::Tendermint),
    ("P2", Algorithm::Pbft),
    ("R3", Algorithm::Raft),
    ("T12", Algorithm::Tendermint),
    ("P16", Algorithm::Pbft),
    ("R49", Algorithm::Raft),
];
/// Canaries of each kind, where nothing else is said.
const CANARIES_EACH: u64 = 4;

const USAGE: &str = "\
usage: mutants run [--json] [--seconds N] [--tests BINARY] [NAME…]   until each is noticed, and by whom
       mutants canary [--seeds N]      one seed in 100 has a bug: each bug must be found, and nothing else";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let verdict = match args.first().map(String::as_str) {
        Some("run") => Orders::read(&args[1..]).and_then(|orders| orders.run()),
        Some("canary") => canary(&args[1..]),
        Some("one") => one(&args[1..]),
        _ => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
    };
    verdict.unwrap_or_else(|why| {
        eprintln!("{why}\n{USAGE}");
        ExitCode::from(2)
    })
}

// -------------------------------------------------------------------------------------------------------- one campaign

/// How one campaign ended; a process tells it to its parent as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// This checker complained, after so many seeds.
    Noticed { checker: String, seeds: u64 },
    /// Nobody complained; the hook was come by so often.
    Survived { seeds: u64, reached: u64 },
}

/// What is simulated: how much of a node, and which protocol.
type Scene = (Level, Algorithm);

fn wishes((level, algorithm): Scene) -> Wishes {
    Wishes { level, algorithm, nodes: None, heights: None, calm: false }
}

/// The number of a level, as people name it.
fn number_of(level: Level) -> u8 {
    match level {
        Level::Bare => 1,
        Level::Whole => 2,
    }
}

/// `one LEVEL PROTOCOL FROM SECONDS`, in a process whose environment names the mutant.
fn one(args: &[String]) -> Result<ExitCode, String> {
    let [level, protocol, from, seconds] = args else { return Err("one LEVEL PROTOCOL FROM SECONDS".to_owned()) };
    let level = if level == "2" { Level::Whole } else { Level::Bare };
    let algorithm = Algorithm::from_name(protocol).ok_or_else(|| format!("no protocol {protocol}"))?;
    let scene = (level, algorithm);
    let (from, seconds): (u64, u64) = (number(from)?, number(seconds)?);
    let name = env::var(mutants::VARIABLE).ok().filter(|name| !name.is_empty());
    panics::keep_quiet();
    let (began, mut reached) = (Instant::now(), 0);
    for seed in from..from + SEEDS_MAX {
        mutants::choose(name.as_deref())?;
        let found = first_named(scene, seed);
        reached += mutants::reached();
        if let Some(Found { violation, .. }) = found {
            eprintln!("  {} level {} seed {seed}: {violation}", algorithm.name(), number_of(level));
            if name.is_none() || is_clean(scene, seed)? {
                println!("noticed {} {}", violation.checker, seed - from + 1);
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("    and without the mutant, too: this seed shows nothing");
        }
        if began.elapsed() >= Duration::from_secs(seconds) {
            println!("survived {} {reached}", seed - from + 1);
            return Ok(ExitCode::SUCCESS);
        }
    }
    println!("survived {SEEDS_MAX} {reached}");
    Ok(ExitCode::SUCCESS)
}

/// What a checker says of one seed; a panic is nobody's word.
fn first_named(scene: Scene, seed: u64) -> Option<Found> {
    let report = campaign::run(&wishes(scene), seed, |_| false);
    report.found.into_iter().find(|found| found.violation.checker != "panic")
}

/// True when nobody complains about the seed without a mutant.
fn is_clean(scene: Scene, seed: u64) -> Result<bool, String> {
    mutants::choose(None)?;
    Ok(first_named(scene, seed).is_none())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

// ---------------------------------------------------------------------------------------------------------- all of them

/// What is to be done.
struct Orders {
    json: bool,
    seconds: u64,
    /// The binary of the unit tests.
    tests: Option<PathBuf>,
    mutants: Vec<&'static Mutant>,
}

/// What became of a mutant.
struct Fate {
    mutant: &'static Mutant,
    /// Who noticed it in each range that was run, or the unit test.
    by: Vec<String>,
    seeds: Vec<u64>,
    /// The level of the simulator at which it was noticed.
    level: Option<Level>,
    noticed: bool,
    remark: String,
}

impl Orders {
    fn read(args: &[String]) -> Result<Orders, String> {
        let mut orders = Orders { json: false, seconds: SECONDS_DEFAULT, tests: None, mutants: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--json" => orders.json = true,
                "--seconds" => orders.seconds = number(value()?)?,
                "--tests" => orders.tests = Some(PathBuf::from(value()?)),
                name => {
                    let known = all().filter(|mutant| mutant.name == name || mutant.place.contains(name));
                    let before = orders.mutants.len();
                    orders.mutants.extend(known);
                    if orders.mutants.len() == before {
                        return Err(format!("no mutant is called or lives in {name:?}"));
                    }
                }
            }
        }
        if orders.mutants.is_empty() {
            orders.mutants.extend(all());
        }
        Ok(orders)
    }

    fn run(&self) -> Result<ExitCode, String> {
        if !self.json {
            println!("| name | place | bug | noticed by | seeds (median of three ranges) |\n|---|---|---|---|---|");
        }
        let fates = self.fates()?;
        let possible = fates.iter().filter(|fate| !matches!(fate.mutant.killer, Killer::Equivalent(_)));
        let (all, noticed) =
            possible.fold((0, 0), |(all, noticed), fate| (all + 1, noticed + usize::from(fate.noticed)));
        let per_mille = noticed * 1000 / all.max(1);
        let score = format!("{noticed} of {all} noticed, {}.{} %", per_mille / 10, per_mille % 10);
        let equivalent = fates.len() - all;
        if self.json {
            println!("{{\"noticed\":{noticed},\"of\":{all},\"equivalent\":{equivalent}}}");
        } else {
            println!("\n{score}; {equivalent} more can be noticed by nobody.");
        }
        Ok(if noticed == all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What becomes of each, told in the order of the table.
    fn fates(&self) -> Result<Vec<Fate>, String> {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let (next, (sender, ended)) = (AtomicUsize::new(0), mpsc::channel());
        let work = |sender: mpsc::Sender<(usize, Result<Fate, String>)>| {
            let mine = iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let mut mine = mine.map_while(|at| Some((at, *self.mutants.get(at)?)));
            // Nobody listens any more once one of them failed.
            let _ = mine.try_for_each(|(at, mutant)| sender.send((at, self.fate(mutant))));
        };
        thread::scope(|scope| {
            (0..workers).for_each(|_| drop(scope.spawn(|| work(sender.clone()))));
            let (ended, mut fates, mut early) = (ended, Vec::new(), BTreeMap::new());
            while fates.len() < self.mutants.len() {
                let (at, fate) = ended.recv().map_err(|why| why.to_string())?;
                early.insert(at, fate?);
                while let Some(fate) = early.remove(&fates.len()) {
                    println!("{}", if self.json { fate.as_json() } else { fate.as_row() });
                    fates.push(fate);
                }
            }
            Ok(fates)
        })
    }

    fn fate(&self, mutant: &'static Mutant) -> Result<Fate, String> {
        let mut fate =
            Fate { mutant, by: Vec::new(), seeds: Vec::new(), level: None, noticed: false, remark: String::new() };
        match mutant.killer {
            Killer::Sim(_) => self.simulate(mutant, &mut fate)?,
            Killer::Both { test, .. } => {
                self.simulate(mutant, &mut fate)?;
                if !fate.noticed {
                    self.test(test, &mut fate)?;
                }
            }
            Killer::Test(filter) => self.test(filter, &mut fate)?,
            Killer::Equivalent(why) => fate.remark = format!("equivalent: {why}"),
        }
        // The test that noticed it before may be gone, or called otherwise.
        if !matches!(mutant.killer, Killer::Equivalent(_)) && !fate.noticed {
            self.test(&module_of(mutant.place), &mut fate)?;
        }
        Ok(fate)
    }

    /// Three ranges; the first says at which level and under which protocol it shows.
    fn simulate(&self, mutant: &'static Mutant, fate: &mut Fate) -> Result<(), String> {
        let protocols = protocols_of(mutant.place);
        let at = |level: Level| protocols.iter().map(move |protocol| (level, *protocol));
        let mut scenes: Vec<Scene> = levels_of(mutant.place).iter().flat_map(|level| at(*level)).collect();
        for from in RANGES {
            let (mut all_seeds, mut all_reached, mut noticed) = (0, 0, None);
            for scene in &scenes {
                match self.campaign(mutant.name, *scene, from)? {
                    Ended::Survived { seeds, reached } => {
                        all_seeds += seeds;
                        all_reached += reached;
                    }
                    Ended::Noticed { checker, seeds } => {
                        noticed = Some((checker, seeds, *scene));
                        break;
                    }
                }
            }
            match noticed {
                Some((checker, seeds, scene)) => {
                    fate.noticed |= checker != "hangs";
                    fate.by.push(checker);
                    fate.seeds.push(seeds);
                    fate.level = Some(scene.0);
                    scenes = vec![scene];
                }
                None => {
                    fate.remark = format!("survived {all_seeds} seeds, hook come by {all_reached} times");
                    // What one range does not show another hardly does; the unit tests are next.
                    if fate.by.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn campaign(&self, name: &str, (level, protocol): Scene, from: u64) -> Result<Ended, String> {
        let this = env::current_exe().map_err(|why| why.to_string())?;
        let mut command = Command::new(this);
        command.args(["one", &number_of(level).to_string(), protocol.name()]);
        command.args([from.to_string(), self.seconds.to_string()]).stderr(Stdio::null());
        let limit = Duration::from_secs(self.seconds) + GRACE;
        let Some(said) = output(command.env(mutants::VARIABLE, name), limit, |_| false)? else {
            return Ok(Ended::Noticed { checker: "hangs".to_owned(), seeds: 0 });
        };
        let words: Vec<&str> = said.split_whitespace().collect();
        match words.as_slice() {
            ["noticed", checker, seeds] => Ok(Ended::Noticed { checker: (*checker).to_owned(), seeds: number(seeds)? }),
            ["survived", seeds, reached] => Ok(Ended::Survived { seeds: number(seeds)?, reached: number(reached)? }),
            _ => Err(format!("the campaign of {name} ended without a word: {said:?}")),
        }
    }

    /// Runs unit tests until one fails, and takes its name.
    fn test(&self, filter: &str, fate: &mut Fate) -> Result<(), String> {
        let Some(tests) = &self.tests else { return Ok(()) };
        let mut command = Command::new(tests);
        command.arg(filter).env(mutants::VARIABLE, fate.mutant.name).stderr(Stdio::null());
        let failed = |line: &str| line.ends_with(" ... FAILED");
        let Some(said) = output(&mut command, TESTS_LIMIT, failed)? else {
            fate.remark = format!("tests of {filter} take too long");
            return Ok(());
        };
        let name = said.lines().rfind(|line| failed(line)).and_then(|line| line.split(' ').nth(1));
        if let Some(name) = name {
            fate.noticed = true;
            fate.by.push(format!("`{name}`"));
        }
        Ok(())
    }
}

/// What a process says up to a line that says enough, or none when it takes too long.
fn output(command: &mut Command, limit: Duration, enough: impl Fn(&str) -> bool) -> Result<Option<String>, String> {
    let begun = command.stdout(Stdio::piped()).spawn();
    let mut child = begun.map_err(|why| format!("cannot start {command:?}: {why}"))?;
    let pipe = child.stdout.take().ok_or("no output to read")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let (until, mut said) = (Instant::now() + limit, String::new());
    let in_time = loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                said += &line;
                said.push('\n');
                if enough(&line) {
                    break true;
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => break false,
        }
    };
    child.kill().and_then(|()| child.wait()).map_err(|why| why.to_string())?;
    Ok(in_time.then_some(said))
}

/// The protocols a file belongs to.
fn protocols_of(place: &str) -> Vec<Algorithm> {
    let named = Algorithm::ALL.into_iter().filter(|algorithm| place.contains(&format!("/{}/", algorithm.name())));
    let named: Vec<Algorithm> = named.collect();
    if named.is_empty() { Algorithm::ALL.to_vec() } else { named }
}

/// The levels of the simulator that run a file: machines alone have no journal, application, gossip or mempool.
fn levels_of(place: &str) -> &'static [Level] {
    let alone = ["src/consensus/", "src/types/"].iter().any(|folder| place.starts_with(folder));
    if alone { &[Level::Bare, Level::Whole] } else { &[Level::Whole] }
}

/// The path of a file's module, as names of tests begin.
fn module_of(place: &str) -> String {
    let folder = place.trim_start_matches("src/").rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.replace('/', "::")
}

impl Fate {
    fn median(&self) -> Option<u64> {
        let mut seeds = self.seeds.clone();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied()
    }

    fn who(&self) -> String {
        let mut by = self.by.clone();
        by.dedup();
        let who = if by.is_empty() { "**nobody**".to_owned() } else { by.join(", ") };
        match (self.noticed, self.remark.as_str()) {
            (true, _) | (_, "") => who,
            (false, remark) if remark.starts_with("equivalent") => remark.to_owned(),
            (false, remark) => format!("{who}; {remark}"),
        }
    }

    fn as_row(&self) -> String {
        let Mutant { name, place, bug, .. } = self.mutant;
        let seeds = match (self.median(), self.seeds.len()) {
            (None, _) => "–".to_owned(),
            (Some(seeds), 3) => seeds.to_string(),
            (Some(seeds), ranges) => format!("{seeds} in {ranges} of 3"),
        };
        let seeds = if self.level == Some(Level::Whole) { format!("{seeds} at level 2") } else { seeds };
        format!("| {name} | {} | {bug} | {} | {seeds} |", place.trim_start_matches("src/"), self.who())
    }

    fn as_json(&self) -> String {
        let Mutant { name, place, bug, .. } = self.mutant;
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        format!(
            "{{\"name\":{},\"place\":{},\"bug\":{},\"noticed\":{},\"by\":{},\"seeds\":{:?}}}",
            quoted(name),
            quoted(place),
            quoted(bug),
            self.noticed,
            quoted(&self.who()),
            self.seeds
        )
    }
}

// ----------------------------------------------------------------------------------------------------------- the canary

/// A campaign in which one seed of a hundred has a bug, so that a pipeline that notices nothing is noticed.
fn canary(args: &[String]) -> Result<ExitCode, String> {
    let seeds = match args {
        [] => CANARY_EVERY * CANARIES_EACH * CANARIES.len() as u64,
        [flag, seeds] if flag == "--seeds" => number(seeds)?,
        _ => return Err("canary [--seeds N]".to_owned()),
    };
    panics::keep_quiet();
    let (mut caught, mut planted, mut false_alarms) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new(), 0);
    for seed in 0..seeds {
        let turn = (seed / CANARY_EVERY) as usize % CANARIES.len();
        let canary = (seed % CANARY_EVERY == CANARY_EVERY - 1).then(|| CANARIES[turn]);
        let algorithm = canary.map_or(Algorithm::ALL[seed as usize % Algorithm::ALL.len()], |(_, algorithm)| algorithm);
        mutants::choose(canary.map(|(name, _)| name))?;
        let found = first_named((Level::Bare, algorithm), seed);
        if let Some((name, _)) = canary {
            *planted.entry(name).or_default() += 1;
            *caught.entry(name).or_default() += u64::from(found.is_some());
        }
        match (canary, found) {
            (Some((name, _)), Some(found)) => println!("seed {seed}: {name} noticed by {}", found.violation.checker),
            (Some((name, _)), None) => println!("seed {seed}: {name} lives"),
            (None, Some(found)) => {
                println!("seed {seed}, {}: {}, and no bug is planted", algorithm.name(), found.violation);
                false_alarms += 1;
            }
            (None, None) => {}
        }
    }
    let (all, found) = (planted.values().sum::<u64>(), caught.values().sum::<u64>());
    println!("{seeds} seeds, {all} with a bug: {found} caught, {false_alarms} false alarms");
    let missed: Vec<&str> = caught.iter().filter(|(_, times)| **times == 0).map(|(name, _)| *name).collect();
    if !missed.is_empty() {
        println!("never caught: {}", missed.join(", "));
    }
    let healthy = !planted.is_empty() && missed.is_empty() && 2 * found >= all && false_alarms == 0;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
