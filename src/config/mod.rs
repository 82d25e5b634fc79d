//! The home directory: configuration schema, defaults, validation, node key and genesis file.
//!
//! Four layers give every value, the first that has it wins: flag, environment (`QUORATE_SECTION_KEY`), config.toml,
//! default. All CometBFT v0.38 keys are accepted, so its homes work unchanged; `docs/CONFIG.md` lists them.
//!
//! Reading order: `home` → `keys` → `value` → `layers` → `settings` → `resolve` → `template`.

pub mod atomic;
mod duration;
mod edit;
mod error;
mod genesis;
mod home;
mod keys;
mod layers;
mod node_key;
mod resolve;
mod run_file;
mod settings;
mod template;
mod value;

pub use duration::{format_duration, parse_duration};
pub use edit::set_keys;
pub use error::{ConfigError, Origin, Warning};
pub use genesis::{Genesis, load_genesis, read_genesis, write_genesis};
pub use home::{Home, HomeLock};
pub use keys::{KEYS, Key, Support};
pub use layers::{Layers, Overrides, Values, check_file, read_text};
pub use node_key::NodeKey;
pub use run_file::RunFile;
pub use settings::{
    Application, Backend, Builtin, Config, ConsensusSettings, EmptyBlocks, ExpectedAlgorithm, FileSettings, Indexing,
    Keeping, LogFormat, LogLevels, LogSettings, MempoolKind, MempoolSettings, MetricsSettings, P2pSettings, Peer,
    RpcSettings, StorageSettings,
};
pub use template::{TEMPLATE_KEYS_MAX, Template};
pub use value::{Address, Value};

#[cfg(test)]
mod tests;
