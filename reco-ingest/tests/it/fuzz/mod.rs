//! Every parser against seeded inputs: nothing panics, and nothing is lost.
//!
//! ```sh
//! RECO_FUZZ=10000000 cargo nextest run --workspace --all-features --no-capture -E 'test(fuzz)'
//! ```

mod inputs;

use std::ops::AddAssign;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;
use reco_core::{EventKind, Timestamp};
use reco_ingest::MemoryTable;
use reco_ingest::http::decode::{Decoded, Framing, Origin, json, pixel};
use reco_ingest::import::{Format, Import, KindMapping, Mapping, TimeFormat, TimeMapping, Value};

pub(crate) use inputs::{Inputs, is_separator, n_content};

// A file of so many inputs is imported at once.
const FILE_INPUTS: usize = 500;

/// What became of the inputs.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    inputs: usize,
    bytes: usize,
    events: usize,
    dead_letters: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.bytes += other.bytes;
        self.events += other.events;
        self.dead_letters += other.dead_letters;
    }
}

fn origin() -> Origin<'static> {
    Origin {
        endpoint: "/collect",
        tenant: None,
        received_at: Timestamp::UNIX_EPOCH,
        request: None,
        max_events: 1000,
    }
}

// Payloads are slices of the body: in order, without overlap, and all that is between them separates.
fn check_nothing_is_lost(body: &Bytes, decoded: &Decoded, is_between: fn(u8) -> bool) {
    let events = decoded.events.iter().map(|event| &event.payload);
    let letters = decoded.dead_letters.iter().map(|letter| &letter.payload);
    let mut spans: Vec<(usize, usize)> = events
        .chain(letters)
        .filter(|payload| !payload.is_empty())
        .map(|payload| {
            (
                payload.as_ptr().addr() - body.as_ptr().addr(),
                payload.len(),
            )
        })
        .collect();
    spans.sort_unstable();
    let mut end = 0;
    for (at, n_bytes) in spans.into_iter().chain([(body.len(), 0)]) {
        assert!(at >= end, "payloads overlap: {body:?}");
        let between = body[end..at].iter().copied();
        assert!(between.clone().all(is_between), "lost: {body:?}");
        end = at + n_bytes;
    }
    assert!(
        !decoded.is_empty(),
        "neither an event nor a dead letter: {body:?}"
    );
}

fn bodies(
    inputs: Inputs,
    n: usize,
    decode: impl Fn(&Bytes) -> Decoded,
    is_between: fn(u8) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    for body in inputs.take(n) {
        let body = Bytes::from(body);
        let decoded = decode(&body);
        check_nothing_is_lost(&body, &decoded, is_between);
        tally += Tally {
            inputs: 1,
            bytes: body.len(),
            events: decoded.events.len(),
            dead_letters: decoded.dead_letters.len(),
        };
    }
    tally
}

fn csv(seed: u64, n: usize, folder: &Path) -> Tally {
    let column = |name: &str| Some(Value::column(name));
    let time = TimeMapping::Column {
        name: "at".to_owned(),
        format: TimeFormat::Rfc3339,
    };
    let import = Import {
        max_row_bytes: 200,
        ..Import::new(
            Format::csv(','),
            Mapping {
                client: column("visitor"),
                item: column("sku"),
                price: column("price"),
                ..Mapping::new(time, KindMapping::Constant(EventKind::Detail))
            },
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let file = folder.join(format!("{seed}.csv"));
    let mut inputs = Inputs::csv(seed);
    let mut tally = Tally::default();
    while tally.inputs < n {
        let mut text = b"visitor,sku,at,price\n".to_vec();
        for line in inputs.by_ref().take(FILE_INPUTS) {
            text.extend(line);
            text.push(b'\n');
        }
        std::fs::write(&file, &text).unwrap();
        let (events, letters) = (MemoryTable::new(), MemoryTable::new());
        let run = import.run(&file, Timestamp::UNIX_EPOCH, &events, &letters, |_| {});
        let report = runtime.block_on(run).unwrap();
        assert_eq!(
            report.rows,
            report.events + report.skipped + report.dead_letters
        );
        let found = (
            events.records().len() as u64,
            letters.records().len() as u64,
        );
        assert_eq!(found, (report.events, report.dead_letters));
        tally += Tally {
            inputs: FILE_INPUTS,
            bytes: text.len(),
            events: events.records().len(),
            dead_letters: letters.records().len(),
        };
    }
    tally
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests says for how long"
)]
fn nothing_panics_and_nothing_is_lost() {
    let n: usize = std::env::var("RECO_FUZZ").map_or(50_000, |n| n.parse().unwrap());
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let folder = tempfile::tempdir().unwrap();
    let share = n.div_ceil(4 * n_threads);
    let decode_json = |framing| move |body: &Bytes| json(body, framing, &origin()).unwrap();
    let whitespace = |byte: u8| byte.is_ascii_whitespace();
    let work = |thread: usize| {
        let seed = thread as u64;
        [
            bodies(
                Inputs::json(seed),
                share,
                decode_json(Framing::Detect),
                is_separator,
            ),
            bodies(
                Inputs::json(seed + 1000),
                share,
                decode_json(Framing::Lines),
                whitespace,
            ),
            bodies(
                Inputs::pixel(seed),
                share,
                |body| pixel(body, &origin()).unwrap(),
                whitespace,
            ),
            csv(seed, share, folder.path()),
        ]
    };
    let start = Instant::now();
    let mut tallies = [Tally::default(); 4];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads)
            .map(|i| scope.spawn(move || work(i)))
            .collect();
        for thread in threads {
            for (tally, of_thread) in tallies.iter_mut().zip(thread.join().unwrap()) {
                *tally += of_thread;
            }
        }
    });
    for (parser, tally) in ["json", "ndjson", "pixel", "csv"].iter().zip(tallies) {
        println!("{parser}: {tally:?}");
        assert!(
            tally.events > share / 10 && tally.dead_letters > share / 10,
            "{parser}: {tally:?}"
        );
    }
    let n_inputs: usize = tallies.iter().map(|tally| tally.inputs).sum();
    println!(
        "{n_inputs} inputs in {:?} on {n_threads} threads",
        start.elapsed()
    );
    assert!(n_inputs >= n);
}

proptest! {
    #[test]
    fn any_bytes_are_events_or_dead_letters(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let body = Bytes::from(body);
        for framing in [Framing::Detect, Framing::Lines] {
            let decoded = json(&body, framing, &origin()).unwrap();
            check_nothing_is_lost(&body, &decoded, is_separator);
        }
        let decoded = pixel(&body, &origin()).unwrap();
        check_nothing_is_lost(&body, &decoded, |byte| byte.is_ascii_whitespace());
    }

    #[test]
    fn what_is_offered_is_accepted_or_a_dead_letter(valid in prop::collection::vec(any::<bool>(), 2..30)) {
        let n_valid = valid.iter().filter(|valid| **valid).count();
        let elements: Vec<&str> = valid
            .iter()
            .map(|valid| if *valid { r#"{"kind":"add","client":1}"# } else { r#"{"kind":"ad","client":1}"# })
            .collect();
        let array = format!("[{}]", elements.join(", "));
        for body in [array, elements.join("\n")] {
            let decoded = json(&body.into(), Framing::Detect, &origin()).unwrap();
            prop_assert_eq!(decoded.events.len(), n_valid);
            let positions: Vec<i64> = decoded.dead_letters.iter().map(|letter| letter.position).collect();
            let expected = valid.iter().zip(1..).filter(|(valid, _)| !**valid);
            prop_assert_eq!(positions, expected.map(|(_, position)| position).collect::<Vec<_>>());
        }
    }
}
