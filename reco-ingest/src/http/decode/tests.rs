use super::*;

fn origin() -> Origin<'static> {
    Origin {
        endpoint: "/collect",
        tenant: None,
        received_at: "2024-05-01T12:00Z".parse().unwrap(),
        request: None,
        max_events: 100,
    }
}

// Each event as `+payload`, each dead letter as `-position:payload`.
fn check(framing: Framing, body: &str, expected: &[&str]) {
    let decoded = json(&Bytes::copy_from_slice(body.as_bytes()), framing, &origin()).unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let events = decoded
        .events
        .iter()
        .map(|e| format!("+{}", text(&e.payload)));
    let letters = decoded.dead_letters.iter();
    let letters = letters.map(|l| format!("-{}:{}", l.position, text(&l.payload)));
    let found: Vec<String> = events.chain(letters).collect();
    assert_eq!(found, expected, "{body}");
}

const A: &str = r#"{"kind":"detail","client":"a"}"#;
const B: &str = r#"{"kind":"add","client":"b","tags":[{"x":1}]}"#;

#[test]
fn the_form_of_a_body_is_seen_from_it() {
    let detect = Framing::Detect;
    let (a, b) = (format!("+{A}"), format!("+{B}"));
    check(detect, A, &[&a]);
    check(detect, &format!(" \r\n{A}\n"), &[&a]);
    check(detect, &format!("[{A},\n {B}]"), &[&a, &b]);
    check(detect, &format!("{A}\n\n{B}\r\n"), &[&a, &b]);
    check(detect, &format!("{A}\nx\n{B}"), &[&a, &b, "-2:x"]);
    check(detect, &format!("{{\n{A}"), &[&a, "-1:{"]);
    check(
        detect,
        &format!("[1,{A},[{A}]]"),
        &[&a, "-1:1", &format!("-3:[{A}]")],
    );
    check(Framing::Lines, A, &[&a]);
    check(
        Framing::Lines,
        &format!("[{A}]\n{B}"),
        &[&b, &format!("-1:[{A}]")],
    );
}

#[test]
fn a_body_that_cannot_be_read_is_one_dead_letter() {
    let whole = [
        "",
        " \n",
        "[]",
        "[ ]\n",
        "null",
        "1",
        "x\ny",
        "{",
        "[1,2",
        "\u{feff}{}",
        // A value of several lines is no list of lines, though a line of it is an object.
        "{\"kind\":\"detail\",\"tags\":[\n{\"x\":1}\n]}",
    ];
    for body in whole {
        check(Framing::Detect, body, &[&format!("-1:{body}")]);
    }
    check(
        Framing::Detect,
        &format!("{A}{B}"),
        &[&format!("-1:{A}{B}")],
    );
    check(Framing::Detect, &format!("[{A},"), &[&format!("-1:[{A},")]);
}

fn check_reason(body: &str, expected: &str) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let decoded = json(&body, Framing::Detect, &origin()).unwrap();
    assert_eq!(decoded.dead_letters[0].reason, expected, "{body:?}");
}

#[test]
fn a_reason_names_the_member() {
    check_reason("{}", "`client` has no value");
    check_reason(r#"{"client":""}"#, "`client` has no value");
    check_reason(r#"{"client":"c","kind":null}"#, "`kind` has no value");
    check_reason(
        r#"{"client":"c","kind":"purchas"}"#,
        "`kind`: unknown event kind `purchas`; did you mean `purchase`? at line 1 column 31",
    );
    check_reason(
        r#"{"item":1.5}"#,
        "`item`: invalid type: floating point `1.5`, expected a text or a whole number of 64 bits at line 1 column 11",
    );
    check_reason(
        r#"{"id":1,"id":2}"#,
        "`id` is there twice at line 1 column 15",
    );
    let long = format!(r#"{{"price":"{}"}}"#, "é".repeat(1000));
    let decoded = json(&Bytes::from(long), Framing::Detect, &origin()).unwrap();
    assert!(decoded.dead_letters[0].reason.len() < 310);
}

#[test]
fn members_are_columns() {
    let body = r#"{"id":18446744073709551615,"kind":"purchase","client":"c\n\"1\"","item":-9223372036854775808,
        "occurred_at":"2024-05-01T13:59:59.5+02:00","session":"s","query":"red hat","price":9,
        "quantity":2,"currency":"EUR","tenant":"mine","more":{"x":[1]}}"#;
    let decoded = json(&Bytes::from(body), Framing::Detect, &origin()).unwrap();
    let event = &decoded.events[0];
    assert_eq!(event.id, "18446744073709551615");
    assert_eq!(event.client, "c\n\"1\"");
    assert_eq!(
        event.item.as_ref().unwrap().as_str(),
        "-9223372036854775808"
    );
    assert_eq!(event.occurred_at.to_string(), "2024-05-01T11:59:59.5Z");
    assert_eq!(event.received_at, origin().received_at);
    assert_eq!(event.tenant, "");
    assert_eq!(event.session.as_deref(), Some("s"));
    assert_eq!(event.query.as_deref(), Some("red hat"));
    assert_eq!((event.price, event.quantity), (Some(9.0), Some(2)));
    assert_eq!(event.currency.as_deref(), Some("EUR"));
    assert_eq!(event.payload, body);
}

#[test]
fn what_is_left_out_is_null_or_when_it_was_received() {
    let decoded = json(&Bytes::from(A), Framing::Detect, &origin()).unwrap();
    let again = json(&Bytes::from(A), Framing::Detect, &origin()).unwrap();
    let event = &decoded.events[0];
    assert_eq!(event.occurred_at, origin().received_at);
    assert_eq!(
        (&event.session, &event.item, event.price),
        (&None, &None, None)
    );
    assert_ne!(event.id, again.events[0].id);
    let body = r#"{"kind":"detail","client":"a","occurred_at":1714564800025}"#;
    let decoded = json(&Bytes::from(body), Framing::Detect, &origin()).unwrap();
    assert_eq!(
        decoded.events[0].occurred_at.to_string(),
        "2024-05-01T12:00:00.025Z"
    );
}

#[test]
fn a_body_of_too_many_events_is_refused() {
    let origin = Origin {
        request: None,
        max_events: 2,
        tenant: Some("t"),
        ..origin()
    };
    let too_many = Err(TooMany { max_events: 2 });
    let decode = |body: String| json(&body.into(), Framing::Detect, &origin);
    assert_eq!(decode(format!("[{A},1]")).unwrap().len(), 2);
    assert_eq!(decode(format!("[{A},1,{A}]")), too_many);
    assert_eq!(decode(format!("{A}\n1\n{A}")), too_many);
    let decoded = decode(format!("[{A},1]")).unwrap();
    assert_eq!(decoded.events[0].tenant, "t");
    assert_eq!(decoded.dead_letters[0].source, "/collect?tenant=t");
}

#[test]
fn every_member_is_read() {
    for member in MEMBERS {
        // No member is an object.
        let body = Bytes::from(format!(
            r#"{{"kind":"detail","client":"a","{member}":{{}}}}"#
        ));
        let decoded = json(&body, Framing::Detect, &origin()).unwrap();
        let reason = &decoded.dead_letters[0].reason;
        assert!(
            reason.starts_with(&format!("`{member}`: invalid type: map")),
            "{reason}"
        );
    }
}
