//! The end of a pairing.

use toopher_sql::query;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::state::Server;

impl Server {
    /// Deactivates a pairing, and notifies its device, if it has one. The recovery codes that came with the pairing end
    /// with it, unless the user has only lost the phone.
    pub(crate) async fn unpair(
        &self,
        (user, id): (&str, &str),
        device: Option<&str>,
        keeps_codes: bool,
        audit: &mut Audit,
    ) -> Result<(), ApiError> {
        let end =
            query("UPDATE pairings SET state = 'deactivated', modified = $1 WHERE id = $2 AND state <> 'deactivated'");
        let end = end.bind(self.now_i64()?).bind(id);
        let delete_codes = query("DELETE FROM recovery_codes WHERE pairing_id = $1").bind(id);
        let ended = self.transaction_for_user(user, move |connection| {
            Box::pin(async move {
                if !keeps_codes {
                    delete_codes.execute(&mut *connection).await?;
                }
                end.execute(connection).await
            })
        });
        let ended: u64 = ended.await?;
        audit.settle((ended > 0).then_some(Outcome::Unpaired));
        self.notify(device).await;
        Ok(())
    }
}
