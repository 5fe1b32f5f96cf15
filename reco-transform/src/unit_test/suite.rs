//! [`TestSuite`]: tests of the steps of a DAG, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

use reco_core::{Timestamp, config_from_value};
use serde::Deserialize;
use serde_json::Value;

use super::rows::Rows;
use crate::dag::Dag;
use crate::document::{At, Document, Unreadable};
use crate::error::{Error, Result};

/// Tests of the steps of a DAG, as data: a file beside the queries.
///
/// Read it from JSON with [`from_json`](Self::from_json), from YAML with [`from_yaml`](Self::from_yaml), or
/// from TOML and the like with the crate of the host's choice: it is a type of serde that accepts no unknown
/// keys.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reco_transform::{Dag, TestSuite};
///
/// let suite = TestSuite::from_json(r#"{"tests": [{
///     "name": "a price is not negative",
///     "step": "clean",
///     "given": {"sales": [{"item": "hat", "price": 1.0}, {"item": "fur", "price": -1.0}]},
///     "expect": {"csv": "item,price\nhat,1.0\n"}
/// }, {
///     "name": "what was sold this month",
///     "step": "this_month",
///     "at": "2024-05-17T08:00:00Z",
///     "given": {"sales": {"csv": "item,day\nhat,2024-04-30\nscarf,2024-05-01\n"}},
///     "expect": [{"item": "scarf"}]
/// }]}"#)?;
///
/// let dag = Dag::builder()
///     .sql(
///         "sales",
///         "select * from (values ('hat', 9.5, date '2024-05-01')) as t (item, price, day)",
///     )
///     .sql("clean", "select * from sales where price >= 0")
///     .sql(
///         "this_month",
///         "select item from sales where day >= cast(date_trunc('month', now()) as date)",
///     )
///     .build()?;
/// suite.run(&dag).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSuite {
    /// The tests, each with a name of its own.
    pub tests: Vec<TestCase>,
}

/// A test of a [`TestSuite`]; see [`StepTest`](super::StepTest) for what each part means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// What the test is called in errors.
    pub name: String,
    /// The table that the step makes.
    pub step: String,
    /// What the test is for, to its readers.
    #[serde(default)]
    pub description: Option<String>,
    /// The time that `now()` and the like give.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// The rows of each input.
    #[serde(default)]
    pub given: BTreeMap<String, Rows>,
    /// The rows that the step makes of them.
    pub expect: Rows,
    /// Whether the order of the rows counts. Default that it does not.
    #[serde(default)]
    pub in_order: bool,
}

impl TestSuite {
    /// Reads tests from JSON.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTestSuite`], with the place in the text, and the nearest key for one that is not
    /// known. A key that is written twice is refused, too.
    pub fn from_json(json: &str) -> Result<Self> {
        Document::from_json("tests", json)
            .and_then(|document| Self::read(&document))
            .map_err(told)
    }

    /// Reads tests from YAML, as strictly as [`from_json`](Self::from_json).
    ///
    /// In YAML 1.2, where `yes` and `no` are texts.
    ///
    /// # Errors
    ///
    /// As [`from_json`](Self::from_json).
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_transform::TestSuite;
    ///
    /// let suite = TestSuite::from_yaml("
    /// tests:
    ///   - name: a price is not negative
    ///     step: clean
    ///     given:
    ///       sales:
    ///         - {item: hat, price: 1.0}
    ///         - {item: fur, price: -1.0}
    ///     expect:
    ///       csv: |
    ///         item,price
    ///         hat,1.0
    /// ")?;
    /// assert_eq!(suite.tests[0].step, "clean");
    /// # Ok::<(), reco_transform::Error>(())
    /// ```
    pub fn from_yaml(yaml: &str) -> Result<Self> {
        Document::from_yaml("tests", yaml)
            .and_then(|document| Self::read(&document))
            .map_err(told)
    }

    fn read(document: &Document<'_>) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outline {
            tests: Vec<Value>,
        }
        let outline: Outline = document.read()?;
        let tests = outline.tests.into_iter().enumerate();
        let tests = tests.map(|(position, test)| {
            config_from_value("tests", test).map_err(|source| {
                document.wrong(&[At::Key("tests"), At::Position(position)], source)
            })
        });
        Ok(Self {
            tests: tests.collect::<Result<_, _>>()?,
        })
    }

    /// Runs all tests.
    ///
    /// # Errors
    ///
    /// [`Error::TestsFailed`] with what each test that did not pass has to say, or what is wrong with the
    /// DAG.
    pub async fn run(&self, dag: &Dag) -> Result<()> {
        // The columns of all inputs, which else each test would find out anew.
        let schemas = dag.schemas().await?;
        let mut failures = Vec::new();
        for (position, case) in self.tests.iter().enumerate() {
            let result = if self.tests[..position]
                .iter()
                .any(|before| before.name == case.name)
            {
                Err(Error::InvalidTest {
                    test: case.name.clone(),
                    reason: "another test has the same name".to_owned(),
                })
            } else {
                case.run(dag, &schemas).await
            };
            failures.extend(result.err());
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(Error::TestsFailed {
            n_tests: self.tests.len(),
            failures,
        })
    }
}

fn told(unreadable: Unreadable) -> Error {
    Error::InvalidTestSuite {
        place: unreadable.place,
        source: unreadable.source,
    }
}

impl TestCase {
    async fn run(&self, dag: &Dag, schemas: &super::Schemas) -> Result<()> {
        let mut test = dag.test(&self.name, &self.step)?;
        test.declared = Some(Arc::clone(schemas));
        test.given.clone_from(&self.given);
        test.expected = Some(self.expect.clone());
        test.in_order = self.in_order;
        test.now = self.at;
        test.run().await
    }
}
