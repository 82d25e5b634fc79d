//! Executing orders, one by one, in their order.

use super::driver::Driver;
use super::talk::verify_beside;
use super::{NodeError, sign_state};
use crate::consensus::{Now, RoundNote};
use crate::executor::{Executed, NotSigned};
use crate::mempool::MempoolEffect;
use crate::pipeline::PipelineNote;
use crate::ports::MempoolError;
use crate::replica::Effect;
use crate::types::abci::{CheckTxRequest, Request};
use crate::types::{ChainState, Published, Tx};

impl Driver {
    /// Does what is ordered; answers that come at once are queued.
    pub(super) fn execute(&mut self, now: Now, effect: Effect) -> Result<(), NodeError> {
        if !matches!(effect, Effect::Call { .. }) {
            self.send_calls();
        }
        let effect = match self.executor.execute(now, effect, &mut self.inner.answers)? {
            Executed::Done => return Ok(()),
            Executed::Guarded(signed) => {
                self.note_signed(signed);
                #[cfg(feature = "misbehave")]
                self.tell_second_vote();
                return Ok(());
            }
            Executed::Saved(state) => {
                self.report.advanced(&state);
                return Ok(());
            }
            Executed::Begun(state) => {
                self.ready(&state);
                return Ok(());
            }
            Executed::NotOurs(effect) => effect,
        };
        self.execute_outward(now, effect)
    }

    /// What is not about journal, store or key.
    fn execute_outward(&mut self, now: Now, effect: Effect) -> Result<(), NodeError> {
        match effect {
            Effect::Tell { peer, message } => self.talk.tell(peer, &message),
            Effect::TellEach { peers, message } => self.talk.tell_each(&peers, &message),
            Effect::TellAll(message) => self.talk.tell_all(&message),
            Effect::Drop { peer, why } => self.talk.drop_peer(peer, why),
            Effect::Good(peer) => self.talk.good(peer),
            Effect::Signers(signers) => self.talk.count_signatures_of(signers),
            Effect::HearAgain(place) => self.talk.hear_again(place),
            Effect::VerifyCommits { ticket, checks } => {
                let chain_id = self.executor.genesis().chain_id.clone();
                verify_beside(chain_id, ticket, checks, self.facts.clone(), &self.parts);
            }
            Effect::WakeAt { waker, at } => self.talk.wake_at(waker, at),
            Effect::Fetching => self.status.fetching_begun(),
            Effect::SetTimer { timer, at } => self.inner.timers.set(timer, at),
            Effect::Call { call, request } => self.call(call, request),
            Effect::Mempool(effect) => self.execute_mempool(now, effect),
            Effect::Publish(applied) => {
                self.inner.timers.forget_below(applied.block.block().header.height);
                self.report.applied(&applied, &self.metrics);
                self.status.applied();
                crash_point!("publish.before");
                self.bus.publish(Published::Block(applied));
                crash_point!("publish.after");
            }
            Effect::Index(applied) => self.indexer.index(applied),
            Effect::Prune { retain, state } => self.indexer.prune(retain, state),
            Effect::Round(note) => self.tell_round(now, &note),
            Effect::Note(note) => {
                if let PipelineNote::ExtensionRefused { height, validator } = note {
                    self.status.extension_refused(height, validator);
                }
                tracing::warn!("{note}");
            }
            Effect::WaitForApp { why } => self.wait_for_app(&why),
            Effect::Key(news) => sign_state::act_on(news)?,
            Effect::Halt(error) => self.halt(&error.to_string()),
            Effect::GoOn(state) => self.ready(&state),
            Effect::ReadAnswer { ticket, outcome } => self.end_read(ticket, outcome),
            Effect::EvidenceAnswer { request, outcome } => {
                if let Some(reply) = self.inner.waiting.evidence.remove(&request) {
                    crash_point!("client.evidence.before");
                    let _ = reply.send(outcome);
                    crash_point!("client.evidence.after");
                }
            }
            Effect::Persist(_)
            | Effect::Sign(_)
            | Effect::SaveBlock { .. }
            | Effect::SaveResults { .. }
            | Effect::SaveState(_)
            | Effect::SaveEvidence(_)
            | Effect::LoadBlock(_)
            | Effect::LoadDecided(_)
            | Effect::LoadFacts { .. }
            | Effect::Begin(_) => unreachable!("the executor does these"),
        }
        Ok(())
    }

    fn tell_round(&mut self, now: Now, note: &RoundNote) {
        if let RoundNote::Misconduct(misconduct) = note {
            self.misbehaviour.note(now.wall, misconduct);
        }
        self.report.round(note, &self.metrics);
        super::report::publish(&self.bus, note);
    }

    /// What the signer did with the last request, for the health check and the log.
    fn note_signed(&mut self, signed: Result<(), NotSigned>) {
        match signed {
            Ok(()) => self.status.signed(Ok(())),
            Err(NotSigned { height, round, why }) => {
                self.status.signed(Err(format!("refused at height {height} round {round}: {why}")));
                tracing::warn!(
                    "height {height} round {round}: refused to sign: {why}. The others decide without this signature; \
                     without others the chain waits. If data/ was restored, restore all of it from one backup: its \
                     blocks, cs.wal and priv_validator_state.json belong together"
                );
            }
        }
    }

    #[cfg(feature = "misbehave")]
    fn tell_second_vote(&mut self) {
        use crate::types::{Algorithm, ConsensusMessage, DirectMessage, PeerMessage};
        let Some(vote) = self.executor.second_vote() else { return };
        tracing::warn!(height = %vote.height, round = %vote.round, "signed a second prevote, as this build is told to");
        self.talk.tell_all(&match self.replica.state().algorithm {
            Algorithm::Tendermint => PeerMessage::Consensus(ConsensusMessage::Vote(vote)),
            algorithm => PeerMessage::Direct(algorithm, DirectMessage::Vote(vote)),
        });
    }

    fn execute_mempool(&mut self, now: Now, effect: MempoolEffect) {
        match effect {
            MempoolEffect::Check { batch, kind, txs } => {
                self.inner.checking.insert(batch);
                self.inner.checks.ids.push((batch, txs.len()));
                let request = |tx: Tx| Request::CheckTx(CheckTxRequest { tx: tx.bytes().clone(), kind });
                self.inner.checks.requests.extend(txs.into_iter().map(request));
            }
            MempoolEffect::Admitted { request, results } => {
                results.iter().filter_map(|result| result.as_ref().err()).for_each(|error| self.count_refusal(error));
                if let Some(reply) = self.inner.waiting.admitted.remove(&request) {
                    crash_point!("client.admitted.before");
                    let _ = reply.send(results);
                    crash_point!("client.admitted.after");
                }
            }
            MempoolEffect::Checked { request, results } => {
                for result in &results {
                    match result {
                        Ok(answer) if answer.code != 0 => self.metrics.mempool.failed(),
                        Ok(_) => {}
                        Err(error) => self.count_refusal(error),
                    }
                }
                if let Some(reply) = self.inner.waiting.checked.remove(&request) {
                    crash_point!("client.checked.before");
                    let _ = reply.send(results);
                    crash_point!("client.checked.after");
                }
            }
            MempoolEffect::SetRecheckTimer { height, after } => {
                self.inner.recheck_timer = Some((now.tick.plus(after), height));
            }
            // They stay inside the replica.
            MempoolEffect::TxsAvailable | MempoolEffect::Held => {}
        }
    }

    fn count_refusal(&self, error: &MempoolError) {
        if matches!(error, MempoolError::Full { .. }) {
            self.metrics.mempool.rejected();
        }
    }

    /// The handshake is over, the first one or one with an application that was away.
    fn ready(&mut self, state: &ChainState) {
        self.status.ready();
        self.report.ready(state);
    }

    fn halt(&self, why: &str) {
        // First, so that whoever reads the log and asks finds the same.
        self.status.halted(why);
        tracing::error!("consensus stopped: {why}");
    }

    fn wait_for_app(&mut self, why: &str) {
        self.status.app_waiting(why);
        if self.inner.pumps.take().is_some() {
            self.inner.generation += 1;
            self.given_up.send_replace(self.inner.connection);
        }
    }
}
