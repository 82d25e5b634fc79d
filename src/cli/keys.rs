//! Commands about keys: show them, make them.

use super::CliError;
use super::args::Common;
use super::error::Exit;
use super::output::Output;
use crate::config::{Config, NodeKey};
use crate::crypto::{PrivateKey, PublicKey};
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use crate::types::Address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A public key as CometBFT's JSON has it (reference §2.4).
pub(super) fn public_key_json(key: &PublicKey) -> Value {
    json!({ "type": "tendermint/PubKeyEd25519", "value": STANDARD.encode(key.as_bytes()) })
}

fn load(common: &Common) -> Result<Config, CliError> {
    Ok(Config::load(&common.home()?, &common.overrides())?.0)
}

pub(super) fn show_node_id(common: &Common, out: &Output) -> Result<(), CliError> {
    let id = NodeKey::load(&load(common)?.files.node_key)?.id().to_string();
    out.give(&id, &json!({ "node_id": id }));
    Ok(())
}

pub(super) fn show_validator(common: &Common, out: &Output) -> Result<(), CliError> {
    let config = load(common)?;
    let key = FileSigner::public_key_of(&OsDisk, &config.files.priv_validator_key)?;
    let json = public_key_json(&key);
    out.give(&json.to_string(), &json);
    Ok(())
}

pub(super) fn gen_node_key(common: &Common, out: &Output) -> Result<(), CliError> {
    let home = common.home()?;
    home.create()?;
    let path = load(common)?.files.node_key;
    if path.exists() {
        let text = format!("{} exists already and is not overwritten\n  next: quorate show-node-id", path.display());
        return Err(CliError { exit: Exit::Failed, text });
    }
    let key = NodeKey::generate();
    key.save(&path)?;
    let id = key.id().to_string();
    out.give(&id, &json!({ "node_id": id, "file": path }));
    Ok(())
}

/// Prints what CometBFT prints: the file `priv_validator_key.json` and a state that never signed.
pub(super) fn gen_validator(out: &Output) -> Result<(), CliError> {
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    let key = PrivateKey::from_seed(&seed);
    let secret = Zeroizing::new(STANDARD.encode(key.to_bytes().as_slice()));
    let public = key.public_key();
    // Put together as text, so that the secret is in no value that is not wiped.
    let text = Zeroizing::new(format!(
        r#"{{"Key":{{"address":"{}","pub_key":{},"priv_key":{{"type":"tendermint/PrivKeyEd25519","value":"{}"}}}},"LastSignState":{{"height":"0","round":0,"step":0}}}}"#,
        Address::from(&public),
        public_key_json(&public),
        secret.as_str(),
    ));
    out.line(&text);
    Ok(())
}
