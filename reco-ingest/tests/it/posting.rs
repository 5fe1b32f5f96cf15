//! A collector that is killed meanwhile: how it is run, what is posted to it, and what has to become of that.
//!
//! The tests of whole processes share it, those through the public API and those of a spool's insides.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use reco_core::Event;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const N_CONNECTIONS: usize = 8;

/// A variable of the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a child process and of a long run come with it"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Serves on the loopback, in a child that tells the parent where.
pub(crate) async fn serve(router: Router, tell: impl Fn(SocketAddr) + Send + Sync) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell(listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

/// A child process: a test of this binary.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn spawn(test: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that begins with one of some words: the word, and the rest.
    pub(crate) async fn says<'a>(&mut self, words: &[&'a str]) -> (&'a str, String) {
        loop {
            let line = self.lines.next_line().await.unwrap();
            let line = line.expect("the child ended");
            let said = words
                .iter()
                .find_map(|&word| Some((word, line.strip_prefix(word)?.trim().to_owned())));
            if let Some(said) = said {
                return said;
            }
        }
    }

    /// Ends it with SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The numbers of a seeded generator (splitmix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// An event as it is posted: its bytes follow from its id, so that any that is changed is noticed.
fn event_of(id: &str) -> String {
    let padding = id.repeat(1 + id.len() * 7 % 40);
    format!(r#"{{"id":"{id}","kind":"detail","client":"c","padding":"{padding}"}}"#)
}

/// What is posted and is no event.
fn letter_of(id: &str) -> String {
    format!(r#""{id} is no event""#)
}

/// What the parent knows of what it sent, as the bytes of each event and of what is none.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) all: HashSet<String>,
    pub(crate) acknowledged: Vec<String>,
    pub(crate) n_refused: usize,
    /// Answers that are neither 202 nor 503 with the time to try again.
    strange: Vec<String>,
}

impl Sent {
    pub(crate) fn add(&mut self, part: Self) {
        self.all.extend(part.all);
        self.acknowledged.extend(part.acknowledged);
        self.n_refused += part.n_refused;
        self.strange.extend(part.strange);
    }

    /// Checks that all that was acknowledged was found, once, and nothing that was not sent; says how
    /// many were found.
    pub(crate) fn check<'a>(
        &self,
        events: &'a [Event],
        letters: impl IntoIterator<Item = &'a [u8]>,
        at: &str,
    ) -> usize {
        assert!(self.strange.is_empty(), "{at}: {:?}", self.strange);
        for event in events {
            assert_eq!(event.payload, event_of(&event.id), "{at}");
        }
        let payloads = events.iter().map(|event| event.payload.as_ref());
        let mut times: HashMap<&str, usize> = HashMap::new();
        for payload in payloads.chain(letters) {
            let payload = std::str::from_utf8(payload).unwrap();
            assert!(self.all.contains(payload), "{at}: never sent: `{payload}`");
            *times.entry(payload).or_default() += 1;
        }
        let doubled: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
        assert!(doubled.is_empty(), "{at}: there twice: {doubled:?}");
        let is_there = |payload: &&String| times.contains_key(payload.as_str());
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|payload| !is_there(payload))
            .collect();
        assert!(lost.is_empty(), "{at}: acknowledged and lost: {lost:?}");
        times.len()
    }
}

/// How the answers go.
#[derive(Default)]
pub(crate) struct Answers {
    n_acknowledged: AtomicUsize,
    /// How many batches were refused.
    pub(crate) n_refused: AtomicUsize,
    /// How many were acknowledged since the last refusal.
    pub(crate) n_in_a_row: AtomicUsize,
    n_ended: AtomicUsize,
    one: Notify,
}

impl Answers {
    /// How many batches were acknowledged.
    pub(crate) fn n_acknowledged(&self) -> usize {
        self.n_acknowledged.load(Ordering::SeqCst)
    }

    fn acknowledged(&self) {
        self.n_acknowledged.fetch_add(1, Ordering::SeqCst);
        self.n_in_a_row.fetch_add(1, Ordering::SeqCst);
    }

    fn refused(&self) {
        self.n_refused.fetch_add(1, Ordering::SeqCst);
        self.n_in_a_row.store(0, Ordering::SeqCst);
    }
}

/// Several connections that post batches and wait for each to be answered, until the child is gone.
pub(crate) struct Senders {
    tasks: Vec<JoinHandle<Sent>>,
    pub(crate) answers: Arc<Answers>,
}

impl Senders {
    /// Posts batches that no other life of the child was sent.
    pub(crate) fn start(address: &str, life: &str) -> Self {
        let answers = Arc::<Answers>::default();
        let tasks = (0..N_CONNECTIONS).map(|connection| {
            let url = format!("http://{address}/collect");
            let name = format!("{life}-{connection}");
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let sent = send(&url, &name, &answers).await;
                answers.n_ended.fetch_add(1, Ordering::SeqCst);
                answers.one.notify_one();
                sent
            })
        });
        Self {
            tasks: tasks.collect(),
            answers: Arc::clone(&answers),
        }
    }

    /// Waits for answers, until there are enough of them or nobody posts any more; says which.
    pub(crate) async fn until(&self, is_enough: impl Fn(&Answers) -> bool) -> bool {
        while !is_enough(&self.answers) {
            if self.answers.n_ended.load(Ordering::SeqCst) == N_CONNECTIONS {
                return false;
            }
            self.answers.one.notified().await;
        }
        true
    }

    /// What they sent, once the child is gone.
    pub(crate) async fn end(self) -> Sent {
        let mut sent = Sent::default();
        for task in self.tasks {
            sent.add(task.await.unwrap());
        }
        sent
    }
}

async fn send(url: &str, name: &str, answers: &Answers) -> Sent {
    let (mut sent, client) = (Sent::default(), reqwest::Client::new());
    for batch in 0.. {
        let mut parts: Vec<_> = (0..1 + batch % 3)
            .map(|i| event_of(&format!("{name}-{batch}-{i}")))
            .collect();
        if batch % 4 == 3 {
            parts.push(letter_of(&format!("{name}-{batch}")));
        }
        sent.all.extend(parts.iter().cloned());
        let body = format!("[{}]", parts.join(","));
        let Ok(answer) = client.post(url).body(body).send().await else {
            break;
        };
        let retry_after = answer.headers().get("retry-after");
        match (answer.status().as_u16(), retry_after) {
            (202, _) => {
                sent.acknowledged.extend(parts);
                answers.acknowledged();
            }
            (503, Some(_)) => {
                sent.n_refused += parts.len();
                answers.refused();
                answers.one.notify_one();
                // As a client, though one with little patience.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            _ => {
                sent.strange.push(format!("{answer:?}"));
                break;
            }
        }
        answers.one.notify_one();
    }
    sent
}
