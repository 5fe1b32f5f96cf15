use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn cow(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

#[test]
fn every_key_has_its_own_field() {
    let numbers = ["ev", "tr", "tt", "ts"];
    for (i, key) in Hit::KEYS.iter().enumerate() {
        let value = match *key {
            "tm" => "2024-05-01T12:00:00Z".to_owned(),
            key if numbers.contains(&key) => i.to_string(),
            key => format!("a value & more of {key}"),
        };
        let query = format!("{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        let hit = Hit::parse(query.as_bytes()).unwrap();
        let mut found = Vec::new();
        hit.each(&mut |key, value| found.push((key.to_owned(), value.to_owned())));
        assert_eq!(found, [((*key).to_owned(), value)]);
        assert!(hit.products.is_empty() && hit.other.is_empty());
    }
}

#[test]
fn every_suffix_of_a_product_has_its_own_field() {
    for (i, suffix) in Product::KEYS.iter().enumerate() {
        let query = format!("pr{}{suffix}={i}", i + 1);
        let hit = Hit::parse(query.as_bytes()).unwrap();
        assert_eq!(hit.products.len(), 1);
        assert_eq!(hit.products[0].number as usize, i + 1);
        let mut found = Vec::new();
        hit.products[0]
            .each(&mut |suffix, value| found.push((suffix.to_owned(), value.to_owned())));
        assert_eq!(found, [((*suffix).to_owned(), i.to_string())]);
    }
}

#[test]
fn money_is_read_from_its_own_key() {
    let hit = Hit::parse(b"tr=100.5&tt=19&ts=4.9&ti=T1&tcc=SPRING").unwrap();
    assert_eq!(hit.transaction_revenue, Some(100.5));
    assert_eq!(hit.transaction_tax, Some(19.0));
    assert_eq!(hit.transaction_shipping, Some(4.9));
    let hit = Hit::parse(b"tr=100.5").unwrap();
    assert_eq!(hit.transaction_tax, None);
}

#[test]
fn what_has_no_field_is_kept() {
    let hit = Hit::parse(b"v=1&pr2id=b&pr1id=a&pr1cd5=red&pr1id=again&cid=c&cid=d&&x").unwrap();
    assert_eq!(hit.other, [(cow("v"), cow("1")), (cow("cid"), cow("d"))]);
    let numbers: Vec<u32> = hit.products.iter().map(|p| p.number).collect();
    assert_eq!(numbers, [1, 2]);
    let raw = [(cow("cd5"), cow("red")), (cow("id"), cow("again"))];
    assert_eq!(hit.products[0].raw, raw);
}

#[test]
fn headers_fill_what_the_hit_leaves_out() {
    let hit = Hit::parse(b"ua=own").unwrap();
    let hit = hit.or_headers(Some("192.0.2.1"), Some("browser"));
    assert_eq!(hit.user_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(hit.user_agent.as_deref(), Some("own"));
}

fn check_error(query: &[u8], expected: &str) {
    let read = Hit::parse(query)
        .and_then(|hit| hit.events(None, Timestamp::UNIX_EPOCH, query.to_vec().into()));
    assert_eq!(read.unwrap_err().to_string(), expected);
}

#[test]
fn what_cannot_be_read_is_named() {
    check_error(b"", "key `cid` of the hit: it has no value");
    check_error(b"cid=", "key `cid` of the hit: it has no value");
    check_error(b"cid=c", "key `t` of the hit: it has no value");
    check_error(b"pr3pr=9,5", "key `pr3pr` of the hit: `9,5` is no number");
    check_error(b"tt=inf", "key `tt` of the hit: `inf` is no number");
    check_error(
        b"pr1qt=1.5",
        "key `pr1qt` of the hit: `1.5` is no whole number",
    );
    check_error(b"dl=%ff", "key `dl` of the hit: it is not UTF-8");
    check_error(
        b"tm=noon",
        "key `tm` of the hit: `noon` is no time in milliseconds since 1970 or of RFC 3339",
    );
    let long = "c".repeat(MAX_REPEATED_BYTES / 2);
    check_error(
        format!("cid={long}&pa=add&pr1id=a&pr2id=b&pr3id=c").as_bytes(),
        "key `pr1` of the hit: its products repeat more than 1048576 bytes",
    );
    let many: Vec<String> = (0..=MAX_PRODUCTS).map(|n| format!("pr{n}id=a")).collect();
    check_error(
        many.join("&").as_bytes(),
        "key `pr200` of the hit: a hit has at most 200 products",
    );
}

// Each event as `id kind item price×quantity`.
fn check(query: &str, expected: &[&str]) {
    let hit = Hit::parse(query.as_bytes()).unwrap();
    let received_at = Timestamp::UNIX_EPOCH;
    let events = hit
        .events(None, received_at, query.to_owned().into())
        .unwrap();
    let found: Vec<String> = events
        .iter()
        .map(|event| {
            let item = event.item.as_ref().map_or("-", |item| item.as_str());
            let price = event
                .price
                .map_or_else(|| "-".to_owned(), |price| price.to_string());
            let quantity = event
                .quantity
                .map_or_else(|| "-".to_owned(), |n| n.to_string());
            format!("{} {} {item} {price}×{quantity}", event.id, event.kind)
        })
        .collect();
    assert_eq!(found, expected, "{query}");
    assert_eq!(events[0].payload, query);
    assert!(events[1..].iter().all(|event| event.payload.is_empty()));
}

#[test]
fn hits_are_events_as_the_table_says() {
    check("z=1&cid=c&t=pageview", &["c.1 pageview - -×-"]);
    check("z=1&cid=c&t=event&ec=video", &["c.1 custom - -×-"]);
    check("z=1&cid=c&t=screenview", &["c.1 custom - -×-"]);
    for action in ["detail", "click", "add", "remove", "purchase"] {
        let query = format!("z=1&cid=c&t=event&pa={action}&pr1id=hat&pr1pr=9.5&pr1qt=2");
        check(&query, &[&format!("c.1 {action} hat 9.5×2")]);
        // A page view that also says what was done with a product is the latter.
        check(
            &format!("z=1&cid=c&t=pageview&pa={action}"),
            &[&format!("c.1 {action} - -×-")],
        );
    }
    check(
        "z=1&cid=c&t=event&pa=refund&pr1id=hat",
        &["c.1 custom hat -×-"],
    );
    check("z=1&cid=c&pa=add&pr1nm=Hat", &["c.1 add - -×-"]);
    check("z=1&cid=c&t=pageview&pr1id=hat", &["c.1 pageview - -×-"]);
    check(
        "z=1&cid=c&t=event&pa=purchase&pr9id=c&pr1id=a&pr1pr=1&pr2id=b&pr2qt=3",
        &[
            "c.1 purchase a 1×-",
            "c.1-2 purchase b -×3",
            "c.1-9 purchase c -×-",
        ],
    );
}

#[test]
fn the_id_is_the_clients_if_it_names_the_request() {
    let uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    check(
        &format!("z={uuid}&cid=c&t=pageview"),
        &[&format!("{uuid} pageview - -×-")],
    );
    let hit = Hit::parse(b"cid=c&t=pageview").unwrap();
    let ids = [(); 2].map(|()| {
        let events = hit
            .events(None, Timestamp::UNIX_EPOCH, Bytes::new())
            .unwrap();
        events[0].id.clone()
    });
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn times_and_tenants_are_the_hits_unless_the_request_says_so() {
    let hit = Hit::parse(b"cid=c&t=pageview&tid=shop&tm=1714564800025&cu=EUR").unwrap();
    let received_at: Timestamp = "2024-05-01T12:00:01Z".parse().unwrap();
    let event = &hit.events(None, received_at, Bytes::new()).unwrap()[0];
    assert_eq!(event.occurred_at.to_string(), "2024-05-01T12:00:00.025Z");
    assert_eq!(event.received_at, received_at);
    assert_eq!(
        (event.tenant.as_str(), event.currency.as_deref()),
        ("shop", Some("EUR"))
    );
    let event = &hit
        .events(Some("other"), received_at, Bytes::new())
        .unwrap()[0];
    assert_eq!(event.tenant, "other");
}

proptest! {
    #[test]
    fn what_was_read_is_read_again(query in "((z|cid|t|pa|tr|ev|tm|pr[0-9]{1,2}(id|pr|qt|xx)|[a-z]{0,3})=([0-9]{0,5}|[ -~é€]{0,8})&){0,12}") {
        if let Ok(hit) = Hit::parse(query.as_bytes()) {
            let written = hit.to_query();
            prop_assert_eq!(Hit::parse(written.as_bytes()).unwrap(), hit);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(query in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(hit) = Hit::parse(&query) {
            let events = hit.events(None, Timestamp::UNIX_EPOCH, query.clone().into());
            prop_assert!(events.is_err() || events.is_ok_and(|events| events[0].payload == query));
        }
    }
}
