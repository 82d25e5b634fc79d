//! Stories about the address book.
