//! What a rehearsal found, for people and for programs.

use super::{Found, Report, Task, Where, counted};
use crate::cli::args::CALL_TIMEOUT_DEFAULT;
use crate::rehearsal::{End, Narrowed, Shrunk};
use crate::sim::app::{Fault, Finding, Hosting, Misfortune, Place, causes, numbered};
use bytes::Bytes;
use serde_json::{Value, json};

/// Most transactions of a block that are shown.
const TXS_SHOWN_MAX: usize = 12;

impl Task<'_> {
    pub(super) fn tell(&self, report: &Report) -> String {
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
        text += &found.shrunk.as_ref().map(tell_shrunk).unwrap_or_default();
        text += &tell_block(found);
        let likely = causes(&found.finding, self.needed(found));
        if !likely.is_empty() {
            text += "Likely causes:\n";
            likely.iter().for_each(|cause| text += &format!("  - {cause}\n"));
        }
        found.cut_short.iter().for_each(|why| text += &format!("Not all was tried: {why}\n"));
        if let Some(kept) = &found.kept {
            text += &format!("Homes and output of the instances: {}\n", kept.display());
        }
        text + &format!("Again: {}\n", self.replay(found))
    }

    /// The faults a finding does not happen without, as far as that is known: what is left of the plan, or what somebody
    /// chose, knowing that it is enough.
    fn needed<'a>(&self, found: &'a Found) -> Option<&'a [Fault]> {
        match &found.shrunk {
            Some(shrunk) if shrunk.run.is_some() && shrunk.end == End::Smallest => Some(&shrunk.plan.faults),
            Some(shrunk) if shrunk.run.is_none() => None,
            _ => (self.wishes.only.is_some() || self.wishes.calm).then_some(found.plan.faults.as_slice()),
        }
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
    pub(super) fn replay(&self, found: &Found) -> String {
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

    pub(super) fn as_json(&self, report: &Report) -> Value {
        let found = report.found.as_ref().map(|found| {
            let finding = &found.finding;
            let (index, tx) = match &finding.place {
                Place::Block => (None, None),
                Place::Tx { index, tx } => (Some(index), Some(hex::encode(tx))),
            };
            let shrunk = found.shrunk.as_ref().map(|shrunk| {
                json!({
                    "came_again": shrunk.run.is_some(),
                    "all_tried": shrunk.end == End::Smallest,
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
                "likely_causes": causes(finding, self.needed(found)),
                "block": block_as_json(found),
                "cut_short": found.cut_short,
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
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches("; its last output:")
}

/// What is left of the plan when what the finding does not need is gone.
fn tell_shrunk(shrunk: &Shrunk) -> String {
    let Shrunk { plan, run: Some(run), tried, end } = shrunk else {
        let runs = counted(shrunk.tried.into(), "more run");
        return format!("In {runs} of the same it did not come again: it depends on chance or on timing.\n");
    };
    let mut text = match (plan.faults.len(), end) {
        (0, _) => format!("After {tried} more runs: it needs no fault at all, only heights to {}.\n", plan.last()),
        (_, End::Smallest) => format!("After {tried} more runs, this is what it needs. {}", plan.tell()),
        (_, End::OutOfTime) => {
            format!(
                "After {tried} more runs the time was over; this is left, and may be more than it needs. {}",
                plan.tell()
            )
        }
    };
    let environment = |fault: &Fault| matches!(fault.what, Misfortune::Environment { .. });
    if *end == End::Smallest && !plan.faults.is_empty() && plan.faults.iter().all(environment) {
        text += "With the same environment in all instances it does not come.\n";
    }
    if let Some(finding) = &run.finding {
        text += &format!("Then it reads: {}\n", first_line(&finding.sentence()));
        finding.before.iter().for_each(|what| text += &format!("  {what}\n"));
    }
    text
}

/// The run that says most about the finding: the smallest one's finding and block, or the first one's.
fn closest(found: &Found) -> (&Finding, &[Bytes]) {
    let smallest = found.shrunk.as_ref().and_then(|shrunk| shrunk.run.as_ref());
    match smallest.and_then(|run| Some((run.finding.as_ref()?, run.txs.as_slice()))) {
        Some(closest) => closest,
        None => (&found.finding, &found.txs),
    }
}

/// A hash names no transaction: those it comes from, or at least those there were.
fn tell_block(found: &Found) -> String {
    let (finding, txs) = closest(found);
    let Some(height) = finding.height.filter(|_| finding.is_of_hash()) else { return String::new() };
    let all = listed(txs.iter().enumerate());
    let count = counted(txs.len() as u64, "transaction");
    match &found.narrowed {
        _ if txs.is_empty() => format!(
            "Block {height} has no transactions: it comes from state of earlier blocks, or from outside the blocks.\n"
        ),
        Some(Narrowed::To { places, tried }) => {
            let needed = listed(places.iter().filter_map(|place| Some((*place, txs.get(*place)?))));
            format!("Of the {count} of block {height} it needs only {needed} ({tried} more runs).\n")
        }
        Some(Narrowed::NeedsNone) => format!(
            "It comes also when block {height} has none of its {count}: from state of earlier blocks, or from outside \
             the blocks. They were {all}.\n"
        ),
        Some(Narrowed::Unclear { tried }) => format!(
            "Which of the {count} of block {height} it comes from is not known: in {tried} runs with fewer of them it did \
             not come again, so it needs all of them, state of earlier blocks, or chance. They were {all}.\n"
        ),
        None => format!("Which of the {count} of block {height} it comes from was not tried. They were {all}.\n"),
    }
}

/// Transactions by their places, in one line.
fn listed<'a>(txs: impl Iterator<Item = (usize, &'a Bytes)>) -> String {
    let all: Vec<String> = txs.map(|(place, tx)| numbered(place, tx)).collect();
    match all.len().saturating_sub(TXS_SHOWN_MAX) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..TXS_SHOWN_MAX].join(", ")),
    }
}

/// The block of a difference in a hash, and which of its transactions it needs.
fn block_as_json(found: &Found) -> Option<Value> {
    let (finding, txs) = closest(found);
    let height = finding.height.filter(|_| finding.is_of_hash())?;
    let needed = match &found.narrowed {
        Some(Narrowed::To { places, .. }) => Some(places.clone()),
        Some(Narrowed::NeedsNone) => Some(Vec::new()),
        Some(Narrowed::Unclear { .. }) | None => None,
    };
    Some(json!({ "height": height, "txs": txs.iter().map(hex::encode).collect::<Vec<_>>(), "needed": needed }))
}
