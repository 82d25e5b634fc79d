//! The whole node minus input and output: routes facts to machines and their orders outward.
