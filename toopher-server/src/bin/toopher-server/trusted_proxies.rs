//! The option `--trusted-proxies`: whose `X-Forwarded-For` names the client.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use serde::Deserialize;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(max), |bits| bits.trim().parse().map_err(|_| wrong()))?;
        if bits > max { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Network {
    fn contains(self, client: IpAddr) -> bool {
        let differ = match (self.address, client) {
            (IpAddr::V4(network), IpAddr::V4(client)) => {
                (network.to_bits() ^ client.to_bits()).checked_shr(32 - self.bits).unwrap_or(0).into()
            }
            (IpAddr::V6(network), IpAddr::V6(client)) => {
                (network.to_bits() ^ client.to_bits()).checked_shr(128 - self.bits).unwrap_or(0)
            }
            _ => 1,
        };
        differ == 0
    }
}

/// The client of a request: the peer of the connection, or the last address that a trusted proxy has added and that is
/// not of another one. Addresses before it are what the client has sent.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    // Not the whole line as text: in front of the address that a proxy adds, clients can send any bytes.
    let read = |address: &[u8]| std::str::from_utf8(address).ok()?.trim().parse::<IpAddr>().ok();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut added = lines.flat_map(|line| line.as_bytes().rsplit(|&b| b == b',')).map(read);
    while is_trusted(client) {
        match added.next().flatten() {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_trusted_proxies_have_added() {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "::1", "192.0.2.7"].iter().map(|network| network.parse().unwrap()).collect();
        for (peer, lines, expected) in [
            ("203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1, 192.0.2.7"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", "198.51.100.1", "192.0.2.7,10.9.9.9"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["\u{e9}, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", "\u{e9}"], "10.1.2.3"),
            ("10.1.2.3", &["1.1.1.1, unknown, 192.0.2.7"], "192.0.2.7"),
            ("::ffff:10.1.2.3", &["2001:db8::1"], "2001:db8::1"),
            ("::1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("::2", &["198.51.100.1"], "::2"),
            ("192.0.2.8", &["198.51.100.1"], "192.0.2.8"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            assert_eq!(client(peer.parse().unwrap(), &headers, &trusted).to_string(), expected, "{peer} {lines:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        let all = ["0.0.0.0/0".parse().unwrap()];
        assert_eq!(client("10.0.0.1".parse().unwrap(), &headers, &all).to_string(), "198.51.100.1");
        for wrong in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/x", "localhost", "::1/129", "/8"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("such as 10.0.0.7"), "{wrong}");
        }
    }
}
