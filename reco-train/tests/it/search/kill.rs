//! A study whose process is killed again and again.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use reco_train::search::{Trials, objective_fn};

use super::{study, timeless, walk};

/// Where the child finds its journal.
const JOURNAL: &str = "RECO_SEARCH_KILL_JOURNAL";

const N_TRIALS: u64 = 16;

/// Runs the study; `before` is called as each trial begins.
fn run(journal: &Path, before: impl Fn(u64) + Sync) -> Trials {
    let objective = objective_fn("walk", |trial| {
        before(trial.number());
        walk(trial)
    });
    study().journal(journal).run(&objective, N_TRIALS).unwrap()
}

/// The child: says which trial begins, and waits until it may.
#[test]
#[ignore = "the child process of the test below"]
fn child() {
    let Some(journal) = std::env::var_os(JOURNAL) else {
        return;
    };
    run(Path::new(&journal), |number| {
        println!("trial {number}");
        std::io::stdin()
            .lock()
            .read_line(&mut String::new())
            .unwrap();
    });
    println!("closed");
}

#[test]
fn a_study_that_is_killed_ends_as_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let mut n_killed = 0;
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "search::kill::child", "--ignored", "--nocapture"])
            .env(JOURNAL, &journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut n_begun = 0;
        let mut is_closed = false;
        for line in lines {
            let line = line.unwrap();
            is_closed |= line.ends_with("closed");
            if !line.contains("trial ") {
                continue;
            }
            n_begun += 1;
            // Trials begin again after a kill: each life has to come farther than one.
            if n_begun > 2 + n_killed % 3 && n_killed < 6 {
                if n_killed % 2 == 0 {
                    // In the midst of its reports, wherever that is.
                    stdin.write_all(b"\n").unwrap();
                }
                child.kill().unwrap();
                n_killed += 1;
                break;
            }
            stdin.write_all(b"\n").unwrap();
        }
        let is_over = child.wait().unwrap().success();
        if is_over {
            assert!(is_closed);
            break;
        }
    }
    assert!(n_killed >= 3, "killed {n_killed} times only");

    let trials = run(&journal, |number| panic!("trial {number} ran again"));
    let undisturbed = folder.path().join("undisturbed.jsonl");
    let undisturbed = run(&undisturbed, |_| ());
    assert_eq!(timeless(&trials), timeless(&undisturbed));
}
