//! The other ways of a user who cannot answer on the phone: a page offers those that the user has.

use super::forms::{button_form, code_form, problem, recovery_form};
use super::reply::{Reply, View};
use super::session::Session;
use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::html::escape_html;
use crate::models::User;
use crate::names::visible_name;
use crate::state::Server;

impl Session {
    /// The address for the link of a lost phone, if the site has signed one and the server sends mail.
    fn reset_address(&self, server: &Server) -> Option<&str> {
        self.reset_email.as_deref().filter(|_| server.can_send())
    }

    /// Sends the link with which the user ends the pairing of a lost phone.
    pub(super) async fn send_reset_link(
        &self,
        server: &Server,
        pairing: &str,
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(address) = self.reset_address(server) else { return Ok(Some("No link can be sent.")) };
        let known = server.pairing(&self.requester_id, pairing).await?;
        let is_mine = known.is_some_and(|pairing| {
            pairing.user.user_id == self.user_id && pairing.user.user_enabled && pairing.pairing_state == "enabled"
        });
        if !is_mine {
            return Ok(Some("This phone is not paired."));
        }
        server.count_attempt(&Limit::on_reset_mails(&self.user_id)).await?;
        server.mail_reset_link(pairing, address).await?;
        Ok(None)
    }

    /// What a user who has lost this phone can do without another factor.
    pub(super) fn lost_phone(&self, server: &Server, pairing: &str, is_sent: bool) -> String {
        let site = escape_html(&visible_name(&self.requester_name));
        let Some(address) = self.reset_address(server) else {
            return format!("<p>If you have nothing else, ask {site} for help.</p>");
        };
        let address = escape_html(&masked(address));
        if is_sent {
            return format!(
                "<p role=\"alert\" class=\"done\">A link was sent to {address}. Open it to end the pairing, then start \
                 again at {site}.</p>"
            );
        }
        format!(
            "<form method=\"post\"><p>A link to end its pairing can be sent to {address}.</p>\
             <input type=\"hidden\" name=\"pairing\" value=\"{}\">\
             <button name=\"act\" value=\"mail\">Send the link</button></form>",
            escape_html(pairing)
        )
    }
}

/// The ways beside the answer on the phone with this pairing.
pub(super) fn other_ways(server: &Server, session: &Session, user: &User, pairing: &str, reply: Reply<'_>) -> String {
    let message = |act: &str| if reply.act == act { reply.message } else { "" };
    let mut ways = code_form("otp", "The code that your phone shows", "Continue", "", message("otp"));
    if user.has_recovery_codes() {
        let label = "Or one of your recovery codes";
        ways += &recovery_form("recovery", label, "Use the code", "", message("recovery"));
    }
    ways += "<h2>Lost your phone?</h2>";
    ways += &problem(message("mail"));
    ways += &session.lost_phone(server, pairing, reply.view == View::Sent);
    ways += &button_form("cancel", "Cancel the request");
    ways
}

/// The way of a user who has recovery codes and no phone.
pub(super) fn recovery_only(reply: Reply<'_>) -> String {
    let message = if reply.act == "recovery" { reply.message } else { "" };
    recovery_form("recovery", "One of your recovery codes", "Continue", "", message)
}

/// The address without most of the part before the `@`: only the first factor was shown.
pub(super) fn masked(address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let first: String = local.chars().take(1).collect();
    format!("{first}\u{2026}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked() {
        assert_eq!(masked("jdoe@example.com"), "j\u{2026}@example.com");
        assert_eq!(masked("j@example.com"), "j\u{2026}@example.com");
    }
}
