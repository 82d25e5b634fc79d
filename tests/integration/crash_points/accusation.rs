//! True evidence against the validator of a story, made with its own key.

use super::story::Story;
use crate::integration::harness::{Client, Failure, number};
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use quorate::codec::json::{View, to_bytes};
use quorate::crypto::{Hash, PrivateKey};
use quorate::types::{
    Address, BlockId, ChainId, DuplicateVoteEvidence, Evidence, Height, PartSetHeader, Power, Proposal, Round,
    UnsignedProposal, UnsignedVote, Vote, VoteKind,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Somebody who can prove anything of a validator, because he has its key.
pub(crate) struct Accuser {
    key: PrivateKey,
    chain_id: ChainId,
    /// What it is accused of next.
    round: u32,
}

impl Accuser {
    pub(crate) fn of(story: &Story) -> Accuser {
        Accuser::with_home(&story.home())
    }

    /// Against the validator of this home.
    pub(crate) fn with_home(home: &Path) -> Accuser {
        let read = |file: &str| -> Value { serde_json::from_slice(&fs::read(home.join(file)).unwrap()).unwrap() };
        let key = read("config/priv_validator_key.json");
        let key = STANDARD.decode(key["priv_key"]["value"].as_str().unwrap()).unwrap();
        let genesis = read("config/genesis.json");
        Accuser {
            key: PrivateKey::from_bytes(&key).unwrap(),
            chain_id: genesis["chain_id"].as_str().unwrap().try_into().unwrap(),
            round: 0,
        }
    }

    /// Tells a node of two prevotes for one height and a round nobody accused it of yet. False when the node is gone.
    pub(crate) fn accuse(&mut self, client: &mut Client) -> bool {
        match self.try_accuse(client) {
            Ok(()) => true,
            Err(Failure::Away(_)) => false,
            Err(why) => panic!("true evidence is refused: {why:?}"),
        }
    }

    /// The same, once there is a block to accuse it about.
    pub(crate) fn accuse_if_begun(&mut self, client: &mut Client) -> bool {
        let begun = client.call("header", &json!({})).is_ok_and(|answer| !answer["header"].is_null());
        !begun || self.accuse(client)
    }

    fn try_accuse(&mut self, client: &mut Client) -> Result<(), Failure> {
        let header = client.call("header", &json!({}))?["header"].take();
        let height = number(&header["height"]);
        let validators = client.call("validators", &json!({"height": height.to_string()}))?;
        let member = |value: &Value| (value["address"].clone(), number(&value["voting_power"]));
        let members: Vec<_> = validators["validators"].as_array().unwrap().iter().map(member).collect();
        let own = json!(Address::from(&self.key.public_key()).to_string());
        let index = members.iter().position(|(address, _)| *address == own).unwrap();
        let power = members[index].1;
        self.round += 1;
        let [vote_a, vote_b] = [1, 2].map(|block| self.vote(height, index, block));
        let evidence = Evidence::DuplicateVote(Box::new(DuplicateVoteEvidence {
            vote_a,
            vote_b,
            total_voting_power: Power::new(members.iter().map(|(_, power)| *power).sum()),
            validator_power: Power::new(power),
            timestamp: header["time"].as_str().unwrap().parse().unwrap(),
        }));
        let evidence: Value = serde_json::from_slice(&to_bytes(&View(&evidence))).unwrap();
        client.call("broadcast_evidence", &json!({ "evidence": evidence })).map(drop)
    }

    /// What the validator could propose for the first height: signed by its key, with itself as who signed.
    pub(crate) fn proposal(&self, round: u32, block: u8) -> (Address, Proposal) {
        let proposal = UnsignedProposal {
            height: Height::FIRST,
            round: Round::new(round),
            pol_round: None,
            block_id: block_id(block),
            timestamp: std::time::SystemTime::now().into(),
        };
        let signature = self.key.sign(&proposal.sign_bytes(&self.chain_id));
        let timestamp = proposal.timestamp;
        (Address::from(&self.key.public_key()), proposal.signed(timestamp, signature))
    }

    pub(crate) fn chain_id(&self) -> &str {
        self.chain_id.as_str()
    }

    fn vote(&self, height: u64, index: usize, block: u8) -> Vote {
        let vote = UnsignedVote {
            kind: VoteKind::Prevote,
            height: Height::new(height),
            round: Round::new(self.round),
            block_id: Some(block_id(block)),
            timestamp: std::time::SystemTime::now().into(),
            validator_address: Address::from(&self.key.public_key()),
            validator_index: index as u32,
            extension: None,
        };
        let signature = self.key.sign(&vote.sign_bytes(&self.chain_id));
        let timestamp = vote.timestamp;
        vote.signed(timestamp, signature, None)
    }
}

/// A block nobody has.
fn block_id(block: u8) -> BlockId {
    let hash = Hash::new([block; 32]);
    BlockId { hash, parts: PartSetHeader { total: 1, hash } }
}
