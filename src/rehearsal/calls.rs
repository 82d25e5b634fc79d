//! Single calls, and what is wrong with an answer before it is compared with anybody's.

use super::host::{Host, HostError, Life};
use super::stage::Stage;
use crate::pipeline::{PipelineError, requests};
use crate::ports::{AppError, Connection};
use crate::sim::app::compare::brief;
use crate::sim::app::{Finding, InstanceNr, Kind, Place};
use crate::types::Height;
use crate::types::abci::{InfoResponse, Request, Response, Verdict};
use std::time::Duration;

/// How long an application that closed its connections is given to end, so that its last words can be told.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(1000);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest part of an application's own words that is told.
const WORDS_CHARS_MAX: usize = 1000;

/// Why a run ends early.
pub(super) enum Stop {
    Found(Box<Finding>),
    Host(HostError),
}

impl From<HostError> for Stop {
    fn from(error: HostError) -> Stop {
        Stop::Host(error)
    }
}

impl<H: Host> Stage<'_, H> {
    /// Asks, and takes whatever is an answer to this question.
    pub(super) async fn ask(
        &mut self,
        nr: InstanceNr,
        connection: Connection,
        request: Request,
    ) -> Result<Response, Stop> {
        let (method, height) = (request.method(), request.height());
        let asked = summary_of_request(&request);
        self.count(call_name(method));
        match self.send(nr, connection, request).await {
            Ok(answer) => {
                self.line(|| format!("{nr} {asked} -> {}", summary_of(&answer)));
                Ok(answer)
            }
            Err(error) => {
                self.line(|| format!("{nr} {asked} -> failed"));
                Err(self.failed(nr, method, height, error).await)
            }
        }
    }

    /// A call that brought no usable answer.
    pub(super) async fn failed(
        &mut self,
        nr: InstanceNr,
        method: &'static str,
        height: Option<Height>,
        error: AppError,
    ) -> Stop {
        let call = call_name(method);
        let name = self.instance(nr).name();
        let (kind, what) = match &error {
            AppError::Gone { why, .. } => (
                Kind::Crash,
                match self.ended(nr).await {
                    Life::Ended(how) => format!("{name} ended during {call}: {how}"),
                    Life::Runs => {
                        format!("{name} closed the connection during {call}: {why}{}", self.host.last_words(nr))
                    }
                },
            ),
            AppError::Exception { message, .. } => {
                (Kind::Crash, format!("{name} failed in {call}: {}", readable(message)))
            }
            AppError::BadAnswer { why, .. } => {
                (Kind::Conformance, format!("the answer of {name} to {call} cannot be used: {}", readable(why)))
            }
            AppError::Late { after, .. } => {
                (Kind::Hang, format!("{name} did not answer {call} within {} s", after.as_secs_f64()))
            }
        };
        let before = vec![self.instance(nr).story()];
        let height = self.height_of(height).or(Some(self.chain.tip()).filter(|tip| *tip > 0));
        self.found(Finding { kind, height, place: Place::Block, call, field: None, what, before })
    }

    /// A process takes a moment from closing its sockets to being gone.
    async fn ended(&mut self, nr: InstanceNr) -> Life {
        let looks = LAST_WORDS_WITHIN.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..looks {
            if let ended @ Life::Ended(_) = self.host.life(nr) {
                return ended;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Life::Runs
    }

    pub(super) async fn info(&mut self, nr: InstanceNr) -> Result<InfoResponse, Stop> {
        match self.ask(nr, Connection::Query, Request::Info(requests::info())).await? {
            Response::Info(info) => Ok(info),
            other => Err(self.another(nr, "info", None, &other)),
        }
    }

    /// An answer that no node can use, in the node's own words.
    pub(super) fn unusable(
        &mut self,
        nr: InstanceNr,
        method: &'static str,
        height: Height,
        field: Option<&'static str>,
        why: String,
    ) -> Stop {
        let error = PipelineError::Answer { method: call_name(method), height, why };
        self.conformance(nr, call_name(method), Some(height.get()), field, error.to_string())
    }

    pub(super) fn conformance(
        &mut self,
        nr: InstanceNr,
        call: &'static str,
        height: Option<u64>,
        field: Option<&'static str>,
        sentence: String,
    ) -> Stop {
        let what = format!("{}: {sentence}", self.instance(nr).name());
        let before = vec![self.instance(nr).story()];
        self.found(Finding { kind: Kind::Conformance, height, place: Place::Block, call, field, what, before })
    }

    /// The answer to another question; links refuse these, so hardly ever seen here.
    pub(super) fn another(
        &mut self,
        nr: InstanceNr,
        method: &'static str,
        height: Option<Height>,
        got: &Response,
    ) -> Stop {
        self.unusable(nr, method, height.unwrap_or_default(), None, format!("it answers {} instead", got.method()))
    }

    /// A verdict of neither yes nor no is a broken application.
    pub(super) fn verdict(
        &mut self,
        nr: InstanceNr,
        method: &'static str,
        height: Height,
        answer: Response,
    ) -> Result<Verdict, Stop> {
        match answer {
            Response::ProcessProposal(Verdict::Unknown) | Response::VerifyVoteExtension(Verdict::Unknown) => {
                let why = "its status is UNKNOWN, neither yes nor no".to_owned();
                Err(self.unusable(nr, method, height, Some("status"), why))
            }
            Response::ProcessProposal(verdict) | Response::VerifyVoteExtension(verdict) => Ok(verdict),
            other => Err(self.another(nr, method, Some(height), &other)),
        }
    }
}

/// Somebody else's words, as they may stand on a terminal.
fn readable(text: &str) -> String {
    text.chars().take(WORDS_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As ABCI writes it.
pub(super) fn call_name(method: &'static str) -> &'static str {
    match method {
        "info" => "Info",
        "init_chain" => "InitChain",
        "query" => "Query",
        "check_tx" => "CheckTx",
        "commit" => "Commit",
        "list_snapshots" => "ListSnapshots",
        "offer_snapshot" => "OfferSnapshot",
        "load_snapshot_chunk" => "LoadSnapshotChunk",
        "apply_snapshot_chunk" => "ApplySnapshotChunk",
        "prepare_proposal" => "PrepareProposal",
        "process_proposal" => "ProcessProposal",
        "extend_vote" => "ExtendVote",
        "verify_vote_extension" => "VerifyVoteExtension",
        "finalize_block" => "FinalizeBlock",
        other => other,
    }
}

fn summary_of_request(request: &Request) -> String {
    let call = call_name(request.method());
    match request {
        Request::CheckTx(request) => format!("{call} {:?} {}", request.kind, brief(&request.tx)),
        Request::PrepareProposal(request) => {
            format!(
                "{call} height {} {} txs, at most {} bytes",
                request.block.height,
                request.txs.len(),
                request.max_tx_bytes
            )
        }
        Request::ProcessProposal(request) => {
            format!("{call} height {} block {} {} txs", request.block.height, request.hash, request.txs.len())
        }
        Request::FinalizeBlock(request) => {
            format!("{call} height {} block {} {} txs", request.block.height, request.hash, request.txs.len())
        }
        other => match other.height() {
            Some(height) => format!("{call} height {height}"),
            None => call.to_owned(),
        },
    }
}

fn summary_of(answer: &Response) -> String {
    match answer {
        Response::Info(info) => {
            format!("height {} app_hash {}", info.last_block_height, brief(&info.last_block_app_hash))
        }
        Response::InitChain(answer) => format!("app_hash {}", brief(&answer.app_hash)),
        Response::CheckTx(answer) => format!("code {}", answer.code),
        Response::Query(answer) => format!("code {} value {}", answer.code, brief(&answer.value)),
        Response::PrepareProposal(txs) => format!("{} txs", txs.len()),
        Response::ProcessProposal(verdict) | Response::VerifyVoteExtension(verdict) => format!("{verdict:?}"),
        Response::ExtendVote(extension) => brief(extension),
        Response::FinalizeBlock(answer) => {
            let codes: Vec<String> = answer.tx_results.iter().map(|result| result.code.to_string()).collect();
            let updates = answer.validator_updates.len();
            format!("codes [{}], {updates} validator updates, app_hash {}", codes.join(" "), brief(&answer.app_hash))
        }
        Response::Commit(answer) => format!("retain_height {}", answer.retain_height),
        Response::ListSnapshots(list) => format!("{} snapshots", list.len()),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}
