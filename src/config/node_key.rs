//! `config/node_key.json`: the key peers know this node by, in CometBFT's format (reference §2.5).

use super::ConfigError;
use super::atomic::{self, Access};
use crate::crypto::PrivateKey;
use crate::types::{Address, NodeId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use zeroize::{Zeroize as _, Zeroizing};

/// Most bytes read of a key file; a real one has 159.
const BYTES_MAX: u64 = 16 << 10;
const TAG: &str = "tendermint/PrivKeyEd25519";
const EXPECTED: &str = r#"{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"<64 bytes in base64>"}}"#;

/// The key of a node in the network. Not the validator key: losing it costs only the node's name.
#[derive(Debug)]
pub struct NodeKey {
    key: PrivateKey,
}

/// The file's shape.
#[derive(Serialize, Deserialize)]
struct Document {
    priv_key: TaggedKey,
}

#[derive(Serialize, Deserialize)]
struct TaggedKey {
    #[serde(rename = "type")]
    tag: String,
    value: String,
}

impl Drop for TaggedKey {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl NodeKey {
    /// A new random key.
    pub fn generate() -> NodeKey {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        NodeKey { key: PrivateKey::from_seed(&seed) }
    }

    /// The name peers know the node by.
    pub fn id(&self) -> NodeId {
        NodeId::new(Address::from(&self.key.public_key()))
    }

    /// The key itself, for the handshake with peers.
    pub fn into_private_key(self) -> PrivateKey {
        self.key
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<NodeKey, ConfigError> {
        let bad = |why: String| ConfigError::BadFile {
            path: path.to_owned(),
            why: format!("not a node key: {why}"),
            expected: EXPECTED,
            next: format!("restore it from a backup, or: rm {} && quorate gen-node-key", path.display()),
        };
        let meta = fs::metadata(path).map_err(|why| ConfigError::io("read", path, why))?;
        if meta.len() > BYTES_MAX {
            return Err(bad(format!("{} bytes, at most {BYTES_MAX}", meta.len())));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(|why| ConfigError::io("read", path, why))?);
        let document: Document = serde_json::from_slice(&bytes).map_err(|why| bad(why.to_string()))?;
        if document.priv_key.tag != TAG {
            return Err(bad(format!("key type {:?}", document.priv_key.tag)));
        }
        let raw = STANDARD.decode(&document.priv_key.value).map(Zeroizing::new);
        let raw = raw.map_err(|_| bad("its value is not base64".to_owned()))?;
        PrivateKey::from_bytes(&raw).map(|key| NodeKey { key }).map_err(|why| bad(why.to_string()))
    }

    /// Writes the key file, mode 0600.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let value = STANDARD.encode(self.key.to_bytes().as_slice());
        let document = Document { priv_key: TaggedKey { tag: TAG.to_owned(), value } };
        let json = Zeroizing::new(serde_json::to_vec(&document).expect("two strings always serialise"));
        atomic::write(path, &json, Access::Owner).map_err(|why| ConfigError::io("write", path, why))
    }

    /// Reads the key file, or makes one when there is none.
    pub fn load_or_generate(path: &Path) -> Result<NodeKey, ConfigError> {
        match NodeKey::load(path) {
            Err(ConfigError::Io { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
                let key = NodeKey::generate();
                key.save(path)?;
                Ok(key)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_keeps_its_id() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node_key.json");
        let made = NodeKey::load_or_generate(&path).unwrap();
        let again = NodeKey::load_or_generate(&path).unwrap();
        assert_eq!(made.id(), again.id());
        assert_eq!(made.id().to_string().len(), 40);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":""#), "{text}");
    }

    #[test]
    fn a_key_file_as_cometbft_writes_it_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("node_key.json");
        let key = PrivateKey::from_seed(&[7; 32]);
        let value = STANDARD.encode(key.to_bytes().as_slice());
        fs::write(&path, format!(r#"{{"priv_key":{{"type":"{TAG}","value":"{value}"}}}}"#)).unwrap();
        let expected = hex::encode(&key.public_key().hash().as_ref()[..20]);
        assert_eq!(NodeKey::load(&path).unwrap().id().to_string(), expected);
    }
}
