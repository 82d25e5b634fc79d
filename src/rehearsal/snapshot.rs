//! A new instance made from a snapshot of another one, as state sync makes it.

use super::calls::Stop;
use super::host::Host;
use super::stage::Stage;
use crate::ports::Connection;
use crate::sim::app::{Finding, InstanceNr, Kind, Place};
use crate::types::Height;
use crate::types::abci::{
    ApplySnapshotChunkRequest, ApplySnapshotChunkResult, LoadSnapshotChunkRequest, OfferSnapshotRequest,
    OfferSnapshotResult, Request, Response, Snapshot,
};
use bytes::Bytes;

/// Most chunks of a snapshot that is tried.
const CHUNKS_MAX: u32 = 10_000;
/// How often a chunk is sent again when the application asks for it.
const RETRIES_MAX: u32 = 3;
/// Who the chunks are said to come from.
const SENDER: &str = "instance";

/// How the chunks go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    Whole,
    /// One bit of this one is wrong.
    Spoilt(u32),
}

impl<H: Host> Stage<'_, H> {
    /// Restores the newest snapshot of `from` twice: with a spoilt chunk, which should be noticed, and whole.
    pub(super) async fn snapshot(&mut self, from: InstanceNr, height: u64) -> Result<(), Stop> {
        if self.instance(from).app.is_none() {
            return Ok(());
        }
        let list = match self.ask(from, Connection::Snapshot, Request::ListSnapshots).await? {
            Response::ListSnapshots(list) => list,
            other => return Err(self.another(from, "list_snapshots", None, &other)),
        };
        let known = |snapshot: &&Snapshot| self.chain.app_hash(snapshot.height).is_some() && snapshot.height > 0;
        let Some(newest) = list.iter().filter(known).max_by_key(|snapshot| snapshot.height).cloned() else {
            self.count("no snapshot offered");
            return Ok(());
        };
        if newest.chunks == 0 || newest.chunks > CHUNKS_MAX {
            let (chunks, at) = (newest.chunks, newest.height);
            self.remark("snapshots of odd size", || {
                format!("the snapshot of height {at} has {chunks} chunks; 1 to {CHUNKS_MAX} are tried")
            });
            return Ok(());
        }
        let spoilt = self.plan.dice("spoilt chunk", height).below(u64::from(newest.chunks)) as u32;
        let bad = self.new_instance().await?;
        self.note(bad, format!("it is being made from a snapshot of {from} with a spoilt chunk"));
        if self.restore(bad, from, &newest, Chunks::Spoilt(spoilt)).await? {
            self.remark("ApplySnapshotChunk takes spoilt chunks", || {
                format!("chunk {spoilt} of the snapshot of height {} had a wrong bit and was accepted", newest.height)
            });
        }
        self.let_go(bad);
        let good = self.new_instance().await?;
        self.note(good, format!("it was made from the snapshot of {from} of height {}", newest.height));
        if !self.restore(good, from, &newest, Chunks::Whole).await? {
            let sentence = format!("does not take the snapshot of height {} that {from} gives", newest.height);
            let at = Some(newest.height);
            return Err(self.conformance(good, "ApplySnapshotChunk", at, Some("result"), sentence));
        }
        self.count("snapshots restored");
        self.restored(good, &newest).await?;
        self.let_go(good);
        Ok(())
    }

    /// Info must say what the chain says at that height; the blocks since then must come out the same.
    async fn restored(&mut self, nr: InstanceNr, snapshot: &Snapshot) -> Result<(), Stop> {
        let info = self.info(nr).await?;
        if u64::try_from(info.last_block_height) != Ok(snapshot.height) {
            let what = format!(
                "last_block_height of Info is {} after restoring the snapshot of height {}",
                info.last_block_height, snapshot.height
            );
            let before = vec![self.instance(nr).story()];
            let (kind, height, place) = (Kind::Divergence, Some(snapshot.height), Place::Block);
            let (call, field) = ("Info", Some("last_block_height"));
            return Err(self.found(Finding { kind, height, place, call, field, what, before }));
        }
        self.check_hash(nr, snapshot.height, &info)?;
        self.committed(nr, snapshot.height);
        let (tip, state) = (self.chain.tip(), self.chain.state().last_block_height.get());
        self.handshake(nr, (tip, state)).await
    }

    /// Offers and applies; false when the application refuses.
    async fn restore(
        &mut self,
        nr: InstanceNr,
        from: InstanceNr,
        snapshot: &Snapshot,
        chunks: Chunks,
    ) -> Result<bool, Stop> {
        self.info(nr).await?;
        let app_hash = self.chain.app_hash(snapshot.height).unwrap_or_default();
        let offer = Request::OfferSnapshot(OfferSnapshotRequest { snapshot: Some(snapshot.clone()), app_hash });
        match self.ask(nr, Connection::Snapshot, offer).await? {
            Response::OfferSnapshot(OfferSnapshotResult::Accept) => {}
            Response::OfferSnapshot(OfferSnapshotResult::Unknown) => {
                let why = "its result is UNKNOWN".to_owned();
                return Err(self.unusable(nr, "offer_snapshot", Height::new(snapshot.height), Some("result"), why));
            }
            Response::OfferSnapshot(_) => return Ok(false),
            other => return Err(self.another(nr, "offer_snapshot", None, &other)),
        }
        for index in 0..snapshot.chunks {
            let chunk = self.load(from, snapshot, index).await?;
            let chunk = if chunks == Chunks::Spoilt(index) { spoil(&chunk) } else { chunk };
            if !self.apply(nr, snapshot, index, chunk).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn load(&mut self, from: InstanceNr, snapshot: &Snapshot, chunk: u32) -> Result<Bytes, Stop> {
        let request = LoadSnapshotChunkRequest { height: snapshot.height, format: snapshot.format, chunk };
        match self.ask(from, Connection::Snapshot, Request::LoadSnapshotChunk(request)).await? {
            Response::LoadSnapshotChunk(chunk) => Ok(chunk),
            other => Err(self.another(from, "load_snapshot_chunk", None, &other)),
        }
    }

    async fn apply(&mut self, nr: InstanceNr, snapshot: &Snapshot, index: u32, chunk: Bytes) -> Result<bool, Stop> {
        for _ in 0..=RETRIES_MAX {
            let request = ApplySnapshotChunkRequest { index, chunk: chunk.clone(), sender: SENDER.to_owned() };
            match self.ask(nr, Connection::Snapshot, Request::ApplySnapshotChunk(request)).await? {
                Response::ApplySnapshotChunk(answer) => match answer.result {
                    ApplySnapshotChunkResult::Accept => return Ok(true),
                    ApplySnapshotChunkResult::Retry => {}
                    ApplySnapshotChunkResult::Unknown => {
                        let (at, why) = (Height::new(snapshot.height), "its result is UNKNOWN".to_owned());
                        return Err(self.unusable(nr, "apply_snapshot_chunk", at, Some("result"), why));
                    }
                    _ => return Ok(false),
                },
                other => return Err(self.another(nr, "apply_snapshot_chunk", None, &other)),
            }
        }
        Ok(false)
    }
}

/// One bit wrong in the middle; one byte too many where there is none.
fn spoil(chunk: &Bytes) -> Bytes {
    let mut bytes = chunk.to_vec();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => bytes.push(0),
    }
    bytes.into()
}
