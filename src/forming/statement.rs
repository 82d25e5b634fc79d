//! What a node says of itself while a network forms, and its JSON.

use super::address::{MEMBERS_MAX, Members, NodeAddress};
use crate::crypto::{Hash, PublicKey};
use crate::types::{Algorithm, NodeId, Time};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Version of the exchange and of what is computed from it: another program must not come to another genesis.
const FORM: u32 = 1;
/// Characters of a node's name.
pub const NAME_CHARS_MAX: usize = 64;

/// True for what may name a node, and a directory: letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
pub fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= NAME_CHARS_MAX && name.chars().all(legal) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Everything of a node that goes into the genesis, and what it promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// For people; each node has its own.
    pub name: String,
    /// Where peers call it.
    pub address: NodeAddress,
    /// All nodes, as it was started with.
    pub members: Members,
    /// The protocol it was started with.
    pub algorithm: Algorithm,
    /// The name peers know it by.
    pub node_id: NodeId,
    /// Whose votes are its own.
    pub validator: PublicKey,
    /// When its home was made.
    pub created: Time,
    /// SHA-256 of the genesis it promised to begin with; durable before it is said.
    pub agreed: Option<Hash>,
}

/// The same in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    form: u32,
    name: String,
    address: String,
    members: Vec<String>,
    algorithm: String,
    node_id: String,
    validator: String,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agreed: Option<String>,
}

/// JSON that is no statement: which field, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatementError(pub(super) String);

impl Statement {
    /// Reads the JSON; everything in it is checked by itself.
    pub fn parse(json: &[u8]) -> Result<Statement, StatementError> {
        let written: Written = serde_json::from_slice(json).map_err(|why| StatementError(why.to_string()))?;
        Statement::try_from(written)
    }

    /// As JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Written::from(self)).expect("texts and a number always serialise")
    }

    /// True when both were started with the same list and protocol.
    pub(super) fn has_line_of(&self, other: &Statement) -> bool {
        self.members == other.members && self.algorithm == other.algorithm
    }

    /// The same without the promise: what all nodes must have heard alike.
    pub(super) fn facts(&self) -> Statement {
        Statement { agreed: None, ..self.clone() }
    }
}

impl From<&Statement> for Written {
    fn from(statement: &Statement) -> Written {
        Written {
            form: FORM,
            name: statement.name.clone(),
            address: statement.address.to_string(),
            members: statement.members.all().iter().map(ToString::to_string).collect(),
            algorithm: statement.algorithm.name().to_owned(),
            node_id: statement.node_id.to_string(),
            validator: STANDARD.encode(statement.validator.as_bytes()),
            created: statement.created.to_string(),
            agreed: statement.agreed.map(|hash| hash.to_string()),
        }
    }
}

impl TryFrom<Written> for Statement {
    type Error = StatementError;

    fn try_from(written: Written) -> Result<Statement, StatementError> {
        let wrong = |field: &str, value: &str| {
            let start: String = value.chars().take(NAME_CHARS_MAX).collect();
            StatementError(format!("{field} cannot be {start:?}"))
        };
        if written.form != FORM {
            return Err(StatementError(format!("it forms by version {}, this program by {FORM}", written.form)));
        }
        if !is_name(&written.name) {
            return Err(wrong("name", &written.name));
        }
        let address = |text: &String| text.parse::<NodeAddress>().map_err(|_| wrong("address", text));
        let own = address(&written.address)?;
        if written.members.len() > MEMBERS_MAX {
            return Err(StatementError(format!("{} members, at most {MEMBERS_MAX}", written.members.len())));
        }
        let all = written.members.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let members = Members::new(&own, &all).map_err(|why| StatementError(why.to_string()))?;
        let key = STANDARD.decode(&written.validator).ok().and_then(|bytes| PublicKey::try_from(&*bytes).ok());
        let validator = key.filter(|key| !key.is_weak()).ok_or_else(|| wrong("validator", &written.validator))?;
        let hash = |text: &String| {
            let hash = hex::decode(text).ok().and_then(|bytes| Hash::try_from(&*bytes).ok());
            hash.ok_or_else(|| wrong("agreed", text))
        };
        Ok(Statement {
            address: own,
            members,
            algorithm: Algorithm::from_name(&written.algorithm)
                .ok_or_else(|| wrong("algorithm", &written.algorithm))?,
            node_id: written.node_id.parse().map_err(|_| wrong("node_id", &written.node_id))?,
            validator,
            created: written.created.parse().map_err(|_| wrong("created", &written.created))?,
            agreed: written.agreed.as_ref().map(hash).transpose()?,
            name: written.name,
        })
    }
}
