//! `quorate simulate --app`, `--app-command`: somebody's own application, led through faults.

mod tell;
#[cfg(test)]
mod tests;

use super::interrupt::interrupted;
use super::{Events, PROGRESS_EVERY, counted, usage, write_trace};
use crate::cli::CliError;
use crate::cli::args::{AppArgs, SimulateArgs};
use crate::cli::numbers::INSTANCES_MAX;
use crate::cli::output::{Output, human_seconds};
use crate::config::load_genesis;
use crate::rehearsal::{
    CommandHost, Extensions, GivenHost, Host, HostError, Narrowed, Run, Script, Shrunk, narrow, rehearse, shrink,
};
use crate::sim::app::{Finding, Hosting, Plan, TxSource, Wishes, parse_txs};
use crate::types::GenesisDoc;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tell::first_line;
use tokio::signal::unix::{SignalKind, signal};

/// Heights of a run when nothing is said.
const HEIGHTS_DEFAULT: u64 = 20;
/// Seeds when nothing is said and we start the application.
const SEEDS_DEFAULT: u64 = 10;
/// Instances when nothing is said.
const INSTANCES_DEFAULT: u8 = 3;
/// Longest time given to shrinking.
const SHRINK_WITHIN: Duration = Duration::from_secs(60);
/// Longest time given to finding the transactions that a hash differs by.
const NARROW_WITHIN: Duration = Duration::from_secs(30);

/// Where the application is.
enum Where {
    Command(String),
    Given(Vec<String>),
}

/// What the command line says, checked.
struct Task<'a> {
    args: &'a SimulateArgs,
    place: Where,
    wishes: Wishes,
    script: Script,
    /// Says at once what must not be lost, whatever becomes of the report.
    note: fn(&str),
}

/// What all seeds showed.
#[derive(Default)]
struct Report {
    seeds: u64,
    elapsed: Duration,
    heights: u64,
    coverage: BTreeMap<&'static str, u64>,
    remarks: Vec<String>,
    found: Option<Found>,
}

/// The first seed that failed.
struct Found {
    plan: Plan,
    finding: Finding,
    kept: Option<PathBuf>,
    /// Of the block it is in.
    txs: Vec<Bytes>,
    shrunk: Option<Shrunk>,
    narrowed: Option<Narrowed>,
    /// Why not everything was tried to make it smaller.
    cut_short: Option<String>,
}

/// How a campaign ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Done,
    Interrupted,
}

pub(super) fn run(args: &SimulateArgs, app: &AppArgs, events: Events, out: &Output) -> Result<(), CliError> {
    let task = task(args, app)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| CliError::failed(format!("the system gave no means to wait for sockets: {why}"), "try again"))?;
    let (report, ended) = runtime.block_on(task.lead(interruption(), events, out))?;
    task.conclude(&report, ended, events, out)
}

/// Whatever ends this process, the instances and their homes go first.
async fn interruption() {
    let came = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = came(SignalKind::interrupt()) => {}
        _ = came(SignalKind::terminate()) => {}
        _ = came(SignalKind::hangup()) => {}
        _ = came(SignalKind::quit()) => {}
    }
}

fn task<'a>(args: &'a SimulateArgs, app: &AppArgs) -> Result<Task<'a>, CliError> {
    let help = "quorate simulate --help";
    let heights = args.heights.unwrap_or(HEIGHTS_DEFAULT);
    let (place, hosting, instances) = match &app.app_command {
        Some(command) => {
            let instances = args.nodes.unwrap_or(INSTANCES_DEFAULT);
            if !["{socket}", "{address}", "{port}"].iter().any(|name| command.contains(name)) {
                return Err(usage(
                    "--app-command must say where to listen: {socket}, {address} or {port} stands for it",
                    "quorate simulate --app-command './app --listen {address} --home {home}'",
                ));
            }
            (Where::Command(command.clone()), Hosting::Started, instances)
        }
        None => {
            GivenHost::at(&app.app).map_err(|why| usage(why, help))?;
            if args.seeds.is_some() || args.minutes.is_some() {
                return Err(usage(
                    "applications given with --app are fresh once, so there is one seed",
                    "quorate simulate --app-command COMMAND, which starts them for every seed",
                ));
            }
            let instances = u8::try_from(app.app.len()).unwrap_or(u8::MAX);
            (Where::Given(app.app.clone()), Hosting::Given, instances)
        }
    };
    if !(1..=INSTANCES_MAX).contains(&instances) {
        return Err(usage(format!("there are 1 to {INSTANCES_MAX} instances"), help));
    }
    let genesis = genesis(app)?;
    let initial = genesis.as_ref().map_or(1, |genesis| genesis.initial_height.get());
    let only = app.only.clone().map(|numbers| numbers.into_iter().collect());
    let call_timeout = Duration::try_from_secs_f64(app.call_timeout)
        .ok()
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| usage("--call-timeout is a number of seconds above 0", help))?;
    let extensions = if app.vote_extensions { Extensions::FromTheStart } else { Extensions::AsAgreed };
    let script = Script { call_timeout, txs: txs(app)?, genesis, extensions };
    let wishes = Wishes { hosting, instances, heights, initial, calm: args.calm, only };
    refuse_unknown_faults(args, &wishes)?;
    Ok(Task { args, place, wishes, script, note: Output::note })
}

/// A number that names no fault of the seed would leave out what somebody wants to see.
fn refuse_unknown_faults(args: &SimulateArgs, wishes: &Wishes) -> Result<(), CliError> {
    let (Some(only), Some(seed)) = (&wishes.only, args.seed) else { return Ok(()) };
    let all = Plan::draw(seed, &Wishes { only: None, ..wishes.clone() });
    let numbers: BTreeSet<u32> = all.faults.iter().map(|fault| fault.number).collect();
    match only.difference(&numbers).next() {
        None => Ok(()),
        Some(unknown) => Err(usage(
            format!("seed {seed} has no fault {unknown}: its faults have the numbers {numbers:?}"),
            "the same command without --only, which tells what each number is",
        )),
    }
}

fn genesis(app: &AppArgs) -> Result<Option<GenesisDoc>, CliError> {
    match &app.genesis {
        Some(path) => match load_genesis(path, None) {
            Ok(loaded) => Ok(Some(loaded.doc)),
            // Its advice is for a node of a chain.
            Err(why) => {
                let what = why.to_string();
                let what = what.split("\n  next: ").next().unwrap_or_default();
                Err(usage(what, "name a genesis file, as `quorate init --home DIR` makes one in DIR/config"))
            }
        },
        None => Ok(None),
    }
}

fn txs(app: &AppArgs) -> Result<TxSource, CliError> {
    let Some(path) = &app.txs else { return Ok(TxSource::Drawn) };
    let text = std::fs::read_to_string(path)
        .map_err(|why| usage(format!("cannot read {}: {why}", path.display()), "name a file that can be read"))?;
    let txs = parse_txs(&text).map_err(|why| usage(format!("{}: {why}", path.display()), "mend the file"))?;
    Ok(TxSource::Listed(txs.into()))
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> CliError {
        let next = match &error {
            HostError::NotFresh { .. } => "stop it, remove its data, start it and run this again".to_owned(),
            HostError::NotListening { advice, .. } => advice.clone(),
            _ => "start it alone in a shell, with a path or a port in place of the names in braces".to_owned(),
        };
        usage(error, next)
    }
}

impl Task<'_> {
    /// All seeds, with whatever starts instances here.
    async fn lead(
        &self,
        stopped: impl Future<Output = ()>,
        events: Events,
        out: &Output,
    ) -> Result<(Report, Ended), CliError> {
        match &self.place {
            Where::Command(command) => self.campaign(|| CommandHost::new(command), stopped, events, out).await,
            Where::Given(addresses) => {
                let hosts = || Ok(GivenHost::at(addresses).expect("checked before"));
                self.campaign(hosts, stopped, events, out).await
            }
        }
    }

    /// All seeds, until one fails or somebody has seen enough: what was found until then is kept.
    async fn campaign<H: Host>(
        &self,
        hosts: impl FnMut() -> Result<H, HostError>,
        stopped: impl Future<Output = ()>,
        events: Events,
        out: &Output,
    ) -> Result<(Report, Ended), CliError> {
        let mut report = Report::default();
        let ended = tokio::select! {
            done = self.seeds(hosts, &mut report, events, out) => done.map(|()| Ended::Done)?,
            () = stopped => Ended::Interrupted,
        };
        if let (Ended::Interrupted, Some(found)) = (ended, &mut report.found) {
            found.cut_short.get_or_insert("it was interrupted".to_owned());
        }
        Ok((report, ended))
    }

    async fn seeds<H: Host>(
        &self,
        mut hosts: impl FnMut() -> Result<H, HostError>,
        report: &mut Report,
        events: Events,
        out: &Output,
    ) -> Result<(), CliError> {
        let began = Instant::now();
        let seeds = self.args.seed.map(|_| 1).or(self.args.seeds).unwrap_or(match self.place {
            Where::Command(_) => SEEDS_DEFAULT,
            Where::Given(_) => 1,
        });
        let minutes = self.args.minutes.map(|minutes| Duration::from_secs_f64(minutes.clamp(0.0, 1e6) * 60.0));
        let first = self.args.seed.unwrap_or(self.args.from);
        for seed in first.. {
            let over = match minutes {
                Some(limit) => began.elapsed() >= limit,
                None => seed - first >= seeds.max(1),
            };
            if over {
                break;
            }
            let plan = Plan::draw(seed, &self.wishes);
            let told = match &self.place {
                Where::Command(_) => format!("{} without a finding, now seed {seed}", counted(report.seeds, "seed")),
                Where::Given(addresses) => format!("seed {seed} at {}", addresses.join(", ")),
            };
            let run = with_progress(&told, began, self.seed(&plan, &mut hosts, report)).await?;
            self.events(&run, events, out)?;
            report.elapsed = began.elapsed();
            if let Some(found) = &mut report.found {
                (self.note)(&format!(
                    "seed {seed}: {}\n  again: {}",
                    first_line(&found.finding.sentence()),
                    self.replay(found)
                ));
                if self.wishes.hosting == Hosting::Started {
                    self.look_closer(found, began, &mut hosts).await;
                }
                report.elapsed = began.elapsed();
                break;
            }
        }
        Ok(())
    }

    /// Leaves out of the plan, and then of the block, what the finding does not need.
    async fn look_closer<H: Host>(
        &self,
        found: &mut Found,
        began: Instant,
        hosts: &mut impl FnMut() -> Result<H, HostError>,
    ) {
        let seconds = SHRINK_WITHIN.as_secs();
        (self.note)(&format!(
            "leaving out what it does not need, for {seconds} s at most; Ctrl-C ends that, and what was found is told"
        ));
        let work = shrink(&found.plan, &self.script, &found.finding, SHRINK_WITHIN, hosts);
        match with_progress("leaving out what the finding does not need", began, work).await {
            Ok(shrunk) => found.shrunk = Some(shrunk),
            Err(why) => return found.cut_short = Some(why.text),
        }
        let smallest = found.shrunk.as_ref().and_then(|shrunk| Some((&shrunk.plan, shrunk.run.as_ref()?)));
        let of_hash = |run: &Run| run.finding.as_ref().is_some_and(|it| it.is_of_hash() && it.height.is_some());
        let Some((plan, run)) = smallest.filter(|(_, run)| of_hash(run)) else { return };
        let work = narrow(plan, &self.script, run, NARROW_WITHIN, hosts);
        match with_progress("looking which transactions of the block it needs", began, work).await {
            Ok(narrowed) => found.narrowed = Some(narrowed),
            Err(why) => found.cut_short = Some(why.text),
        }
    }

    /// Tells what was found; the error is the exit code, the sentence and the command to see it again.
    fn conclude(&self, report: &Report, ended: Ended, events: Events, out: &Output) -> Result<(), CliError> {
        if events == Events::Counted && (ended == Ended::Done || report.found.is_some()) {
            out.give(&self.tell(report), &self.as_json(report));
        }
        match (&report.found, ended) {
            (None, Ended::Done) => Ok(()),
            (None, Ended::Interrupted) => Err(interrupted(
                format!(
                    "interrupted after {} without a finding; all instances were ended",
                    counted(report.seeds, "seed")
                ),
                "run it again",
            )),
            (Some(found), _) => Err(CliError::failed(
                format!("seed {}: {}", found.plan.seed, first_line(&found.finding.sentence())),
                self.replay(found),
            )),
        }
    }

    /// One seed, added to the report.
    async fn seed<H: Host>(
        &self,
        plan: &Plan,
        hosts: &mut impl FnMut() -> Result<H, HostError>,
        report: &mut Report,
    ) -> Result<Run, HostError> {
        let mut host = hosts()?;
        let run = rehearse(&mut host, plan, &self.script).await?;
        report.seeds += 1;
        report.heights += plan.heights;
        for (what, times) in &run.coverage {
            *report.coverage.entry(what).or_default() += times;
        }
        for remark in &run.remarks {
            let kind = remark.split(": ").next().unwrap_or_default();
            if !report.remarks.iter().any(|known| known.starts_with(kind)) {
                report.remarks.push(remark.clone());
            }
        }
        if let Some(finding) = &run.finding {
            report.found = Some(Found {
                plan: plan.clone(),
                finding: finding.clone(),
                kept: host.keep(),
                txs: run.txs.clone(),
                shrunk: None,
                narrowed: None,
                cut_short: None,
            });
        }
        Ok(run)
    }

    fn events(&self, run: &Run, events: Events, out: &Output) -> Result<(), CliError> {
        if events == Events::Printed {
            run.lines.iter().for_each(|line| out.line(line));
        }
        match &self.args.trace_file {
            Some(file) => write_trace(file, &run.lines),
            None => Ok(()),
        }
    }
}

/// Says every two seconds that it still runs.
async fn with_progress<T, E: Into<CliError>>(
    what: &str,
    began: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, CliError> {
    tokio::pin!(work);
    let mut next = Instant::now().max(began) + PROGRESS_EVERY;
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(Into::into),
            () = tokio::time::sleep_until(next.into()) => {
                Output::note(&format!("{:>6}  {what}", human_seconds(began.elapsed().as_secs())));
                next = Instant::now() + PROGRESS_EVERY;
            }
        }
    }
}
