//! `quorate simulate --app`, `--app-command`: somebody's own application, led through faults.

use super::interrupt::interrupted;
use super::{Events, PROGRESS_EVERY, counted, usage, write_trace};
use crate::cli::CliError;
use crate::cli::args::{AppArgs, CALL_TIMEOUT_DEFAULT, SimulateArgs};
use crate::cli::numbers::INSTANCES_MAX;
use crate::cli::output::{Output, human_seconds};
use crate::config::load_genesis;
use crate::rehearsal::{CommandHost, Extensions, GivenHost, Host, HostError, Run, Script, Shrunk, rehearse, shrink};
use crate::sim::app::{Finding, Hosting, Place, Plan, TxSource, Wishes, causes, parse_txs};
use crate::types::GenesisDoc;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Heights of a run when nothing is said.
const HEIGHTS_DEFAULT: u64 = 20;
/// Seeds when nothing is said and we start the application.
const SEEDS_DEFAULT: u64 = 10;
/// Instances when nothing is said.
const INSTANCES_DEFAULT: u8 = 3;
/// Longest time given to shrinking.
const SHRINK_WITHIN: Duration = Duration::from_secs(60);

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
    shrunk: Option<Shrunk>,
}

pub(super) fn run(args: &SimulateArgs, app: &AppArgs, events: Events, out: &Output) -> Result<(), CliError> {
    let task = task(args, app)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| CliError::failed(format!("the system gave no means to wait for sockets: {why}"), "try again"))?;
    let report = runtime.block_on(async {
        let signalled = async {
            // Whatever ends this process, the instances and their homes go first.
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let (mut hangup, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
            Ok::<(), std::io::Error>(())
        };
        tokio::select! {
            report = task.campaign(events, out) => report,
            _ = signalled => Err(interrupted("interrupted; all instances were ended", "run it again")),
        }
    })?;
    if events == Events::Counted {
        out.give(&task.tell(&report), &task.as_json(&report));
    }
    match &report.found {
        None => Ok(()),
        Some(found) => Err(CliError::failed(
            format!("seed {}: {}", found.plan.seed, first_line(&found.finding.sentence())),
            task.replay(found),
        )),
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
    Ok(Task { args, place, wishes, script })
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
    async fn campaign(&self, events: Events, out: &Output) -> Result<Report, CliError> {
        let mut report = Report::default();
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
            if over || report.found.is_some() {
                break;
            }
            let plan = Plan::draw(seed, &self.wishes);
            let told = format!("{} without a finding, now seed {seed}", counted(report.seeds, "seed"));
            match &self.place {
                Where::Command(command) => {
                    let mut hosts = || CommandHost::new(command);
                    let run = with_progress(&told, began, self.seed(&plan, &mut hosts, &mut report)).await?;
                    self.events(&run, events, out)?;
                    if let Some(found) = &mut report.found
                        && self.wishes.only.is_none()
                    {
                        // At once: whoever does not wait for the rest keeps it.
                        Output::note(&format!("found with seed {seed}: {}", found.finding.sentence()));
                        let told = "leaving out what the finding does not need";
                        let work = shrink(&plan, &self.script, &found.finding, SHRINK_WITHIN, &mut hosts);
                        found.shrunk = Some(with_progress(told, began, work).await?);
                    }
                }
                Where::Given(addresses) => {
                    let told = format!("seed {seed} at {}", addresses.join(", "));
                    let mut hosts = || Ok(GivenHost::at(addresses).expect("checked before"));
                    let run = with_progress(&told, began, self.seed(&plan, &mut hosts, &mut report)).await?;
                    self.events(&run, events, out)?;
                }
            }
            report.elapsed = began.elapsed();
        }
        Ok(report)
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
            report.found =
                Some(Found { plan: plan.clone(), finding: finding.clone(), kept: host.keep(), shrunk: None });
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

    // ----------------------------------------------------------------------------------------------- for people

    fn tell(&self, report: &Report) -> String {
        let mut text = format!(
            "{} of {} in {:.1} s, {}.\n",
            counted(report.seeds, "seed"),
            counted(self.wishes.heights, "height"),
            report.elapsed.as_secs_f64(),
            counted(self.wishes.instances.into(), "instance")
        );
        let counts: Vec<String> = report.coverage.iter().map(|(what, times)| format!("{what} {times}")).collect();
        text += &format!("Asked and done: {}.\n", counts.join(", "));
        for remark in &report.remarks {
            text += &format!("Remark: {remark}\n");
        }
        match &report.found {
            Some(found) => text += &self.tell_found(found),
            None => {
                text += "No divergence, and every answer was one a node can use.\n";
                self.not_shown(report).iter().for_each(|what| text += &format!("Not shown: {what}\n"));
            }
        }
        text
    }

    fn tell_found(&self, found: &Found) -> String {
        let mut text = format!("\nFound: {}\n", found.finding.sentence());
        found.finding.before.iter().for_each(|what| text += &format!("  {what}\n"));
        match &found.shrunk {
            Some(Shrunk { run: None, tried, .. }) => {
                text += &format!(
                    "In {tried} more runs of the same it did not come again: it depends on chance or on timing.\n"
                );
            }
            Some(Shrunk { plan, tried, run: Some(run) }) => {
                text += &match plan.faults.len() {
                    0 => {
                        format!("After {tried} more runs: it needs no fault at all, only heights to {}.\n", plan.last())
                    }
                    _ => format!("After {tried} more runs, this is what it needs. {}", plan.tell()),
                };
                if let Some(finding) = &run.finding {
                    text += &format!("Then it reads: {}\n", first_line(&finding.sentence()));
                    finding.before.iter().for_each(|what| text += &format!("  {what}\n"));
                }
            }
            None => {}
        }
        let likely = causes(&found.finding, needed(found));
        if !likely.is_empty() {
            text += "Likely causes:\n";
            likely.iter().for_each(|cause| text += &format!("  - {cause}\n"));
        }
        if let Some(kept) = &found.kept {
            text += &format!("Homes and output of the instances: {}\n", kept.display());
        }
        text + &format!("Again: {}\n", self.replay(found))
    }

    /// What a clean report does not say.
    fn not_shown(&self, report: &Report) -> Vec<&'static str> {
        let none = |what: &str| !report.coverage.contains_key(what);
        let mut list = Vec::new();
        if self.wishes.hosting == Hosting::Given && self.wishes.instances == 1 {
            list.push(
                "divergence between replicas: one instance is compared only with itself, where it is asked twice; \
                       give --app twice, or --app-command",
            );
        }
        if self.wishes.hosting == Hosting::Given {
            list.push(
                "restarts, replays from the first block, snapshots: only --app-command can kill and start instances",
            );
        }
        if self.wishes.calm {
            list.push("faults: --calm leaves them out");
        }
        if none("ExtendVote") {
            list.push("vote extensions: neither genesis nor the application switches them on; try --vote-extensions");
        }
        if none("blocks that changed validators") {
            list.push("validator changes: no transaction led to one; give --txs a file with some, if you have them");
        }
        if !none("no snapshot offered") && none("snapshots restored") {
            list.push("snapshots: ListSnapshots named none");
        }
        list
    }

    /// One command that shows the finding again.
    fn replay(&self, found: &Found) -> String {
        let (app, quoted) = (&self.args.app, |text: &str| format!("'{}'", text.replace('\'', r"'\''")));
        let mut command = "quorate simulate".to_owned();
        match &self.place {
            Where::Command(line) => command += &format!(" --app-command {}", quoted(line)),
            Where::Given(addresses) => addresses.iter().for_each(|address| command += &format!(" --app {address}")),
        }
        let plan = found.shrunk.as_ref().filter(|shrunk| shrunk.run.is_some()).map_or(&found.plan, |it| &it.plan);
        command += &format!(" --seed {} --heights {}", plan.seed, plan.heights);
        if self.wishes.hosting == Hosting::Started && self.args.nodes.is_some() {
            command += &format!(" --nodes {}", self.wishes.instances);
        }
        if plan.faults.is_empty() {
            command += " --calm";
        } else if plan != &found.plan || self.wishes.only.is_some() {
            let numbers: Vec<String> = plan.faults.iter().map(|fault| fault.number.to_string()).collect();
            command += &format!(" --only {}", numbers.join(","));
        }
        for (flag, file) in [("--txs", &app.txs), ("--genesis", &app.genesis)] {
            file.iter().for_each(|file| command += &format!(" {flag} {}", quoted(&file.display().to_string())));
        }
        if app.vote_extensions {
            command += " --vote-extensions";
        }
        if app.call_timeout != CALL_TIMEOUT_DEFAULT {
            command += &format!(" --call-timeout {}", app.call_timeout);
        }
        command
    }

    // --------------------------------------------------------------------------------------------- for programs

    fn as_json(&self, report: &Report) -> Value {
        let found = report.found.as_ref().map(|found| {
            let finding = &found.finding;
            let (index, tx) = match &finding.place {
                Place::Block => (None, None),
                Place::Tx { index, tx } => (Some(index), Some(hex::encode(tx))),
            };
            let shrunk = found.shrunk.as_ref().map(|shrunk| {
                json!({
                    "came_again": shrunk.run.is_some(),
                    "runs": shrunk.tried,
                    "plan": shrunk.plan.tell().lines().collect::<Vec<_>>(),
                })
            });
            json!({
                "seed": found.plan.seed,
                "kind": finding.kind.name(),
                "height": finding.height,
                "transaction": index,
                "tx": tx,
                "call": finding.call,
                "field": finding.field,
                "what": finding.sentence(),
                "before": finding.before,
                "likely_causes": causes(finding, needed(found)),
                "smallest": shrunk,
                "kept": found.kept,
                "replay": self.replay(found),
            })
        });
        json!({
            "seeds": report.seeds,
            "heights": report.heights,
            "instances": self.wishes.instances,
            "seconds": report.elapsed.as_secs_f64(),
            "coverage": report.coverage,
            "remarks": report.remarks,
            "not_shown": self.not_shown(report),
            "finding": found,
        })
    }
}

/// Without what the application printed.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches("; its last output:")
}

/// The faults a finding does not happen without.
fn needed(found: &Found) -> Option<&[crate::sim::app::Fault]> {
    found.shrunk.as_ref().filter(|shrunk| shrunk.run.is_some()).map(|shrunk| shrunk.plan.faults.as_slice())
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
