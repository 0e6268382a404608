//! The files of a database's migrations. They are part of the program.

use std::pin::Pin;

use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType};

/// Versions, descriptions and statements of the migrations of one database.
#[derive(Debug)]
pub(crate) struct Migrations(pub(crate) &'static [(i64, &'static str, &'static str)]);

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> Pin<Box<dyn Future<Output = Result<Vec<Migration>, BoxDynError>> + Send + 'static>> {
        let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
            Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
        };
        let migrations = self.0.iter().map(migration).collect();
        Box::pin(std::future::ready(Ok(migrations)))
    }
}
