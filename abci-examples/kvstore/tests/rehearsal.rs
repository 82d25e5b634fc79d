//! The real program led through what 20 seeds of `quorate simulate --app-command` draw: killed, restarted, compared.

use quorate::rehearsal::{CommandHost, Extensions, Script, rehearse};
use quorate::sim::app::{Hosting, Plan, TxSource, Wishes};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 20;

#[tokio::test]
async fn twenty_seeds_of_kills_replays_and_proposals_find_nothing() {
    let command = format!("exec {} --address {{address}} --home {{home}}/data", env!("CARGO_BIN_EXE_kvstore"));
    let wishes = Wishes { hosting: Hosting::Started, instances: 3, heights: 10, initial: 1, calm: false, only: None };
    let script = Script {
        call_timeout: Duration::from_secs(30),
        txs: TxSource::Drawn,
        genesis: None,
        extensions: Extensions::FromTheStart,
    };
    let mut coverage = BTreeMap::new();
    for seed in 0..SEEDS {
        let plan = Plan::draw(seed, &wishes);
        let run = rehearse(&mut CommandHost::new(&command).unwrap(), &plan, &script).await.unwrap();
        assert_eq!(run.finding, None, "{}", plan.tell());
        for (what, times) in run.coverage {
            *coverage.entry(what).or_insert(0) += times;
        }
    }
    assert!(coverage["kills"] >= SEEDS && coverage["replays from the first block"] == SEEDS, "{coverage:?}");
}
