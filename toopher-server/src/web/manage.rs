//! The settings page: the user's phones and recovery codes.

use toopher_sql::{Record, Row, SqlError, query};

use super::forms::{code_form, problem, recovery_form};
use super::other::masked;
use super::page::Page;
use super::reply::{Reply, View};
use super::session::Session;
use crate::api_error::ApiError;
use crate::html::escape_html;
use crate::models::{User, utc};
use crate::names::visible_name;
use crate::state::Server;

/// A phone, or an authenticator without a name.
struct Phone {
    /// The pairing.
    id: String,
    created: i64,
    name: Option<String>,
}

impl Record for Phone {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self { id: row.get("id")?, created: row.get("created")?, name: row.get("name")? })
    }
}

pub(super) async fn manage(
    server: &Server,
    session: &Session,
    user: &User,
    reply: Reply<'_>,
) -> Result<Page, ApiError> {
    let phones: Vec<Phone> = query(
        "SELECT p.id, p.created, d.name FROM pairings p LEFT JOIN devices d ON d.id = p.device_id
         WHERE p.user_id = $1 AND p.state = 'enabled' ORDER BY p.created",
    )
    .bind(&session.user_id)
    .all(&server.database)
    .await?;
    let mut rest = String::new();
    // A message about a phone that is not paired belongs to none of the forms.
    if !phones.iter().any(|phone| phone.id == reply.pairing) && reply.act != "codes" {
        rest += &problem(reply.message);
    }
    for phone in &phones {
        rest += &phone_section(server, session, user, phone, reply);
    }
    if session.kind == "manage" {
        rest += &recovery_codes(user, reply);
        rest += &about(session);
    }
    Ok(Page::form("<h1>Your phones</h1>", &rest))
}

fn phone_section(server: &Server, session: &Session, user: &User, phone: &Phone, reply: Reply<'_>) -> String {
    let id = phone.id.as_str();
    let hidden = format!("<input type=\"hidden\" name=\"pairing\" value=\"{}\">", escape_html(id));
    let name = escape_html(&visible_name(phone.name.as_deref().unwrap_or("Authenticator")));
    let message = if id == reply.pairing { reply.message } else { "" };
    let (act, label, button) = ("remove", "To remove it, type the code that it shows", "Remove");
    let shown = if reply.act == "mail" { "" } else { message };
    let form = if user.has_recovery_codes() {
        recovery_form(act, &format!("{label}, or a recovery code"), button, &hidden, shown)
    } else {
        code_form(act, label, button, &hidden, shown)
    };
    let mail_problem = if reply.act == "mail" { problem(message) } else { String::new() };
    let lost = session.lost_phone(server, id, reply.view == View::Sent);
    format!(
        "<section><h2>{name}</h2><p>Paired on {} UTC</p>{form}<details{}><summary>I have lost this phone</summary>\
         {mail_problem}{}{lost}</details></section>",
        utc(phone.created),
        if reply.act == "mail" || reply.view == View::Sent { " open" } else { "" },
        if user.has_recovery_codes() { "<p>Remove it above with a recovery code.</p>" } else { "" },
    )
}

fn recovery_codes(user: &User, reply: Reply<'_>) -> String {
    let left = match user.recovery_codes_left() {
        0 => "You have no recovery codes. With one, you log in without your phone.".to_owned(),
        1 => "You have one recovery code left. It is valid once. New ones replace it.".to_owned(),
        left => format!("You have {left} recovery codes left. Each is valid once. New ones replace them."),
    };
    let (act, label, button) = ("codes", "To create new ones, type the code that your phone shows", "Create new codes");
    let message = if reply.act == "codes" { reply.message } else { "" };
    let form = if user.has_recovery_codes() {
        recovery_form(act, &format!("{label}, or a recovery code"), button, "", message)
    } else {
        code_form(act, label, button, "", message)
    };
    format!("<section><h2>Recovery codes</h2><p>{left}</p>{form}</section>")
}

/// What the site has signed for this page, so that the user can see it.
fn about(session: &Session) -> String {
    let row =
        |term: &str, value: &str| format!("<div><dt>{term}</dt><dd>{}</dd></div>", escape_html(&visible_name(value)));
    let mut rows = row("Site", &session.requester_name) + &row("User", &session.user_name);
    if let Some(address) = &session.reset_email {
        rows += &row("Address for a lost phone", &masked(address));
    }
    // Original clients sign the text `None` for no metadata.
    if let Some(metadata) = session.requester_metadata.as_deref().filter(|metadata| *metadata != "None") {
        rows += &row("Note of the site", metadata);
    }
    format!("<details><summary>About this page</summary><dl>{rows}</dl></details>")
}
