//! The signer on real files: formats, the guard across restarts, and what happens when saving fails.

use super::*;
use crate::disk::OsDisk;
use crate::types::{Address, BlockId, Election, Height, PartSetHeader, RaftStatement, Round, StatementBody};
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A home with two file names in it.
struct Home {
    _dir: tempfile::TempDir,
    key: PathBuf,
    state: PathBuf,
}

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (key, state) = (dir.path().join("priv_validator_key.json"), dir.path().join("priv_validator_state.json"));
        Home { _dir: dir, key, state }
    }

    /// With the key of seed 1, 1, 1, …
    fn with_key() -> Home {
        let home = Home::new();
        FileSigner::save_new(&OsDisk, &PrivateKey::from_seed(&[1; 32]), &home.key, &home.state).expect("a new key");
        home
    }

    fn open(&self) -> FileSigner {
        FileSigner::open(Arc::new(OsDisk), &self.key, &self.state).expect("opens")
    }
}

fn chain() -> ChainId {
    ChainId::try_from("test-chain").expect("a legal name")
}

fn block(byte: u8) -> Option<BlockId> {
    let hash = crate::crypto::sha256(&[byte]);
    Some(BlockId { hash, parts: PartSetHeader { total: 1, hash } })
}

fn time(seconds: i64) -> Time {
    Time::new(seconds, 5).expect("in range")
}

fn vote(kind: VoteKind, block_id: Option<BlockId>, seconds: i64) -> UnsignedVote {
    UnsignedVote {
        kind,
        height: Height::new(3),
        round: Round::new(1),
        block_id,
        timestamp: time(seconds),
        validator_address: crate::types::Address::new([1; 20]),
        validator_index: 0,
        extension: None,
    }
}

const KEY_FILE: &str = r#"{
  "address": "34750F98BD59FCFC946DA45AAABE933BE154A4B5",
  "pub_key": {
    "type": "tendermint/PubKeyEd25519",
    "value": "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
  },
  "priv_key": {
    "type": "tendermint/PrivKeyEd25519",
    "value": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGKiOPddAnxlf1S2y08ul1yymcJvx2UEhvzdIgBtA9vXA=="
  }
}"#;

const FRESH_STATE_FILE: &str = "{\n  \"height\": \"0\",\n  \"round\": 0,\n  \"step\": 0\n}";

#[test]
fn files_are_written_byte_for_byte_as_cometbft_writes_them() {
    let home = Home::with_key();
    assert_eq!(fs::read_to_string(&home.key).expect("readable"), KEY_FILE);
    assert_eq!(fs::read_to_string(&home.state).expect("readable"), FRESH_STATE_FILE);
    let mut signer = home.open();
    let signed = signer.sign_vote(&chain(), vote(VoteKind::Prevote, None, 9)).expect("signed");
    let unsigned = vote(VoteKind::Prevote, None, 9);
    use base64::Engine as _;
    let expected = format!(
        "{{\n  \"height\": \"3\",\n  \"round\": 1,\n  \"step\": 2,\n  \"signature\": \"{}\",\n  \"signbytes\": \"{}\"\n}}",
        base64::engine::general_purpose::STANDARD.encode(signed.signature.as_bytes()),
        hex::encode_upper(unsigned.sign_bytes(&chain())),
    );
    assert_eq!(fs::read_to_string(&home.state).expect("readable"), expected);
    for file in [&home.key, &home.state] {
        assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_signature_verifies_and_survives_a_restart() {
    let home = Home::with_key();
    let request = vote(VoteKind::Precommit, block(1), 9);
    let first = home.open().sign_vote(&chain(), request.clone()).expect("signed");
    assert!(home.open().public_key().verifies(&first.sign_bytes(&chain()), &first.signature));
    assert_eq!(home.open().sign_vote(&chain(), request).expect("the same again"), first);
}

#[test]
fn after_a_restart_only_the_time_may_differ_and_the_old_time_comes_back() {
    let home = Home::with_key();
    let first = home.open().sign_vote(&chain(), vote(VoteKind::Precommit, block(1), 9)).expect("signed");
    let again = home.open().sign_vote(&chain(), vote(VoteKind::Precommit, block(1), 12)).expect("the old one");
    assert_eq!(again, first);
    assert!(home.open().public_key().verifies(&again.sign_bytes(&chain()), &again.signature));
    for other in [block(2), None] {
        let refused = home.open().sign_vote(&chain(), vote(VoteKind::Precommit, other, 9));
        assert_eq!(refused.expect_err("a double sign").to_string(), "refused to sign: conflicting data");
    }
}

#[test]
fn a_proposal_is_signed_once_for_one_block() {
    let home = Home::with_key();
    let proposal = |byte, seconds| UnsignedProposal {
        height: Height::new(3),
        round: Round::new(1),
        pol_round: None,
        block_id: block(byte).expect("a block"),
        timestamp: time(seconds),
    };
    let first = home.open().sign_proposal(&chain(), proposal(1, 9)).expect("signed");
    assert!(home.open().public_key().verifies(&first.sign_bytes(&chain()), &first.signature));
    assert_eq!(home.open().sign_proposal(&chain(), proposal(1, 10)).expect("the old one"), first);
    assert!(matches!(home.open().sign_proposal(&chain(), proposal(2, 9)), Err(SignError::Refused(_))));
}

#[test]
fn an_extension_is_signed_every_time_but_only_for_a_granted_precommit_for_a_block() {
    let home = Home::with_key();
    let mut signer = home.open();
    let mut request = vote(VoteKind::Precommit, block(1), 9);
    for text in ["one", "two"] {
        request.extension = Some(Bytes::from(text));
        let signed = signer.sign_vote(&chain(), request.clone()).expect("signed");
        let over = signed.extension_signature.expect("an extension signature");
        assert!(signer.public_key().verifies(&signed.extension_sign_bytes(&chain()), &over));
    }
    request.block_id = block(2);
    assert!(matches!(signer.sign_vote(&chain(), request.clone()), Err(SignError::Refused(_))), "no vote, no extension");
    for (kind, block_id) in [(VoteKind::Precommit, None), (VoteKind::Prevote, block(1))] {
        let mut request = vote(kind, block_id, 9);
        request.height = Height::new(4);
        request.extension = Some(Bytes::new());
        assert!(matches!(signer.sign_vote(&chain(), request), Err(SignError::Refused(_))));
    }
}

#[test]
fn no_signature_leaves_when_the_state_cannot_be_saved() {
    let home = Home::with_key();
    let mut signer = home.open();
    // The state's name now belongs to a directory: the rename over it fails, for root as well.
    fs::remove_file(&home.state).expect("removed");
    fs::create_dir(&home.state).expect("made");
    fs::write(home.state.join("in the way"), "x").expect("written");
    let request = vote(VoteKind::Prevote, block(1), 9);
    assert!(matches!(signer.sign_vote(&chain(), request.clone()), Err(SignError::Failed(_))));
    assert!(matches!(signer.sign_vote(&chain(), request), Err(SignError::Failed(_))), "nor later");
    let left = fs::read_dir(home.state.parent().expect("a parent")).expect("listed");
    let temporary = left.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("write-file-atomic"))
    });
    assert_eq!(temporary.count(), 0, "the half-written file is gone");
}

fn raft(body: RaftStatement) -> UnsignedStatement {
    UnsignedStatement { by: Address::new([1; 20]), body: StatementBody::Raft(body) }
}

/// A ballot for somebody in term 1.
fn ballot(granted: bool) -> UnsignedStatement {
    let (term, candidate) = (Round::new(1), Address::new([2; 20]));
    raft(RaftStatement::Ballot {
        term,
        asked: term,
        election: Election::Vote,
        candidate,
        granted,
        height: Height::FIRST,
    })
}

#[test]
fn that_a_key_promised_is_written_down_before_the_first_promise_leaves_and_never_again() {
    let home = Home::with_key();
    let mut signer = home.open();
    signer.sign_statement(&chain(), ballot(false)).expect("signed");
    assert_eq!(fs::read_to_string(&home.state).expect("readable"), FRESH_STATE_FILE, "no promise");
    signer.sign_statement(&chain(), ballot(true)).expect("signed");
    let promised = FRESH_STATE_FILE.replace("\n}", ",\n  \"promised\": true\n}");
    assert_eq!(fs::read_to_string(&home.state).expect("readable"), promised);
    // A second write would put the file back.
    fs::remove_file(&home.state).expect("removed");
    signer.sign_statement(&chain(), ballot(true)).expect("signed");
    assert!(!home.state.exists(), "written once");
    fs::write(&home.state, promised).expect("written");
    drop(signer);
    let memory = home.open().memory().expect("it has one");
    assert_eq!((memory.last, memory.promises), (SignPosition::START, Promises::Given));
}

#[test]
fn that_a_key_promised_outlives_its_votes_and_an_advance_of_its_state_but_no_reset() {
    let home = Home::with_key();
    let promises = || home.open().memory().expect("it has one").promises;
    home.open().sign_statement(&chain(), ballot(true)).expect("signed");
    home.open().sign_vote(&chain(), vote(VoteKind::Precommit, block(1), 9)).expect("signed");
    assert_eq!(promises(), Promises::Given);
    FileSigner::advance(&OsDisk, &home.state, SignPosition::end_of(Height::new(9))).expect("written");
    assert_eq!(promises(), Promises::Given);
    let made =
        FileSigner::save_new(&OsDisk, &PrivateKey::from_seed(&[2; 32]), &home.key.with_extension("2"), &home.state);
    assert!(matches!(made, Err(KeyFileError::Exists { .. })), "another key does not take its place");
    assert_eq!(FileSigner::reset(&OsDisk, &home.state).expect("reset"), Promises::Given);
    assert_eq!(promises(), Promises::NoneGiven);
    assert_eq!(FileSigner::reset(&OsDisk, &home.state).expect("reset"), Promises::NoneGiven);
    assert_eq!(fs::read_to_string(&home.state).expect("readable"), FRESH_STATE_FILE);
}

#[test]
fn no_promise_leaves_when_that_cannot_be_saved() {
    let home = Home::with_key();
    let mut signer = home.open();
    fs::remove_file(&home.state).expect("removed");
    fs::create_dir(&home.state).expect("made");
    fs::write(home.state.join("in the way"), "x").expect("written");
    assert!(signer.sign_statement(&chain(), ballot(true)).is_err());
    assert!(signer.sign_statement(&chain(), ballot(true)).is_err(), "nor later");
}

#[test]
fn a_second_process_cannot_sign_with_the_same_state() {
    let home = Home::with_key();
    let first = home.open();
    let second = FileSigner::open(Arc::new(OsDisk), &home.key, &home.state).expect_err("in use");
    assert!(second.to_string().contains("another process is using"), "{second}");
    drop(first);
    home.open();
}

/// Files of two validators were mixed up: what the other key signed says nothing of what this one did.
#[test]
fn a_key_is_not_used_with_the_state_another_key_signed() {
    let (one, other) = (Home::with_key(), Home::new());
    one.open().sign_vote(&chain(), vote(VoteKind::Precommit, block(1), 9)).expect("signed");
    FileSigner::save_new(&OsDisk, &PrivateKey::from_seed(&[2; 32]), &other.key, &other.state).expect("a new key");
    fs::copy(&one.state, &other.state).expect("copied");
    let error = FileSigner::open(Arc::new(OsDisk), &other.key, &other.state).expect_err("mixed up").to_string();
    assert!(error.contains("that of signbytes by the key in the key file"), "{error}");
}

#[test]
fn a_new_key_overwrites_nothing_and_reset_forgets() {
    let home = Home::new();
    let key = FileSigner::generate(&OsDisk, &home.key, &home.state).expect("a new key");
    assert!(matches!(FileSigner::generate(&OsDisk, &home.key, &home.state), Err(KeyFileError::Exists { .. })));
    let mut signer = home.open();
    assert_eq!(signer.public_key(), key);
    signer.sign_vote(&chain(), vote(VoteKind::Prevote, None, 9)).expect("signed");
    assert_eq!(signer.last().height, Height::new(3));
    assert!(matches!(FileSigner::reset(&OsDisk, &home.state), Err(KeyFileError::InUse { .. })));
    drop(signer);
    FileSigner::reset(&OsDisk, &home.state).expect("reset");
    assert_eq!(home.open().last(), SignPosition::START);
}

#[test]
fn a_sign_state_is_advanced_and_never_taken_back() {
    let home = Home::with_key();
    let at = |height| SignPosition { height: Height::new(height), ..SignPosition::START };
    let advance = |height| FileSigner::advance(&OsDisk, &home.state, at(height)).expect("written");
    assert_eq!(advance(5), Some(SignPosition::START));
    assert_eq!(advance(3), Some(at(5)));
    assert_eq!(home.open().last(), at(5));
}

#[test]
fn a_bad_file_is_refused_with_its_name_and_the_field() {
    let keys = [
        ("{", "the file must be JSON"),
        (r#"{"priv_key":{"type":"tendermint/PrivKeySecp256k1","value":""}}"#, "priv_key.type must be"),
        (r#"{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"*"}}"#, "priv_key.value must be base64"),
        (r#"{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"AQE="}}"#, "priv_key.value must be 64 bytes"),
        (&KEY_FILE.replace("34750F98", "44750F98"), "address must be that of priv_key"),
        (&KEY_FILE.replace("\"iojj3X", "\"aojj3X"), "pub_key must be that of priv_key"),
    ];
    for (text, complaint) in keys {
        let home = Home::with_key();
        fs::write(&home.key, text).expect("written");
        let error = FileSigner::open(Arc::new(OsDisk), &home.key, &home.state).expect_err(complaint).to_string();
        assert!(error.contains(complaint) && error.contains("priv_validator_key.json"), "{error}");
        assert!(!error.contains("AQEBAQ"), "the secret is not told: {error}");
    }
    let states = [
        (r#"{"height":"-1","round":0,"step":0}"#, "height must be"),
        (r#"{"height":"1","round":-1,"step":0}"#, "round must be"),
        (r#"{"height":"1","round":0,"step":4}"#, "step must be"),
        (r#"{"height":"1","round":0,"step":1,"signbytes":"00"}"#, "signature must be present"),
        (r#"{"height":"1","round":0,"step":1,"signature":"AA==","signbytes":"00"}"#, "signature must be 64 bytes"),
        ("", "the file must be JSON"),
        (r#"{"height":"0","round":0,"step":0,"qromised":true}"#, "the file must be JSON"),
        (r#"{"height":"0","round":0,"step":0,"promised":1}"#, "the file must be JSON"),
    ];
    for (text, complaint) in states {
        let home = Home::with_key();
        fs::write(&home.state, text).expect("written");
        let error = FileSigner::open(Arc::new(OsDisk), &home.key, &home.state).expect_err(complaint).to_string();
        assert!(error.contains(complaint) && error.contains("priv_validator_state.json"), "{error}");
    }
    let home = Home::with_key();
    fs::remove_file(&home.state).expect("removed");
    assert!(
        FileSigner::open_or_generate(Arc::new(OsDisk), &home.key, &home.state).is_err(),
        "a lost state is not made anew"
    );
}
