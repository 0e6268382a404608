//! From a URL to how it is connected to.

use std::time::Duration;

use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::RedisError;

const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

pub(super) fn connection(url: &str) -> Result<ConnectionInfo, RedisError> {
    // What the library says to it may repeat parts of it, and a password is one.
    let info = url.into_connection_info().map_err(|_| {
        RedisError::url("not a URL of a server: redis://, unix:// or, with the feature `redis-tls`, rediss://")
    })?;
    if let ConnectionAddr::TcpTls { insecure, .. } = info.addr() {
        if *insecure {
            return Err(RedisError::url("`#insecure` would trust anybody who answers"));
        }
        choose_provider();
    }
    // By this protocol a connection says that it is cut before anything is sent over it.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    // So that a firewall does not forget a connection on which nobody asks anything for a while, and that one to a
    // machine that is gone is found out before somebody does.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let tcp = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keepalive);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

#[cfg(feature = "redis-tls")]
fn choose_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Without one the library would panic where two are compiled in. If somebody else was faster, that one it is.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    }
}

/// There is no TLS, so there is no such URL.
#[cfg(not(feature = "redis-tls"))]
fn choose_provider() {}

/// Without one the library would trust nobody, and only each connection would say so.
#[cfg(feature = "redis-tls")]
pub(super) fn need_a_certificate(roots: &[u8]) -> Result<(), RedisError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    match CertificateDer::pem_slice_iter(roots).next() {
        Some(_) => Ok(()),
        None => Err(RedisError::url("the roots have no certificate: they must be PEM, -----BEGIN CERTIFICATE-----")),
    }
}
