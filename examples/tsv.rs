//! Files of sessions, for the examples that read them.

use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Context;
use reco_core::{SessionDataset, SessionEncoding, Timestamp};

/// Sessions of a TSV file with the columns `SessionId`, `ItemId` and `Time`, in any order.
pub(crate) fn read(path: &Path) -> anyhow::Result<SessionDataset> {
    let shown = path.display();
    let mut file =
        BufReader::new(std::fs::File::open(path).with_context(|| format!("cannot open {shown}"))?);
    let zipped = std::io::BufRead::fill_buf(&mut file)?.starts_with(&[0x1f, 0x8b]);
    let input: Box<dyn Read> = if zipped {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(b'\t')
        .quoting(false)
        .from_reader(input);
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        header
            .iter()
            .position(|column| column == name)
            .with_context(|| {
                let hint = reco_core::did_you_mean(reco_core::nearest(name, &header).as_deref());
                format!("{shown} has no column `{name}`{hint}")
            })
    };
    let (session, item, time) = (column("SessionId")?, column("ItemId")?, column("Time")?);
    let mut builder = SessionDataset::builder(SessionEncoding::default());
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: usize| record.get(index).unwrap_or_default();
        let at = || {
            format!(
                "{shown}, line {line}: `{}` is no time in seconds",
                field(time)
            )
        };
        let seconds: f64 = field(time).parse().with_context(at)?;
        let occurred_at = Timestamp::UNIX_EPOCH
            .checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).with_context(at)?)
            .with_context(at)?;
        builder.push(field(session), field(item), occurred_at)?;
    }
    builder
        .build()
        .with_context(|| format!("{shown} holds no event"))
}
