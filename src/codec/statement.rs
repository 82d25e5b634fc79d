//! What Raft and PBFT sign beside votes and proposals.

use crate::types::{ChainId, Statement, UnsignedStatement};

/// Begins every statement's sign bytes. Those of votes and proposals begin with their own length, which is never 0.
const DOMAIN: &[u8] = b"\0quorate/statement/1\0";

impl UnsignedStatement {
    /// What is signed: domain, protocol, chain, signer, body.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(format!("{}\0{}\0{}\0{:?}", self.body.algorithm(), chain_id, self.by, self.body).bytes());
        bytes
    }
}

impl Statement {
    /// What was signed.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        UnsignedStatement { by: self.by, body: self.body.clone() }.sign_bytes(chain_id)
    }
}
