//! Executing the orders of a replica: the executor does those about disk and key, as in the node; the others become what
//! the node wants of the world. What is seen of each is told to the checkers.

use super::events::{AppWork, Out};
use super::process::{AppLink, Death, Handshake, Process, Scope};
use super::split::tells_hashes_apart;
use super::words;
use crate::executor::{ExecuteError, Executed, check_commit};
use crate::mempool::MempoolEffect;
use crate::pipeline::PipelineNote;
use crate::replica::{Effect, Input, KeyNews, Whose};
use crate::sim::What;
use crate::sync::SyncInput;
use crate::types::abci::Request;
use crate::types::{AppliedBlock, ChainState, Evidence, EvidenceChange, Height, ValidatorSet};
use std::sync::Arc;

impl Process {
    pub(super) fn execute(&mut self, scope: &mut Scope<'_>, effect: Effect) -> Result<(), Death> {
        self.announce(scope, &effect);
        let decided = match &effect {
            Effect::SaveBlock { block, commit } => Some((Arc::clone(block), commit.clone())),
            _ => None,
        };
        let signs = matches!(effect, Effect::Sign(_));
        let synced = self.syncs.count();
        let executed = self.executor.execute(scope.now, effect, &mut self.answers);
        // The journal comes first; what failed then was the key's state or the store.
        if self.syncs.count() > synced {
            scope.see(What::Synced);
        }
        self.look_at_disk(scope);
        if let Err(ExecuteError::Signer(_)) = &executed {
            scope.watch.count("signer failed");
        }
        match executed.map_err(|error| Death::Stopped(error.to_string()))? {
            Executed::Guarded(Err(_)) => {
                scope.watch.count("signature refused");
                self.refused = self.refused.saturating_add(1);
            }
            Executed::Done | Executed::Guarded(Ok(())) => {
                if let Some((block, commit)) = &decided {
                    scope.see(What::Decided { block, commit });
                    scope.see(What::Stored { height: commit.height });
                    scope.out.push(Out::Decided(Arc::clone(block)));
                }
                if signs
                    && let Some(Input::Signed(signed)) = self.answers.back()
                    && let Some(word) = words::in_signed(self.own, signed)
                {
                    scope.see(What::Signed(word));
                }
            }
            Executed::Saved(state) => {
                show_applied(scope, &state);
                // Consensus goes on to the next height in this very step, unless it stands still.
                if self.replica.decides() {
                    self.take_up(scope, state.next_height(), &state.validators);
                }
            }
            Executed::Begun(state) => self.take_up(scope, state.next_height(), &state.validators),
            Executed::NotOurs(effect) => {
                let done = self.execute_outward(scope, effect);
                self.look_at_disk(scope);
                done?;
            }
        }
        let stall = self.disk.take_stall() + self.mood.take_stall();
        if !stall.is_zero() {
            scope.out.push(Out::Stall(stall));
        }
        Ok(())
    }

    /// What is seen before it happens, because a crash in the middle must not hide it.
    fn announce(&mut self, scope: &mut Scope<'_>, effect: &Effect) {
        match effect {
            Effect::Persist(record) => {
                scope.blocks.note(record);
                scope.see(What::Persisted(record));
            }
            Effect::SaveEvidence(changes) => {
                for change in changes {
                    if let EvidenceChange::Waits(Evidence::DuplicateVote(proof)) = change {
                        scope.watch.count("equivocation seen");
                        scope.see(What::Accused { first: &proof.vote_a, second: &proof.vote_b });
                    }
                }
            }
            Effect::Begin(_) | Effect::GoOn(_) => self.handshake = Handshake::Over,
            _ => {}
        }
    }

    /// Clients are told at once: what comes after it in the list may fail, and they know all the same.
    fn publish(&mut self, scope: &mut Scope<'_>, applied: &AppliedBlock) {
        let block = applied.block.block();
        let height = block.header.height;
        self.timers.retain(|timer, _| timer.height >= height);
        for tx in scope.clients.published(scope.node, &block.txs) {
            scope.see(What::Acknowledged { tx, height });
        }
        scope.out.push(Out::Published(height));
    }

    fn execute_outward(&mut self, scope: &mut Scope<'_>, effect: Effect) -> Result<(), Death> {
        match effect {
            Effect::Tell { peer, message } => self.tell(scope, peer, &message),
            Effect::TellEach { peers, message } => {
                let encoded = message.encode();
                for peer in peers.iter().filter_map(|peer| scope.people.nr(peer)) {
                    self.send(scope, peer, &message, encoded.clone());
                }
            }
            Effect::TellAll(message) => self.tell_all(scope, &message),
            Effect::Drop { peer, why } => {
                if let Some(peer) = scope.people.nr(&peer) {
                    self.blame(scope, peer, why);
                }
            }
            Effect::Signers(whose) => self.count_signatures_of(scope, whose),
            Effect::HearAgain(place) => self.reception.seen().hear_again(place),
            Effect::VerifyCommits { ticket, checks } => {
                let chain_id = &self.executor.genesis().chain_id;
                let outcomes = checks.iter().map(|check| check_commit(chain_id, check)).collect();
                self.answers.push_back(Input::Sync(SyncInput::Verified { ticket, outcomes }));
            }
            Effect::WakeAt { waker, at } => drop(self.wakers.insert(waker, at)),
            Effect::SetTimer { timer, at } => drop(self.timers.insert(timer, at)),
            Effect::Call { call, request } => {
                if let Request::ProcessProposal(request) = &request {
                    self.judging.insert(call, request.hash);
                }
                self.ask(scope, AppWork::Call(call, request));
            }
            Effect::Mempool(effect) => self.execute_mempool(scope, effect),
            Effect::Publish(applied) => self.publish(scope, &applied),
            Effect::Index(applied) => self.store.index(&applied).map_err(|error| Death::Stopped(error.to_string()))?,
            Effect::Prune { retain, state } => {
                self.store.prune(retain, &state).map_err(|error| Death::Stopped(error.to_string()))?;
            }
            Effect::WaitForApp { .. } => {
                self.app = AppLink::Down;
                scope.out.push(Out::DialApp);
            }
            // A liar hears its own lies, and twins go on.
            Effect::Key(KeyNews::Elsewhere(_)) if !scope.watch.scene().is_honest(scope.node) => {}
            Effect::Key(KeyNews::Elsewhere(elsewhere)) => return Err(Death::Stopped(elsewhere.to_string())),
            Effect::Note(PipelineNote::Refused { block_id, why, .. }) => {
                if tells_hashes_apart(&why) {
                    scope.out.push(Out::HashesDiffer);
                }
                if let Some(block) = scope.blocks.named(&block_id).cloned() {
                    scope.see(What::Checked { block: &block, accepted: false });
                }
            }
            Effect::Halt(error) => {
                let why = error.to_string();
                scope.see(What::Halted { why: &why });
                if tells_hashes_apart(&why) {
                    scope.out.push(Out::HashesDiffer);
                }
                scope.out.push(Out::Halted(why));
            }
            Effect::ReadAnswer { ticket, outcome } => {
                if let Some(height) = scope.clients.read_answered(ticket, outcome) {
                    scope.watch.count("read answered");
                    scope.see(What::ReadAnswered { read: ticket.0, height });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn ask(&self, scope: &mut Scope<'_>, work: AppWork) {
        if let AppLink::Up(connection) = self.app {
            scope.out.push(Out::Ask { connection, work });
        }
    }

    fn execute_mempool(&mut self, scope: &mut Scope<'_>, effect: MempoolEffect) {
        match effect {
            MempoolEffect::Check { batch, kind, txs } => {
                self.checking.insert(batch);
                self.ask(scope, AppWork::Check(batch, kind, txs));
            }
            MempoolEffect::SetRecheckTimer { height, after } => {
                self.recheck = Some((scope.now.tick.plus(after), height));
            }
            MempoolEffect::Checked { results, .. } => {
                let refused = results.iter().any(|result| result.as_ref().map_or(true, |answer| answer.code != 0));
                if refused {
                    scope.out.push(Out::Refused);
                }
            }
            MempoolEffect::Admitted { .. } | MempoolEffect::TxsAvailable | MempoolEffect::Held => {}
        }
    }

    fn count_signatures_of(&mut self, scope: &mut Scope<'_>, whose: Option<Whose>) {
        let stands = whose.as_ref().map(|whose| match whose {
            Whose::Gossiped(signers) => (signers.height, &signers.validators),
            Whose::Direct(signers) => (signers.height, &signers.validators),
        });
        // A node that listens for its key has signatures checked while it fetches blocks: it has begun nothing.
        if let Some((height, validators)) = stands.filter(|_| self.replica.decides()) {
            self.take_up(scope, height, validators);
        }
        self.whose = whose;
    }

    fn take_up(&mut self, scope: &mut Scope<'_>, height: Height, validators: &Arc<ValidatorSet>) {
        if self.began != Some(height) {
            self.began = Some(height);
            scope.see(What::Began { height, validators });
        }
    }
}

fn show_applied(scope: &mut Scope<'_>, state: &ChainState) {
    let Some(applied) = applied(state) else { return };
    scope.see(applied);
    scope.out.push(Out::Applied(state.last_block_height));
}

/// What a state says was executed; nothing before the first block.
pub(super) fn applied(state: &ChainState) -> Option<What<'_>> {
    Some(What::Applied {
        height: state.last_block_height,
        block_id: state.last_block_id?,
        app_hash: &state.app_hash,
        next_validators: &state.next_validators,
    })
}
