//! Reads CometBFT's JSON with errors that name the field, what stands there and what should. Missing and `null` are the
//! same, unknown fields are passed over, the last of two equal names counts: as in Go.

use crate::crypto::{Hash, PublicKey, Signature};
use crate::types::{
    BlockId, ChainId, Commit, CommitSig, DuplicateVoteEvidence, Evidence, Header, LightBlock,
    LightClientAttackEvidence, PartSetHeader, SignedHeader, SignedPart, Time, Validator, ValidatorSet, Version, Vote,
    VoteKind,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// JSON that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {got}; expected {expected}")]
pub struct ReadError {
    /// Path of the field, such as `validators[2].power`.
    pub field: String,
    /// What stands there, shortened.
    pub got: String,
    /// What should.
    pub expected: String,
}

/// Most characters of a wrong value that an error repeats.
const GOT_CHARS_MAX: usize = 80;

/// Most members of a validator set or signatures of a commit we read (CometBFT's MaxVotesCount).
pub const VALIDATORS_MAX: usize = 10_000;

/// A place in a document and what stands there, if anything.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    path: String,
    raw: Option<&'a str>,
}

/// The members of an object.
#[derive(Debug)]
pub struct Object<'a> {
    path: String,
    members: BTreeMap<String, &'a RawValue>,
}

impl<'a> Place<'a> {
    /// The whole document; `name` stands for it in errors.
    pub fn document(name: &str, bytes: &'a [u8]) -> Result<Place<'a>, ReadError> {
        let wrong = |got: String| ReadError { field: name.to_owned(), got, expected: "valid JSON".to_owned() };
        let raw: &RawValue = serde_json::from_slice(bytes).map_err(|error| wrong(format!("broken ({error})")))?;
        Ok(Place { path: name.to_owned(), raw: Some(raw.get()) })
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands there, unless missing or `null`.
    pub fn raw(&self) -> Option<&'a str> {
        self.raw.filter(|raw| *raw != "null")
    }

    /// True when something stands there.
    pub fn is_present(&self) -> bool {
        self.raw().is_some()
    }

    /// The error that something else was expected here.
    pub fn wrong(&self, expected: impl Into<String>) -> ReadError {
        let got = match self.raw {
            None => "missing".to_owned(),
            Some(raw) if raw.chars().count() > GOT_CHARS_MAX => {
                format!("{}…", raw.chars().take(GOT_CHARS_MAX).collect::<String>())
            }
            Some(raw) => raw.to_owned(),
        };
        ReadError { field: self.path.clone(), got, expected: expected.into() }
    }

    fn parsed<T: serde::Deserialize<'a>>(&self, expected: &str) -> Result<T, ReadError> {
        self.raw().and_then(|raw| serde_json::from_str(raw).ok()).ok_or_else(|| self.wrong(expected))
    }

    /// Its members.
    pub fn object(&self) -> Result<Object<'a>, ReadError> {
        let members = self.parsed("an object {…}")?;
        Ok(Object { path: self.path.clone(), members })
    }

    /// Its elements, at most `max`; none when missing.
    pub fn list(&self, max: usize) -> Result<Vec<Place<'a>>, ReadError> {
        if !self.is_present() {
            return Ok(Vec::new());
        }
        let items: Vec<&'a RawValue> = self.parsed("a list […]")?;
        if items.len() > max {
            return Err(self.wrong(format!("at most {max} elements, not {}", items.len())));
        }
        let place = |(index, raw): (usize, &'a RawValue)| Place {
            path: format!("{}[{index}]", self.path),
            raw: Some(raw.get()),
        };
        Ok(items.into_iter().enumerate().map(place).collect())
    }

    /// A text.
    pub fn text(&self, expected: &str) -> Result<String, ReadError> {
        self.parsed(expected)
    }

    /// A 64-bit number in quotes, within a range; `default` when missing.
    pub fn int64(&self, range: std::ops::RangeInclusive<i64>, default: Option<i64>) -> Result<i64, ReadError> {
        if let (false, Some(default)) = (self.is_present(), default) {
            return Ok(default);
        }
        let expected =
            format!("a number from {} to {} in quotes, as \"{}\"", range.start(), range.end(), range.start());
        let text: String = self.parsed(&expected)?;
        let number = text.parse().ok().filter(|number| range.contains(number) && !text.starts_with('+'));
        number.ok_or_else(|| self.wrong(expected))
    }

    /// A small number without quotes.
    pub fn int32(&self, range: std::ops::RangeInclusive<i32>) -> Result<i32, ReadError> {
        let expected = format!("a number from {} to {} without quotes", range.start(), range.end());
        let number: i32 = self.parsed(&expected)?;
        if range.contains(&number) { Ok(number) } else { Err(self.wrong(expected)) }
    }

    /// Bytes in base64; empty when missing.
    pub fn base64(&self) -> Result<Vec<u8>, ReadError> {
        if !self.is_present() {
            return Ok(Vec::new());
        }
        let text: String = self.parsed("base64 text")?;
        STANDARD.decode(text).map_err(|_| self.wrong("base64 text"))
    }

    /// Bytes in hex of either case; empty when missing.
    pub fn hex(&self) -> Result<Vec<u8>, ReadError> {
        if !self.is_present() {
            return Ok(Vec::new());
        }
        let text: String = self.parsed("hex digits in quotes")?;
        hex::decode(text).map_err(|_| self.wrong("hex digits in quotes, two for each byte"))
    }

    /// A time in UTC.
    pub fn time(&self) -> Result<Time, ReadError> {
        let expected = "a time in UTC that ends with Z, as \"2026-01-02T03:04:05.6Z\"";
        let text: String = self.parsed(expected)?;
        text.ends_with('Z').then(|| text.parse().ok()).flatten().ok_or_else(|| self.wrong(expected))
    }

    /// A 32-byte hash.
    pub fn hash(&self) -> Result<Hash, ReadError> {
        Hash::try_from(self.hex()?.as_slice()).map_err(|_| self.wrong("a hash of 64 hex digits"))
    }

    /// A 20-byte address.
    pub fn address(&self) -> Result<crate::types::Address, ReadError> {
        self.hex()?.as_slice().try_into().map_err(|_| self.wrong("an address of 40 hex digits"))
    }

    /// An Ed25519 public key inside its tag.
    pub fn public_key(&self) -> Result<PublicKey, ReadError> {
        let tagged = self.object()?;
        let kind = tagged.at("type");
        let expected = "\"tendermint/PubKeyEd25519\", the only key type this node verifies";
        if kind.text(expected)? != "tendermint/PubKeyEd25519" {
            return Err(kind.wrong(expected));
        }
        let value = tagged.at("value");
        PublicKey::try_from(value.base64()?.as_slice()).map_err(|_| value.wrong("32 bytes in base64"))
    }

    fn signature(&self) -> Result<Signature, ReadError> {
        Signature::try_from(self.base64()?.as_slice()).map_err(|_| self.wrong("a signature: 64 bytes in base64"))
    }
}

impl<'a> Object<'a> {
    /// The place of a member, there or not.
    pub fn at(&self, name: &str) -> Place<'a> {
        Place { path: format!("{}.{name}", self.path), raw: self.members.get(name).map(|raw| raw.get()) }
    }

    /// The place of a member with two spellings: Go's and the one of other implementations.
    fn either(&self, name: &str, other: &str) -> Place<'a> {
        let first = self.at(name);
        if first.is_present() { first } else { self.at(other) }
    }
}

/// Reads evidence as `broadcast_evidence` takes it: `{"type":…,"value":…}`.
pub fn evidence(place: &Place<'_>) -> Result<Evidence, ReadError> {
    let tagged = place.object()?;
    let kind = tagged.at("type");
    let expected = "\"tendermint/DuplicateVoteEvidence\" or \"tendermint/LightClientAttackEvidence\"";
    let value = tagged.at("value").object()?;
    match kind.text(expected)?.as_str() {
        "tendermint/DuplicateVoteEvidence" => Ok(Evidence::DuplicateVote(Box::new(duplicate_vote(&value)?))),
        "tendermint/LightClientAttackEvidence" => Ok(Evidence::LightClientAttack(Box::new(attack(&value)?))),
        _ => Err(kind.wrong(expected)),
    }
}

/// A number of at least 0, converted.
fn natural<T: TryFrom<i64>>(place: &Place<'_>) -> Result<T, ReadError> {
    T::try_from(place.int64(0..=i64::MAX, Some(0))?).map_err(|_| place.wrong("a number of at least 0"))
}

fn duplicate_vote(object: &Object<'_>) -> Result<DuplicateVoteEvidence, ReadError> {
    Ok(DuplicateVoteEvidence {
        vote_a: vote(&object.at("vote_a"))?,
        vote_b: vote(&object.at("vote_b"))?,
        total_voting_power: natural(&object.either("TotalVotingPower", "total_voting_power"))?,
        validator_power: natural(&object.either("ValidatorPower", "validator_power"))?,
        timestamp: object.either("Timestamp", "timestamp").time()?,
    })
}

fn attack(object: &Object<'_>) -> Result<LightClientAttackEvidence, ReadError> {
    let byzantine = object.either("ByzantineValidators", "byzantine_validators").list(VALIDATORS_MAX)?;
    Ok(LightClientAttackEvidence {
        conflicting_block: light_block(&object.either("ConflictingBlock", "conflicting_block"))?,
        common_height: natural(&object.either("CommonHeight", "common_height"))?,
        byzantine_validators: byzantine.iter().map(validator).collect::<Result<_, _>>()?,
        total_voting_power: natural(&object.either("TotalVotingPower", "total_voting_power"))?,
        timestamp: object.either("Timestamp", "timestamp").time()?,
    })
}

fn vote(place: &Place<'_>) -> Result<Vote, ReadError> {
    let object = place.object()?;
    let kind = object.at("type");
    let extension_signature = object.at("extension_signature");
    Ok(Vote {
        kind: if kind.int32(1..=2)? == 1 { VoteKind::Prevote } else { VoteKind::Precommit },
        height: natural(&object.at("height"))?,
        round: round(&object.at("round"))?,
        block_id: block_id(&object.at("block_id"))?,
        timestamp: object.at("timestamp").time()?,
        validator_address: object.at("validator_address").address()?,
        validator_index: object.at("validator_index").int32(0..=i32::MAX)?.unsigned_abs(),
        signature: object.at("signature").signature()?,
        extension: object.at("extension").base64()?.into(),
        extension_signature: extension_signature.is_present().then(|| extension_signature.signature()).transpose()?,
    })
}

fn round(place: &Place<'_>) -> Result<crate::types::Round, ReadError> {
    place.int32(0..=i32::MAX)?.try_into().map_err(|_| place.wrong("a round of at least 0"))
}

/// A block id; none for one of zeros.
fn block_id(place: &Place<'_>) -> Result<Option<BlockId>, ReadError> {
    if !place.is_present() {
        return Ok(None);
    }
    let object = place.object()?;
    if object.at("hash").hex()?.is_empty() {
        return Ok(None);
    }
    let parts = object.at("parts").object()?;
    let total = parts.at("total").int32(1..=i32::MAX)?.unsigned_abs();
    Ok(Some(BlockId {
        hash: object.at("hash").hash()?,
        parts: PartSetHeader { total, hash: parts.at("hash").hash()? },
    }))
}

fn validator(place: &Place<'_>) -> Result<Validator, ReadError> {
    let object = place.object()?;
    let mut validator = Validator::new(object.at("pub_key").public_key()?, natural(&object.at("voting_power"))?);
    validator.proposer_priority = object.at("proposer_priority").int64(i64::MIN..=i64::MAX, Some(0))?;
    let address = object.at("address");
    if address.is_present() && address.address()? != validator.address {
        return Err(address.wrong(format!("{}, the address of its key", validator.address)));
    }
    Ok(validator)
}

fn light_block(place: &Place<'_>) -> Result<LightBlock, ReadError> {
    let object = place.object()?;
    let signed = object.at("signed_header").object()?;
    let set = object.at("validator_set");
    let members = set.object()?.at("validators").list(VALIDATORS_MAX)?;
    let members = members.iter().map(validator).collect::<Result<Vec<_>, _>>()?;
    let proposer = set.object()?.at("proposer");
    let proposer = proposer.is_present().then(|| validator(&proposer)).transpose()?.map(|proposer| proposer.address);
    Ok(LightBlock {
        signed_header: SignedHeader { header: header(&signed.at("header"))?, commit: commit(&signed.at("commit"))? },
        validators: ValidatorSet::from_stored(members, proposer)
            .map_err(|why| set.wrong(format!("a validator set ({why})")))?,
    })
}

fn header(place: &Place<'_>) -> Result<Header, ReadError> {
    let object = place.object()?;
    let version = object.at("version").object()?;
    let chain_id = object.at("chain_id");
    let name = chain_id.text("a chain id")?;
    Ok(Header {
        version: Version { block: natural(&version.at("block"))?, app: natural(&version.at("app"))? },
        chain_id: ChainId::try_from(name.as_str()).map_err(|why| chain_id.wrong(why.range))?,
        height: natural(&object.at("height"))?,
        time: object.at("time").time()?,
        last_block_id: block_id(&object.at("last_block_id"))?,
        last_commit_hash: object.at("last_commit_hash").hash()?,
        data_hash: object.at("data_hash").hash()?,
        validators_hash: object.at("validators_hash").hash()?,
        next_validators_hash: object.at("next_validators_hash").hash()?,
        consensus_hash: object.at("consensus_hash").hash()?,
        app_hash: Bytes::from(object.at("app_hash").hex()?),
        last_results_hash: object.at("last_results_hash").hash()?,
        evidence_hash: object.at("evidence_hash").hash()?,
        proposer_address: object.at("proposer_address").address()?,
    })
}

fn commit(place: &Place<'_>) -> Result<Commit, ReadError> {
    let object = place.object()?;
    let id = object.at("block_id");
    let signatures = object.at("signatures").list(VALIDATORS_MAX)?;
    Ok(Commit {
        height: natural(&object.at("height"))?,
        round: round(&object.at("round"))?,
        block_id: block_id(&id)?.ok_or_else(|| id.wrong("the id of a block"))?,
        signatures: signatures.iter().map(commit_sig).collect::<Result<_, _>>()?,
    })
}

fn commit_sig(place: &Place<'_>) -> Result<CommitSig, ReadError> {
    let object = place.object()?;
    let flag = object.at("block_id_flag").int32(1..=3)?;
    if flag == 1 {
        return Ok(CommitSig::Absent);
    }
    let part = SignedPart {
        validator_address: object.at("validator_address").address()?,
        timestamp: object.at("timestamp").time()?,
        signature: object.at("signature").signature()?,
    };
    Ok(if flag == 2 { CommitSig::Commit(part) } else { CommitSig::Nil(part) })
}

/// Reads a header in CometBFT's JSON.
pub fn read_header(place: &Place<'_>) -> Result<Header, ReadError> {
    header(place)
}

/// Reads a validator in CometBFT's JSON.
pub fn read_validator(place: &Place<'_>) -> Result<Validator, ReadError> {
    validator(place)
}

/// Reads a commit in CometBFT's JSON; `None` for the empty one of the first block.
pub fn read_commit(place: &Place<'_>) -> Result<Option<Commit>, ReadError> {
    if block_id(&place.object()?.at("block_id"))?.is_none() {
        return Ok(None);
    }
    commit(place).map(Some)
}
