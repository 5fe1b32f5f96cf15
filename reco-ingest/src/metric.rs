//! What is counted, by the names under which a host's recorder sees it.
//!
//! Everything goes through the [`metrics`] facade: nothing is kept until the host installs a recorder, and
//! a host without one pays next to nothing.
//!
//! Whoever counts says of which sink or table in the label [`TABLE`]: a sink its own name, and a feed that
//! does not know the name of the sink that it writes to, an importer or a replay, that of the records.
//!
//! What is counted where, so that nothing is twice: [`ACCEPTED`] by what acknowledges to a client, such as a
//! collector, [`IMPORTED`] and [`REPLAYED`] by feeds. A Delta table says how long commits take and which
//! records it [had already](DUPLICATES); the rows that a feed added are those it counts less those.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// The label that names the sink or table.
pub const TABLE: &str = "table";
/// The label that names the tenant, where one is configured; empty otherwise.
pub const TENANT: &str = "tenant";

/// Counter: records that a sink has acknowledged.
pub const ACCEPTED: &str = "reco_ingest_accepted_total";
/// Counter: what could not be read and went to the dead letters.
pub const DEAD_LETTERED: &str = "reco_ingest_dead_lettered_total";
/// Counter: records that were offered and not accepted: no room, too fast, no key.
pub const REFUSED: &str = "reco_ingest_refused_total";
/// Counter: records of batches that were found in the table already.
pub const DUPLICATES: &str = "reco_ingest_duplicates_total";
/// Counter: payloads that a redaction dropped because it could not vouch for them; the label is the kind
/// of record.
pub const REDACTED: &str = "reco_ingest_redacted_payloads_total";
/// Counter: records that importers read and a sink took, those that were there already included.
pub const IMPORTED: &str = "reco_ingest_imported_total";
/// Counter: records that a replay handed to a sink.
pub const REPLAYED: &str = "reco_ingest_replayed_total";
/// Gauge: records that are acknowledged and not in the table yet.
pub const SPOOL_RECORDS: &str = "reco_ingest_spool_records";
/// Gauge: bytes of the spool on disk.
pub const SPOOL_BYTES: &str = "reco_ingest_spool_bytes";
/// Histogram: seconds that one sync of the spool to disk took.
pub const SPOOL_SYNC_SECONDS: &str = "reco_ingest_spool_sync_seconds";
/// Histogram: seconds that one commit to the table took, lost races and retries included.
pub const COMMIT_SECONDS: &str = "reco_ingest_commit_seconds";

/// Tells the recorder that is installed what each name means, and in which unit.
///
/// # Examples
///
/// ```
/// reco_ingest::metric::describe();
/// ```
pub fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "records acknowledged");
    describe_counter!(DEAD_LETTERED, Unit::Count, "records that could not be read");
    describe_counter!(REFUSED, Unit::Count, "records offered and not accepted");
    describe_counter!(
        DUPLICATES,
        Unit::Count,
        "records found in the table already"
    );
    describe_counter!(
        REDACTED,
        Unit::Count,
        "payloads dropped that a redaction could not vouch for"
    );
    describe_counter!(IMPORTED, Unit::Count, "records imported");
    describe_counter!(REPLAYED, Unit::Count, "records replayed");
    describe_gauge!(
        SPOOL_RECORDS,
        Unit::Count,
        "records acknowledged and not in the table yet"
    );
    describe_gauge!(SPOOL_BYTES, Unit::Bytes, "size of the spool on disk");
    describe_histogram!(SPOOL_SYNC_SECONDS, Unit::Seconds, "one sync of the spool");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "one commit to the table");
}
