//! Proofs that do not exist: of locks in Tendermint; of prepared blocks, checkpoints and new views in PBFT.

use super::{Actor, Cx, Half, unsigned_proposal};
use crate::sim::NodeNr;
use crate::types::{
    Algorithm, BlockId, DirectMessage, ExtendedCommit, Height, PbftStatement, PreparedCertificate, Proposal,
    RaftStatement, Round, Statement, StatementBody, UnsignedStatement, Vote,
};

/// A VIEW-CHANGE, open.
struct Change {
    view: Round,
    height: Height,
    checkpoint: Option<ExtendedCommit>,
    prepared: Option<PreparedCertificate>,
}

impl Change {
    fn body(self) -> PbftStatement {
        let Change { view, height, checkpoint, prepared } = self;
        PbftStatement::ViewChange { view, height, checkpoint, prepared }
    }
}

impl Actor {
    pub(super) fn bend_proofs(&mut self, cx: &mut Cx<'_>, to: NodeNr, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) {
            return vec![word];
        }
        match word {
            DirectMessage::Proposal { by, proposal } if cx.scene.plan.algorithm == Algorithm::Tendermint => {
                vec![DirectMessage::Proposal { by, proposal: self.bend_lock(cx, proposal) }]
            }
            DirectMessage::Statement(statement) => match &statement.body {
                StatementBody::Pbft(body) => self.bend_statement(cx, to, &statement, (**body).clone()),
                StatementBody::Raft(_) => vec![DirectMessage::Statement(statement)],
            },
            word => vec![word],
        }
    }

    /// The round said to justify the proposal is too high, too low, or had no polka (arXiv 1807.04938, line 28).
    fn bend_lock(&mut self, cx: &mut Cx<'_>, proposal: Proposal) -> Proposal {
        let mut unsigned = unsigned_proposal(&proposal);
        let round = proposal.round.get();
        unsigned.pol_round = match self.dice.below(4) {
            0 => None,
            1 => Some(Round::ZERO),
            2 => round.checked_sub(1).map(Round::new),
            _ => Some(proposal.round),
        };
        if unsigned.pol_round == proposal.pol_round {
            return proposal;
        }
        cx.told("lie.lock");
        cx.sign_proposal(unsigned)
    }

    fn bend_statement(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeNr,
        honest: &Statement,
        body: PbftStatement,
    ) -> Vec<DirectMessage> {
        let bent = match body {
            PbftStatement::ViewChange { view, height, checkpoint, prepared } => {
                self.bend_view_change(cx, Change { view, height, checkpoint, prepared })
            }
            PbftStatement::NewView { view, height, view_changes, chosen } => {
                return self.bend_new_view(cx, to, (view, height), view_changes, chosen);
            }
            PbftStatement::Status { view, height, active, proposal } => {
                let proposal = if self.dice.chance(50) { None } else { proposal };
                ("lie.status", PbftStatement::Status { view, height, active: !active, proposal })
            }
        };
        let statement = self.state(cx, bent.1);
        if statement == *honest {
            return vec![DirectMessage::Statement(statement)];
        }
        cx.told(bent.0);
        vec![DirectMessage::Statement(statement)]
    }

    /// §4.4: what it prepared is kept back, older, or made up; so is its checkpoint.
    fn bend_view_change(&mut self, cx: &Cx<'_>, mut said: Change) -> (&'static str, PbftStatement) {
        let name = match self.dice.below(6) {
            0 | 1 => {
                said.prepared = None;
                "lie.prepared_missing"
            }
            2 => {
                said.prepared = self.stale_certificate(said.height, said.view);
                "lie.prepared_stale"
            }
            3 => {
                said.prepared = Some(self.forged_certificate(cx, said.height, said.view));
                "lie.prepared_forged"
            }
            4 => {
                said.checkpoint = self.bent_commit().filter(|commit| commit.height.next() == said.height);
                "lie.checkpoint"
            }
            _ => {
                said.height = said.height.next();
                said.prepared = None;
                "lie.checkpoint_ahead"
            }
        };
        (name, said.body())
    }

    /// What the PREPAREs heard in an earlier view come to, enough or not.
    fn stale_certificate(&self, height: Height, below: Round) -> Option<PreparedCertificate> {
        let oldest = self.memory.prevotes(height).filter(|vote| vote.round < below).min_by_key(|vote| vote.round)?;
        let (view, block_id) = (oldest.round, oldest.block_id?);
        let alike = |vote: &&Vote| vote.round == view && vote.block_id == Some(block_id);
        let mut prepares: Vec<Vote> = self.memory.prevotes(height).filter(alike).cloned().collect();
        prepares.sort_by_key(|vote| vote.validator_index);
        prepares.dedup_by_key(|vote| vote.validator_index);
        Some(PreparedCertificate { height, view, block_id, prepares })
    }

    /// A block nobody prepared, with our own PREPARE under every name.
    fn forged_certificate(&mut self, cx: &Cx<'_>, height: Height, below: Round) -> PreparedCertificate {
        let other = self.memory.other_block(height, None);
        let block_id: BlockId = other.unwrap_or_else(|| self.made_up_block());
        let view = Round::new(below.get().saturating_sub(1));
        let prepares = cx.validators.members().iter().zip(0..).map(|(member, index)| {
            cx.sign_vote(crate::types::UnsignedVote {
                kind: crate::types::VoteKind::Prevote,
                height,
                round: view,
                block_id: Some(block_id),
                timestamp: cx.wall,
                validator_address: member.address,
                validator_index: index,
                extension: None,
            })
        });
        PreparedCertificate { height, view, block_id, prepares: prepares.collect() }
    }

    /// §4.4: the choice does not follow, VIEW-CHANGEs are missing or count twice, or each half gets another NEW-VIEW.
    fn bend_new_view(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeNr,
        (view, height): (Round, Height),
        mut view_changes: Vec<Statement>,
        mut chosen: Option<BlockId>,
    ) -> Vec<DirectMessage> {
        // One way for each view, or two NEW-VIEWs would never be whole.
        let way = super::mix(&[cx.scene.plan.seed, height.get(), u64::from(view.get()), 11]) % 5;
        let name = match way {
            0 => {
                chosen = match chosen {
                    Some(_) => None,
                    None => self.memory.other_block(height, None).or_else(|| Some(self.made_up_block())),
                };
                "lie.wrong_choice"
            }
            1 => {
                view_changes.pop();
                "lie.too_few_view_changes"
            }
            2 => {
                view_changes.extend(view_changes.first().cloned());
                "lie.view_change_twice"
            }
            _ => {
                if self.half(cx.scene, height, to) == Half::First {
                    return vec![DirectMessage::Statement(self.state_new_view(
                        cx,
                        (view, height),
                        view_changes,
                        chosen,
                    ))];
                }
                (view_changes, chosen) = self.other_view_changes((view, height), view_changes);
                "lie.two_new_views"
            }
        };
        cx.told(name);
        vec![DirectMessage::Statement(self.state_new_view(cx, (view, height), view_changes, chosen))]
    }

    /// VIEW-CHANGEs of others than those, as many, and what follows from them.
    fn other_view_changes(
        &self,
        (view, height): (Round, Height),
        ours: Vec<Statement>,
    ) -> (Vec<Statement>, Option<BlockId>) {
        let unused = self.memory.view_changes(view).filter(|known| !ours.iter().any(|our| our.by == known.by));
        let mut others: Vec<Statement> = unused.cloned().collect();
        let missing = ours.len().saturating_sub(others.len());
        others.extend(ours.into_iter().rev().take(missing));
        let prepared = |statement: &Statement| match &statement.body {
            StatementBody::Pbft(body) => match &**body {
                PbftStatement::ViewChange { height: at, prepared: Some(prepared), .. } if *at == height => {
                    Some((prepared.view, prepared.block_id))
                }
                _ => None,
            },
            StatementBody::Raft(_) => None,
        };
        let chosen = others.iter().filter_map(prepared).max_by_key(|(view, _)| *view).map(|(_, id)| id);
        (others, chosen)
    }

    fn state_new_view(
        &self,
        cx: &Cx<'_>,
        (view, height): (Round, Height),
        view_changes: Vec<Statement>,
        chosen: Option<BlockId>,
    ) -> Statement {
        self.state(cx, PbftStatement::NewView { view, height, view_changes, chosen })
    }

    pub(super) fn state(&self, cx: &Cx<'_>, body: PbftStatement) -> Statement {
        cx.sign_statement(UnsignedStatement { by: self.own, body: StatementBody::Pbft(Box::new(body)) })
    }

    pub(super) fn state_raft(&self, cx: &Cx<'_>, body: RaftStatement) -> Statement {
        cx.sign_statement(UnsignedStatement { by: self.own, body: StatementBody::Raft(body) })
    }

    /// Says that it is somewhere else than it is.
    pub(super) fn bend_place(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        let DirectMessage::Statement(statement) = &word else { return vec![word] };
        let StatementBody::Pbft(body) = &statement.body else { return vec![word] };
        let PbftStatement::Status { view, height, active, proposal } = &**body else { return vec![word] };
        if statement.by != self.own {
            return vec![word];
        }
        let (view, height) = match self.dice.below(5) {
            0 => (*view, height.next()),
            1 => (*view, Height::new(height.get().saturating_add(1000))),
            2 => (*view, height.previous().unwrap_or(*height)),
            3 => (view.next(), *height),
            _ => (Round::ZERO, Height::FIRST),
        };
        let said = PbftStatement::Status { view, height, active: *active, proposal: proposal.clone() };
        cx.told("lie.place");
        vec![DirectMessage::Statement(self.state(cx, said))]
    }
}
