//! A plan in words.

use super::disk::{FailedSync, Kind, Trouble};
use super::{
    Conduct, DeathOfApp, Fault, Keeps, LastRequest, Misfortune, NodeNr, Plan, RotPlace, SignerMood, SlowPart, Unsynced,
    Upheaval, Whose, Woe, WrongAnswer,
};
use std::time::Duration;

impl Plan {
    /// The plan for people, line by line.
    pub fn tell(&self) -> String {
        let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (nodes, heights) = (counted(self.nodes.len() as u64, "node"), counted(self.heights, "height"));
        let mut text = format!("Seed {}: {}, {nodes}, {heights}.\n", self.seed, self.algorithm);
        for (nr, node) in self.nodes.iter().enumerate() {
            let conduct = match &node.conduct {
                Conduct::Honest => String::new(),
                Conduct::Liar(lies) => format!(", lies: {lies:?}"),
                Conduct::TwinOf(other) => format!(", has the key of node {}", other.0),
            };
            if node.power != 1 || node.conduct != Conduct::Honest {
                text += &format!("  node {nr}: power {}{conduct}\n", node.power);
            }
        }
        let weather = &self.weather;
        text += &format!(
            "Packets take {} to {}; of a hundred {} are lost and {} doubled, of a thousand {} come again.\n",
            span(weather.delay_min),
            span(weather.delay_max),
            weather.lost,
            weather.doubled,
            weather.replayed
        );
        for fault in &self.faults {
            text += &format!("  {:>9.3} s  {}\n", fault.at.0 as f64 / 1e9, tell(fault));
        }
        text + &format!("After {:.3} s there are no faults any more.\n", self.heal_at.0 as f64 / 1e9)
    }
}

fn span(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.3} s", time.as_secs_f64())
    }
}

fn tell(fault: &Fault) -> String {
    let kept = |unsynced: &Unsynced| match unsynced {
        Unsynced::Kept => "keeps what it wrote",
        Unsynced::Lost => "may lose what it did not sync",
    };
    match &fault.what {
        Misfortune::Crash { node, after_effects, unsynced, away } => {
            format!(
                "node {} dies {after_effects} effects later, {}, is back after {}",
                node.0,
                kept(unsynced),
                span(*away)
            )
        }
        Misfortune::DiskCrash { node, after_operations, unsynced, away } => format!(
            "node {} dies {after_operations} operations of its disk later, {}, is back after {}",
            node.0,
            kept(unsynced),
            span(*away)
        ),
        Misfortune::Blackout { away } => format!("the power of all goes for {}", span(*away)),
        Misfortune::Pause { node, lasting } => format!("node {} stands still for {}", node.0, span(*lasting)),
        Misfortune::Cut { links, lasting } => {
            let link = |(from, to): &(NodeNr, NodeNr)| format!("{}→{}", from.0, to.0);
            let links: Vec<String> = links.iter().map(link).collect();
            format!("cut for {}: {}", span(*lasting), links.join(" "))
        }
        Misfortune::Unplugged { node, lasting } => {
            format!("node {} loses all its connections for {}", node.0, span(*lasting))
        }
        Misfortune::ClockJump { node, by } => {
            format!("the wall clock of node {} jumps by {:.3} s", node.0, *by as f64 / 1e9)
        }
        Misfortune::ClockRate { node, per_mille } => {
            format!("the clocks of node {} run at {:.3} times their speed", node.0, f64::from(*per_mille) / 1000.0)
        }
        Misfortune::AppCrash { node, away } => {
            format!("the application of node {} is away for {}", node.0, span(*away))
        }
        Misfortune::Woe { node, woe } => format!("node {}: {}", node.0, tell_woe(woe)),
        Misfortune::Power { node, power } => format!("a client asks for power {power} for node {}", node.0),
    }
}

fn tell_woe(woe: &Woe) -> String {
    match woe {
        Woe::Disk(trouble) => tell_trouble(trouble),
        Woe::Signer { mood, lasting } => {
            let does = match mood {
                SignerMood::Refuses => "refuses to sign",
                SignerMood::Away => "cannot be reached",
                SignerMood::AnswersAreLost => "signs, and its answers are lost,",
            };
            format!("the signer {does} for {}", span(*lasting))
        }
        Woe::AppHangs { lasting } => format!("the application answers nothing for {}", span(*lasting)),
        Woe::AppRefuses { lasting } => format!("the application refuses every block for {}", span(*lasting)),
        Woe::AppErrs { answer, whose, away } => {
            let whose = match whose {
                Whose::One => "the application answers",
                Whose::All => "and all others: the application answers",
            };
            format!("{whose} {}; mending it takes {}", tell_answer(*answer), span(*away))
        }
        Woe::AppDiverges => "the application computes another hash from here on".to_owned(),
        Woe::ProgramsDiffer { with } => {
            let others: String = with.iter().map(|node| format!(", that of node {}", node.0)).collect();
            format!("the application{others} compute another hash from here on")
        }
        Woe::Slow { what, takes, lasting } => {
            let what = match what {
                SlowPart::App => "one call in four of the application takes",
                SlowPart::Disk => "each sync takes",
                SlowPart::Signer => "each signature takes",
            };
            format!("{what} {} longer for {}", span(*takes), span(*lasting))
        }
        Woe::Upheaval(upheaval) => format!("a client asks for {}", tell_upheaval(*upheaval)),
        Woe::Rot { place, away } => {
            let place = match place {
                RotPlace::Journal => "journal",
                RotPlace::Store => "store",
                RotPlace::SignState => "sign state",
            };
            format!("a bit of the {place} rots, is back after {}", span(*away))
        }
        Woe::Wiped { keeps, away } => {
            let keeps = match keeps {
                Keeps::Nothing => "everything",
                Keeps::Key => "everything but its key",
                Keeps::SignState => "everything but its key and sign state",
            };
            format!("loses {keeps}, is back after {}", span(*away))
        }
        Woe::AppDies { asked, last, forgets, away, when } => {
            let when = match when {
                DeathOfApp::AtWork => "",
                DeathOfApp::InHandshake => "now, and then ",
            };
            let last = match last {
                LastRequest::Undone => "before",
                LastRequest::Done => "after",
            };
            format!(
                "the application dies {when}{last} request {} of consensus, has lost {forgets} commits, is back after {}",
                asked + 1,
                span(*away)
            )
        }
    }
}

fn tell_answer(answer: WrongAnswer) -> &'static str {
    match answer {
        WrongAnswer::TooManyResults => "with a result too much",
        WrongAnswer::NoValidators => "that no validator is left",
        WrongAnswer::TooMuchPower => "with too much power",
        WrongAnswer::NotReadable => "what nobody can read",
        WrongAnswer::TwiceTheSame => "with a validator twice in one change",
        WrongAnswer::RemovesAStranger => "that somebody is removed who is no validator",
    }
}

fn tell_upheaval(upheaval: Upheaval) -> &'static str {
    match upheaval {
        Upheaval::OnlyOne => "one validator to be left",
        Upheaval::Half => "every second validator to go",
        Upheaval::Exchange => "others to take the place of all validators",
        Upheaval::NearlyTooMuch => "as much power as there may be",
        Upheaval::Proposer => "the proposer of the block to go",
        Upheaval::Everybody => "everybody to be a validator",
    }
}

fn tell_trouble(trouble: &Trouble) -> String {
    let name = |kind: &Kind| match kind {
        Kind::Read => "reads",
        Kind::Write => "writes",
        Kind::Sync => "syncs",
        Kind::Names => "changes of directories",
    };
    match trouble {
        Trouble::Fails { kind, skip, times, leaves } => {
            let times = if *times == u64::MAX { "all".to_owned() } else { times.to_string() };
            let left = match leaves {
                FailedSync::LeavesNothing => "nothing",
                FailedSync::LeavesEverything => "everything",
            };
            let name = name(kind);
            format!("after {skip} {name} {times} of them fail; a sync that fails leaves {left}")
        }
        Trouble::Full { bytes } => format!("the disk has room for {bytes} bytes"),
        Trouble::Short { bytes } => format!("no read and no write handles more than {bytes} bytes at once"),
        Trouble::Slow { kind, each } => format!("{} take {}", name(kind), span(*each)),
    }
}
