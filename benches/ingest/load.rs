//! A load generator for HTTP on loopback: as cheap as it can be, since it shares the machine with the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Load {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// How long each request took, from the least to the most.
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that so many percent of the requests did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * percent / 100]
    }
}

/// Posts single events over so many connections, each of which sends the next one when it has the answer
/// to the one before. Every answer must be a 202.
pub(crate) async fn post_events(
    address: SocketAddr,
    n_connections: usize,
    n_requests: usize,
    first_id: usize,
) -> Load {
    let started = Instant::now();
    let connections: Vec<_> = (0..n_connections)
        .map(|connection| {
            let ids = (connection..n_requests).step_by(n_connections);
            tokio::spawn(post(address, ids.map(move |id| first_id + id)))
        })
        .collect();
    let mut latencies = Vec::with_capacity(n_requests);
    for connection in connections {
        latencies.extend(connection.await.unwrap());
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Load { elapsed, latencies }
}

async fn post(address: SocketAddr, ids: impl Iterator<Item = usize>) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(1 << 10);
    for id in ids {
        let body = format!(
            r#"{{"id":"0190b7c2-{id:012x}","kind":"detail","client":"c-{client}","session":"s-{client}","item":"sku-{item:06}","occurred_at":1714564800000,"price":19.9,"currency":"EUR","url":"https://shop.example/p/{item}","referrer":"https://shop.example/","title":"A product of the shop"}}"#,
            client = id % 5_000,
            item = id % 1_000,
        );
        let request = format!(
            "POST /collect HTTP/1.1\r\nhost: shop\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream, &mut answer).await;
        latencies.push(sent.elapsed());
    }
    latencies
}

async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    answer.clear();
    loop {
        let n = stream.read_buf(answer).await.unwrap();
        assert!(n > 0, "the server closed the connection");
        let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 202"), "{head}");
        let n_body: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        if answer.len() >= end + 4 + n_body {
            return;
        }
    }
}
