//! Suites of expectations that cannot be read, and suites in YAML.

use std::error::Error as _;

use reco_transform::{Error, Suite};

#[test]
fn suites_that_cannot_be_read_say_where_and_how() {
    let check = |json: &str, expected: &str| {
        let error = Suite::from_json(json).unwrap_err();
        assert!(matches!(error, Error::InvalidSuite { .. }));
        let source = error.source().unwrap();
        assert_eq!(format!("{error}: {source}"), expected);
    };
    check(
        r#"{"name": "s", "expectations": [{"type": "not_null", "column": "x"}, {"type": "not_nul", "column": "x"}]}"#,
        "suite `s`, expectation 1, line 1, column 69, is invalid: the configuration of `expectation` is invalid: \
         unknown type `not_nul`; did you mean `not_null`?",
    );
    check(
        r#"{"expectations": [{"type": "between", "column": "x", "mni": 1}]}"#,
        "suite ``, expectation 0, line 1, column 54, is invalid: unknown key `mni` in the configuration of `between`; \
         did you mean `min`?",
    );
    check(
        r#"{"expectations": [{"type": "between", "column": "x", "mostl": 1}]}"#,
        "suite ``, expectation 0, line 1, column 54, is invalid: unknown key `mostl` in the configuration of `between`; \
         did you mean `mostly`?",
    );
    check(
        r#"{"expectations": [{"column": "x"}]}"#,
        "suite ``, expectation 0, line 1, column 19, is invalid: the configuration of `expectation` is invalid: \
         missing key `type`",
    );
    check(
        r#"{"expectation": []}"#,
        "suite ``, line 1, column 2, is invalid: unknown key `expectation` in the configuration of `suite`; \
         did you mean `expectations`?",
    );
}

#[test]
fn suites_in_yaml_are_those_in_json() {
    let yaml = "
# What a shop expects.
name: sales
expectations:
  - {type: not_null, column: price, mostly: 0.75, severity: warn}
  - type: accepted_values
    column: item
    values: [hat, 'no', yes, 1, 1.5, true]
    when: |-
      id > 1
  - type: freshness
    column: at
    max_age: 36h
";
    let json = r#"{"name": "sales", "expectations": [
        {"type": "not_null", "column": "price", "mostly": 0.75, "severity": "warn"},
        {"type": "accepted_values", "column": "item", "values": ["hat", "no", "yes", 1, 1.5, true], "when": "id > 1"},
        {"type": "freshness", "column": "at", "max_age": "36h"}
    ]}"#;
    let suite = Suite::from_yaml(yaml).unwrap();
    assert_eq!(suite, Suite::from_json(json).unwrap());
    // What we write in JSON is YAML.
    assert_eq!(Suite::from_yaml(&suite.to_json().unwrap()).unwrap(), suite);
}

#[test]
fn suites_in_yaml_are_refused_as_those_in_json() {
    let check = |yaml: &str, expected: &str| {
        let error = Suite::from_yaml(yaml).unwrap_err();
        let source = error.source().unwrap();
        assert_eq!(format!("{error}: {source}"), expected);
    };
    check(
        "name: s\nexpectations:\n  - type: not_null\n    column: x\n  - type: not_nul\n    column: x\n",
        "suite `s`, expectation 1, line 5, column 5, is invalid: the configuration of `expectation` is invalid: \
         unknown type `not_nul`; did you mean `not_null`?",
    );
    check(
        "expectations:\n  - type: between\n    column: x\n    mni: 1\n",
        "suite ``, expectation 0, line 4, column 5, is invalid: unknown key `mni` in the configuration of \
         `between`; did you mean `min`?",
    );
    check(
        "nmae: s\nexpectations: []\n",
        "suite ``, line 1, column 1, is invalid: unknown key `nmae` in the configuration of `suite`; \
         did you mean `name`?",
    );
    // Cut off, or with a key twice.
    for yaml in ["expectations: [\n  {type: a\n", "name: a\nname: b\n"] {
        let error = Suite::from_yaml(yaml).unwrap_err();
        let Error::InvalidSuite {
            place: Some(place), ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(place.line >= 2, "{yaml}: {place}");
    }
}
