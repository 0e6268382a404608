//! The commands of administrators.

use toopher_server::Server;

use crate::error::Error;
use crate::options::{RequesterCommand, UserCommand};
use crate::output::print;

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
                print(&format!("{}\t{state}\t{}\n", requester.consumer_key, requester.name.escape_debug()))?;
            }
            Ok(())
        }
        RequesterCommand::Revoke { key } => {
            found(server.revoke_requester(&key).await?, "there is no requester with this consumer key")
        }
    }
}

pub(crate) async fn user(server: &Server, command: UserCommand) -> Result<(), Error> {
    const NO_USER: &str = "this requester has no user of this name";
    match command {
        UserCommand::List { key } => {
            for user in server.users(&key).await? {
                let state = if user.enabled { "enabled" } else { "disabled" };
                print(&format!(
                    "{}\t{state}\t{} pairings\t{}\n",
                    user.id,
                    user.active_pairings,
                    user.name.escape_debug()
                ))?;
            }
            Ok(())
        }
        UserCommand::Reset { key, name } => found(server.reset_user(&key, &name).await?, NO_USER),
        UserCommand::Disable { key, name } => found(server.enable_user(&key, &name, false).await?, NO_USER),
        UserCommand::Enable { key, name } => found(server.enable_user(&key, &name, true).await?, NO_USER),
    }
}

fn found(found: bool, otherwise: &str) -> Result<(), Error> {
    if found { Ok(()) } else { Err(otherwise.into()) }
}
