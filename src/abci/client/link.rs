//! One connection to the application: many calls in flight, one write and one Flush for whatever waits at a time.
//!
//! A writer task takes the calls waiting, notes what answers they expect, and writes them in one piece behind which it
//! puts one Flush. A reader task matches every answer with the oldest expectation. Answers are handed out when the
//! Flush behind them is answered too: an application that answers once too often or too seldom is then found out
//! before anybody sees an answer that may belong to another question.

use super::Lost;
use crate::abci::address::Duplex;
use crate::abci::frames::{FrameError, Frames};
use crate::codec::abci::{decode_response, encode_request};
use crate::polls::watched;
use crate::ports::{AppError, Connection};
use crate::types::Height;
use crate::types::abci::{Request, Response};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Calls waiting are put into one write until it has this many bytes.
const WRITE_BYTES_AIM: usize = 1 << 20;
/// A write buffer that grew beyond this for a large block is given back.
const WRITE_BUFFER_BYTES_KEPT: usize = 4 << 20;
/// The operator hears of a call that takes longer than this, and again each time as much has passed.
const SLOW: Duration = Duration::from_secs(10);

/// What the application must keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest answer.
    pub(crate) answer_bytes_max: usize,
    /// Requests without an answer at any time, written or not.
    pub(crate) requests_in_flight_max: NonZeroU16,
    /// Longest time for an answer, counted from the call.
    pub(crate) answer_within: Option<Duration>,
}

/// A connection. Closed when dropped.
pub(crate) struct Link {
    calls: mpsc::UnboundedSender<Call>,
    /// Bounds `calls` and what is expected: each call holds as many permits as it has requests.
    room: Arc<Semaphore>,
    next_id: AtomicU64,
    limits: Limits,
    state: Arc<State>,
    _stop_when_dropped: DropGuard,
}

/// Shared by the link and its two tasks.
struct State {
    connection: Connection,
    expected: Mutex<Expected>,
    /// Tells the tasks to end.
    stop: CancellationToken,
    lost: watch::Sender<Option<Lost>>,
}

enum Expected {
    /// Oldest first.
    Open(VecDeque<Batch>),
    /// Nothing is expected any more, for this reason.
    Dead(String),
}

/// What went out in one write. Its last answer is that to the Flush.
struct Batch {
    calls: Vec<Call>,
    /// Which of `calls` the next answer belongs to; all answered when it is behind the last.
    current: usize,
}

struct Call {
    id: u64,
    requests: Vec<Request>,
    asked: Vec<Asked>,
    answers: Vec<Response>,
    reply: oneshot::Sender<Result<Vec<Response>, AppError>>,
    _room: OwnedSemaphorePermit,
}

/// What an error needs to know of a request once it is written.
#[derive(Debug, Clone, Copy)]
struct Asked {
    method: &'static str,
    height: Option<Height>,
}

/// Why a connection is given up.
enum Fault {
    /// It broke.
    Gone(String),
    /// The application said that it failed.
    Exception(String),
    /// An answer that must not be used.
    BadAnswer(String),
    /// No answer in time.
    Late(Duration),
}

impl Link {
    /// Starts the two tasks of a connection; `lost` is told when it ends by itself.
    pub(crate) fn start(
        connection: Connection,
        duplex: Duplex,
        limits: Limits,
        lost: watch::Sender<Option<Lost>>,
    ) -> Link {
        let stop = CancellationToken::new();
        let expected = Mutex::new(Expected::Open(VecDeque::new()));
        let state = Arc::new(State { connection, expected, stop: stop.clone(), lost });
        let (calls, waiting) = mpsc::unbounded_channel();
        tokio::spawn(watched("calls to the application", write_calls(state.clone(), waiting, duplex.output)));
        let answers = read_answers(state.clone(), Frames::new(duplex.input, limits.answer_bytes_max));
        tokio::spawn(watched("answers of the application", answers));
        let room = Arc::new(Semaphore::new(usize::from(limits.requests_in_flight_max.get())));
        Link { calls, room, next_id: AtomicU64::new(0), limits, state, _stop_when_dropped: stop.drop_guard() }
    }

    /// Sends the requests together and gives their answers in order. More than may be in flight go out in parts.
    pub(crate) async fn call(&self, requests: Vec<Request>) -> Result<Vec<Response>, AppError> {
        let part_len = usize::from(self.limits.requests_in_flight_max.get());
        if requests.len() <= part_len || (mutant!("O90") && requests.len() == part_len + 1) {
            return self.call_at_once(requests).await;
        }
        let mut answers = Vec::with_capacity(requests.len());
        let mut rest = requests.into_iter();
        loop {
            let part: Vec<Request> = rest.by_ref().take(part_len).collect();
            if part.is_empty() {
                return Ok(answers);
            }
            answers.extend(self.call_at_once(part).await?);
        }
    }

    async fn call_at_once(&self, requests: Vec<Request>) -> Result<Vec<Response>, AppError> {
        let Some(first) = requests.first().map(Asked::of) else { return Ok(Vec::new()) };
        let permits = u32::try_from(requests.len()).expect("a part is at most what may be in flight, a u16");
        let Ok(room) = self.room.clone().acquire_many_owned(permits).await else {
            return Err(self.state.gone(first));
        };
        let asked = requests.iter().map(Asked::of).collect();
        let answers = Vec::with_capacity(requests.len());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply, mut answered) = oneshot::channel();
        if self.calls.send(Call { id, requests, asked, answers, reply, _room: room }).is_err() {
            return Err(self.state.gone(first));
        }
        let mut waited = Duration::ZERO;
        loop {
            let step = self.limits.answer_within.map_or(SLOW, |limit| SLOW.min(limit.saturating_sub(waited)));
            match tokio::time::timeout(step, &mut answered).await {
                Ok(outcome) => return outcome.unwrap_or_else(|_| Err(self.state.gone(first))),
                Err(_elapsed) => waited += step,
            }
            match self.limits.answer_within {
                Some(limit) if waited >= limit && !mutant!("O91") => self.state.give_up(Fault::Late(limit)),
                _ => self.state.report_slow(id, waited),
            }
        }
    }

    /// Ends the connection. Whatever waits fails with `why`.
    pub(crate) fn close(&self, why: &str) {
        self.state.give_up(Fault::Gone(why.to_owned()));
    }
}

impl Asked {
    fn of(request: &Request) -> Asked {
        Asked { method: request.method(), height: request.height() }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.height {
            Some(height) => write!(f, "{} of height {height}", self.method),
            None => f.write_str(self.method),
        }
    }
}

/// Ends the connection when one of its two tasks panics: it is lost like any other, and the node connects anew.
struct GiveUpOnPanic<'a>(&'a State);

impl Drop for GiveUpOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up(Fault::Gone("a task of this node panicked, which is a bug".to_owned()));
        }
    }
}

// ------------------------------------------------------------------------------------------------------ writing

async fn write_calls(
    state: Arc<State>,
    mut waiting: mpsc::UnboundedReceiver<Call>,
    mut output: impl AsyncWrite + Unpin,
) {
    let _watch = GiveUpOnPanic(&state);
    write_until_stopped(&state, &mut waiting, &mut output).await;
    // A call being sent just now would stay in the channel, and its caller wait for ever, if the channel were only
    // dropped: closed and emptied to the end it lets go of every call.
    waiting.close();
    while waiting.recv().await.is_some() {}
}

async fn write_until_stopped(
    state: &State,
    waiting: &mut mpsc::UnboundedReceiver<Call>,
    output: &mut (impl AsyncWrite + Unpin),
) {
    let mut buffer = BytesMut::new();
    loop {
        let Some(Some(first)) = state.stop.run_until_cancelled(waiting.recv()).await else { return };
        let mut calls = vec![encode(first, &mut buffer)];
        while buffer.len() < WRITE_BYTES_AIM
            && let Ok(next) = waiting.try_recv()
        {
            calls.push(encode(next, &mut buffer));
        }
        encode_request(&Request::Flush, &mut buffer);
        // Expected before written: the answer cannot come before the question.
        if !state.expect(Batch { calls, current: 0 }) {
            return;
        }
        match state.stop.run_until_cancelled(write(output, &buffer)).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => return state.give_up(Fault::Gone(error.to_string())),
        }
        if buffer.capacity() > WRITE_BUFFER_BYTES_KEPT {
            buffer = BytesMut::new();
        }
        buffer.clear();
    }
}

async fn write(output: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    output.write_all(bytes).await?;
    output.flush().await
}

/// Puts the requests of a call into the buffer and lets go of them.
fn encode(mut call: Call, buffer: &mut BytesMut) -> Call {
    for request in std::mem::take(&mut call.requests) {
        encode_request(&request, buffer);
    }
    call
}

// ------------------------------------------------------------------------------------------------------ reading

async fn read_answers(state: Arc<State>, mut frames: Frames<impl AsyncRead + Unpin>) {
    let _watch = GiveUpOnPanic(&state);
    loop {
        let Some(next) = state.stop.run_until_cancelled(frames.next()).await else { return };
        let taken = match next {
            Ok(Some(frame)) => decode_response(&frame)
                .map_err(|error| Fault::BadAnswer(error.to_string()))
                .and_then(|answer| state.take(answer)),
            Ok(None) => Err(Fault::Gone("it was closed".to_owned())),
            Err(error @ FrameError::NotAFrame(_)) => Err(Fault::BadAnswer(error.to_string())),
            Err(error) => Err(Fault::Gone(error.to_string())),
        };
        if let Err(fault) = taken {
            return state.give_up(fault);
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is about to be written. False when the connection is dead: the calls are then dropped, and their
    /// callers find out why by themselves.
    fn expect(&self, batch: Batch) -> bool {
        match &mut *self.lock() {
            Expected::Open(batches) => batches.push_back(batch),
            Expected::Dead(_) => return false,
        }
        true
    }

    /// Gives an answer to the oldest question.
    fn take(&self, answer: Response) -> Result<(), Fault> {
        if let Response::Exception(message) = answer {
            return Err(Fault::Exception(message));
        }
        let mut expected = self.lock();
        let Expected::Open(batches) = &mut *expected else { return Ok(()) };
        let Some(batch) = batches.front_mut() else {
            return Err(Fault::BadAnswer(format!("{} was answered, but nothing was asked", answer.method())));
        };
        if batch.take(answer)? == Taken::Last {
            let batch = batches.pop_front();
            drop(expected);
            for call in batch.into_iter().flat_map(|batch| batch.calls) {
                call.reply.send(Ok(call.answers)).ok(); // the caller may have lost interest
            }
        }
        Ok(())
    }

    /// Ends the connection: the oldest unanswered question gets the fault, all others hear that it is gone.
    fn give_up(&self, fault: Fault) {
        let mut expected = self.lock();
        let Expected::Open(batches) = &mut *expected else { return };
        let mut batches = std::mem::take(batches);
        let culprit = batches.front().and_then(Batch::awaited);
        let unanswered = batches.iter().map(Batch::unanswered).sum();
        let why = fault.describe(culprit);
        *expected = Expected::Dead(why.clone());
        drop(expected);
        self.stop.cancel();
        let lost = Lost { connection: self.connection, why, unanswered };
        self.lost.send_if_modified(|first| first.is_none() && first.replace(lost).is_none());
        // Callers hear of it last, so that whoever has got an error finds the connection closed.
        if let Some((call, asked)) = batches.front_mut().and_then(|batch| batch.take_awaited_call().zip(culprit)) {
            call.reply.send(Err(self.error(fault, asked))).ok(); // the caller may have lost interest
        }
    }

    fn error(&self, fault: Fault, Asked { method, height }: Asked) -> AppError {
        match fault {
            Fault::Gone(why) => AppError::Gone { connection: self.connection, method, height, why },
            Fault::Exception(message) => AppError::Exception { method, height, message },
            Fault::BadAnswer(why) => AppError::BadAnswer { method, height, why },
            Fault::Late(after) => AppError::Late { method, height, after },
        }
    }

    /// The error of a call that came to a dead connection or was waiting when it died.
    fn gone(&self, Asked { method, height }: Asked) -> AppError {
        let why = match &*self.lock() {
            Expected::Dead(why) => why.clone(),
            Expected::Open(_) => "it was closed".to_owned(),
        };
        AppError::Gone { connection: self.connection, method, height, why }
    }

    /// Tells the operator what the application is busy with. Only the oldest call speaks, not all that wait behind it.
    fn report_slow(&self, id: u64, waited: Duration) {
        let Expected::Open(batches) = &*self.lock() else { return };
        let oldest = batches.front().filter(|batch| batch.awaited_call().is_some_and(|call| call.id == id));
        if let Some(asked) = oldest.and_then(Batch::awaited) {
            tracing::warn!("the application has not answered {asked} for {} s", waited.as_secs());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Taken {
    /// More answers of this batch are to come.
    More,
    /// The Flush was answered.
    Last,
}

impl Batch {
    /// The question to be answered next; the Flush counts for the last call.
    fn awaited(&self) -> Option<Asked> {
        let call = self.awaited_call()?;
        call.asked.get(call.answers.len()).or(call.asked.last()).copied()
    }

    /// How many answers are to come, without that to the Flush.
    fn unanswered(&self) -> usize {
        self.calls.iter().map(|call| call.asked.len() - call.answers.len()).sum()
    }

    fn awaited_call(&self) -> Option<&Call> {
        self.calls.get(self.current).or(self.calls.last())
    }

    /// The call that [`Batch::awaited`] belongs to.
    fn take_awaited_call(&mut self) -> Option<Call> {
        let index = self.current.min(self.calls.len().checked_sub(1)?);
        Some(self.calls.swap_remove(index))
    }

    fn take(&mut self, answer: Response) -> Result<Taken, Fault> {
        let Some(call) = self.calls.get_mut(self.current) else {
            return match answer {
                Response::Flush => Ok(Taken::Last),
                other => Err(Fault::BadAnswer(format!("expected the answer to flush, got one to {}", other.method()))),
            };
        };
        let asked = call.asked.get(call.answers.len()).map(|asked| asked.method);
        if asked != Some(answer.method()) && !mutant!("O92") {
            return Err(Fault::BadAnswer(format!("it is an answer to {}", answer.method())));
        }
        call.answers.push(answer);
        self.current += usize::from(call.answers.len() == call.asked.len());
        Ok(Taken::More)
    }
}

impl Fault {
    /// What those hear who waited behind the question that failed.
    fn describe(&self, culprit: Option<Asked>) -> String {
        let question = culprit.map_or("nothing".to_owned(), |asked| asked.to_string());
        match self {
            Fault::Gone(why) => why.clone(),
            Fault::Exception(message) => format!("given up after the application failed in {question}: {message}"),
            Fault::BadAnswer(why) => format!("given up after an answer to {question} that cannot be used: {why}"),
            Fault::Late(after) => format!("given up after {question} was not answered within {after:?}"),
        }
    }
}
