//! Artifacts that earlier builds wrote can be read for as long as their format is.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use reco_core::{
    Manifest, ModelArtifact, SessionDataset, SessionEncoder, SessionEncoding, Vocabulary,
};

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The files of a stored artifact.
fn fixture(name: &str) -> BTreeMap<String, Bytes> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let files = std::fs::read_dir(&folder).unwrap().map(|file| {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        (file.file_name().into_string().unwrap(), bytes.into())
    });
    files.collect()
}

/// What the fixture of format 1 was written from.
fn written_as_v1() -> ModelArtifact {
    let counts = [("boots", 3), ("größe", 1), ("hat", 5)];
    let vocabulary = Vocabulary::from_counts(counts).unwrap();
    let encoding = SessionEncoding {
        collapse_repeats: true,
        ..Default::default()
    };
    let encoder = SessionEncoder::new(encoding, vocabulary.into()).unwrap();
    let mut data = SessionDataset::builder(encoding);
    let time = "2024-05-01T10:00Z".parse().unwrap();
    data.push("a", "boots", time).unwrap();
    data.push("a", "hat", time).unwrap();
    ModelArtifact::builder("example", &encoder)
        .config(serde_json::json!({"dim": 2, "rate": 0.05}))
        .data(data.build().unwrap().fingerprint())
        .tensor("bias", &[3], &[0.5, -0.25, 0.0])
        .tensor("item", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .build()
        .unwrap()
        .with_scores([("mrr@20", 0.25), ("recall@20", 0.5)])
}

#[test]
fn an_artifact_of_format_1_is_read() {
    assert_eq!(
        Manifest::FORMAT,
        1,
        "a new format needs a fixture of its own"
    );
    let artifact = ModelArtifact::from_files(&fixture("artifact_v1")).unwrap();
    let expected = written_as_v1();

    // The digests are those of the bytes that were written then; another build of the same format
    // may write other bytes, which mean the same.
    let manifest = Manifest {
        files: artifact.manifest().files.clone(),
        ..expected.manifest().clone()
    };
    assert_eq!(artifact.manifest(), &manifest);
    let shapes = artifact.tensor_shapes().unwrap();
    assert_eq!(shapes, expected.tensor_shapes().unwrap());
    for (name, shape) in shapes {
        let values = artifact.tensor(&name, &shape).unwrap();
        assert_eq!(values, expected.tensor(&name, &shape).unwrap(), "{name}");
    }
    let encoder = artifact.encoder().unwrap();
    assert_eq!(encoder.encoding(), expected.encoder().unwrap().encoding());
    assert_eq!(
        encoder.vocabulary(),
        expected.encoder().unwrap().vocabulary()
    );
}
