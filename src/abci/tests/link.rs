//! The client against applications good and evil. No test sleeps: time is paused where it matters.

use super::{FLUSH, FLUSHED, Mirror, check_of, finalize};
use crate::abci::Lost;
use crate::abci::address::Duplex;
use crate::abci::client::{Limits, Link};
use crate::abci::hosted::Hosted;
use crate::abci::server::converse;
use crate::ports::{AppError, Connection};
use crate::types::abci::{Request, Response};
use futures_util::future::join_all;
use std::io;
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

const LIMITS: Limits = Limits {
    answer_bytes_max: 128 << 20,
    requests_in_flight_max: NonZeroU16::new(16_384).unwrap(),
    answer_within: None,
};

impl From<DuplexStream> for Duplex {
    fn from(stream: DuplexStream) -> Duplex {
        let (input, output) = tokio::io::split(stream);
        Duplex { input: Box::new(input), output: Box::new(output) }
    }
}

/// A link and the application's end of it, with a pipe of so many bytes between them.
fn link(limits: Limits, pipe: usize) -> (Link, DuplexStream, watch::Receiver<Option<Lost>>) {
    let (ours, theirs) = tokio::io::duplex(pipe);
    let (report, lost) = watch::channel(None);
    (Link::start(Connection::Consensus, ours.into(), limits, report), theirs, lost)
}

/// A link to a served [`Mirror`].
fn link_to_mirror(pipe: usize) -> Link {
    let (link, theirs, _) = link(LIMITS, pipe);
    tokio::spawn(async move { converse(&Hosted::new(Mirror), theirs.into(), &CancellationToken::new()).await });
    link
}

fn data(answer: &Response) -> &[u8] {
    match answer {
        Response::CheckTx(answer) => &answer.data,
        other => panic!("{other:?}"),
    }
}

/// Reads until the next Flush is complete.
async fn read_batch(app: &mut DuplexStream) {
    let mut read = Vec::new();
    while !read.ends_with(FLUSH) {
        read.push(app.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_thousand_calls_in_flight_get_their_own_answers() {
    let link = link_to_mirror(64 << 10);
    let answers = join_all((0..1_000).map(|number| link.call(vec![check_of(number)]))).await;
    for (number, answer) in answers.iter().enumerate() {
        let answer = answer.as_ref().unwrap();
        assert_eq!(answer.len(), 1);
        assert_eq!(data(&answer[0]), number.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_batch_larger_than_what_may_be_in_flight_is_still_answered() {
    let link = link_to_mirror(64 << 10);
    let answers = link.call((0..20_000).map(check_of).collect()).await.unwrap();
    assert_eq!(answers.len(), 20_000);
    assert_eq!(data(&answers[19_999]), b"19999");
    assert_eq!(link.call(Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn messages_cut_into_single_bytes_are_put_together() {
    let link = link_to_mirror(1);
    let answers = link.call((0..10).map(check_of).collect()).await.unwrap();
    assert_eq!(data(&answers[9]), b"9");
}

#[tokio::test]
async fn a_caller_that_loses_interest_does_not_disturb_the_others() {
    let (link, mut app, _lost) = link(LIMITS, 64 << 10);
    let link = Arc::new(link);
    let abandoned = tokio::spawn({
        let link = link.clone();
        async move { link.call(vec![check_of(1)]).await }
    });
    read_batch(&mut app).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    let (answer, ()) = tokio::join!(link.call(vec![check_of(2)]), async {
        read_batch(&mut app).await;
        app.write_all(&[4, 0x4a, 2, 0x28, 1]).await.unwrap(); // gas_wanted 1
        app.write_all(FLUSHED).await.unwrap();
        app.write_all(&[4, 0x4a, 2, 0x28, 2]).await.unwrap(); // gas_wanted 2
        app.write_all(FLUSHED).await.unwrap();
    });
    assert!(matches!(&answer.unwrap()[..], [Response::CheckTx(answer)] if answer.gas_wanted == 2));
}

/// Keeps every write it is given.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncWrite for Recorder {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A line that is our own mistake: whoever uses it panics.
struct Panics;

impl AsyncRead for Panics {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("planted")
    }
}

impl AsyncWrite for Panics {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        panic!("planted")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_task_of_the_connection_ends_it_and_its_callers_hear_of_it() {
    let (silent, _other_end) = tokio::io::duplex(64);
    let reading = Duplex { input: Box::new(Panics), output: Box::new(Recorder::default()) };
    let writing = Duplex { input: Box::new(silent), output: Box::new(Panics) };
    for duplex in [reading, writing] {
        let (report, mut lost) = watch::channel(None);
        let link = Link::start(Connection::Consensus, duplex, LIMITS, report);
        let call = link.call(vec![Request::FinalizeBlock(finalize(5, Vec::new()))]);
        let outcome = tokio::time::timeout(Duration::from_secs(3600), call).await.expect("its caller hears of it");
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("finalize_block of height 5"), "{error}");
        let lost = lost.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(lost.why.contains("a task of this node panicked"), "{lost:?}");
    }
}

#[tokio::test]
async fn calls_that_wait_together_go_out_in_one_write_with_one_flush() {
    let recorder = Recorder::default();
    let (mut app, input) = tokio::io::duplex(64 << 10);
    let (report, _lost) = watch::channel(None);
    let duplex = Duplex { input: Box::new(input), output: Box::new(recorder.clone()) };
    let link = Link::start(Connection::Mempool, duplex, LIMITS, report);

    let fifty = join_all((0..50).map(|number| link.call(vec![check_of(number), check_of(number)])));
    let (answers, ()) = tokio::join!(fifty, async {
        app.write_all(&[2, 0x4a, 0].repeat(100)).await.unwrap();
        app.write_all(FLUSHED).await.unwrap();
    });
    assert!(answers.iter().all(Result::is_ok));
    let writes = recorder.0.lock().unwrap();
    assert_eq!(writes.len(), 1, "fifty calls, one write");
    assert!(writes[0].ends_with(FLUSH));
    let flushes = writes[0].windows(FLUSH.len()).filter(|window| *window == FLUSH).count();
    assert_eq!(flushes, 1, "one write, one Flush");
}

#[tokio::test]
async fn an_application_is_never_asked_more_at_once_than_it_takes() {
    let limits = Limits { requests_in_flight_max: NonZeroU16::new(3).unwrap(), ..LIMITS };
    let (link, mut app, _lost) = link(limits, 64 << 10);
    let batch = || (0..4).map(|_| Request::Commit).collect();
    let (first, second, most) = tokio::join!(link.call(batch()), link.call(batch()), async {
        let (mut answered, mut most) = (0, 0);
        while answered < 8 {
            let mut read = Vec::new();
            while !read.ends_with(FLUSH) {
                read.push(app.read_u8().await.unwrap());
            }
            let asked = read.len() / 3 - 1;
            app.write_all(&[2, 0x62, 0].repeat(asked)).await.unwrap();
            app.write_all(FLUSHED).await.unwrap();
            (answered, most) = (answered + asked, most.max(asked));
        }
        most
    });
    assert_eq!((first.unwrap().len(), second.unwrap().len()), (4, 4));
    assert_eq!(most, 3);
}

#[tokio::test]
async fn how_much_a_lost_connection_owed_is_told() {
    let (link, mut app, mut lost) = link(LIMITS, 64 << 10);
    let (outcome, ()) = tokio::join!(link.call((0..20).map(|_| Request::Commit).collect()), async {
        app.read_u8().await.unwrap();
        app.write_all(&[2, 0x62, 0].repeat(3)).await.unwrap();
        drop(app);
    });
    assert!(outcome.is_err());
    let lost = lost.wait_for(Option::is_some).await.unwrap();
    assert_eq!(lost.as_ref().map(|lost| lost.unanswered), Some(17));
}

// ------------------------------------------------------------------------------------------------- evil applications

const CASES: usize = 14;

/// What an application writes after FinalizeBlock of height 5 before it closes, and what the caller must hear.
const EVIL: [(&str, &[u8], &str); CASES] = [
    (
        "says nothing",
        &[],
        "the application closed the Consensus connection during finalize_block of height 5: it was closed",
    ),
    (
        "closes within a length",
        &[0x80],
        "the application closed the Consensus connection during finalize_block of height 5: it was closed in the middle of a message, after 1 bytes of it",
    ),
    (
        "closes within an answer",
        &[100, 0xaa, 1],
        "the application closed the Consensus connection during finalize_block of height 5: it was closed in the middle of a message, after 3 bytes of it",
    ),
    (
        "answers another method",
        &[2, 0x62, 0],
        "the application's answer to finalize_block of height 5 cannot be used: it is an answer to commit",
    ),
    (
        "leaves the answer out",
        FLUSHED,
        "the application's answer to finalize_block of height 5 cannot be used: it is an answer to flush",
    ),
    (
        "never flushes",
        &[3, 0xaa, 1, 0],
        "the application closed the Consensus connection during finalize_block of height 5: it was closed",
    ),
    (
        "answers twice",
        &[3, 0xaa, 1, 0, 3, 0xaa, 1, 0, 2, 0x1a, 0],
        "the application's answer to finalize_block of height 5 cannot be used: expected the answer to flush, got one to finalize_block",
    ),
    ("fails", &[6, 0x0a, 4, 0x0a, 2, b'n', b'o'], "the application failed in finalize_block of height 5: no"),
    (
        "fails after answering",
        &[3, 0xaa, 1, 0, 6, 0x0a, 4, 0x0a, 2, b'n', b'o'],
        "the application failed in finalize_block of height 5: no",
    ),
    (
        "claims 256 MiB",
        &[0x80, 0x80, 0x80, 0x80, 1],
        "the application's answer to finalize_block of height 5 cannot be used: a frame of 268435456 bytes was announced; at most 134217728 are taken",
    ),
    (
        "sends no length",
        &[0xff; 10],
        "the application's answer to finalize_block of height 5 cannot be used: a frame's length takes more than 10 bytes: the other side does not speak length-delimited protobuf",
    ),
    ("sends an empty message", &[0], "the application's answer to finalize_block of height 5 cannot be used: "),
    (
        "sends garbage",
        &[3, 0xff, 0xff, 0xff],
        "the application's answer to finalize_block of height 5 cannot be used: ",
    ),
    (
        "speaks HTTP",
        b"GET / HTTP/1.1\r\nHost: localhost localhost localhost localhost localhost localhost\r\n\r\n",
        "the application's answer to finalize_block of height 5 cannot be used: ",
    ),
];

#[tokio::test]
async fn every_evil_answer_is_told_apart_and_nobody_hangs() {
    for (what, bytes, expected) in EVIL {
        let (link, mut app, mut lost) = link(LIMITS, 64 << 10);
        let written = Notify::new();
        let (first, second, ()) = tokio::join!(
            link.call(vec![Request::FinalizeBlock(finalize(5, Vec::new()))]),
            async {
                written.notified().await;
                link.call(vec![Request::Commit]).await
            },
            async {
                read_batch(&mut app).await;
                written.notify_one();
                app.write_all(bytes).await.unwrap();
                app.shutdown().await.unwrap();
            }
        );
        let error = first.expect_err(what).to_string();
        let exact = !expected.ends_with(": ");
        assert!(if exact { error == expected } else { error.starts_with(expected) }, "{what}: {error}");
        let second = second.expect_err(what);
        assert!(matches!(second, AppError::Gone { method: "commit", .. }), "{what}: {second}");
        let later = link.call(vec![Request::Commit]).await.expect_err(what);
        assert!(matches!(later, AppError::Gone { method: "commit", .. }), "{what}: {later}");
        assert!(lost.wait_for(Option::is_some).await.is_ok(), "{what}: the node hears of it");
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let (_link, mut app, mut lost) = link(LIMITS, 64 << 10);
    app.write_all(&[2, 0x62, 0]).await.unwrap();
    let lost = lost.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(lost.connection, Connection::Consensus);
    assert!(lost.why.contains("commit was answered, but nothing was asked"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_never_used() {
    let limits = Limits { answer_within: Some(Duration::from_secs(25)), ..LIMITS };
    let (link, mut app, mut lost) = link(limits, 64 << 10);
    let error = link.call(vec![Request::FinalizeBlock(finalize(7, Vec::new()))]).await.unwrap_err();
    assert_eq!(error.to_string(), "the application did not answer finalize_block of height 7 within 25s");
    let lost = lost.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(lost.why.contains("given up after finalize_block of height 7 was not answered within 25s"), "{lost}");
    app.write_all(&[3, 0xaa, 1, 0, 2, 0x1a, 0]).await.ok();
    let error = link.call(vec![Request::FinalizeBlock(finalize(7, Vec::new()))]).await.unwrap_err();
    assert!(matches!(error, AppError::Gone { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_slow_answer_is_awaited_for_as_long_as_it_takes() {
    let (link, mut app, _lost) = link(LIMITS, 64 << 10);
    let (answer, ()) = tokio::join!(link.call(vec![Request::Commit]), async {
        read_batch(&mut app).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        app.write_all(&[2, 0x62, 0, 2, 0x1a, 0]).await.unwrap();
    });
    assert!(matches!(&answer.unwrap()[..], [Response::Commit(_)]));
}
