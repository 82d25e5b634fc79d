//! A plan in words.

use super::{Conduct, Fault, Misfortune, NodeNr, Plan, Unsynced};
use std::time::Duration;

impl Plan {
    /// The plan for people, line by line.
    pub fn tell(&self) -> String {
        let mut text =
            format!("Seed {}: {}, {} nodes, {} heights.\n", self.seed, self.algorithm, self.nodes.len(), self.heights);
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
        Misfortune::ClockJump { node, by } => {
            format!("the wall clock of node {} jumps by {:.3} s", node.0, *by as f64 / 1e9)
        }
        Misfortune::ClockRate { node, per_mille } => {
            format!("the clocks of node {} run at {:.3} times their speed", node.0, f64::from(*per_mille) / 1000.0)
        }
        Misfortune::AppCrash { node, away } => {
            format!("the application of node {} is away for {}", node.0, span(*away))
        }
        Misfortune::Power { node, power } => format!("a client asks for power {power} for node {}", node.0),
    }
}
