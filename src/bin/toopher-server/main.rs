//! The self-hosted Toopher API as a program.

mod database;
mod guard;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use clap::{Args, Parser, Subcommand};
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tower_toopher::oauth1::{BaseUri, Credentials, sign};
use tower_toopher::server::{Message, SealingKey, Server};
use tracing_subscriber::EnvFilter;

use self::database::{Place, one_only};
use self::guard::{Guard, GuardOptions};

type Failure = Box<dyn Error + Send + Sync>;

/// How often what is over is removed from the database.
const SWEEP: Duration = Duration::from_secs(300);
/// How long the headers of a request may take.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a message may take.
const MESSAGE_TIME: Duration = Duration::from_secs(20);
/// How long requests under way may take once the program is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// A self-hosted Toopher API: second factors by phone and by one-time password.
///
/// Try it: toopher-server serve --demo
///
/// For real: make a key (toopher-server key > toopher.key), make a requester (toopher-server requester create "my site"),
/// then serve. Options can also be given by the environment, as shown with each, or in a TOML file (--config), where
/// they have the same names with underscores: listen, public_url, database, database_connections, guard,
/// guard_password_file, guard_prefix, guard_ca, replicas, key_file, tls_cert, tls_key, clock_window, message_command.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Common {
    /// A TOML file with options that are given neither here nor by the environment
    #[arg(long, global = true, env = "TOOPHER_SERVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database: a SQLite file, made if there is none, or postgres://user@host/database [default: toopher.sqlite]
    ///
    /// The password of PostgreSQL is taken from the environment variable TOOPHER_SERVER_DATABASE_PASSWORD.
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE", hide_env_values = true, value_name = "FILE|URL")]
    database: Option<String>,
    /// The most connections to PostgreSQL at once, of this process [default: 10]
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE_CONNECTIONS", value_name = "NUMBER")]
    database_connections: Option<NonZeroU32>,
    #[command(flatten)]
    guard: GuardOptions,
    /// A file with the key that secrets in the database are sealed with [default: toopher.key]
    ///
    /// The environment variable TOOPHER_SERVER_KEY, if it is set, is the key itself.
    #[arg(long, global = true, env = "TOOPHER_SERVER_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Answer calls until told to stop (SIGTERM, or Ctrl-C)
    Serve(Serve),
    /// Make, list and revoke the sites that may call
    #[command(subcommand)]
    Requester(RequesterCommand),
    /// List, reset, disable and enable the users of a site
    #[command(subcommand)]
    User(UserCommand),
    /// Have failures and spent codes kept where --guard says from now on, whatever it was before
    ///
    /// They are not taken along: who was locked out is not any more. Stop all servers first, and start them after three
    /// minutes, when no code that was spent is good any more.
    MoveGuard,
    /// Print a new key, to be kept in a file
    Key,
    /// Sign one call of a site and print it for curl
    ///
    /// Takes the address and the credentials from TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET:
    ///
    /// toopher-server sign POST users/create name=jdoe | curl -K -
    Sign(Sign),
}

#[derive(Args)]
struct Serve {
    /// Need no set-up: a database in memory, and one requester, printed for the shell
    ///
    /// TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET are used where they are set.
    #[arg(long)]
    demo: bool,
    /// The address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "TOOPHER_SERVER_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The address that clients use, without /v1: what they sign [default: http(s)://LISTEN]
    ///
    /// Behind a proxy it is the proxy's. It is never taken from a request.
    #[arg(long, env = "TOOPHER_SERVER_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// How many of these servers there are behind the public URL, this one among them [default: 1]
    ///
    /// With more than one, they must share what they count and spend, and all else: one PostgreSQL database, and for what
    /// they count and spend also Redis (--guard).
    #[arg(long, env = "TOOPHER_SERVER_REPLICAS", value_name = "NUMBER")]
    replicas: Option<NonZeroU32>,
    /// A PEM file with the certificate chain; with --tls-key, TLS is spoken
    #[arg(long, env = "TOOPHER_SERVER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the private key
    #[arg(long, env = "TOOPHER_SERVER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How many seconds the clock of a client may be off [default: 300]
    #[arg(long, env = "TOOPHER_SERVER_CLOCK_WINDOW", value_name = "SECONDS")]
    clock_window: Option<u64>,
    /// A program that sends messages: called with `sms NUMBER` or `mail ADDRESS`, and the text as its input
    ///
    /// Without one, pairing by text message and sending of reset links are refused.
    #[arg(long, env = "TOOPHER_SERVER_MESSAGE_COMMAND", value_name = "PROGRAM")]
    message_command: Option<PathBuf>,
}

#[derive(Subcommand)]
enum RequesterCommand {
    /// Make a requester and print its key and secret; the secret is not shown again
    Create {
        /// What people call it; they see it on their phone
        name: String,
    },
    /// List all requesters
    List,
    /// Refuse all calls of a requester from now on
    Revoke {
        /// Its consumer key
        key: String,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// List the users of a requester
    List {
        /// Its consumer key
        key: String,
    },
    /// Deactivate all pairings of a user, who must pair again, and unlock the account
    Reset {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
    /// Answer for a user with error 704; what that means is up to the site
    Disable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
    /// Take that back
    Enable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
}

#[derive(Args)]
struct Sign {
    /// GET or POST
    method: String,
    /// The path under the base URL, such as pairings/create
    path: String,
    /// The parameters, each as name=value, as they will be sent
    parameters: Vec<String>,
}

/// What the file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: Option<SocketAddr>,
    public_url: Option<String>,
    database: Option<String>,
    database_connections: Option<NonZeroU32>,
    guard: Option<String>,
    guard_password_file: Option<PathBuf>,
    guard_prefix: Option<String>,
    guard_ca: Option<PathBuf>,
    replicas: Option<NonZeroU32>,
    key_file: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    clock_window: Option<u64>,
    message_command: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(Cli::parse()).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("toopher-server: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("{text}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let config = match &cli.common.config {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let administered = async |guard: &Guard| open(&cli.common, &config, guard, "http://localhost").await;
    let guard = || Guard::new(&cli.common.guard, &config);
    match cli.command {
        Command::Serve(options) => serve(&cli.common, options, &config).await,
        Command::Requester(command) => requester(&administered(&guard()?).await?, command).await,
        Command::User(command) => user(&administered(&guard()?).await?, command).await,
        Command::MoveGuard => {
            let guard = guard()?;
            let server = administered(&guard).await?;
            guard.check(&server).await?;
            Ok(server.move_guard().await?)
        }
        Command::Key => say(&format!("{}\n", *SealingKey::generate()?.to_hex())),
        Command::Sign(call) => say(&sign_call(&call)?),
    }
}

/// To the standard output, whose reader may be gone.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn open(common: &Common, config: &Config, guard: &Guard, public_url: &str) -> Result<Server, Failure> {
    let key_file = common.key_file.as_ref().or(config.key_file.as_ref());
    let key_file = key_file.map_or_else(|| "toopher.key".into(), PathBuf::clone);
    let place = place(common, config)?;
    let (key, source) = match std::env::var("TOOPHER_SERVER_KEY") {
        Ok(key) => (key, "TOOPHER_SERVER_KEY".to_owned()),
        Err(_) => (read_key(&key_file)?, key_file.display().to_string()),
    };
    let key = SealingKey::parse(&key).map_err(|error| format!("{source}: {error}"))?;
    let connections = common.database_connections.or(config.database_connections);
    guard.of(place.open(connections, key, public_url).await?)
}

fn place(common: &Common, config: &Config) -> Result<Place, Failure> {
    let text = common.database.as_ref().or(config.database.as_ref());
    Place::new(text.map_or_else(|| "toopher.sqlite".into(), String::clone))
}

fn read_key(file: &Path) -> Result<String, Failure> {
    read_secret(file)
        .map_err(|error| format!("{}: {error} (make one: toopher-server key > {0})", file.display()).into())
}

/// Reads a file that nobody else should be able to read.
fn read_secret(file: &Path) -> std::io::Result<String> {
    #[cfg(unix)]
    if std::fs::metadata(file)
        .is_ok_and(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o77 != 0)
    {
        tracing::warn!(file = %file.display(), "others can read the secret in this file: chmod 600 it");
    }
    std::fs::read_to_string(file)
}

async fn serve(common: &Common, options: Serve, config: &Config) -> Result<(), Failure> {
    let listen = options.listen.or(config.listen).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let tls = match (options.tls_cert.or(config.tls_cert.clone()), options.tls_key.or(config.tls_key.clone())) {
        (Some(certificate), Some(key)) => Some(tls(&certificate, &key).await?),
        (None, None) => None,
        _ => return Err("TLS needs both --tls-cert and --tls-key".into()),
    };
    let replicas = options.replicas.or(config.replicas).unwrap_or(NonZeroU32::MIN);
    if options.demo && replicas.get() > 1 {
        return Err(one_only(replicas, "--demo keeps everything in memory"));
    }
    place(common, config)?.serves(replicas)?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("{listen}: {error}"))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let default = format!("{scheme}://{}", listener.local_addr()?);
    let public_url = options.public_url.or(config.public_url.clone());

    let server = if options.demo {
        let from_outside = std::env::var("TOOPHER_BASE_URL").ok();
        let base_url = from_outside.map(|url| url.trim_end_matches('/').trim_end_matches("/v1").to_owned());
        let public_url = public_url.or(base_url).unwrap_or(default);
        let server = Server::in_memory(&public_url).await?;
        // What was answered before a restart is not known any more.
        server.refuse_earlier_calls().await?;
        demo(&server, &public_url).await?;
        server
    } else {
        let guard = Guard::new(&common.guard, config)?;
        let server = open(common, config, &guard, &public_url.unwrap_or(default)).await?;
        guard.settle(&server).await?;
        server
    };
    let window = options.clock_window.or(config.clock_window).unwrap_or(300);
    let server = server.clock_window_of(Duration::from_secs(window));

    let server = match options.message_command.or(config.message_command.clone()) {
        Some(program) => server.messenger(move |message| send(program.clone(), message)),
        None => server,
    };

    let handle = Handle::new();
    tokio::spawn(stop(handle.clone(), told_to_stop()));
    tokio::spawn(sweep(server.clone()));
    tokio::spawn({
        let server = server.clone();
        async move { server.relay_events().await }
    });
    let app = app(server).into_make_service();
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "listening");
    match tls {
        None => {
            let mut http = axum_server::from_tcp(listener)?.handle(handle);
            patient_but_not_for_ever(http.http_builder());
            http.serve(app).await?;
        }
        Some(tls) => {
            let mut https = axum_server::from_tcp_rustls(listener, tls)?.handle(handle);
            patient_but_not_for_ever(https.http_builder());
            https.serve(app).await?;
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// A client that does not finish its headers is not waited for.
fn patient_but_not_for_ever(http: &mut hyper_util::server::conn::auto::Builder<TokioExecutor>) {
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIME).keep_alive_timeout(HEADER_TIME);
}

/// Has a program send a message. It is given no shell, and the address as one argument.
async fn send(program: PathBuf, message: Message) -> Result<(), Failure> {
    use tokio::io::AsyncWriteExt;
    let (kind, address, text) = match message {
        Message::Sms { number, text } => ("sms", number, text),
        Message::Mail { address, text } => ("mail", address, text),
        _ => return Err("a kind of message that is not known here".into()),
    };
    let mut child = tokio::process::Command::new(&program)
        .args([kind, &address])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let sent = tokio::time::timeout(MESSAGE_TIME, async {
        if let Some(mut input) = child.stdin.take() {
            // A program may end well without reading all of it.
            input.write_all(text.as_bytes()).await.ok();
        }
        child.wait().await
    });
    let status = sent.await.map_err(|_| "the message took too long")??;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", program.display()).into()) }
}

async fn tls(certificate: &Path, key: &Path) -> Result<RustlsConfig, Failure> {
    let config = RustlsConfig::from_pem_file(certificate, key).await;
    config.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()).into())
}

/// The API, the probes, and a line in the log for each call: its path, but no query, no header and no body.
fn app(server: Server) -> Router {
    let ready = server.clone();
    let readyz = move || {
        let server = ready.clone();
        async move {
            match server.ready().await {
                Ok(()) => (StatusCode::OK, "ready\n"),
                Err(error) => {
                    tracing::error!(%error, "not ready");
                    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            }
        }
    };
    server.router().layer(from_fn(log)).route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(readyz))
}

async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let response = next.run(request).await;
    tracing::info!(%method, path, status = response.status().as_u16(), took = ?start.elapsed(), "call");
    response
}

/// Ends when the program is told to stop. It listens for SIGTERM from the call on, and not only once it is waited for.
fn told_to_stop() -> impl Future<Output = ()> {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    async move {
        #[cfg(unix)]
        match terminate {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(error) => {
                tracing::warn!(%error, "SIGTERM will end the program at once");
                let _ = interrupt.await;
            }
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    }
}

async fn stop(handle: Handle<SocketAddr>, told: impl Future<Output = ()>) {
    told.await;
    tracing::info!("stopping");
    handle.graceful_shutdown(Some(GRACE));
}

async fn sweep(server: Server) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Err(error) = server.sweep().await {
            tracing::warn!(%error, "what is over could not be removed");
        }
    }
}

/// Makes the requester of the demo, and prints how to use it.
async fn demo(server: &Server, public_url: &str) -> Result<(), Failure> {
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
    say(&format!(
        r#"# A site that calls this server. Paste these lines into another shell:
export TOOPHER_BASE_URL={public_url}/v1
export TOOPHER_CONSUMER_KEY={key}
export TOOPHER_CONSUMER_SECRET={secret}
toopher() {{ {program} sign POST "$@" | curl -sS -K -; echo; }}
phone() {{ curl -sS -X POST -H "Authorization: Bearer $PHONE" -H 'Content-Type: application/json' -d "$2" "{public_url}/phone/v1/$1"; echo; }}
waiting() {{ curl -sS -H "Authorization: Bearer $PHONE" "{public_url}/phone/v1/$1"; echo; }}
field() {{ sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }}

# A phone: it registers, and shows a phrase.
PHONE=none
PHONE=$(phone devices '{{"name":"my phone"}}' | field token)
PHRASE=$(phone phrases '{{}}' | field phrase)

# The site pairs its user with that phone; the phone allows it, and gets the secret of its codes.
toopher pairings/create user_name=alice pairing_phrase="$PHRASE"
SECRET=$(phone "pairings/$(waiting pairings | field id)/allow" '{{}}' | field secret)

# Authenticate by a one-time password ...
toopher authentication_requests/initiate user_name=alice action_name='log in' otp="$(oathtool --totp -b "$SECRET")"

# ... or by the phone: ask, see what waits, and allow it.
toopher authentication_requests/initiate user_name=alice action_name='log in'
phone "requests/$(waiting requests | field id)/allow" '{{}}'

# Or have a real phone: open {public_url}/phone in a browser, let it show the words, and pair with it:
#   toopher pairings/create user_name=bob pairing_phrase="the four words"
#   toopher authentication_requests/initiate user_name=bob action_name='log in' number_matching=true

"#,
        key = credentials.key(),
        secret = credentials.secret(),
    ))
}

async fn requester(server: &Server, command: RequesterCommand) -> Result<(), Failure> {
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

async fn user(server: &Server, command: UserCommand) -> Result<(), Failure> {
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

fn sign_call(call: &Sign) -> Result<String, Failure> {
    // From the environment alone: what stands on the command line, everybody on the machine can read.
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("please set {name}"));
    let url: http::Uri = format!("{}/{}", variable("TOOPHER_BASE_URL")?.trim_end_matches('/'), call.path).parse()?;
    let authority = url.authority().ok_or("TOOPHER_BASE_URL has no host")?.as_str();
    let base = BaseUri::new(url.scheme_str().unwrap_or_default(), authority, url.path())?;
    let split = |parameter: &'_ String| -> Result<(String, String), Failure> {
        let (name, value) = parameter.split_once('=').ok_or("a parameter is written name=value")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let parameters: Vec<(String, String)> = call.parameters.iter().map(split).collect::<Result<_, _>>()?;
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let method = call.method.to_ascii_uppercase();
    let header = sign::authorization(&credentials, &method, &base, &parameters, &sign::nonce()?, now);
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&parameters).finish();
    let (query, form) = match method.as_str() {
        "GET" if encoded.is_empty() => (String::new(), String::new()),
        "GET" => (format!("?{encoded}"), String::new()),
        _ => (String::new(), format!("data = \"{encoded}\"\n")),
    };
    // curl's own file format: nothing here needs escaping, since all of it is percent-encoded or checked by `Uri`.
    let (base, header) = (base.as_str(), header.to_str()?.replace('"', "\\\""));
    Ok(format!("url = \"{base}{query}\"\nrequest = \"{method}\"\nheader = \"Authorization: {header}\"\n{form}"))
}
