//! The commands of administrators.

use std::time::Duration;

use toopher_server::{Server, escape_name};

use crate::error::Error;
use crate::options::{PhoneCommand, RequesterCommand, UserCommand};
use crate::output::print;

const NO_REQUESTER: &str =
    "there is no requester with this consumer key; toopher-server requester list prints the keys";

pub(crate) async fn requester(server: &Server, command: RequesterCommand) -> Result<(), Error> {
    match command {
        RequesterCommand::Create { name } => {
            let credentials = server.create_requester(&name).await?;
            let (key, secret) = (credentials.key(), credentials.secret());
            print(&format!("export TOOPHER_CONSUMER_KEY={key}\nexport TOOPHER_CONSUMER_SECRET={secret}\n"))
        }
        RequesterCommand::List => {
            for requester in server.requesters().await? {
                let state = if requester.revoked { "revoked" } else { "active" };
                print(&format!("{}\t{state}\t{}\n", requester.consumer_key, escape_name(&requester.name)))?;
            }
            Ok(())
        }
        RequesterCommand::Revoke { key } => found(server.revoke_requester(&key).await?, NO_REQUESTER),
    }
}

pub(crate) async fn user(server: &Server, command: UserCommand) -> Result<(), Error> {
    const NO_USER: &str = "this requester has no user of this name; toopher-server user list KEY prints the names";
    match command {
        UserCommand::List { key } => {
            require_requester(server, &key).await?;
            for user in server.users(&key).await? {
                let state = if user.enabled { "enabled" } else { "disabled" };
                print(&format!(
                    "{}\t{state}\t{} pairings\t{}\n",
                    user.id,
                    user.active_pairings,
                    escape_name(&user.name)
                ))?;
            }
            Ok(())
        }
        UserCommand::Reset { key, name } => {
            require_requester(server, &key).await?;
            found(server.reset_user(&key, &name).await?, NO_USER)
        }
        UserCommand::Disable { key, name } => {
            require_requester(server, &key).await?;
            found(server.enable_user(&key, &name, false).await?, NO_USER)
        }
        UserCommand::Enable { key, name } => {
            require_requester(server, &key).await?;
            found(server.enable_user(&key, &name, true).await?, NO_USER)
        }
    }
}

pub(crate) async fn phone(server: &Server, command: PhoneCommand) -> Result<(), Error> {
    match command {
        PhoneCommand::List => {
            for phone in server.phones().await? {
                let (id, name) = (&phone.id, escape_name(&phone.name));
                let start = format!("{id}\t{}\t{}\t{name}", phone.created, phone.last_used);
                for pairing in &phone.pairings {
                    let state = if pairing.pending { "pending" } else { "enabled" };
                    let (requester, user) = (escape_name(&pairing.requester), escape_name(&pairing.user));
                    print(&format!("{start}\t{state}\t{requester}\t{user}\n"))?;
                }
                if phone.pairings.is_empty() {
                    print(&format!("{start}\tunpaired\n"))?;
                }
            }
            Ok(())
        }
        PhoneCommand::Remove { id } => found(
            server.remove_phone(&id).await?,
            "there is no phone with this id; toopher-server phone list prints the ids",
        ),
        PhoneCommand::RemoveIdle { days } => {
            let idle = Duration::from_secs(u64::from(days.get()) * 24 * 60 * 60);
            print(&format!("removed {} phones\n", server.remove_idle_phones(idle).await?))
        }
    }
}

pub(crate) async fn repair_clock(server: &Server) -> Result<(), Error> {
    let repair = server.repair_clock().await?;
    print(&match repair.rejected_for {
        Some(wait) => format!("signed calls are accepted in {} seconds\n", wait.as_secs()),
        None => "signed calls are accepted\n".into(),
    })?;
    if repair.future_codes > 0 {
        let pairings = repair.future_codes;
        print(&format!(
            "codes of {pairings} pairings were used for a future time: reset these users if they cannot log in\n"
        ))?;
    }
    Ok(())
}

/// Distinguishes a wrong key from a requester without users.
async fn require_requester(server: &Server, key: &str) -> Result<(), Error> {
    let known = server.requesters().await?;
    found(known.iter().any(|requester| requester.consumer_key == key), NO_REQUESTER)
}

fn found(found: bool, otherwise: &str) -> Result<(), Error> {
    if found { Ok(()) } else { Err(otherwise.into()) }
}
