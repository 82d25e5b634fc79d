//! Tests of the codec: CometBFT's own constants, its wire vectors, and an independent implementation as oracle.

mod abci;
mod constants;
mod crypto;
mod direct;
mod edges;
mod node_info;
mod oracle;
mod random;
mod random_abci;
mod robust;
mod vectors;
