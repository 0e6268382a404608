//! The settings of a connection, from a URL.

use std::time::Duration;

use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::RedisError;

const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn connection_info(url: &str) -> Result<ConnectionInfo, RedisError> {
    // The error of the library may repeat parts of the URL, including the password.
    let info = url
        .into_connection_info()
        .map_err(|_| RedisError::config("not a URL of a server: redis://, rediss:// or unix://"))?;
    if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() {
        if *insecure {
            return Err(RedisError::config("`#insecure` would accept every certificate"));
        }
        install_provider();
    }
    // With RESP3 a connection reports that it is closed before a command is sent over it.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    // Keeps an idle connection alive in firewalls, and detects a machine that is gone before an operation does.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    let tcp = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keepalive);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

/// Without a default provider the library would panic if two are compiled in.
fn install_provider() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread has installed one since.
        aws_lc_rs::default_provider().install_default().ok();
    }
}

/// Without a certificate the library would trust none, and only each connection would fail.
pub(super) fn require_root(roots: &[u8]) -> Result<(), RedisError> {
    match CertificateDer::pem_slice_iter(roots).next() {
        Some(_) => Ok(()),
        None => Err(RedisError::config("the roots have no certificate: they must be PEM, -----BEGIN CERTIFICATE-----")),
    }
}
