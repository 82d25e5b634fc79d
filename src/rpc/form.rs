//! Forms posted to a route. Their fields count as arguments in the URL (reference §8.1).

/// Fields of one form. Routes take far fewer; a body may hold half a million.
const FORM_FIELDS_MAX: usize = 100;

/// The fields of a form, by the rules of Go's `url.ParseQuery` and in its words. What it refuses is no argument to CometBFT;
/// here it is an error, or a transaction with a mistake in it would be submitted as an empty one.
pub(super) fn fields(form: &[u8]) -> Result<Vec<(String, String)>, String> {
    if form.contains(&b';') {
        return Err("invalid semicolon separator in query; escape it as %3B".to_owned());
    }
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    let mut escapes = form.split(|byte| *byte == b'%').skip(1);
    if let Some(rest) = escapes.find(|rest| !rest.get(..2).is_some_and(is_hex)) {
        let digits = String::from_utf8_lossy(rest.get(..2).unwrap_or(rest));
        return Err(format!("invalid URL escape {:?}; a percent sign is escaped as %25", format!("%{digits}")));
    }
    if form.split(|byte| *byte == b'&').count() > FORM_FIELDS_MAX {
        return Err(format!("a form of more than {FORM_FIELDS_MAX} fields; escape & as %26"));
    }
    Ok(form_urlencoded::parse(form).into_owned().collect())
}
