//! The synthetic shop keeps what it promises about its truth.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use reco_core::testing::{Delay, Labelled, SyntheticShop, SyntheticShopConfig};
use reco_core::{Event, EventKind, Interaction, ItemId};
use sha2::{Digest, Sha256};

fn shop(config: SyntheticShopConfig) -> SyntheticShop {
    SyntheticShop::new(config).unwrap()
}

/// A small shop where everything that can go wrong does so often.
fn unruly() -> SyntheticShopConfig {
    SyntheticShopConfig {
        n_items: 200,
        n_categories: 7,
        n_shoppers: 600,
        sessions_per_day: 300,
        days: 4,
        bot_rate: 0.05,
        duplicate_rate: 0.1,
        late_rate: 0.05,
        out_of_order_rate: 0.1,
        repeat_rate: 0.2,
        search_rate: 0.5,
        purchase_rate: 0.3,
        ..Default::default()
    }
}

#[test]
fn the_seed_is_all_there_is_to_it() {
    let mut digest = Sha256::new();
    for event in shop(SyntheticShopConfig::default()).events().take(10_000) {
        let received_at = event.received_at.as_microsecond();
        digest.update(received_at.to_le_bytes());
        digest.update(&event.payload);
    }
    let found: String = digest
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        found,
        "d22a1d3056a353ff4f2cacc5af458b60efc4cd3e1624950f7b852de28c2f1f4c"
    );

    let first = |seed| {
        shop(SyntheticShopConfig { seed, ..unruly() })
            .events()
            .next()
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn a_duplicate_follows_its_original_and_says_the_same() {
    let mut originals: HashMap<String, Event> = HashMap::new();
    let mut n_duplicates = 0;
    let mut last = None;
    for Labelled { event, truth } in shop(unruly()).clickstream() {
        assert!(last <= Some(event.received_at), "the order received");
        last = Some(event.received_at);
        if truth.duplicate {
            n_duplicates += 1;
            let received_at = event.received_at;
            let original = originals[&event.id].clone();
            assert_eq!(
                event,
                Event {
                    received_at,
                    ..original
                }
            );
        } else {
            let twin = originals.insert(event.id.clone(), event);
            assert_eq!(twin, None);
        }
    }
    assert!(n_duplicates > 100);
}

#[test]
fn prompt_events_keep_their_order_and_others_do_not() {
    let mut newest: HashMap<u64, reco_core::Timestamp> = HashMap::new();
    let (mut n_overtaken, mut n_on_another_day) = (0, 0);
    let day = |time: reco_core::Timestamp| time.as_second().div_euclid(86_400);
    for Labelled { event, truth } in shop(unruly()).clickstream() {
        let delay = event.received_at.duration_since(event.occurred_at);
        assert!(delay.is_positive());
        if truth.duplicate {
            continue;
        }
        match truth.delay {
            Delay::Prompt => {
                assert!(delay < jiff::SignedDuration::from_millis(200));
                let before = newest.insert(truth.session, event.occurred_at);
                assert!(before.is_none_or(|before| before < event.occurred_at));
            }
            Delay::OutOfOrder => {
                let is_overtaken = newest.get(&truth.session) > Some(&event.occurred_at);
                n_overtaken += usize::from(is_overtaken);
            }
            Delay::Late => {
                let other_day = day(event.received_at) != day(event.occurred_at);
                n_on_another_day += usize::from(other_day);
            }
        }
    }
    assert!(n_overtaken > 100, "{n_overtaken}");
    assert!(n_on_another_day > 100, "{n_on_another_day}");
}

/// The events of a stream by client and time, cut where a pause is as long as the gap.
fn sessionize(shop: &SyntheticShop) -> BTreeSet<BTreeSet<String>> {
    let mut clients: BTreeMap<String, BTreeMap<(reco_core::Timestamp, String), ()>> =
        BTreeMap::new();
    for event in shop.events() {
        let events = clients.entry(event.client).or_default();
        events.insert((event.occurred_at, event.id), ());
    }
    let mut sessions = BTreeSet::new();
    for events in clients.into_values() {
        let mut session = BTreeSet::new();
        let mut last = None;
        for ((time, id), ()) in events {
            let is_new =
                last.is_some_and(|last| time.duration_since(last) >= SyntheticShop::SESSION_GAP);
            if is_new {
                sessions.insert(std::mem::take(&mut session));
            }
            session.insert(id);
            last = Some(time);
        }
        sessions.insert(session);
    }
    sessions
}

fn true_sessions(shop: &SyntheticShop) -> BTreeSet<BTreeSet<String>> {
    let mut sessions: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for Labelled { event, truth } in shop.clickstream() {
        sessions.entry(truth.session).or_default().insert(event.id);
    }
    sessions.into_values().collect()
}

/// What the interactions are, made from the stream and its truth.
fn cleaned(shop: &SyntheticShop) -> Vec<Interaction> {
    let is_view =
        |l: &Labelled| l.event.kind == EventKind::Detail && !l.truth.bot && !l.truth.duplicate;
    let views = shop.clickstream().filter(is_view);
    let views = views.map(|Labelled { event, truth }| (truth.session, event));
    let mut views: Vec<_> = views.collect();
    views.sort_by_key(|(session, event)| (*session, event.occurred_at));
    let interaction = |(session, event): (u64, Event)| Interaction {
        session: session.to_string(),
        item: event.item.unwrap(),
        occurred_at: event.occurred_at,
    };
    views.into_iter().map(interaction).collect()
}

#[test]
fn a_gap_finds_the_true_sessions() {
    let shop = shop(unruly());
    assert_eq!(sessionize(&shop), true_sessions(&shop));
    assert_eq!(true_sessions(&shop).len(), 1200);
    assert_eq!(shop.interactions().collect::<Vec<_>>(), cleaned(&shop));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shop_that_opens_is_true_to_itself(
        seed: u64,
        n_categories in 1..30_u32,
        more_items in 0..50_u32,
        zipf_exponent in 0.0..3.0,
        sessions_per_day in 0..8_u32,
        more_shoppers in 0..9_u64,
        days in 0..5_u32,
        mean_views in 1.0..30.0,
        rates in prop::array::uniform6(0.0..=1.0),
    ) {
        let [bot_rate, duplicate_rate, late_rate, repeat_rate, search_rate, purchase_rate] = rates;
        let shop = shop(SyntheticShopConfig {
            seed,
            n_items: 2 * n_categories + more_items,
            n_categories,
            zipf_exponent,
            n_shoppers: u64::from(2 * sessions_per_day).max(1) + more_shoppers,
            sessions_per_day,
            days,
            mean_views,
            bot_rate: bot_rate / 20.0,
            duplicate_rate,
            late_rate: late_rate / 2.0,
            out_of_order_rate: late_rate / 2.0,
            repeat_rate,
            search_rate,
            purchase_rate,
            ..Default::default()
        });
        prop_assert_eq!(sessionize(&shop), true_sessions(&shop));
        prop_assert_eq!(shop.interactions().collect::<Vec<_>>(), cleaned(&shop));
    }
}

#[test]
fn rates_are_those_of_the_configuration() {
    let config = SyntheticShopConfig {
        sessions_per_day: 2000,
        n_shoppers: 4000,
        ..unruly()
    };
    let n_sessions = f64::from(config.sessions_per_day * config.days);
    let all: Vec<Labelled> = shop(config.clone()).clickstream().collect();
    let first: Vec<_> = all.iter().filter(|l| !l.truth.duplicate).collect();
    let count = |n: usize| f64::from(u32::try_from(n).unwrap());
    let n_events = count(first.len());
    let sessions = |is: &dyn Fn(&Labelled) -> bool| {
        let is = first.iter().filter(|l| is(l)).map(|l| l.truth.session);
        count(is.collect::<HashSet<_>>().len())
    };
    let events = |is: &dyn Fn(&Labelled) -> bool| count(first.iter().filter(|l| is(l)).count());
    // Within five standard deviations of a coin that is thrown so often.
    let check = |what: &str, found: f64, of: f64, rate: f64| {
        let off = (found - of * rate).abs();
        let sigma = (of * rate * (1.0 - rate)).sqrt();
        assert!(
            off < 5.0 * sigma,
            "{what}: {found} of {of}, expected {rate}"
        );
    };
    check(
        "bots",
        sessions(&|l| l.truth.bot),
        n_sessions,
        config.bot_rate,
    );
    let n_people = n_sessions - sessions(&|l| l.truth.bot);
    let has = |kind: EventKind| sessions(&|l| l.event.kind == kind);
    check(
        "searches",
        has(EventKind::Search),
        n_people,
        config.search_rate,
    );
    check(
        "purchases",
        has(EventKind::Purchase),
        n_people,
        config.purchase_rate,
    );
    let n_duplicates = count(all.len()) - n_events;
    check("duplicates", n_duplicates, n_events, config.duplicate_rate);
    let n_late = events(&|l| l.truth.delay == Delay::Late);
    check("late", n_late, n_events, config.late_rate);
    let n_overtaken = events(&|l| l.truth.delay == Delay::OutOfOrder);
    check(
        "out of order",
        n_overtaken,
        n_events,
        config.out_of_order_rate,
    );
    let n_views = events(&|l| l.event.kind == EventKind::Detail && !l.truth.bot);
    let views = n_views / n_people / (1.0 + config.repeat_rate);
    assert!(
        (views - config.mean_views).abs() < 0.3,
        "{views} views a visit"
    );
}

#[test]
fn the_payload_says_what_the_event_says() {
    for event in shop(unruly()).events().take(5000) {
        let json: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        let text = |key: &str| json.get(key).map(|value| value.as_str().unwrap());
        assert_eq!(text("id"), Some(event.id.as_str()));
        assert_eq!(text("client"), Some(event.client.as_str()));
        assert_eq!(text("t"), Some(event.kind.as_str()));
        assert_eq!(
            json["ts"].as_i64(),
            Some(event.occurred_at.as_microsecond())
        );
        assert_eq!(text("sku"), event.item.as_ref().map(ItemId::as_str));
        assert_eq!(text("q"), event.query.as_deref());
        assert_eq!(text("currency"), event.currency.as_deref());
        assert_eq!(
            json.get("price").and_then(serde_json::Value::as_f64),
            event.price
        );
        assert_eq!(
            json.get("n").and_then(serde_json::Value::as_i64),
            event.quantity
        );
    }
}

#[test]
fn products_can_be_told_apart() {
    let shop = shop(SyntheticShopConfig {
        n_items: 5000,
        n_categories: 45,
        ..Default::default()
    });
    let products = shop.catalogue();
    let items: HashSet<_> = products.iter().map(|product| &product.item).collect();
    let names: HashSet<_> = products.iter().map(|p| (&p.category, &p.name)).collect();
    let categories: HashSet<_> = products.iter().map(|p| &p.category).collect();
    assert_eq!(
        (items.len(), names.len(), categories.len()),
        (5000, 5000, 45)
    );
    assert!(products.iter().all(|product| product.price > 1.0));
    for product in products {
        let category = |item: &ItemId| {
            let product = products.iter().find(|product| product.item == *item);
            product.map(|product| &product.category)
        };
        let successors = shop.successors(&product.item);
        assert_eq!(successors.len(), 3);
        for next in &successors {
            assert_ne!(next, &product.item);
        }
        assert_eq!(category(&successors[0]), Some(&product.category));
    }
    assert!(shop.successors(&ItemId::from("unknown")).is_empty());
}

#[test]
fn the_last_item_tells_more_than_popularity() {
    const K: usize = 10;
    let shop = shop(SyntheticShopConfig {
        sessions_per_day: 2000,
        days: 5,
        ..Default::default()
    });
    let mut sessions: BTreeMap<u64, Vec<ItemId>> = BTreeMap::new();
    for interaction in shop.interactions() {
        let session = sessions.entry(interaction.session.parse().unwrap());
        session.or_default().push(interaction.item);
    }
    let mut popular: HashMap<ItemId, usize> = HashMap::new();
    let mut follows: HashMap<ItemId, HashMap<ItemId, usize>> = HashMap::new();
    let test = sessions.split_off(&8000);
    for session in sessions.values() {
        for pair in session.windows(2) {
            *popular.entry(pair[1].clone()).or_default() += 1;
            let after = follows.entry(pair[0].clone()).or_default();
            *after.entry(pair[1].clone()).or_default() += 1;
        }
    }
    let best = |counts: &HashMap<ItemId, usize>| -> HashSet<ItemId> {
        let mut counts: Vec<_> = counts
            .iter()
            .map(|(item, n)| (usize::MAX - n, item))
            .collect();
        counts.sort();
        counts
            .into_iter()
            .take(K)
            .map(|(_, item)| item.clone())
            .collect()
    };
    let follows: HashMap<_, _> = follows
        .iter()
        .map(|(item, after)| (item, best(after)))
        .collect();
    let popular = best(&popular);
    let (mut n_pairs, mut n_popular, mut n_follows) = (0, 0, 0);
    for pair in test.values().flat_map(|session| session.windows(2)) {
        n_pairs += 1;
        n_popular += usize::from(popular.contains(&pair[1]));
        let after = follows.get(&pair[0]);
        n_follows += usize::from(after.is_some_and(|after| after.contains(&pair[1])));
    }
    assert!(n_follows > n_pairs / 2, "{n_follows} of {n_pairs}");
    assert!(n_follows > 2 * n_popular, "{n_follows} against {n_popular}");
}

#[test]
fn a_million_events_are_streamed_not_held() {
    let shop = shop(SyntheticShopConfig {
        n_items: 20_000,
        n_categories: 100,
        n_shoppers: 100_000,
        sessions_per_day: 20_000,
        days: 7,
        ..Default::default()
    });
    let mut stream = shop.clickstream();
    let (mut n_events, mut most_held) = (0_usize, 0);
    while let Some(labelled) = stream.next() {
        n_events += usize::from(!labelled.event.payload.is_empty());
        most_held = most_held.max(stream.n_on_the_way());
    }
    assert!(n_events > 1_000_000, "{n_events}");
    assert!(most_held < 20_000, "{most_held}");
}

#[test]
fn a_shop_that_cannot_be_says_why() {
    let check = |json: &str, expected: &str| {
        let config = reco_core::config_from_json("synthetic shop", json);
        let error = config.and_then(SyntheticShop::new).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(r#"{"n_item": 5}"#, "unknown key `n_item`");
    check(r#"{"n_item": 5}"#, "did you mean `n_items`?");
    check(
        r#"{"bot_rate": 1.5}"#,
        "`bot_rate` is 1.5, not between 0 and 1",
    );
    check(
        r#"{"late_rate": 0.6, "out_of_order_rate": 0.6}"#,
        "more than 1 together",
    );
    check(r#"{"mean_views": 0.5}"#, "`mean_views` is 0.5");
    check(r#"{"zipf_exponent": -1}"#, "`zipf_exponent` is -1");
    check(r#"{"n_items": 10}"#, "each category needs two items");
    check(r#"{"n_categories": 0}"#, "each category needs two items");
    check(r#"{"n_shoppers": 1999}"#, "`n_shoppers` is 1999");
    check(
        r#"{"n_shoppers": 18446744073709551615}"#,
        "`n_shoppers` is 18446744073709551615: numbers end before",
    );
    check(r#"{"days": 4000000}"#, "`days` is 4000000");
    check(r#"{"days": 4294967295}"#, "`days` is 4294967295");
    check(r#"{"start": "2024-13-01"}"#, "invalid");
}

#[test]
fn the_gap_is_half_an_hour() {
    let gap = Duration::try_from(SyntheticShop::SESSION_GAP).unwrap();
    assert_eq!(gap, Duration::from_secs(30 * 60));
}
