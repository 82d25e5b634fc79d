//! Stories, a seeded world, hostile input.
