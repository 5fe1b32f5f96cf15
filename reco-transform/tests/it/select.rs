//! Selections: the tables that they mean.

use std::collections::BTreeSet;

use proptest::prelude::*;
use reco_transform::datafusion::arrow::datatypes::{DataType, Field, Schema};
use reco_transform::datafusion::prelude::*;
use reco_transform::{Dag, Selection, Source, relationships, step_fn};

use crate::shop::ValuesExt;

/// ```text
/// events ─▶ stg_events ─▶ sessions ─▶ interactions ─▶ popular ─▶ report
///    └─▶ audit_log                        ▲                         ▲
/// items ─▶ stg_items ─────────────────────┴─────────────────────────┘
/// ```
fn shop() -> Dag {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
    let table = Source::batches(schema.into(), Vec::new()).unwrap();
    Dag::builder()
        .source("events", table.clone())
        .source("items", table)
        .sql("stg_events", "select * from events")
        .sql("stg_items", "select * from items")
        .sql("sessions", "select * from stg_events")
        .sql(
            "interactions",
            "select n from sessions join stg_items using (n)",
        )
        .sql("popular", "select * from interactions")
        .sql("report", "select n from popular join stg_items using (n)")
        .sql("audit_log", "select * from events")
        .tag("stg_events", "base")
        .tag("stg_items", "base")
        .tag("sessions", "nightly")
        .tag("interactions", "nightly")
        .tag("interactions", "train")
        .tag("popular", "nightly-report")
        .path("stg_events", "models/staging/stg_events.sql")
        .path("stg_items", "models/staging/stg_items.sql")
        .path("sessions", "models/marts/sessions.sql")
        .path("interactions", "models/marts/interactions.sql")
        .path("popular", "models/reports/daily/popular.sql")
        .path("report", "models/reports/report.sql")
        .build()
        .unwrap()
}

const ALL: &str =
    "events items stg_events stg_items sessions interactions popular report audit_log";

#[test]
fn selections_mean_what_they_mean_in_dbt() {
    let dag = shop();
    let cases = [
        // Names.
        ("popular", "popular"),
        ("*", ALL),
        ("stg_*", "stg_events stg_items"),
        ("*items", "items stg_items"),
        ("[rp]*", "popular report"),
        ("stg_event?", "stg_events"),
        // What is read and what reads it.
        ("sessions+", "sessions interactions popular report"),
        ("sessions+0", "sessions"),
        ("sessions+1", "sessions interactions"),
        ("sessions+2", "sessions interactions popular"),
        ("+sessions", "events stg_events sessions"),
        ("0+sessions", "sessions"),
        ("1+interactions", "stg_items sessions interactions"),
        (
            "2+interactions",
            "items stg_events stg_items sessions interactions",
        ),
        (
            "99+interactions",
            "events items stg_events stg_items sessions interactions",
        ),
        (
            "+sessions+",
            "events stg_events sessions interactions popular report",
        ),
        ("1+popular+1", "interactions popular report"),
        (
            "+popular+0",
            "events items stg_events stg_items sessions interactions popular",
        ),
        ("+stg_*", "events items stg_events stg_items"),
        ("report+", "report"),
        ("+events", "events"),
        // All that is made of it can be made.
        (
            "@sessions",
            "events items stg_events stg_items sessions interactions popular report",
        ),
        (
            "@stg_items",
            "events items stg_events stg_items sessions interactions popular report",
        ),
        ("@audit_log", "events audit_log"),
        ("@events", ALL),
        // Tags, sources, paths, files.
        ("tag:base", "stg_events stg_items"),
        ("tag:nightly", "sessions interactions"),
        ("tag:nightly*", "sessions interactions popular"),
        ("tag:nightly+", "sessions interactions popular report"),
        ("1+tag:train", "stg_items sessions interactions"),
        (
            "@tag:train",
            "events items stg_events stg_items sessions interactions popular report",
        ),
        ("source:items", "items"),
        ("source:*", "events items"),
        ("source:items+1", "items stg_items"),
        ("path:models/marts", "sessions interactions"),
        ("models/reports", "popular report"),
        ("path:models/reports/*.sql", "report"),
        ("path:models/**/p*.sql+", "popular report"),
        ("models/staging/stg_items.sql", "stg_items"),
        ("popular.sql", "popular"),
        ("file:s*.sql", "stg_events stg_items sessions"),
        // Union, intersection, both, exclusion.
        ("report audit_log", "report audit_log"),
        ("audit_log report audit_log", "report audit_log"),
        ("+interactions,tag:base", "stg_events stg_items"),
        ("sessions+,+report,tag:nightly", "sessions interactions"),
        ("popular,report", ""),
        ("tag:train,models/marts audit_log", "interactions audit_log"),
        (
            "+report --exclude source:* tag:nightly",
            "stg_events stg_items popular report",
        ),
        ("--exclude +report", "audit_log"),
    ];
    for (selection, expected) in cases {
        let selected = dag.select(selection).unwrap();
        assert_eq!(selected.join(" "), expected, "{selection}");
    }
}

#[test]
fn selections_in_rust_mean_the_same() {
    let dag = shop();
    let check = |selection: Selection, text: &str| {
        assert_eq!(dag.select(selection).unwrap(), dag.select(text).unwrap());
    };
    let table = |name: &str| Selection::table(name);
    check(Selection::all(), "*");
    check(table("stg_*").upstream(), "+stg_*");
    check(table("interactions").upstream_within(1), "1+interactions");
    check(table("sessions").downstream(), "sessions+");
    check(table("sessions").downstream_within(2), "sessions+2");
    check(table("audit_log").downstream().upstream(), "@audit_log");
    check(
        Selection::tag("base").or(table("report")),
        "tag:base report",
    );
    check(
        Selection::path("models/marts").and(Selection::tag("train")),
        "path:models/marts,tag:train",
    );
    check(
        Selection::source("*").except(table("items")),
        "source:* --exclude items",
    );
    check(Selection::file("popular.sql"), "popular.sql");
    check("report+".parse().unwrap(), "report+");
}

#[test]
fn what_changed_is_told_and_what_is_gone_is_passed_over() {
    let dag = shop();
    let select = |text: &str, changed: &[&str]| {
        let selection = Selection::parse(text).unwrap();
        let selected = dag.select(selection.with_changed(changed.iter().copied()));
        selected.unwrap().join(" ")
    };
    assert_eq!(select("state:modified", &["popular", "gone"]), "popular");
    assert_eq!(select("state:modified+", &["popular"]), "popular report");
    assert_eq!(
        select("1+state:modified,stg_*", &["sessions"]),
        "stg_events"
    );
    assert_eq!(
        select("* --exclude state:modified+", &["items", "events"]),
        ""
    );
    assert_eq!(select("state:modified+", &[]), "");
    assert_eq!(
        dag.select(Selection::changed(["items"])).unwrap(),
        ["items"]
    );
    assert_eq!(
        dag.select("state:modified").unwrap_err().to_string(),
        "invalid selection `state:modified`: nothing says which tables changed; \
         give their names by `with_changed`"
    );
}

#[test]
fn names_that_are_not_there_are_refused_with_the_nearest() {
    let dag = shop();
    let check = |selection: &str, expected: &str| {
        let error = dag.select(selection).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        "+sesions",
        "selection `sesions`: the DAG has no such table; did you mean `sessions`?",
    );
    check(
        "tag:nigthly",
        "selection `tag:nigthly`: the DAG has no such tag; did you mean `nightly`?",
    );
    check(
        "source:sessions",
        "selection `source:sessions`: the DAG has no such source",
    );
    check("zzz_*", "selection `zzz_*`: the DAG has no such table");
    check(
        "models/mart",
        "selection `path:models/mart`: the DAG has no such path",
    );
    check(
        "report --exclude sesions.sql",
        "selection `file:sesions.sql`: the DAG has no such file; did you mean `sessions.sql`?",
    );
    let tagged = Dag::builder()
        .sql("items", "select 1 as n")
        .tag("item", "base");
    assert_eq!(
        tagged.build().unwrap_err().to_string(),
        "tag `base` on table `item`, which the DAG does not have; did you mean `items`?"
    );
}

#[test]
fn what_a_table_is_audited_with_counts_as_read() {
    let dag = Dag::builder()
        .values("items", "name", "('hat')")
        .values("sales", "item", "('hat')")
        .expect("sales", relationships("item", "items", "name"))
        .build()
        .unwrap();
    assert_eq!(dag.select("+sales").unwrap(), ["items", "sales"]);
    assert_eq!(dag.select("items+").unwrap(), ["items", "sales"]);
}

/// A DAG of tables `t0`, `t1`, … of which each reads some of those before.
fn chain(reads: &[Vec<usize>]) -> Dag {
    let mut dag = Dag::builder();
    for (i, reads) in reads.iter().enumerate() {
        let inputs: Vec<String> = reads.iter().map(|read| format!("t{read}")).collect();
        dag = dag.step(step_fn(format!("t{i}"), inputs, |ctx| {
            ctx.session().read_empty()?.select(vec![lit(1).alias("n")])
        }));
    }
    dag.build().unwrap()
}

/// How many steps lead from each table to each, by trying all tables in between.
fn distances(reads: &[Vec<usize>]) -> Vec<Vec<Option<usize>>> {
    let n = reads.len();
    let mut steps = vec![vec![None; n]; n];
    for (reader, row) in steps.iter_mut().enumerate() {
        row[reader] = Some(0);
        for &read in &reads[reader] {
            row[read] = Some(1);
        }
    }
    for via in 0..n {
        for from in 0..n {
            for to in 0..n {
                if let (Some(a), Some(b)) = (steps[from][via], steps[via][to]) {
                    steps[from][to] = Some(steps[from][to].map_or(a + b, |old| old.min(a + b)));
                }
            }
        }
    }
    steps
}

/// More steps than there are.
const ALL_THE_WAY: usize = 99;

/// A term as text and what it means by the distances.
#[derive(Debug, Clone)]
struct Term {
    of: usize,
    up: Option<usize>,
    down: Option<usize>,
    is_at: bool,
}

impl Term {
    fn text(&self) -> String {
        let digits = |n_steps: usize| match n_steps {
            ALL_THE_WAY => String::new(),
            n_steps => n_steps.to_string(),
        };
        let up = self.up.map(|n| format!("{}+", digits(n)));
        let down = self.down.map(|n| format!("+{}", digits(n)));
        let (up, down) = (up.unwrap_or_default(), down.unwrap_or_default());
        match self.is_at {
            true => format!("@t{}", self.of),
            false => format!("{up}t{}{down}", self.of),
        }
    }

    fn means(&self, steps: &[Vec<Option<usize>>]) -> BTreeSet<usize> {
        let n = steps.len();
        let within = |steps: Option<usize>, most: Option<usize>| {
            steps.zip(most).is_some_and(|(steps, most)| steps <= most)
        };
        let is_in = |table: usize| {
            if self.is_at {
                return (0..n)
                    .any(|below| steps[below][self.of].is_some() && steps[below][table].is_some());
            }
            table == self.of
                || within(steps[self.of][table], self.up)
                || within(steps[table][self.of], self.down)
        };
        (0..n).filter(|&table| is_in(table)).collect()
    }
}

/// Tables, each reading some of those before it, and terms about them.
fn dag_and_terms() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<Vec<Term>>, Option<Term>)> {
    (1_usize..8).prop_flat_map(|n| {
        let n_steps = || proptest::option::of(prop_oneof![0_usize..4, Just(ALL_THE_WAY)]);
        let term = move || {
            let parts = (0..n, n_steps(), n_steps(), any::<bool>());
            parts.prop_map(|(of, up, down, is_at)| Term {
                of,
                up,
                down,
                is_at,
            })
        };
        let reads = (0..n).map(|i| {
            let before: Vec<usize> = (0..i).collect();
            proptest::sample::subsequence(before, 0..=i)
        });
        let intersection = proptest::collection::vec(term(), 1..3);
        (
            reads.collect::<Vec<_>>(),
            proptest::collection::vec(intersection, 1..3),
            proptest::option::of(term()),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_selection_is_what_the_distances_between_tables_say((reads, terms, unwanted) in dag_and_terms()) {
        let dag = chain(&reads);
        let steps = distances(&reads);
        let words = terms.iter().map(|all| all.iter().map(Term::text).collect::<Vec<_>>().join(","));
        let mut selection = words.collect::<Vec<_>>().join(" ");
        let mut expected = BTreeSet::new();
        for all in &terms {
            let sets = all.iter().map(|term| term.means(&steps));
            expected.extend(sets.reduce(|a, b| &a & &b).unwrap());
        }
        if let Some(unwanted) = &unwanted {
            selection = format!("{selection} --exclude {}", unwanted.text());
            expected = &expected - &unwanted.means(&steps);
        }
        let found: BTreeSet<usize> = dag.select(selection.as_str()).unwrap()
            .iter().map(|table| table[1..].parse().unwrap()).collect();
        prop_assert_eq!(found, expected, "{}", selection);
    }
}
