//! [`Facts`]: whose journal it is.

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

use super::journal::GROUPS;

const FACTS: TableDefinition<'_, &str, &str> = TableDefinition::new("facts");
const WRITER: &str = "writer";
const OWNER: &str = "owner";
const TRIMMED: &str = "trimmed";

/// Whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The name of this spool among the writers of the table.
    pub(super) writer: String,
    /// The table.
    pub(super) owner: Owner,
}

/// The table that a journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The id that the table was given when it was created.
    pub(super) id: String,
    /// Where it was when the journal was made.
    pub(super) name: String,
}

/// Reads whose journal it is, or says so in a new one; and up to which number it was trimmed.
pub(super) fn settle(db: &Database, new: Facts) -> Result<(Facts, i64), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(GROUPS)?;
    let fact = |key: &str| -> Result<Option<String>, redb::Error> {
        let facts = transaction.open_table(FACTS)?;
        let value = facts.get(key)?.map(|value| value.value().to_owned());
        Ok(value)
    };
    let (writer, owner, trimmed) = (fact(WRITER)?, fact(OWNER)?, fact(TRIMMED)?);
    let facts = match (writer, owner) {
        (Some(writer), Some(owner)) => {
            let (id, name) = owner.split_once(' ').unwrap_or((&owner, ""));
            let owner = Owner {
                id: id.to_owned(),
                name: name.to_owned(),
            };
            Facts { writer, owner }
        }
        _ => {
            note(&transaction, WRITER, &new.writer)?;
            let owner = format!("{} {}", new.owner.id, new.owner.name);
            note(&transaction, OWNER, &owner)?;
            new
        }
    };
    transaction.commit()?;
    let trimmed = trimmed.and_then(|trimmed| trimmed.parse().ok());
    Ok((facts, trimmed.unwrap_or(0)))
}

/// Notes up to which number it is trimmed.
pub(super) fn trimmed(transaction: &WriteTransaction, through: i64) -> Result<(), redb::Error> {
    note(transaction, TRIMMED, &through.to_string())
}

fn note(transaction: &WriteTransaction, key: &str, value: &str) -> Result<(), redb::Error> {
    transaction.open_table(FACTS)?.insert(key, value)?;
    Ok(())
}
