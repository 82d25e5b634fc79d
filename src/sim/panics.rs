//! What a machine said when it panicked: a violation needs the sentence and its place, not a backtrace on the screen.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Where the last panic of this thread was raised.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether somebody waits for one.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// From now on panics that [`caught`] catches are kept instead of printed. Any other ends the program, and is told as ever.
/// For programs that run many plans; a test leaves them on the screen.
pub fn keep_quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CAUGHT.get() {
            return loud(panic);
        }
        let place = panic.location().map(ToString::to_string);
        PLACE.with_borrow_mut(|kept| *kept = place);
    }));
}

/// Does it; the error is what it panicked with.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(before);
    done
}

/// A panic in words.
pub(super) fn describe(why: &(dyn Any + Send)) -> String {
    let said = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    let place = PLACE.with_borrow_mut(Option::take).map_or_else(String::new, |place| format!(" ({place})"));
    format!("a machine panicked: {}{place}", said.unwrap_or("it did not say why"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_while_somebody_waits_for_a_panic_it_is_kept_quiet() {
        assert!(!CAUGHT.get());
        let within = caught(|| {
            assert!(caught(|| CAUGHT.get()).expect("it does not panic"));
            CAUGHT.get()
        });
        assert!(within.expect("it does not panic") && !CAUGHT.get());
        let why = caught(|| std::panic::resume_unwind(Box::new("planted"))).map(|(): ()| ()).expect_err("it unwinds");
        assert!(describe(&*why).contains("planted") && !CAUGHT.get());
    }
}
