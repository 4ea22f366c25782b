//! What PostgreSQL's errors mean for whoever runs the service.

use anyhow::anyhow;
use tokio_postgres::error::{DbError, Severity, SqlState};

const READ_ONLY: &str = "this database can only be read: point database.url to the primary server, or add \
    target_session_attrs=read-write";

/// Puts before an error what to do about it, where that is known.
pub(super) fn explain(error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    match code(&error).and_then(remedy) {
        Some(remedy) => error.context(remedy),
        None => error.context("PostgreSQL did not do what it was asked"),
    }
}

/// The same for the beginning of a transaction that writes: a server that is a copy of another refuses that as a feature
/// that it does not have.
pub(super) fn explain_begin(error: tokio_postgres::Error) -> anyhow::Error {
    match error.code() {
        Some(&SqlState::FEATURE_NOT_SUPPORTED) => anyhow::Error::from(error).context(READ_ONLY),
        _ => explain(error),
    }
}

/// The error for rows that no version of this code wrote.
pub(super) fn damaged(detail: &str) -> anyhow::Error {
    anyhow!(
        "the archive is damaged or not an archive ({detail}): restore the database from a back-up, \
         or drop the schema rgsd to have it filled anew from the local journal"
    )
}

/// Whether a lock was not to be had in time.
pub(super) fn is_lock_timeout(error: &anyhow::Error) -> bool {
    code(error) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the server, or this role on it, can only be read.
pub(super) fn is_read_only(error: &anyhow::Error) -> bool {
    let codes = [
        &SqlState::INSUFFICIENT_PRIVILEGE,
        &SqlState::READ_ONLY_SQL_TRANSACTION,
        &SqlState::FEATURE_NOT_SUPPORTED, // see `explain_begin`
    ];
    code(error).is_some_and(|code| codes.contains(&code))
}

/// Whether the server refused the statement, and the connection goes on.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    let ends = |said: &DbError| matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
    said(error).is_some_and(|said| !ends(said))
}

/// The server's own code for what went wrong; none if it was the connection that failed.
pub(super) fn code(error: &anyhow::Error) -> Option<&SqlState> {
    said(error).map(DbError::code)
}

fn said(error: &anyhow::Error) -> Option<&DbError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn remedy(code: &SqlState) -> Option<&'static str> {
    Some(match *code {
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the database role lacks a right: make it the owner of the schema rgsd and of what is in it, \
             or, where the schema is missing, GRANT CREATE ON DATABASE to it"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => READ_ONLY,
        SqlState::QUERY_CANCELED => {
            "PostgreSQL broke a statement off: raise statement_timeout for the role (ALTER ROLE … SET statement_timeout)"
        }
        SqlState::LOCK_NOT_AVAILABLE => {
            "another session holds a lock on the archive's tables: see pg_locks, and end it"
        }
        SqlState::DISK_FULL | SqlState::OUT_OF_MEMORY | SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
            "the database server has no room left: make room there"
        }
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME | SqlState::UNDEFINED_COLUMN => {
            "the archive's tables are not as they were made: restart rgsd, or restore them from a back-up"
        }
        _ => return None,
    })
}
