//! What an overtaken writer heard and could not copy: it offers the messages, and the writer takes them through its
//! checking stage like any other gossip.

use tokio_postgres::types::Type;

use super::Archive;
use super::errors::explain;

/// What can be a message at all: anything longer is neither fetched nor taken for something on offer.
pub(super) const FITS: &str = "octet_length(message) <= 65535";

impl Archive {
    /// Offers `messages` to the writer, all of them or none.
    pub async fn offer(&mut self, messages: &[&[u8]]) -> anyhow::Result<()> {
        self.bounded(async {
            self.begin().await?;
            let statement = "INSERT INTO rgsd.offered (message) SELECT unnest($1)";
            self.query(statement, &[(&messages, Type::BYTEA_ARRAY)]).await?;
            self.commit().await
        })
        .await
    }

    /// At most `limit` of the messages on offer, oldest first, with their ids.
    pub async fn offered(&mut self, limit: usize) -> anyhow::Result<Vec<(i64, Vec<u8>)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = format!("SELECT id, message FROM rgsd.offered WHERE {FITS} ORDER BY id LIMIT $1");
        let rows = self.bounded(self.query(&statement, &[(&limit, Type::INT8)])).await?;
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error: tokio_postgres::Error| explain(error))
    }

    /// Takes messages off the offer, once they are in the journal or refused.
    pub async fn taken(&mut self, ids: &[i64]) -> anyhow::Result<()> {
        self.bounded(async {
            self.begin().await?;
            let statement = "DELETE FROM rgsd.offered WHERE id = ANY($1)";
            self.query(statement, &[(&ids, Type::INT8_ARRAY)]).await?;
            self.commit().await
        })
        .await
    }
}
