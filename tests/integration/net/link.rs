//! The wire between two nodes as a program: a TCP proxy that can hold bytes up, cut the line and mend it. It makes
//! partitions on any machine, without rights over its network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Bytes taken from one side before they are given to the other.
const CHUNK_BYTES: usize = 64 << 10;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// It carries bytes.
    Whole,
    /// Connections stand and nothing gets through: what was sent arrives when the wire is whole again.
    Stuck,
    /// Connections are broken and none can be made.
    Cut,
}

/// The runtime of everything in these tests that is not a process.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}

/// A wire that leads to one address.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    listening: AbortHandle,
}

impl Link {
    /// A whole wire; whoever calls [`Link::address`] reaches `to`.
    pub(super) fn to(to: SocketAddr) -> Link {
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, seen) = watch::channel(Wire::Whole);
        let listening = runtime().spawn(listen(listener, to, seen)).abort_handle();
        Link { address, wire, listening }
    }

    /// Where it begins.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn becomes(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.becomes(Wire::Cut);
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, to: SocketAddr, wire: watch::Receiver<Wire>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *wire.borrow() == Wire::Cut {
            continue;
        }
        tokio::spawn(carry(near, to, wire.clone()));
    }
}

/// One connection, until a side closes it or the wire is cut.
async fn carry(near: TcpStream, to: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    // Both fail only when a side is gone already, and then the copying ends at once.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = copy(near_read, far_write, wire.clone()) => {}
        () = copy(far_read, near_write, wire.clone()) => {}
        _ = wire.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let whole = wire.wait_for(|wire| *wire == Wire::Whole).await.is_ok();
        if !whole || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
