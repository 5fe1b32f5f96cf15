//! The processes of a cluster: this binary again, one test of it each.

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use reco_transform::ballista::{
    Cluster, ClusterConfig, Executor, ExecutorConfig, Scheduler, SchedulerConfig,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::functions::{Gate, functions};

const SCHEDULER: &str = "RECO_CLUSTER_SCHEDULER";
const DIR: &str = "RECO_CLUSTER_DIR";
/// Executors say that they live at least every 5 s.
const EXECUTOR_TIMEOUT: Duration = Duration::from_secs(7);

#[expect(
    clippy::disallowed_methods,
    reason = "the parameters of a child process come with it"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs a child on threads with the stacks that plans need in debug builds.
#[expect(clippy::print_stdout, reason = "a child tells its parent where it is")]
fn child<F: Future<Output = reco_transform::Result<()>>>(run: impl FnOnce(TcpListener) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        run(listener).await.unwrap();
    });
}

#[test]
#[ignore = "it is a child process of the tests"]
fn scheduler() {
    let gate = Gate::at(variable(DIR).unwrap());
    let scheduler = Scheduler::new(functions(&gate)).with_config(SchedulerConfig {
        executor_timeout: EXECUTOR_TIMEOUT,
        ..SchedulerConfig::default()
    });
    child(|listener| scheduler.serve(listener));
}

#[test]
#[ignore = "it is a child process of the tests"]
fn executor() {
    let dir = PathBuf::from(variable(DIR).unwrap());
    let work_dir = dir.join(format!("work-{}", std::process::id()));
    let functions = functions(&Gate::at(&dir));
    let executor = Executor::new(variable(SCHEDULER).unwrap(), work_dir, functions);
    let executor = executor.with_config(ExecutorConfig {
        n_cores: NonZeroUsize::new(2),
        ..ExecutorConfig::default()
    });
    child(|listener| executor.serve(listener));
}

/// A child process that listens.
pub(super) struct Process {
    child: Child,
    address: String,
    _output: BufReader<ChildStdout>,
}

impl Process {
    fn spawn(test: &str, variables: &[(&str, &str)]) -> Self {
        let test = format!("ballista::process::{test}");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--ignored", "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child ended");
            if let Some(address) = line.strip_prefix("listening ") {
                break address.trim().to_owned();
            }
        };
        Self {
            child,
            address,
            _output: output,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that was killed before is gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A scheduler and executors.
pub(super) struct Processes {
    pub(super) scheduler: Process,
    pub(super) executors: Vec<Process>,
    pub(super) gate: Gate,
    dir: TempDir,
}

impl Processes {
    pub(super) fn start(n_executors: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let scheduler = Process::spawn("scheduler", &[(DIR, path)]);
        let variables = [(DIR, path), (SCHEDULER, scheduler.address.as_str())];
        let executors = (0..n_executors).map(|_| Process::spawn("executor", &variables));
        Self {
            executors: executors.collect(),
            gate: Gate::at(dir.path()),
            scheduler,
            dir,
        }
    }

    pub(super) fn cluster(&self) -> Cluster {
        let cluster = Cluster::at(&self.scheduler.address).unwrap();
        let cluster = cluster.with_functions(functions(&self.gate));
        cluster.with_config(ClusterConfig {
            connect_timeout: Duration::from_secs(60),
            step_timeout: Duration::from_secs(120),
            target_partitions: 4,
            ..ClusterConfig::default()
        })
    }

    /// A folder that all of them see.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        let folder: &Path = self.dir.path();
        folder.join(name)
    }
}
