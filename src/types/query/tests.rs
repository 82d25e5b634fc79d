//! What parses, what does not, and what matches what. The tables follow the behaviour of CometBFT's own suite.

use super::*;
use crate::types::abci::EventAttribute;

fn query(text: &str) -> Query {
    text.parse().unwrap_or_else(|error| panic!("{text:?} should parse: {error}"))
}

fn attributes(pairs: &[(&str, &[&str])]) -> Attributes {
    pairs.iter().map(|(key, values)| ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect())).collect()
}

#[test]
fn twenty_six_queries_parse_and_print_canonically() {
    let cases = [
        ("tm.events.type='NewBlock'", "tm.events.type = 'NewBlock'"),
        ("tm.events.type = 'NewBlock'", "tm.events.type = 'NewBlock'"),
        ("tm.events.name = ''", "tm.events.name = ''"),
        ("tm.events.type='TIME'", "tm.events.type = 'TIME'"),
        ("tm.events.type='DATE'", "tm.events.type = 'DATE'"),
        ("tm.events.type='='", "tm.events.type = '='"),
        ("tx.gas > 7", "tx.gas > 7"),
        ("tx.gas>7 AND tx.gas<9", "tx.gas > 7 AND tx.gas < 9"),
        ("tx.gas > 7.5", "tx.gas > 7.5"),
        ("tx.gas >= 10000000000000000000000000000", "tx.gas >= 10000000000000000000000000000"),
        ("tx.date >= TIME 2013-05-03T14:45:00Z", "tx.date >= TIME 2013-05-03T14:45:00Z"),
        ("tx.date = TIME 2013-05-03T14:45:00+02:00", "tx.date = TIME 2013-05-03T14:45:00+02:00"),
        ("tx.date < DATE 2013-05-03", "tx.date < DATE 2013-05-03"),
        ("body.weight<=3.", "body.weight <= 3"),
        ("abci.owner.name CONTAINS 'Igor'", "abci.owner.name CONTAINS 'Igor'"),
        ("slashing.jailed EXISTS", "slashing.jailed EXISTS"),
        ("slash-ing_2.x EXISTS AND a EXISTS", "slash-ing_2.x EXISTS AND a EXISTS"),
        ("DATE EXISTS", "?"),
        ("  a  =  1  ", "a = 1"),
        ("a=1 AND b=2 AND c='3'", "a = 1 AND b = 2 AND c = '3'"),
        ("hash='136E18F7E4C348B780CF873A0BF43922E5BAFA63'", "hash = '136E18F7E4C348B780CF873A0BF43922E5BAFA63'"),
        ("größe = 'x'", "größe = 'x'"),
        ("a = 'x AND y'", "a = 'x AND y'"),
        ("AND.x = 1", "AND.x = 1"),
        ("EXISTS.y EXISTS", "EXISTS.y EXISTS"),
        ("DATUM=5", "DATUM = 5"),
    ];
    assert_eq!(cases.len(), 26);
    for (text, canonical) in cases {
        if canonical == "?" {
            assert!(text.parse::<Query>().is_err(), "DATE before a space is a keyword");
            continue;
        }
        assert_eq!(query(text).to_string(), canonical);
        assert_eq!(query(canonical), query(text), "the canonical spelling means the same");
    }
}

#[test]
fn twenty_eight_texts_are_refused_with_a_position() {
    let cases = [
        ("", "offset 0: EOF"),
        ("   ", "offset 3: EOF"),
        ("=", "offset 0: got = operator, wanted tag"),
        ("'tag' = 1", "offset 0: got string, wanted tag"),
        ("5 = 1", "offset 0: got number, wanted tag"),
        ("AND", "offset 0: got AND operator, wanted tag"),
        ("tag", "offset 3: EOF"),
        (
            "malformed query",
            "offset 10: got tag, wanted <= operator, >= operator, < operator, > operator, = operator, CONTAINS \
             operator or EXISTS operator",
        ),
        ("a =", "offset 3: EOF"),
        ("a = b", "offset 4: got tag, wanted number, timestamp, datestamp or string"),
        ("a > 'b'", "offset 4: got string, wanted number, timestamp or datestamp"),
        ("a < EXISTS", "offset 4: got EXISTS operator, wanted number, timestamp or datestamp"),
        ("a CONTAINS 5", "offset 11: got number, wanted string"),
        ("a CONTAINS", "offset 10: EOF"),
        ("a = 'open", "offset 4: EOF: the string lacks its closing '"),
        ("a = 1 b = 2", "offset 6: got tag, want AND operator"),
        ("a = 1 OR b = 2", "offset 6: got tag, want AND operator"),
        ("a = 1 AND", "offset 9: EOF"),
        ("a = 1 AND AND", "offset 10: got AND operator, wanted tag"),
        ("a EXISTS 5", "offset 9: got number, want AND operator"),
        ("(a = 1)", "offset 0: invalid input ( at offset 1"),
        ("a = -1", "offset 4: invalid input - at offset 5"),
        ("a != 1", "offset 2: invalid input ! at offset 3"),
        ("a == 1", "offset 3: got = operator, wanted number, timestamp, datestamp or string"),
        ("a = 1 !", "offset 6: got invalid token, want AND operator"),
        ("a = DATE 2020-13-01", "offset 4: invalid DATE value \"2020-13-01\""),
        ("a = DATE 1899-01-01", "offset 4: invalid DATE value \"1899-01-01\""),
        ("a = TIME 2020-01-01", "offset 4: invalid TIME value \"2020-01-01\""),
    ];
    assert_eq!(cases.len(), 28);
    for (text, expected) in cases {
        let error = text.parse::<Query>().expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn thirty_eight_notices_match_or_do_not() {
    let notice = attributes(&[
        ("tm.event", &["Tx"]),
        ("tx.gas", &["8"]),
        ("tx.height", &["12"]),
        ("fee.amount", &["8atom", "12.50stake"]),
        ("big.n", &["10000000000000000000000000000000000001"]),
        ("neg.n", &["-5"]),
        ("abci.owner", &["Ivan", "Igor"]),
        ("at.time", &["2018-05-03T14:45:00Z"]),
        ("at.zone", &["2018-05-03T16:45:00+02:00"]),
        ("at.date", &["2018-05-03"]),
        ("slashing.address", &["x"]),
    ]);
    let cases = [
        ("tm.event = 'Tx'", true),
        ("tm.event = 'tx'", false),
        ("tm.event = 'NewBlock'", false),
        ("tx.gas = 8", true),
        ("tx.gas = '8'", true),
        ("tx.gas = 8.0", true),
        ("tx.gas > 7 AND tx.gas < 9", true),
        ("tx.gas > 8", false),
        ("tx.gas >= 8 AND tx.gas <= 8", true),
        ("tx.gas > 7.99 AND tx.gas < 8.01", true),
        ("tx.gas < 10", true),
        ("fee.amount = 8", true),
        ("fee.amount = 12.5", true),
        ("fee.amount > 12.4 AND fee.amount < 12.6", true),
        ("fee.amount = '8'", false),
        ("fee.amount = 12", false),
        ("big.n = 10000000000000000000000000000000000001", true),
        ("big.n = 10000000000000000000000000000000000000", false),
        ("big.n > 10000000000000000000000000000000000000", true),
        ("neg.n < 0", false),
        ("neg.n = '-5'", true),
        ("abci.owner = 'Igor'", true),
        ("abci.owner = 'Ivan' AND abci.owner = 'Igor'", true),
        ("abci.owner CONTAINS 'va'", true),
        ("abci.owner CONTAINS 'Pavel'", false),
        ("abci.owner = 5", false),
        ("at.time = TIME 2018-05-03T14:45:00Z", true),
        ("at.time < TIME 2018-05-03T14:45:01Z", true),
        ("at.zone = TIME 2018-05-03T14:45:00Z", true),
        ("at.time >= DATE 2018-05-03", false),
        ("at.date = DATE 2018-05-03", true),
        ("at.date > DATE 2018-05-02", true),
        ("at.date > TIME 2018-05-02T00:00:00Z", false),
        ("slashing EXISTS", true),
        ("slashing.address EXISTS", true),
        ("slash EXISTS", false),
        ("slashing CONTAINS 'x'", false),
        ("missing.key EXISTS", false),
    ];
    assert_eq!(cases.len(), 38);
    for (text, expected) in cases {
        assert_eq!(query(text).matches(&notice), expected, "{text}");
    }
    assert!(!query("a EXISTS").matches(&Attributes::new()));
}

#[test]
fn the_index_wants_one_event_to_satisfy_everything() {
    let attribute = |key: &str, value: &str, index| EventAttribute { key: key.into(), value: value.into(), index };
    let event = |attributes| Event { kind: "transfer".into(), attributes };
    let events = [
        event(vec![attribute("sender", "ann", true), attribute("amount", "5", true)]),
        event(vec![attribute("sender", "bob", true), attribute("amount", "9", true), attribute("memo", "m", false)]),
    ];
    let reserved = [("tx.height", "7")];
    let cases = [
        ("transfer.sender = 'ann' AND transfer.amount = 5", true),
        ("transfer.sender = 'ann' AND transfer.amount = 9", false),
        ("tx.height = 7 AND transfer.sender = 'bob'", true),
        ("tx.height > 7 AND transfer.sender = 'bob'", false),
        ("tx.height >= 7", true),
        ("transfer.memo EXISTS", false),
        ("transfer EXISTS", false),
        ("other.sender = 'ann'", false),
    ];
    for (text, expected) in cases {
        assert_eq!(query(text).matches_in_one_event(&reserved, &events), expected, "{text}");
    }
}

#[test]
fn decimals_compare_like_integers_of_the_same_digits() {
    for a in 0..130_u32 {
        for b in 0..130_u32 {
            let decimal = |n: u32| format!("{:02}.{}0", n / 10, n % 10);
            let (left, right) = (Decimal::leading(&decimal(a)), Decimal::leading(&decimal(b)));
            assert_eq!(left.cmp(&right), a.cmp(&b), "{a} and {b} tenths");
        }
    }
    assert_eq!(Decimal::leading("atom"), None);
    assert_eq!(Decimal::leading("5.atom"), Decimal::leading("5"));
}
