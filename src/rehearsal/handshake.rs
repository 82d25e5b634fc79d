//! Info, InitChain, replay: what the node does with an application that (again) answers (reference §3.7).

use super::calls::Stop;
use super::host::Host;
use super::instance::Instance;
use super::stage::Stage;
use crate::pipeline::recover::{HandshakeError, SavedResults, Situation, Step, plan};
use crate::pipeline::requests;
use crate::ports::Connection;
use crate::sim::app::compare::{self, Difference, Differences, brief};
use crate::sim::app::{Finding, Given, InstanceNr, Kind, Place};
use crate::types::Height;
use crate::types::abci::{FinalizeBlockResponse, InfoResponse, Request, Response};

/// Most fields named beside the first one that differs.
const MORE_SHOWN_MAX: usize = 4;

impl<H: Host> Stage<'_, H> {
    /// Brings an instance to the newest block. `at` is the node's own store and state.
    pub(super) async fn handshake(&mut self, nr: InstanceNr, at: (u64, u64)) -> Result<(), Stop> {
        let info = self.info(nr).await?;
        self.check_info(nr, &info)?;
        let (store, state) = (Height::new(at.0), Height::new(at.1));
        let initial = Height::new(self.chain.initial());
        let base = if at.0 == 0 { Height::ZERO } else { initial };
        let situation =
            Situation { base, store, state, app: info.last_block_height, initial, results: SavedResults::Present };
        let steps = match plan(&situation) {
            Ok(steps) => steps,
            Err(error) => return Err(self.refused_info(nr, &error)),
        };
        self.instance(nr).committed = u64::try_from(info.last_block_height).unwrap_or_default();
        self.instance(nr).committing = None;
        for step in steps {
            match step {
                Step::InitChain => self.init_chain(nr, &info).await?,
                Step::ReplayOnly { first, last } => {
                    self.count("replays after a restart");
                    for height in first.get()..=last.get() {
                        self.replay(nr, height).await?;
                    }
                }
                Step::Apply(height) => self.replay(nr, height.get()).await?,
                Step::ApplyWithSavedResults(_) | Step::AssertAppHash | Step::Reindex(_) => {}
            }
        }
        Ok(())
    }

    /// A height it cannot have, or another hash than the chain's.
    fn check_info(&mut self, nr: InstanceNr, info: &InfoResponse) -> Result<(), Stop> {
        let (committed, committing) = (self.instance(nr).committed, self.instance(nr).committing);
        let Ok(height) = u64::try_from(info.last_block_height) else {
            return Err(self.refused_info(nr, &HandshakeError::NegativeHeight { app: info.last_block_height }));
        };
        if height > committing.unwrap_or(committed) {
            let sentence = format!(
                "Info says last_block_height {height}, but Commit was answered for {committed} only: what FinalizeBlock \
                 makes must not show before Commit. A node that comes back now takes block {height} for committed and \
                 never sends its Commit; one that had not saved the answer to FinalizeBlock cannot start at all"
            );
            return Err(self.conformance(nr, "Info", Some(height), Some("last_block_height"), sentence));
        }
        if height < committed {
            let name = self.instance(nr).name();
            self.remark("Commit does not last", || {
                format!(
                    "{name} answered Commit of height {committed} and came back at height {height}; the node replays, \
                     but one that has pruned those blocks could not"
                )
            });
        }
        self.check_hash(nr, height, info)
    }

    pub(super) fn check_hash(&mut self, nr: InstanceNr, height: u64, info: &InfoResponse) -> Result<(), Stop> {
        let expected = if height == 0 { None } else { self.chain.app_hash(height) };
        let Some(expected) = expected.filter(|expected| *expected != info.last_block_app_hash) else { return Ok(()) };
        let error = HandshakeError::AppHash {
            height: Height::new(height),
            app: brief(&info.last_block_app_hash),
            chain: brief(&expected),
        };
        let what = format!(
            "last_block_app_hash of Info is {} in {} and FinalizeBlock gave app_hash {}. The node stops: {error}",
            brief(&info.last_block_app_hash),
            self.instance(nr).name(),
            brief(&expected),
        );
        let before = vec![self.instance(nr).story()];
        let field = Some("last_block_app_hash");
        let (kind, height, place, call) = (Kind::Divergence, Some(height), Place::Block, "Info");
        Err(self.found(Finding { kind, height, place, call, field, what, before }))
    }

    fn refused_info(&mut self, nr: InstanceNr, error: &HandshakeError) -> Stop {
        let tip = Some(self.chain.tip()).filter(|tip| *tip > 0);
        self.conformance(nr, "Info", tip, Some("last_block_height"), error.to_string())
    }

    async fn init_chain(&mut self, nr: InstanceNr, info: &InfoResponse) -> Result<(), Stop> {
        let request = match requests::init_chain(self.chain.genesis()) {
            Ok(request) => Request::InitChain(request),
            Err(why) => {
                let error = HandshakeError::Validators { source_name: "genesis.json", why };
                return Err(self.conformance(nr, "InitChain", None, None, error.to_string()));
            }
        };
        let answer = match self.ask(nr, Connection::Consensus, request).await? {
            Response::InitChain(answer) => answer,
            other => return Err(self.another(nr, "init_chain", None, &other)),
        };
        let by = self.instance(nr).name();
        match self.chain.init() {
            None => match self.chain.begin(Given { nr, by, answer }, info.app_version) {
                Ok(()) => Ok(()),
                Err(error) => Err(self.conformance(nr, "InitChain", None, None, error.to_string())),
            },
            Some(first) => {
                let (by, found) = ((first.nr, first.by.clone()), compare::init_chain(&first.answer, &answer));
                self.judge(nr, by, "InitChain", None, found)
            }
        }
    }

    /// FinalizeBlock and Commit of a block that others executed before, or this one in an earlier life.
    async fn replay(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        self.finalize(nr, height).await?;
        self.commit(nr, height).await
    }

    /// FinalizeBlock of a decided block; the first answer is the measure of all later ones.
    pub(super) async fn finalize(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        let Some(request) = self.chain.at(height).map(|decided| decided.request()) else { return Ok(()) };
        let answer = match self.ask(nr, Connection::Consensus, request).await? {
            Response::FinalizeBlock(answer) => answer,
            other => return Err(self.another(nr, "finalize_block", Some(Height::new(height)), &other)),
        };
        self.finalized(nr, height, answer)
    }

    pub(super) fn finalized(&mut self, nr: InstanceNr, height: u64, answer: FinalizeBlockResponse) -> Result<(), Stop> {
        let by = self.instance(nr).name();
        let Some(decided) = self.chain.at(height) else { return Ok(()) };
        match &decided.first {
            Some(first) => {
                let by = (first.nr, first.by.clone());
                let found = compare::finalize_block(&decided.txs(), &first.answer, &answer);
                self.judge(nr, by, "FinalizeBlock", Some(height), found)
            }
            None => match self.chain.answered(Given { nr, by, answer }) {
                Ok(()) => Ok(()),
                Err(error) => Err(self.conformance(nr, "FinalizeBlock", Some(height), None, error.to_string())),
            },
        }
    }

    pub(super) async fn commit(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        match self.ask(nr, Connection::Consensus, Request::Commit).await? {
            Response::Commit(answer) => {
                self.committed(nr, height);
                if crate::pipeline::execute::prune_below(answer.retain_height, Height::new(height)).is_err() {
                    let asked = answer.retain_height;
                    self.remark("retain_height is too high", || {
                        format!("Commit of height {height} asks for {asked}; a node removes nothing then")
                    });
                }
                Ok(())
            }
            other => Err(self.another(nr, "commit", Some(Height::new(height)), &other)),
        }
    }

    pub(super) fn committed(&mut self, nr: InstanceNr, height: u64) {
        let instance = self.instance(nr);
        (instance.committed, instance.committing) = (height, None);
    }

    /// Two answers to one question are held against each other.
    fn judge(
        &mut self,
        nr: InstanceNr,
        (first_nr, first_by): (InstanceNr, String),
        call: &'static str,
        height: Option<u64>,
        found: Differences,
    ) -> Result<(), Stop> {
        let name = self.instance(nr).name();
        let again = if name == first_by { " when it was asked again" } else { "" };
        for Difference { field, one, other, .. } in &found.slight {
            self.remark(&format!("{field} of {call} differ"), || {
                let place = height.map(|height| format!("height {height}, ")).unwrap_or_default();
                format!("{place}{one} in {first_by}, {other} in {name}{again}; no hash covers it, indexes will differ")
            });
        }
        let Some(first) = found.grave.first() else { return Ok(()) };
        let Difference { place, field, one, other } = first.clone();
        let verb = if field.ends_with('s') { "are" } else { "is" };
        let (first, second) = ((one, first_by), (other, format!("{name}{again}")));
        // In the order of their letters, whoever was asked first.
        let (first, second) = if nr < first_nr { (second, first) } else { (first, second) };
        let mut what = format!("{field} {verb} {} in {} and {} in {}", first.0, first.1, second.0, second.1);
        let more = found.grave.len() - 1;
        if more > 0 {
            let rest: Vec<String> = found.grave[1..].iter().take(MORE_SHOWN_MAX).map(Difference::name).collect();
            let (fields, cut) = (if more == 1 { "field differs" } else { "fields differ" }, more > rest.len());
            what += &format!(" ({more} more {fields}: {}{})", rest.join(", "), if cut { ", …" } else { "" });
        }
        let concerned = self.instances.iter().filter(|it| it.nr == nr || it.nr == first_nr);
        let before = concerned.map(Instance::story).collect();
        Err(self.found(Finding { kind: Kind::Divergence, height, place, call, field: Some(field), what, before }))
    }
}
