//! One application behind one mutex, as CometBFT's reference server and local client keep it (reference §3.5).

use super::application::{Answer, Application, Failure, Reader, answer};
use crate::types::abci::{QueryRequest, Request, Response};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;

/// Shared by all connections to one application. The lock is fair: calls are served in the order in which they came.
pub(super) struct Hosted {
    app: Mutex<Box<dyn Application>>,
    reader: Option<Arc<dyn Reader>>,
    /// What the application said when it panicked. Its state is then half changed, so nothing more is asked of it.
    panicked: OnceLock<String>,
}

impl Hosted {
    pub(super) fn new(app: impl Application) -> Hosted {
        let reader = app.reader();
        Hosted { app: Mutex::new(Box::new(app)), reader, panicked: OnceLock::new() }
    }

    /// What the application answers. A panic is a failure, of this call and of every later one but queries to a reader.
    pub(super) async fn ask(&self, request: Request) -> Answer<Response> {
        let request = match (request, &self.reader) {
            (Request::Query(query), Some(reader)) => return read(reader.as_ref(), query),
            (request @ (Request::Flush | Request::Echo(_)), _) => return echo(request),
            (request, _) => request,
        };
        let mut app = self.app.lock().await;
        if let Some(message) = self.panicked.get() {
            return Err(Failure::new(format!("{message}; restart the application")));
        }
        let method = request.method();
        let takes_long = takes_long(&request);
        let call = || catch_unwind(AssertUnwindSafe(|| answer(app.as_mut(), request)));
        let outcome = if takes_long { aside(call) } else { call() };
        outcome.unwrap_or_else(|panic| {
            let message = format!("the application panicked in {method}: {}", panic_text(panic.as_ref()));
            tracing::error!("{message}");
            Err(Failure::new(self.panicked.get_or_init(|| message).as_str()))
        })
    }

    /// How the application panicked, if it did.
    pub(super) fn panicked(&self) -> Option<&str> {
        self.panicked.get().map(String::as_str)
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("panicked", &self.panicked).finish_non_exhaustive()
    }
}

fn echo(request: Request) -> Answer<Response> {
    Ok(match request {
        Request::Echo(message) => Response::Echo(message),
        _ => Response::Flush,
    })
}

fn read(reader: &dyn Reader, query: QueryRequest) -> Answer<Response> {
    let outcome = aside(|| catch_unwind(AssertUnwindSafe(|| reader.query(query))));
    let answer = outcome.unwrap_or_else(|panic| {
        Err(Failure::new(format!("the application panicked in query: {}", panic_text(panic.as_ref()))))
    });
    answer.map(Response::Query)
}

/// True for calls that may work through a block or touch the disk.
fn takes_long(request: &Request) -> bool {
    !matches!(request, Request::Info(_) | Request::Query(_) | Request::CheckTx(_))
}

/// Runs a call that may take long while the runtime's other tasks go on elsewhere.
fn aside<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
