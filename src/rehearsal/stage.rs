//! A run from the first Info to the last replay.

use super::calls::Stop;
use super::host::{Host, HostError, Life};
use super::instance::Instance;
use super::narrow::Thinned;
use super::{Extensions, Run, Script};
use crate::abci::{Options, SocketApp, TimeLimits, connect};
use crate::ports::{App as _, AppError, Connection};
use crate::sim::Dice;
use crate::sim::app::{Chain, Decided, Finding, Hosting, InstanceNr, Kind, Misfortune, Place, Plan, TxSource, genesis};
use crate::types::Height;
use crate::types::abci::{Request, Response};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An application has at least this long to start; interpreters and large states take their time.
const START_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether an application that should start has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most remarks of a run.
pub(super) const REMARKS_MAX: usize = 20;
/// Most lines kept of a run.
const LINES_MAX: usize = 1_000_000;

/// Everything of one run.
pub(super) struct Stage<'a, H> {
    pub(super) host: &'a mut H,
    pub(super) plan: &'a Plan,
    pub(super) script: &'a Script,
    /// A block some transactions are left out of.
    pub(super) thinned: Option<&'a Thinned<'a>>,
    pub(super) chain: Chain,
    pub(super) instances: Vec<Instance>,
    pub(super) txs: TxSource,
    /// Admitted by some instance, not yet in a block.
    pub(super) waiting: Vec<Bytes>,
    pub(super) run: Run,
}

impl<'a, H: Host> Stage<'a, H> {
    pub(super) fn new(
        host: &'a mut H,
        plan: &'a Plan,
        script: &'a Script,
        thinned: Option<&'a Thinned<'a>>,
    ) -> Stage<'a, H> {
        let mut beginning = script.genesis.clone().unwrap_or_else(|| genesis(plan));
        if script.extensions == Extensions::FromTheStart {
            beginning.consensus_params.abci.vote_extensions_enable_height = Some(beginning.initial_height);
        }
        Stage {
            host,
            plan,
            script,
            thinned,
            chain: Chain::new(beginning),
            instances: Vec::new(),
            txs: script.txs.clone(),
            waiting: Vec::new(),
            run: Run::default(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Run, HostError> {
        let outcome = self.play().await;
        let all: Vec<InstanceNr> = self.instances.iter().map(|instance| instance.nr).collect();
        for nr in all {
            self.let_go(nr);
        }
        match outcome {
            Ok(()) => {}
            Err(Stop::Found(finding)) => {
                let block = finding.height.and_then(|height| self.chain.at(height));
                self.run.txs = block.map(Decided::txs).unwrap_or_default();
                self.run.finding = Some(*finding);
            }
            Err(Stop::Host(error)) => return Err(error),
        }
        Ok(self.run)
    }

    async fn play(&mut self) -> Result<(), Stop> {
        for _ in 0..self.plan.instances {
            let nr = self.new_instance().await?;
            self.greet(nr).await?;
        }
        for height in self.plan.initial..=self.plan.last() {
            self.height(height).await?;
        }
        self.replay_everything().await
    }

    /// A new instance must have nothing, and gets everything there is so far.
    async fn greet(&mut self, nr: InstanceNr) -> Result<(), Stop> {
        let info = self.info(nr).await?;
        if info.last_block_height != 0 {
            return Err(Stop::Host(HostError::NotFresh { instance: nr, height: info.last_block_height }));
        }
        self.handshake(nr, (0, 0)).await
    }

    /// A new node that gets the whole chain from others: what it computes must be what was computed then.
    async fn replay_everything(&mut self) -> Result<(), Stop> {
        for nr in self.away() {
            self.come_back(nr).await?;
        }
        if self.host.hosting() == Hosting::Given || self.chain.tip() == 0 {
            return Ok(());
        }
        let nr = self.new_instance().await?;
        self.note(nr, "is new and replays all blocks from the first".to_owned());
        self.count("replays from the first block");
        let tip = self.chain.tip();
        self.handshake(nr, (tip, tip)).await
    }

    // ------------------------------------------------------------------------------------------------- instances

    pub(super) async fn new_instance(&mut self) -> Result<InstanceNr, Stop> {
        let nr = InstanceNr(self.instances.len() as u16);
        self.instances.push(Instance::new(nr));
        self.start(nr).await?;
        Ok(nr)
    }

    pub(super) async fn start(&mut self, nr: InstanceNr) -> Result<(), Stop> {
        let environment = self.environment(nr);
        let address = self.host.start(nr, &environment)?;
        let lives = self.instance(nr).lives;
        self.instance(nr).environment = environment;
        match self.connect(nr, &address).await {
            Ok(app) => {
                let instance = self.instance(nr);
                (instance.app, instance.address, instance.lives) = (Some(app), Some(address), lives + 1);
                Ok(())
            }
            Err(error) if lives == 0 => Err(error.into()),
            Err(error) => Err(self.gone(nr, "start", "it was killed", &error)),
        }
    }

    /// It ran before and cannot be reached any more.
    fn gone(&mut self, nr: InstanceNr, call: &'static str, after: &str, error: &HostError) -> Stop {
        let before = vec![self.instance(nr).story()];
        self.found(Finding {
            kind: Kind::Crash,
            height: Some(self.chain.tip()),
            place: Place::Block,
            call,
            field: None,
            what: format!("it does not come back after {after}: {error}"),
            before,
        })
    }

    /// The same process, other connections.
    pub(super) async fn reconnect(&mut self, nr: InstanceNr) -> Result<(), Stop> {
        if let Some(app) = self.instance(nr).app.take() {
            app.close("the connections are broken on purpose");
        }
        let address = self.instance(nr).address.clone().expect("it was connected to before");
        match self.connect(nr, &address).await {
            Ok(app) => self.instance(nr).app = Some(app),
            Err(error) => return Err(self.gone(nr, "reconnect", "its connections were broken", &error)),
        }
        Ok(())
    }

    async fn connect(&mut self, nr: InstanceNr, address: &crate::abci::Address) -> Result<SocketApp, HostError> {
        let limit = Some(self.script.call_timeout);
        let time_limits = TimeLimits { consensus: limit, mempool: limit, query: limit, snapshot: limit };
        let options = Options { time_limits, waiting: Arc::new(|_| {}), ..Options::default() };
        let connecting = connect(address.clone(), options);
        tokio::pin!(connecting);
        let (began, within) = (Instant::now(), self.script.call_timeout.max(START_WITHIN));
        loop {
            if let Ok(app) = tokio::time::timeout(LOOK_EVERY, &mut connecting).await {
                return Ok(app);
            }
            if let Life::Ended(how) = self.host.life(nr) {
                return Err(HostError::EndedAtOnce { instance: nr, address: address.clone(), how });
            }
            if began.elapsed() > within {
                let (address, seconds) = (address.clone(), within.as_secs());
                let (words, advice) = (self.host.last_words(nr), self.host.advice());
                return Err(HostError::NotListening { instance: nr, address, seconds, words, advice });
            }
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, nr: InstanceNr) {
        self.host.kill(nr);
        if let Some(app) = self.instance(nr).app.take() {
            app.close("the application is killed on purpose");
        }
    }

    /// It is not needed any more.
    pub(super) fn let_go(&mut self, nr: InstanceNr) {
        self.kill(nr);
        self.instance(nr).back_at = None;
    }

    /// Who can be asked.
    pub(super) fn present(&self) -> Vec<InstanceNr> {
        self.instances.iter().filter(|instance| instance.app.is_some()).map(|instance| instance.nr).collect()
    }

    /// Who was killed and shall come back.
    fn away(&self) -> Vec<InstanceNr> {
        self.instances.iter().filter(|instance| instance.back_at.is_some()).map(|instance| instance.nr).collect()
    }

    /// Those whose absence ends at a height.
    pub(super) fn due(&self, height: u64) -> Vec<InstanceNr> {
        let due = |instance: &&Instance| instance.back_at.is_some_and(|back| back <= height);
        self.instances.iter().filter(due).map(|instance| instance.nr).collect()
    }

    /// Starts again and gets what it missed.
    pub(super) async fn come_back(&mut self, nr: InstanceNr) -> Result<(), Stop> {
        self.instance(nr).back_at = None;
        self.start(nr).await?;
        let tip = self.chain.tip();
        self.handshake(nr, (tip, tip)).await
    }

    pub(super) fn instance(&mut self, nr: InstanceNr) -> &mut Instance {
        &mut self.instances[nr.index()]
    }

    /// Time zone and the like, where the plan says that this instance has others.
    fn environment(&self, nr: InstanceNr) -> Vec<(&'static str, String)> {
        let other = |fault: &Misfortune| matches!(fault, Misfortune::Environment { instance } if *instance == nr);
        if !self.plan.faults.iter().any(|fault| other(&fault.what)) {
            return Vec::new();
        }
        let mut dice = self.plan.dice("environment", u64::from(nr.0));
        let one_of = |dice: &mut Dice, values: &[&str]| dice.pick(values).copied().unwrap_or_default().to_owned();
        vec![
            ("TZ", one_of(&mut dice, &["Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Marquesas"])),
            ("LC_ALL", one_of(&mut dice, &["C", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8"])),
            ("PYTHONHASHSEED", dice.between(1, 4_000_000).to_string()),
            ("GOMAXPROCS", one_of(&mut dice, &["1", "2", "8"])),
        ]
    }

    // ----------------------------------------------------------------------------------------------- bookkeeping

    pub(super) fn note(&mut self, nr: InstanceNr, what: String) {
        self.line(|| format!("{nr} {what}"));
        self.instance(nr).note(what);
    }

    pub(super) fn line(&mut self, line: impl FnOnce() -> String) {
        if self.run.lines.len() < LINES_MAX {
            self.run.lines.push(line());
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.run.coverage.entry(what).or_default() += 1;
    }

    /// What stops no chain; each kind once.
    pub(super) fn remark(&mut self, kind: &str, what: impl FnOnce() -> String) {
        let known = self.run.remarks.iter().any(|remark| remark.starts_with(kind));
        if !known && self.run.remarks.len() < REMARKS_MAX {
            self.run.remarks.push(format!("{kind}: {}", what()));
        }
    }

    pub(super) fn found(&self, finding: Finding) -> Stop {
        Stop::Found(Box::new(finding))
    }

    pub(super) async fn send(
        &mut self,
        nr: InstanceNr,
        connection: Connection,
        request: Request,
    ) -> Result<Response, AppError> {
        let (method, height) = (request.method(), request.height());
        let Some(app) = self.instance(nr).app.clone() else {
            let why = "it is not connected".to_owned();
            return Err(AppError::Gone { connection, method, height, why });
        };
        let mut answers = app.call(connection, vec![request]).await?;
        let nothing = || AppError::BadAnswer { method, height, why: "there is none".to_owned() };
        answers.pop().ok_or_else(nothing)
    }

    /// The height of a call, for messages.
    pub(super) fn height_of(&self, height: Option<Height>) -> Option<u64> {
        height.map(Height::get)
    }
}
