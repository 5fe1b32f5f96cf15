//! A study that goes on from its journal.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use reco_train::search::{
    Budget, Direction, Parameter, Space, Study, StudyConfig, Trials, objective_fn,
};

use super::{config, space, study, timeless, walk};

fn run(journal: &Path, n_trials: u64) -> reco_train::Result<Trials> {
    study()
        .journal(journal)
        .run(&objective_fn("walk", walk), n_trials)
}

#[test]
fn a_journal_cut_anywhere_leads_to_the_same_trials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.jsonl");
    let undisturbed = run(&path, 14).unwrap();
    assert!(undisturbed.count("pruned") > 0 && undisturbed.count("complete") > 0);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').collect();

    // After every third line, and in the middle of the one after it.
    let n_cuts = ends.len() / 3;
    for (nth, end) in ends.iter().step_by(3).enumerate() {
        let cut = if nth % 2 == 0 { end + 1 } else { end - 4 };
        let path = folder.path().join(format!("{nth}.jsonl"));
        fs::write(&path, &whole[..cut]).unwrap();
        let trials = run(&path, 14).unwrap();
        assert_eq!(
            timeless(&trials),
            timeless(&undisturbed),
            "cut {nth} of {n_cuts}, at {cut}"
        );
        // And once more, with nothing left to do.
        let lines = fs::read(&path).unwrap();
        assert_eq!(timeless(&run(&path, 14).unwrap()), timeless(&undisturbed));
        assert_eq!(fs::read(&path).unwrap(), lines);
    }
}

#[test]
fn a_study_can_be_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let first = run(&path, 6).unwrap();
    let longer = run(&path, 12).unwrap();
    assert_eq!(timeless(&longer)[..6], timeless(&first)[..]);
    let whole = study().run(&objective_fn("walk", walk), 12).unwrap();
    assert_eq!(timeless(&longer), timeless(&whole));
}

#[test]
fn the_order_of_keys_makes_no_other_study() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 2).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once('\n').unwrap();
    let version = "\"format_version\":1";
    let head = head.replacen(&format!("{version},"), "", 1);
    let head = format!("{},{version}}}}}", head.strip_suffix("}}").unwrap());
    fs::write(&path, format!("{head}\n{rest}")).unwrap();
    assert_eq!(run(&path, 3).unwrap().records().len(), 3);
}

#[test]
fn a_journal_of_another_study_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 2).unwrap();
    let before = fs::read(&path).unwrap();
    let refuse = |study: Study, context: &str, expected: &str| {
        let study = study.journal(&path);
        let error = study
            .run(&objective_fn(context, walk), 4)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before, "nothing is written to it");
    };
    let other = Space::new([Parameter::uniform("x", 0.0, 1.0)]).unwrap();
    refuse(
        Study::new(other, config(), Budget::threads(1)),
        "walk",
        "cannot be used: it is of another study: its space is [{",
    );
    let other = StudyConfig {
        direction: Direction::Minimize,
        ..config()
    };
    refuse(
        Study::new(space(), other, Budget::threads(1)),
        "walk",
        "it is of another study: its config is {",
    );
    refuse(
        study(),
        "run",
        "it is of another study: its objective is \"walk\", not \"run\"",
    );

    let later = String::from_utf8(before.clone()).unwrap();
    fs::write(
        &path,
        later.replacen("\"format_version\":1", "\"format_version\":2", 1),
    )
    .unwrap();
    let error = run(&path, 4).unwrap_err().to_string();
    assert_eq!(
        error,
        "the journal of a search has version 2; this build reads 1"
    );
    fs::write(&path, "{\"not\": \"ours\"}\n").unwrap();
    let error = run(&path, 4).unwrap_err().to_string();
    assert!(error.ends_with("its first line names no study"), "{error}");
}

#[test]
fn a_damaged_line_is_named_and_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 3).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let check = |damage: &dyn Fn(&mut Vec<&str>), expected: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        damage(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let error = run(&path, 3).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|lines| lines[3] = "{\"reported\":{\"trial\":0,\"st",
        "line 4: EOF while parsing",
    );
    check(
        &|lines| lines[3] = "{\"repotred\":{}}",
        "line 4: unknown variant `repotred`",
    );
    check(&|lines| lines.swap(1, 2), "line 2: trial 0 has not begun");
    let end = "{\"ended\":{\"trial\":0,\"seconds\":0,\"outcome\":{\"pruned\":{\"step\":1}}}}";
    check(&|lines| lines.push(end), "trial 0 had ended");
}

#[test]
fn what_ends_the_process_each_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 1).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (head, started) = text.split_once('\n').unwrap();
    let started = started.lines().next().unwrap();
    fs::write(&path, format!("{head}\n{started}\n{started}\n{started}\n")).unwrap();
    let seen = Mutex::new(Vec::new());
    let objective = objective_fn("walk", |trial| {
        seen.lock().unwrap().push(trial.number());
        walk(trial)
    });
    let trials = study().journal(&path).run(&objective, 2).unwrap();
    assert_eq!(*seen.lock().unwrap(), [1]);
    let reason = format!("{:?}", trials.records()[0].outcome);
    assert!(
        reason.contains("the process ended 3 times while it ran"),
        "{reason}"
    );
}

#[test]
fn two_studies_do_not_write_one_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let objective = objective_fn("walk", |trial| {
        let error = run(&path, 2).unwrap_err().to_string();
        assert!(error.ends_with("another process is writing it"), "{error}");
        walk(trial)
    });
    let trials = study().journal(&path).run(&objective, 2).unwrap();
    assert_eq!(trials.count("failed"), 0, "{trials:?}");
}

#[test]
fn a_journal_that_cannot_be_made_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let error = run(&folder.path().join("no/such/folder.jsonl"), 1).unwrap_err();
    assert!(error.to_string().starts_with("cannot open `"), "{error}");
}
