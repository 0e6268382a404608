//! What an administrator does.

use tower_toopher::server::Server;

use super::options::{RequesterCommand, UserCommand};
use super::{Failure, say};

pub(super) async fn requester(server: &Server, command: RequesterCommand) -> Result<(), Failure> {
    match command {
        RequesterCommand::Create { name } => {
            let credentials = server.create_requester(&name).await?;
            let (key, secret) = (credentials.key(), credentials.secret());
            say(&format!("export TOOPHER_CONSUMER_KEY={key}\nexport TOOPHER_CONSUMER_SECRET={secret}\n"))
        }
        RequesterCommand::List => {
            for requester in server.requesters().await? {
                let state = if requester.revoked { "revoked" } else { "active" };
                say(&format!("{}\t{state}\t{}\n", requester.consumer_key, requester.name.escape_debug()))?;
            }
            Ok(())
        }
        RequesterCommand::Revoke { key } => {
            found(server.revoke_requester(&key).await?, "there is no requester with this consumer key")
        }
    }
}

pub(super) async fn user(server: &Server, command: UserCommand) -> Result<(), Failure> {
    const NOBODY: &str = "this requester has no user of this name";
    match command {
        UserCommand::List { key } => {
            for user in server.users(&key).await? {
                let state = if user.enabled { "enabled" } else { "disabled" };
                say(&format!(
                    "{}\t{state}\t{} pairings\t{}\n",
                    user.id,
                    user.active_pairings,
                    user.name.escape_debug()
                ))?;
            }
            Ok(())
        }
        UserCommand::Reset { key, name } => found(server.reset_user(&key, &name).await?, NOBODY),
        UserCommand::Disable { key, name } => found(server.enable_user(&key, &name, false).await?, NOBODY),
        UserCommand::Enable { key, name } => found(server.enable_user(&key, &name, true).await?, NOBODY),
    }
}

fn found(found: bool, otherwise: &str) -> Result<(), Failure> {
    if found { Ok(()) } else { Err(otherwise.into()) }
}
