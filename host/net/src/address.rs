//! Which addresses are public, and networks that make exceptions.
//!
//! In: an address that a name resolved to. Out: nothing when it is public, else which kind of address it
//! is. Addresses that carry an IPv4 address inside (mapped, NAT64, ISATAP) are judged by that one too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use walhost_core::attempt::clean;

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// True when the address lies in it. IPv4 addresses that are mapped into IPv6 count as IPv4: the kernel
    /// dials them as such.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.network, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        (ours ^ theirs).checked_shr(bits - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

impl FromStr for Cidr {
    type Err = String;

    /// Strict: the usual spelling of the address, and no bit set behind the prefix.
    fn from_str(text: &str) -> Result<Cidr, String> {
        let shown = || clean(text, 64);
        let wrong = || format!("`{}` is not a network: write an address and a prefix, as in 10.0.0.0/8", shown());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let network: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        if let IpAddr::V6(ip) = network
            && ip.to_ipv4_mapped().is_some()
        {
            return Err(format!("`{}` is an IPv4 network in disguise: write it as IPv4", shown()));
        }
        let masked = mask(network, prefix);
        if masked != network {
            return Err(format!("`{}` has bits set behind its prefix: write {masked}/{prefix}", shown()));
        }
        Ok(Cidr { network, prefix })
    }
}

fn mask(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let ones = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & ones))
        }
        IpAddr::V6(ip) => {
            let ones = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & ones))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

/// What kind of address it is, when it is not an ordinary public one; `None` when it is.
pub fn special(ip: IpAddr) -> Option<&'static str> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    }
}

/// Of the IANA registry of special IPv4 addresses: all that are not meant to be reached from anywhere, and
/// what clouds answer metadata on.
const SPECIAL_V4: [(Ipv4Addr, u8, &str); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(255, 255, 255, 255), 32, "broadcast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4
        .iter()
        .find(|(network, prefix, _)| Cidr { network: IpAddr::V4(*network), prefix: *prefix }.contains(IpAddr::V4(ip)))
        .map(|(_, _, kind)| *kind)
}

/// Inside 2000::/3, the only part of IPv6 that is handed out as public.
const SPECIAL_V6: [(Ipv6Addr, u8, &str); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved for protocols (Teredo, ORCHID, benchmarks)"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4, which carries an IPv4 address"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation"),
];

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let parts = ip.segments();
    let low = Ipv4Addr::from_bits((u32::from(parts[6]) << 16) | u32::from(parts[7]));
    // NAT64: the network's translator dials the IPv4 address.
    if parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return special_v4(low);
    }
    match parts[0] {
        0 if ip.is_loopback() => return Some("loopback"),
        0 if ip.is_unspecified() => return Some("unspecified"),
        0 if parts[..6] == [0; 6] => return Some("IPv4-compatible, which carries an IPv4 address"),
        0xfc00..=0xfdff => return Some("unique local"),
        0xfe80..=0xfebf => return Some("link-local"),
        0xfec0..=0xfeff => return Some("site-local"),
        0xff00..=0xffff => return Some("multicast"),
        0x2000..=0x3fff => {}
        _ => return Some("not handed out as public"),
    }
    let listed = SPECIAL_V6
        .iter()
        .find(|(network, prefix, _)| Cidr { network: IpAddr::V6(*network), prefix: *prefix }.contains(IpAddr::V6(ip)))
        .map(|(_, _, kind)| *kind);
    // ISATAP: the last half carries the IPv4 address of the tunnel's other end.
    let isatap = matches!(parts[4], 0 | 0x200) && parts[5] == 0x5efe;
    listed.or_else(|| if isatap { special_v4(low).and(Some("ISATAP, with a special IPv4 address")) } else { None })
}

#[cfg(test)]
mod tests;
