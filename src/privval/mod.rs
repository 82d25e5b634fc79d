//! The validator key and the guard that never signs twice. The only place that signs.
