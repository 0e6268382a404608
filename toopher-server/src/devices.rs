//! Phones: their rows, which exist once a pairing belongs to them, and their administration.

use std::time::Duration;

use toopher_sql::{Query, query};

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::error::ServerError;
use crate::models::{Device, utc};
use crate::state::Server;

/// How long a phone without a pairing is known after its registration, in seconds.
pub(crate) const UNPAIRED_LIFETIME: i64 = 30 * DAY;
const DAY: i64 = 24 * 60 * 60;

/// A phone that is or was paired.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Phone {
    /// The id of the phone.
    pub id: String,
    /// The name that the phone was registered with. It is untrusted text.
    pub name: String,
    /// When the phone was registered, in UTC: `2026-11-25 09:14:00`.
    pub created: String,
    /// The last call of the phone, within a day, in UTC.
    pub last_used: String,
    /// The enabled and the pending pairings.
    pub pairings: Vec<PhonePairing>,
}

/// A pairing of a [`Phone`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PhonePairing {
    /// The name of the requester.
    pub requester: String,
    /// The name of the user. It is untrusted text.
    pub user: String,
    /// Whether the user has yet to allow the pairing on the phone.
    pub pending: bool,
}

impl Server {
    /// Whether the device may send calls: it has pairings and was not removed, or it was registered recently.
    pub(crate) async fn knows_device(&self, device: &Device) -> Result<bool, ApiError> {
        let now = self.now_i64()?;
        let row = query("SELECT removed, last_used FROM devices WHERE id = $1").bind(&device.id);
        let Some((removed, last_used)) = row.one::<(bool, i64)>(&self.database).await? else {
            return Ok(now.saturating_sub(device.created) <= UNPAIRED_LIFETIME);
        };
        // Not with each call, because SQLite has one writer. Also if the clock was wrong at the last call.
        if !removed && now.abs_diff(last_used) > DAY.unsigned_abs() {
            let used = query("UPDATE devices SET last_used = $1 WHERE id = $2").bind(now).bind(&device.id);
            used.execute(&self.database).await?;
        }
        Ok(!removed)
    }

    /// The statement that inserts the row of a device, which a pairing is about to reference. It returns whether the
    /// device was removed, so that it must not be paired.
    pub(crate) fn insert_device(&self, device: &Device) -> Result<Query, ApiError> {
        let insert = query(
            "INSERT INTO devices (id, name, created, last_used) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET last_used = excluded.last_used RETURNING removed",
        )
        .bind(&device.id)
        .bind(&device.name)
        .bind(device.created)
        .bind(self.now_i64()?);
        Ok(insert)
    }

    /// Returns the phones that are or were paired, the one with the longest time without a call first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn phones(&self) -> Result<Vec<Phone>, ServerError> {
        let rows = query(
            "SELECT d.id, d.name, d.created, d.last_used, q.name AS requester, u.name AS user_name,
                coalesce(p.state = 'pending', FALSE) AS pending
             FROM devices d LEFT JOIN pairings p ON p.device_id = d.id AND p.state IN ('pending', 'enabled')
             LEFT JOIN users u ON u.id = p.user_id LEFT JOIN requesters q ON q.id = u.requester_id
             WHERE NOT d.removed ORDER BY d.last_used, d.id, p.created, p.id",
        )
        .rows(&self.database)
        .await?;
        let mut phones: Vec<Phone> = Vec::new();
        for row in &rows {
            let id: String = row.get("id")?;
            if phones.last().is_none_or(|phone| phone.id != id) {
                let (created, last_used) = (utc(row.get("created")?), utc(row.get("last_used")?));
                phones.push(Phone { id, name: row.get("name")?, created, last_used, pairings: Vec::new() });
            }
            let names: (Option<String>, Option<String>) = (row.get("requester")?, row.get("user_name")?);
            if let (Some(phone), (Some(requester), Some(user))) = (phones.last_mut(), names) {
                phone.pairings.push(PhonePairing { requester, user, pending: row.get("pending")? });
            }
        }
        Ok(phones)
    }

    /// Deactivates all pairings of a phone, and rejects its further calls. Returns whether there is such a phone.
    ///
    /// The phone must be registered again. A phone without a pairing has no row, and cannot be removed.
    ///
    /// # Errors
    ///
    /// When the database fails. The phone may be removed then, and pairings may remain: retry.
    pub async fn remove_phone(&self, id: &str) -> Result<bool, ServerError> {
        if id.contains('\0') {
            return Ok(false);
        }
        // First, because a phone that is removed cannot allow a pairing.
        let removed = query("UPDATE devices SET removed = TRUE WHERE id = $1").bind(id).execute(&self.database).await?;
        let pairings: Vec<(String,)> =
            query("SELECT id FROM pairings WHERE device_id = $1 AND state IN ('pending', 'enabled')")
                .bind(id)
                .all(&self.database)
                .await?;
        for (pairing,) in pairings {
            let mut audit = Audit::for_pairing().decided_by("administrator");
            let unpaired = async {
                let user = self.describe_pairing(&pairing, None, &mut audit).await?;
                self.unpair((&user, &pairing), Some(id), false, &mut audit).await
            };
            let unpaired = unpaired.await;
            audit.close(unpaired).map_err(|error| ServerError::from(error.message()))?;
        }
        self.notify((removed > 0).then_some(id)).await;
        Ok(removed > 0)
    }

    /// Removes the phones that have sent no call for this time, as [`remove_phone`](Self::remove_phone) does, and
    /// returns their number. The time of the last call is known within a day.
    ///
    /// # Errors
    ///
    /// As [`remove_phone`](Self::remove_phone).
    pub async fn remove_idle_phones(&self, idle: Duration) -> Result<usize, ServerError> {
        let idle = i64::try_from(idle.as_secs()).unwrap_or(i64::MAX);
        let before = self.admin_now()?.saturating_sub(idle);
        let phones: Vec<(String,)> = query("SELECT id FROM devices WHERE last_used < $1 AND NOT removed")
            .bind(before)
            .all(&self.database)
            .await?;
        for (phone,) in &phones {
            self.remove_phone(phone).await?;
        }
        Ok(phones.len())
    }
}
