//! The limits of the number of connections.

use std::net::{IpAddr, Ipv6Addr};

/// The part of all connections that one client address can have by default.
const DEFAULT_SHARE: usize = 8;

pub(crate) struct Limits {
    pub(crate) total: usize,
    /// The share of one client address. `None`: an eighth of all, and no share for addresses of this machine, since
    /// they are nearly always a proxy's.
    pub(crate) per_address: Option<usize>,
}

impl Limits {
    pub(crate) fn share(&self, client: IpAddr) -> usize {
        match self.per_address {
            Some(share) => share,
            None if client.is_loopback() => self.total,
            None => (self.total / DEFAULT_SHARE).max(1),
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which one client can have as a
/// whole.
pub(crate) fn client_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let client = |address: &str| client_address(address.parse().unwrap()).to_string();
        assert_eq!((client("192.0.2.7").as_str(), client("::ffff:192.0.2.7").as_str()), ("192.0.2.7", "192.0.2.7"));
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((client("::1").as_str(), client("::ffff:127.0.0.1").as_str()), ("::1", "127.0.0.1"));
    }

    #[test]
    fn only_strangers_have_a_default_share() {
        let limits = |per_address| Limits { total: 80, per_address };
        let [local, stranger] = ["127.0.0.2", "192.0.2.7"].map(|address| address.parse().unwrap());
        assert_eq!((limits(None).share(local), limits(None).share(stranger)), (80, 10));
        assert_eq!((limits(Some(3)).share(local), limits(Some(3)).share(stranger)), (3, 3));
        assert_eq!(Limits { total: 3, per_address: None }.share(stranger), 1);
    }
}
