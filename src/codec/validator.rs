//! Public keys, validators and validator sets.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, build};
use crate::crypto::{Hash, PublicKey, merkle};
use crate::types::{Address, Power, Validator, ValidatorSet};

impl Message for PublicKey {
    const NAME: &'static str = "PublicKey";

    fn write(&self, w: &mut Writer<'_>) {
        w.element(1, self.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<PublicKey, DecodeError> {
        let unsupported = |name: &str| {
            let why = format!("is a {name} key; this build verifies {} only", PublicKey::TYPE);
            Err(DecodeError::new(why))
        };
        match m.oneof(1..=5) {
            Some(1) => m.exact(1, "ed25519"),
            Some(2) => unsupported("secp256k1"),
            Some(3) => unsupported("bls12_381"),
            Some(4) => unsupported("ml_dsa_65"),
            Some(5) => unsupported("secp256k1eth"),
            _ => Err(DecodeError::new(format_args!(
                "is empty or of an unknown type; this build verifies {} only",
                PublicKey::TYPE
            ))),
        }
    }
}

impl Message for Validator {
    const NAME: &'static str = "Validator";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.address.as_ref());
        w.message(2, &self.public_key);
        w.int(3, self.power.as_i64());
        w.int(4, self.proposer_priority);
    }

    fn read(m: &Fields<'_>) -> Result<Validator, DecodeError> {
        let public_key = m.required(2, "pub_key")?;
        let address: Address = m.exact(1, "address")?;
        let mut validator = Validator::new(public_key, m.number::<Power>(3, "voting_power")?);
        if validator.address != address {
            let expected = validator.address;
            return Err(DecodeError::at("address", format_args!("is {address}, its key's is {expected}")));
        }
        validator.proposer_priority = m.int(4, "proposer_priority")?;
        Ok(validator)
    }
}

impl Message for ValidatorSet {
    const NAME: &'static str = "ValidatorSet";

    fn write(&self, w: &mut Writer<'_>) {
        self.members().iter().for_each(|member| w.message(1, member));
        w.message(2, self.proposer());
    }

    fn read(m: &Fields<'_>) -> Result<ValidatorSet, DecodeError> {
        let members = m.repeated(1, "validators", Validator::read)?;
        let proposer: Validator = m.required(2, "proposer")?;
        ValidatorSet::from_stored(members, Some(proposer.address)).map_err(DecodeError::new)
    }
}

impl ValidatorSet {
    /// Root over keys and powers: `validators_hash` of headers. Priorities are not part of it.
    pub fn hash(&self) -> Hash {
        let leaf = |member: &Validator| {
            build(|w| {
                w.message(1, &member.public_key);
                w.int(2, member.power.as_i64());
            })
        };
        merkle::root(&self.members().iter().map(leaf).collect::<Vec<_>>())
    }
}
