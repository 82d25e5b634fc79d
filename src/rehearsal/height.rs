//! One height: transactions, proposals, votes, execution, and the faults in between.

use super::calls::Stop;
use super::host::Host;
use super::stage::Stage;
use crate::pipeline::requests;
use crate::ports::{App as _, Connection};
use crate::sim::app::compare::brief;
use crate::sim::app::{Chain, Finding, InstanceNr, Kind, Misfortune, Moment, Place, TxSource, VoterPart};
use crate::types::abci::{CheckTxKind, CheckTxRequest, QueryRequest, Request, Response, Verdict};
use crate::types::{CandidateBlock, Evidence, Height, Round, VOTE_EXTENSION_SENT_MAX};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Pause between blocks, in seconds of block time.
const PAUSE_SECONDS: (u64, u64) = (1, 6);
/// When `kill -9` comes after Commit was sent, in microseconds. The one moment that the seed does not decide alone.
const COMMIT_MICROS: (u64, u64) = (0, 3000);
/// Transactions looked at again after a block.
const RECHECKS_MAX: usize = 20;

impl<H: Host> Stage<'_, H> {
    pub(super) async fn height(&mut self, height: u64) -> Result<(), Stop> {
        self.line(|| format!("height {height}"));
        for nr in self.due(height) {
            self.come_back(nr).await?;
        }
        self.moment(height, Moment::Begun, None).await?;
        self.transactions(height).await?;
        let (block, round) = self.proposals(height).await?;
        self.moment(height, Moment::Proposed, None).await?;
        let parts = self.votes(height, &block).await?;
        self.chain.decide(Arc::clone(&block));
        let mut order = self.present();
        self.plan.dice("order", height).shuffle(&mut order);
        for nr in order {
            self.execute(nr, height).await?;
        }
        self.end_height(height, round, &parts)?;
        let decided: Vec<Bytes> = block.block().txs.iter().map(|tx| tx.bytes().clone()).collect();
        self.waiting.retain(|tx| !decided.contains(tx));
        self.recheck(height).await?;
        self.look(height, &decided).await?;
        let snapshots: Vec<InstanceNr> = self
            .plan
            .at(height)
            .filter_map(|what| match what {
                Misfortune::Snapshot { from } => Some(*from),
                _ => None,
            })
            .collect();
        for from in snapshots {
            self.snapshot(from, height).await?;
        }
        Ok(())
    }

    fn has(&self, height: u64, wanted: impl Fn(&Misfortune) -> bool) -> bool {
        self.plan.at(height).any(wanted)
    }

    // ---------------------------------------------------------------------------------------------------- faults

    /// Loses the instances the plan loses now; `only` when it is one instance's turn.
    async fn moment(&mut self, height: u64, now: Moment, only: Option<InstanceNr>) -> Result<(), Stop> {
        let meant = |nr: InstanceNr, when: Moment| when == now && only.is_none_or(|only| only == nr);
        let faults: Vec<Misfortune> = self.plan.at(height).cloned().collect();
        for fault in faults {
            match fault {
                Misfortune::Kill { instance, when, away } if meant(instance, when) => {
                    self.lose(instance, height, now, away).await?;
                }
                Misfortune::Disconnect { instance, when }
                    if meant(instance, when) && self.instance(instance).app.is_some() =>
                {
                    self.count("connections broken");
                    self.note(instance, format!("its connections broke at height {height} {now}"));
                    self.reconnect(instance).await?;
                    self.handshake(instance, self.stored()).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn lose(&mut self, nr: InstanceNr, height: u64, when: Moment, away: u64) -> Result<(), Stop> {
        if self.instance(nr).app.is_none() {
            return Ok(());
        }
        self.count("kills");
        self.kill(nr);
        if away > 0 {
            self.note(nr, format!("it was killed at height {height} {when} and came back {away} heights later"));
            self.instance(nr).back_at = Some(height + away);
            return Ok(());
        }
        self.note(nr, format!("it was killed at height {height} {when} and restarted"));
        self.start(nr).await?;
        self.handshake(nr, self.stored()).await
    }

    /// The node's newest block and state.
    fn stored(&self) -> (u64, u64) {
        (self.chain.tip(), self.chain.state().last_block_height.get())
    }

    // ---------------------------------------------------------------------------------------------- transactions

    /// New transactions come in at some nodes and not at others.
    async fn transactions(&mut self, height: u64) -> Result<(), Stop> {
        let mut dice = self.plan.dice("transactions", height);
        for tx in self.txs.next(&mut dice) {
            let present = self.present();
            let entry = dice.pick(&present).copied();
            let mut admitted = false;
            for nr in present {
                if Some(nr) != entry && !dice.chance(60) {
                    continue;
                }
                admitted |= self.check_tx(nr, &tx, CheckTxKind::New).await? == 0;
            }
            if admitted {
                self.waiting.push(tx);
            } else {
                self.count("transactions refused by CheckTx");
            }
        }
        Ok(())
    }

    async fn check_tx(&mut self, nr: InstanceNr, tx: &Bytes, kind: CheckTxKind) -> Result<u32, Stop> {
        let request = Request::CheckTx(CheckTxRequest { tx: tx.clone(), kind });
        match self.ask(nr, Connection::Mempool, request).await? {
            Response::CheckTx(answer) => Ok(answer.code),
            other => Err(self.another(nr, "check_tx", None, &other)),
        }
    }

    /// Some nodes look again at what still waits.
    async fn recheck(&mut self, height: u64) -> Result<(), Stop> {
        let mut dice = self.plan.dice("recheck", height);
        let waiting: Vec<Bytes> = self.waiting.iter().take(RECHECKS_MAX).cloned().collect();
        for nr in self.present() {
            if dice.chance(50) {
                for tx in &waiting {
                    self.check_tx(nr, tx, CheckTxKind::Recheck).await?;
                }
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------------------------------------------- proposals

    /// Rounds that fail, then the one that decides.
    async fn proposals(&mut self, height: u64) -> Result<(Arc<CandidateBlock>, Round), Stop> {
        let mut dice = self.plan.dice("proposals", height);
        let evidence: Vec<Evidence> = match self.has(height, |what| *what == Misfortune::Misbehaviour) {
            true => self.chain.evidence(dice.roll()).into_iter().collect(),
            false => Vec::new(),
        };
        let mut round = Round::default();
        let faults: Vec<Misfortune> = self.plan.at(height).cloned().collect();
        for fault in faults {
            match fault {
                Misfortune::Undecided { proposer } if self.instance(proposer).app.is_some() => {
                    self.count("proposals that were not decided");
                    let block = self.prepare(proposer, round, &evidence).await?;
                    // It reaches some nodes and comes too late for others.
                    let late = |nr: &InstanceNr| *nr != proposer && dice.chance(50);
                    let skipped: Vec<InstanceNr> = self.present().into_iter().filter(late).collect();
                    self.process(&block, Some(proposer), &skipped).await?;
                    self.note(proposer, format!("its proposal of height {height}, round {round}, was not decided"));
                    round = round.next();
                }
                Misfortune::Foreign => {
                    self.count("proposals no application made");
                    let txs = self.thin(height, TxSource::foreign(&mut dice, &self.waiting));
                    let draft = self.draft(round, &evidence);
                    let (block, _) = Chain::complete(draft, txs, &[]);
                    let verdict = self.process(&block, None, &[]).await?;
                    if verdict == Some(Verdict::Accept) && dice.chance(70) {
                        return Ok((block, round));
                    }
                    round = round.next();
                }
                _ => {}
            }
        }
        let present = self.present();
        let proposer = *dice.pick(&present).expect("instance A is never away for long");
        let block = self.prepare(proposer, round, &evidence).await?;
        let block = self.thin_block(height, round, &evidence, block);
        let skipped: Vec<InstanceNr> = self
            .plan
            .at(height)
            .filter_map(|what| match what {
                Misfortune::NotAsked { instance } => Some(*instance),
                _ => None,
            })
            .collect();
        for nr in &skipped {
            self.note(*nr, format!("it was not asked ProcessProposal at height {height}"));
        }
        self.process(&block, Some(proposer), &skipped).await?;
        self.ask_twice(height, &block).await?;
        Ok((block, round))
    }

    /// Some nodes see the same block proposed again in a later round.
    async fn ask_twice(&mut self, height: u64, block: &Arc<CandidateBlock>) -> Result<(), Stop> {
        let twice: Vec<InstanceNr> = self
            .plan
            .at(height)
            .filter_map(|what| match what {
                Misfortune::AskedTwice { instance } => Some(*instance),
                _ => None,
            })
            .collect();
        for nr in twice {
            if self.instance(nr).app.is_none() {
                continue;
            }
            self.note(nr, format!("it was asked ProcessProposal twice at height {height}"));
            let first = self.process_one(nr, block).await?;
            let again = self.process_one(nr, block).await?;
            if first != again || first != Verdict::Accept {
                let name = self.instance(nr).name();
                return Err(self.parted(block, nr, (&name, first), ("the same instance asked again", again)));
            }
        }
        Ok(())
    }

    /// The transactions that are kept where this is the block some are left out of; all of any other block.
    fn thin(&self, height: u64, txs: Vec<Bytes>) -> Vec<Bytes> {
        match self.thinned {
            Some(thinned) if thinned.is_of(height, &txs) => thinned.left(),
            _ => txs,
        }
    }

    fn thin_block(
        &self,
        height: u64,
        round: Round,
        evidence: &[Evidence],
        block: Arc<CandidateBlock>,
    ) -> Arc<CandidateBlock> {
        let whole: Vec<Bytes> = block.block().txs.iter().map(|tx| tx.bytes().clone()).collect();
        let left = self.thin(height, whole.clone());
        if left == whole { block } else { Chain::complete(self.draft(round, evidence), left, &[]).0 }
    }

    fn draft(&self, round: Round, evidence: &[Evidence]) -> crate::pipeline::build::Draft {
        let txs = self.chain.offer(&self.waiting, evidence);
        self.chain.draft(round, txs, evidence.to_vec()).expect("the chain's own commits fit its own sets")
    }

    /// PrepareProposal, and the block made of it.
    async fn prepare(
        &mut self,
        nr: InstanceNr,
        round: Round,
        evidence: &[Evidence],
    ) -> Result<Arc<CandidateBlock>, Stop> {
        let offered = self.chain.offer(&self.waiting, evidence);
        let draft = self.draft(round, evidence);
        let request = Request::PrepareProposal(draft.request(&offered));
        let height = request.height();
        let prepared = match self.ask(nr, Connection::Consensus, request).await? {
            Response::PrepareProposal(txs) => txs,
            other => return Err(self.another(nr, "prepare_proposal", height, &other)),
        };
        let (block, note) = Chain::complete(draft, prepared, &offered);
        match note {
            None => Ok(block),
            Some(note) => {
                let sentence = format!("{note}. CometBFT stops here");
                let height = height.map(Height::get);
                Err(self.conformance(nr, "PrepareProposal", height, Some("txs"), sentence))
            }
        }
    }

    async fn process_one(&mut self, nr: InstanceNr, block: &Arc<CandidateBlock>) -> Result<Verdict, Stop> {
        let height = block.block().header.height;
        let answer = self.ask(nr, Connection::Consensus, self.chain.process(block)).await?;
        self.verdict(nr, "process_proposal", height, answer)
    }

    /// ProcessProposal of everybody there: all say the same, and yes to what an honest proposer prepared.
    async fn process(
        &mut self,
        block: &Arc<CandidateBlock>,
        proposer: Option<InstanceNr>,
        skipped: &[InstanceNr],
    ) -> Result<Option<Verdict>, Stop> {
        let mut first: Option<(String, Verdict)> = None;
        for nr in self.present() {
            if skipped.contains(&nr) {
                continue;
            }
            let verdict = self.process_one(nr, block).await?;
            let name = self.instance(nr).name();
            match &first {
                Some((other, said)) if *said != verdict => {
                    return Err(self.parted(block, nr, (other, *said), (&name, verdict)));
                }
                Some(_) => {}
                None => first = Some((name, verdict)),
            }
        }
        let verdict = first.as_ref().map(|(_, verdict)| *verdict);
        if let (Some(proposer), Some(Verdict::Reject)) = (proposer, verdict) {
            let height = Some(block.block().header.height.get());
            let sentence =
                "ProcessProposal rejects the block that PrepareProposal made. A node would propose blocks that \
                            nobody votes for, and the chain would stand still"
                    .to_owned();
            return Err(self.conformance(proposer, "ProcessProposal", height, Some("status"), sentence));
        }
        Ok(verdict)
    }

    fn parted(&mut self, block: &CandidateBlock, nr: InstanceNr, one: (&str, Verdict), other: (&str, Verdict)) -> Stop {
        let what = format!(
            "ProcessProposal says {:?} in {} and {:?} in {} for the same block of {} transactions",
            one.1,
            one.0,
            other.1,
            other.0,
            block.block().txs.len()
        );
        let before = vec![self.instance(nr).story()];
        let height = Some(block.block().header.height.get());
        let (kind, place, call, field) = (Kind::Divergence, Place::Block, "ProcessProposal", Some("status"));
        self.found(Finding { kind, height, place, call, field, what, before })
    }

    // ----------------------------------------------------------------------------------------------------- votes

    /// Who precommits, with which extension.
    async fn votes(&mut self, height: u64, block: &Arc<CandidateBlock>) -> Result<Vec<VoterPart>, Stop> {
        let members: Vec<u64> = self.chain.state().validators.members().iter().map(|it| it.power.get()).collect();
        let total: u64 = members.iter().sum();
        let mut dice = self.plan.dice("votes", height);
        let absent = match self.has(height, |what| *what == Misfortune::Absent) {
            true => Some(dice.below(members.len() as u64) as usize).filter(|who| members[*who] * 3 < total),
            false => None,
        };
        let extensions = if self.chain.is_extended() { self.extensions(height, block).await? } else { Vec::new() };
        let part = |who: usize| match absent {
            Some(absent) if absent == who => VoterPart::Absent,
            _ if extensions.is_empty() => VoterPart::Signed(Bytes::new()),
            _ => VoterPart::Signed(extensions[who % extensions.len()].clone()),
        };
        Ok((0..members.len()).map(part).collect())
    }

    async fn extensions(&mut self, height: u64, block: &Arc<CandidateBlock>) -> Result<Vec<Bytes>, Stop> {
        let mut made = Vec::new();
        let at = Height::new(height);
        for nr in self.present() {
            let extension = match self.ask(nr, Connection::Consensus, self.chain.extend(block)).await? {
                Response::ExtendVote(extension) => extension,
                other => return Err(self.another(nr, "extend_vote", Some(at), &other)),
            };
            if extension.len() > VOTE_EXTENSION_SENT_MAX {
                let why = format!("{} bytes; a vote extension has at most {VOTE_EXTENSION_SENT_MAX}", extension.len());
                return Err(self.unusable(nr, "extend_vote", at, Some("vote_extension"), why));
            }
            made.push(extension);
        }
        for (voter, extension) in made.clone().into_iter().enumerate() {
            for nr in self.present() {
                let Some(request) = self.chain.verify(block, voter, extension.clone()) else { continue };
                let answer = self.ask(nr, Connection::Consensus, request).await?;
                if self.verdict(nr, "verify_vote_extension", at, answer)? == Verdict::Reject {
                    let sentence = "VerifyVoteExtension rejects what ExtendVote of an honest node made: its precommit \
                                    would be dropped, and the chain may stand still"
                        .to_owned();
                    return Err(self.conformance(nr, "VerifyVoteExtension", Some(height), Some("status"), sentence));
                }
            }
        }
        Ok(made)
    }

    // ------------------------------------------------------------------------------------------------- execution

    /// FinalizeBlock and Commit in one instance, with what befalls it in between.
    async fn execute(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        let disturbed = |what: &Misfortune| matches!(what, Misfortune::Bystanders { instance } if *instance == nr);
        if self.has(height, disturbed) {
            self.finalize_in_a_crowd(nr, height).await?;
        } else {
            self.finalize(nr, height).await?;
        }
        self.moment(height, Moment::Finalized, Some(nr)).await?;
        if self.instance(nr).app.is_some() && self.instance(nr).committed < height {
            let dying = |what: &Misfortune| match what {
                Misfortune::Kill { instance, when, .. } => (*instance, *when) == (nr, Moment::Committing),
                _ => false,
            };
            if self.has(height, dying) {
                self.commit_and_die(nr, height).await?;
            } else {
                self.commit(nr, height).await?;
            }
        }
        self.moment(height, Moment::Committed, Some(nr)).await
    }

    /// Commit is sent, and the process killed before or after it answers.
    async fn commit_and_die(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        let mut dice = self.plan.dice("commit", height);
        let within = Duration::from_micros(dice.between(COMMIT_MICROS.0, COMMIT_MICROS.1));
        self.instance(nr).committing = Some(height);
        let Some(app) = self.instance(nr).app.clone() else { return Ok(()) };
        let answered = tokio::time::timeout(within, app.call(Connection::Consensus, vec![Request::Commit])).await;
        if let Ok(Ok(_)) = answered {
            self.committed(nr, height);
        }
        self.moment(height, Moment::Committing, Some(nr)).await
    }

    /// Other connections are busy while the block is executed.
    async fn finalize_in_a_crowd(&mut self, nr: InstanceNr, height: u64) -> Result<(), Stop> {
        let Some(request) = self.chain.at(height).map(|decided| decided.request()) else { return Ok(()) };
        let Some(app) = self.instance(nr).app.clone() else { return Ok(()) };
        self.count("calls beside FinalizeBlock");
        self.note(nr, format!("it was asked Info, Query and CheckTx while it executed height {height}"));
        let checks: Vec<Request> = self
            .waiting
            .iter()
            .chain(&[Bytes::from_static(b"bystander=1")])
            .map(|tx| Request::CheckTx(CheckTxRequest { tx: tx.clone(), kind: CheckTxKind::New }))
            .collect();
        let query = Request::Query(QueryRequest { data: Bytes::from_static(b"key1"), ..QueryRequest::default() });
        let (answer, checked, asked) = tokio::join!(
            app.call(Connection::Consensus, vec![request]),
            app.call(Connection::Mempool, checks),
            app.call(Connection::Query, vec![query, Request::Info(requests::info())]),
        );
        let at = Some(Height::new(height));
        let failure = [("check_tx", checked.err()), ("query", asked.err())]
            .into_iter()
            .find_map(|(method, error)| Some((method, error?)));
        let answer = match (answer, failure) {
            (Err(error), _) => return Err(self.failed(nr, "finalize_block", at, error).await),
            (_, Some((method, error))) => return Err(self.failed(nr, method, at, error).await),
            (Ok(mut answers), None) => answers.pop(),
        };
        match answer {
            Some(Response::FinalizeBlock(answer)) => self.finalized(nr, height, answer),
            Some(other) => Err(self.another(nr, "finalize_block", at, &other)),
            None => Ok(()),
        }
    }

    fn end_height(&mut self, height: u64, round: Round, parts: &[VoterPart]) -> Result<(), Stop> {
        let mut dice = self.plan.dice("pause", height);
        let jump = self.plan.at(height).find_map(|what| match what {
            Misfortune::Jump { seconds } => Some(*seconds),
            _ => None,
        });
        let pause = Duration::from_secs(jump.unwrap_or_else(|| dice.between(PAUSE_SECONDS.0, PAUSE_SECONDS.1)));
        let changed = self
            .chain
            .at(height)
            .and_then(|it| it.first.as_ref())
            .is_some_and(|it| !it.answer.validator_updates.is_empty());
        if changed {
            self.count("blocks that changed validators");
        }
        let first = InstanceNr(0);
        match self.chain.advance(round, parts, pause) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.conformance(first, "FinalizeBlock", Some(height), None, error.to_string())),
        }
    }

    /// Info and a query, after the block: all say the same.
    async fn look(&mut self, height: u64, decided: &[Bytes]) -> Result<(), Stop> {
        let key = |tx: &Bytes| tx.split(|byte| matches!(*byte, b'=' | b':')).next().map(Bytes::copy_from_slice);
        let data = self.plan.dice("query", height).pick(decided).and_then(key).unwrap_or_default();
        let mut first: Option<(String, String)> = None;
        for nr in self.present() {
            let info = self.info(nr).await?;
            let name = self.instance(nr).name();
            if u64::try_from(info.last_block_height) == Ok(height) {
                self.check_hash(nr, height, &info)?;
            } else {
                let said = info.last_block_height;
                self.remark("Info lags behind", || format!("{name} says height {said} after Commit of {height}"));
            }
            let request = Request::Query(QueryRequest { data: data.clone(), ..QueryRequest::default() });
            let Response::Query(answer) = self.ask(nr, Connection::Query, request).await? else { continue };
            let said = format!("code {}, value {}", answer.code, brief(&answer.value));
            let Some((other, value)) = &first else {
                first = Some((name, said));
                continue;
            };
            if *value != said {
                let (key, what) = (brief(&data), format!("{value} in {other} and {said} in {name}"));
                self.remark("Query answers differ", || {
                    format!(
                        "after height {height}, {key} has {what}; app_hash is the same, so no node would notice that \
                         their states differ"
                    )
                });
            }
        }
        Ok(())
    }
}
