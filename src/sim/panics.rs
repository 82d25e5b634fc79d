//! What a machine said when it panicked: a violation needs the sentence and its place, not a backtrace on the screen.

use std::any::Any;
use std::cell::RefCell;

thread_local! {
    /// Where the last panic of this thread was raised.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are kept instead of printed. For programs that run many plans; a test leaves them on the screen.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        PLACE.with_borrow_mut(|kept| *kept = place);
    }));
}

/// A panic in words.
pub(super) fn describe(why: &(dyn Any + Send)) -> String {
    let said = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    let place = PLACE.with_borrow_mut(Option::take).map_or_else(String::new, |place| format!(" ({place})"));
    format!("a machine panicked: {}{place}", said.unwrap_or("it did not say why"))
}
