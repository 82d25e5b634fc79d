//! The home directory: configuration schema, defaults, validation, key and genesis files.
