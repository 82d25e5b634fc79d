//! Tests that need whole programs: the node `quorate` and the example application `kvstore`, run as processes, killed,
//! stopped and started again. One binary, so that it links once.
//!
//! Nothing here sleeps: the tests wait for a line a program prints, an answer of its RPC, or its end, each within
//! [`integration::harness::PATIENCE`]. `QUORATE_KILLS=50 cargo test --test integration crash -- --nocapture` is the long
//! run of the kills; it prints how many promises were kept.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod integration {
    mod harness;
    mod history;

    mod app_lifecycle;
    mod bad_input;
    mod crash;
    mod crash_points;
    mod damage;
    mod development;
    mod first_light;
    mod net;
    mod sign_state;
    mod validators;
    mod websocket;
}
