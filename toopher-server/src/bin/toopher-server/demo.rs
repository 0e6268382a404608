//! The requester of `serve --demo`, and the commands to use it.

use toopher_oauth1::Credentials;
use toopher_server::Server;

use crate::error::Error;
use crate::output::print;

/// Creates the requester, and prints shell commands that use it.
pub(crate) async fn demo(server: &Server, public_url: &str) -> Result<(), Error> {
    let given = (std::env::var("TOOPHER_CONSUMER_KEY"), std::env::var("TOOPHER_CONSUMER_SECRET"));
    let credentials = match given {
        (Ok(key), Ok(secret)) => {
            let credentials = Credentials::new(key, secret)?;
            server.add_requester("demo", &credentials).await?;
            credentials
        }
        _ => server.create_requester("demo").await?,
    };
    let program = std::env::args().next().unwrap_or_else(|| "toopher-server".into());
    print(&format!(
        r#"# A site that calls this server. Paste these lines into another shell:
export TOOPHER_BASE_URL={public_url}/v1
export TOOPHER_CONSUMER_KEY={key}
export TOOPHER_CONSUMER_SECRET={secret}
toopher() {{ {program} sign POST "$@" | curl -sS -K -; echo; }}
phone() {{ curl -sS -X POST -H "Authorization: Bearer $PHONE" -H 'Content-Type: application/json' -d "$2" \
    "{public_url}/phone/v1/$1"; echo; }}
pending() {{ curl -sS -H "Authorization: Bearer $PHONE" "{public_url}/phone/v1/$1"; echo; }}
field() {{ sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }}

# A phone: it registers, and shows a phrase.
PHONE=none
PHONE=$(phone devices '{{"name":"my phone"}}' | field token)
PHRASE=$(phone phrases '{{}}' | field phrase)

# The site pairs its user with the phone. The phone allows it, and receives the secret of its codes.
toopher pairings/create user_name=alice pairing_phrase="$PHRASE"
SECRET=$(phone "pairings/$(pending pairings | field id)/allow" '{{}}' | field secret)

# Authenticate with a one-time password ...
toopher authentication_requests/initiate user_name=alice action_name='log in' otp="$(oathtool --totp -b "$SECRET")"

# ... or on the phone: send a request, read the pending requests, and allow it.
toopher authentication_requests/initiate user_name=alice action_name='log in'
phone "requests/$(pending requests | field id)/allow" '{{}}'

# Or use a real phone: open {public_url}/phone in a browser, let it show the words, and pair with it:
#   toopher pairings/create user_name=bob pairing_phrase="the four words"
#   toopher authentication_requests/initiate user_name=bob action_name='log in' number_matching=true

"#,
        key = credentials.key(),
        secret = credentials.secret(),
    ))
}
