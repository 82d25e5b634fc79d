//! One block's way: build, check, execute, store, commit, publish; recover after a crash.
