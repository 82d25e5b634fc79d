//! JSON-RPC over POST, GET and WebSocket, as CometBFT serves it.
