//! What can be called, with which arguments, and what may be cached (reference §8.3). `network` and `why` are ours.

use super::RpcConfig;
use super::args::Kind;

/// When an answer may be kept by a cache for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Never,
    Always,
    /// When the first argument (a height) was given.
    WhenHeightGiven,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Everybody,
    /// Over a WebSocket only.
    WebSocket,
    /// When unsafe routes are switched on.
    Unsafe,
}

macro_rules! routes {
    ($($variant:ident $name:literal ($($arg:literal: $kind:ident),*) $cache:ident $access:ident;)*) => {
        /// A route.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // named like the routes
        pub enum Route { $($variant,)* }

        impl Route {
            /// Every route.
            pub const ALL: &'static [Route] = &[$(Route::$variant,)*];

            /// Its name in requests.
            pub fn name(self) -> &'static str {
                match self { $(Route::$variant => $name,)* }
            }

            /// Names and kinds of its arguments, in order.
            pub(crate) fn args(self) -> &'static [(&'static str, Kind)] {
                match self { $(Route::$variant => &[$(($arg, Kind::$kind)),*],)* }
            }

            pub(crate) fn cache(self) -> Cache {
                match self { $(Route::$variant => Cache::$cache,)* }
            }

            pub(crate) fn access(self) -> Access {
                match self { $(Route::$variant => Access::$access,)* }
            }

            /// Names and kinds of the arguments that CometBFT does not have, in the order in which they follow those it
            /// has. They are given by name only: by position a call has as many as in CometBFT.
            pub(crate) fn own_args(self) -> &'static [(&'static str, Kind)] {
                match self {
                    Route::AbciQuery => &[("consistency", Kind::Word)],
                    _ => &[],
                }
            }

            /// The route of a name.
            pub fn find(name: &str) -> Option<Route> {
                match name { $($name => Some(Route::$variant),)* _ => None }
            }
        }
    };
}

routes! {
    Subscribe "subscribe" ("query": Text) Never WebSocket;
    Unsubscribe "unsubscribe" ("query": Text) Never WebSocket;
    UnsubscribeAll "unsubscribe_all" () Never WebSocket;
    Health "health" () Never Everybody;
    Status "status" () Never Everybody;
    NetInfo "net_info" () Never Everybody;
    Network "network" () Never Everybody;
    Why "why" () Never Everybody;
    Blockchain "blockchain" ("minHeight": Int, "maxHeight": Int) Always Everybody;
    Genesis "genesis" () Always Everybody;
    GenesisChunked "genesis_chunked" ("chunk": Uint) Always Everybody;
    Block "block" ("height": Int) WhenHeightGiven Everybody;
    BlockByHash "block_by_hash" ("hash": Bytes) Always Everybody;
    BlockResults "block_results" ("height": Int) WhenHeightGiven Everybody;
    Commit "commit" ("height": Int) WhenHeightGiven Everybody;
    Header "header" ("height": Int) WhenHeightGiven Everybody;
    HeaderByHash "header_by_hash" ("hash": HexBytes) Always Everybody;
    CheckTx "check_tx" ("tx": Bytes) Never Everybody;
    Tx "tx" ("hash": Bytes, "prove": Bool) Always Everybody;
    TxSearch "tx_search" ("query": Text, "prove": Bool, "page": Int, "per_page": Int, "order_by": Text) Never Everybody;
    BlockSearch "block_search" ("query": Text, "page": Int, "per_page": Int, "order_by": Text) Never Everybody;
    Validators "validators" ("height": Int, "page": Int, "per_page": Int) WhenHeightGiven Everybody;
    DumpConsensusState "dump_consensus_state" () Never Everybody;
    ConsensusState "consensus_state" () Never Everybody;
    ConsensusParams "consensus_params" ("height": Int) WhenHeightGiven Everybody;
    UnconfirmedTxs "unconfirmed_txs" ("limit": Int) Never Everybody;
    NumUnconfirmedTxs "num_unconfirmed_txs" () Never Everybody;
    BroadcastTxCommit "broadcast_tx_commit" ("tx": Bytes) Never Everybody;
    BroadcastTxSync "broadcast_tx_sync" ("tx": Bytes) Never Everybody;
    BroadcastTxAsync "broadcast_tx_async" ("tx": Bytes) Never Everybody;
    AbciQuery "abci_query" ("path": Text, "data": HexBytes, "height": Int, "prove": Bool) Never Everybody;
    AbciInfo "abci_info" () Always Everybody;
    PendingEvidence "pending_evidence" () Never Everybody;
    BroadcastEvidence "broadcast_evidence" ("evidence": Evidence) Never Everybody;
    DialSeeds "dial_seeds" ("seeds": Texts) Never Unsafe;
    DialPeers "dial_peers" ("peers": Texts, "persistent": Bool, "unconditional": Bool, "private": Bool) Never Unsafe;
    UnsafeFlushMempool "unsafe_flush_mempool" () Never Unsafe;
}

/// The page that lists the routes that are open, with links to `host`.
pub fn endpoints(host: &str, config: &RpcConfig) -> String {
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".:-[]_".contains(*c)).collect();
    let mut routes: Vec<Route> =
        Route::ALL.iter().copied().filter(|route| config.unsafe_routes || route.access() != Access::Unsafe).collect();
    routes.sort_by_key(|route| route.name());
    let (plain, with_args): (Vec<Route>, Vec<Route>) = routes.into_iter().partition(|route| route.args().is_empty());
    let mut page = "<html><body><br>Available endpoints:<br>".to_owned();
    for route in plain {
        page += &format!("<a href=\"//{host}/{0}\">//{host}/{0}</a></br>", route.name());
    }
    page += "<br>Endpoints that require arguments:<br>";
    for route in with_args {
        let args: Vec<String> = route.args().iter().map(|(name, _)| format!("{name}=_")).collect();
        let link = format!("//{host}/{}?{}", route.name(), args.join("&"));
        page += &format!("<a href=\"{link}\">{link}</a></br>");
    }
    page + "</body></html>"
}
