//! Scenarios of the planner.
