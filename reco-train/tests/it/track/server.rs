//! Servers that the tests start: one that does as it is told, and a real `MLflow`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Answers each request as it is told, on a port of its own, as long as the test runs.
pub(super) struct Told {
    pub(super) url: String,
    /// What it was asked: method and path, and the body.
    pub(super) asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Told {
    /// `answer` takes method, path and body, and how many requests came before; none: it never answers.
    pub(super) fn start(
        answer: impl Fn(&str, usize) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream.unwrap(), &log, &*answer));
            }
        });
        Self { url, asked }
    }

    /// What was asked of a path, in order.
    pub(super) fn bodies(&self, path: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let of = asked.iter().filter(|(line, _)| line.contains(path));
        of.map(|(_, body)| body.clone()).collect()
    }
}

type Answer = dyn Fn(&str, usize) -> Option<(u16, String)>;

fn serve(stream: &TcpStream, log: &Mutex<Vec<(String, String)>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if head.is_empty() {
                head = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let asked = format!("{head}\n{}", String::from_utf8_lossy(&body));
        let n_before = {
            let mut log = log.lock().unwrap();
            log.push((head.clone(), String::from_utf8_lossy(&body).into_owned()));
            log.len() - 1
        };
        let Some((status, text)) = answer(&asked, n_before) else {
            // It keeps the connection and says nothing, until the client goes.
            drop(reader.read(&mut [0; 1]));
            return;
        };
        let mut stream = stream;
        let answer = format!(
            "HTTP/1.1 {status} said\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A Python that has `MLflow`'s server: that of `RECO_MLFLOW_PYTHON`, or of the tools that `.ci/run` installs.
pub(super) fn python() -> Option<PathBuf> {
    let told = std::env::var_os("RECO_MLFLOW_PYTHON").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from)?;
    let python = told.unwrap_or_else(|| home.join(".cache/reco-tools/venv/bin/python"));
    let has = Command::new(&python)
        .args(["-c", "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('mlflow', 'flask', 'sqlalchemy'))))"])
        .stderr(Stdio::null())
        .status();
    has.is_ok_and(|status| status.success()).then_some(python)
}

/// A real server on the loopback, with all of its processes.
pub(super) struct Real {
    pub(super) url: String,
    child: Child,
}

impl Real {
    pub(super) fn start(python: &Path, folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut child = Command::new(python)
            .args([
                "-m",
                "mlflow",
                "server",
                "--host",
                "127.0.0.1",
                "--workers",
                "1",
                "--port",
            ])
            .arg(port.to_string())
            .arg("--backend-store-uri")
            .arg(format!("sqlite:///{}/store.db", folder.display()))
            .arg("--artifacts-destination")
            .arg(folder.join("artifacts"))
            // Two more processes, for what is not tested here.
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own: the server has children, which go with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let is_up = lines.by_ref().map_while(Result::ok).any(|line| {
            said.push_str(&line);
            said.push('\n');
            line.contains("Application startup complete")
        });
        let server = Self {
            url: format!("http://127.0.0.1:{port}"),
            child,
        };
        assert!(is_up, "the server did not start:\n{said}");
        // What it says later is read, or it would wait for that.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        server
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(self.child.wait());
    }
}
