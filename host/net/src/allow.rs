//! Which addresses a caller may dial.
//!
//! In: the networks that were granted. Out: yes, or the reason why not (I41).

use crate::address::{Cidr, special};
use std::net::IpAddr;
use std::sync::Arc;

/// Which addresses may be dialled: public ones, and the networks granted beside them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allow(Inner);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Inner {
    Any,
    Public(Arc<[Cidr]>),
}

impl Allow {
    /// Every address: for what stands in the operator's own config.
    pub fn any() -> Allow {
        Allow(Inner::Any)
    }

    /// Public addresses only.
    pub fn public() -> Allow {
        Allow::networks([])
    }

    /// Public addresses and these networks.
    pub fn networks(networks: impl IntoIterator<Item = Cidr>) -> Allow {
        let mut networks: Vec<Cidr> = networks.into_iter().collect();
        networks.sort();
        networks.dedup();
        Allow(Inner::Public(networks.into()))
    }

    /// Public addresses and these networks, as a grant writes them. The error names the one that cannot be
    /// read.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Allow, String> {
        networks.into_iter().map(str::parse).collect::<Result<Vec<Cidr>, String>>().map(Allow::networks)
    }

    /// Whether the address may be dialled; the error is a sentence.
    pub fn check(&self, ip: IpAddr) -> Result<(), String> {
        let Inner::Public(networks) = &self.0 else { return Ok(()) };
        match special(ip) {
            Some(kind) if !networks.iter().any(|network| network.contains(ip)) => {
                Err(format!("the address {ip} is {kind}: it may be dialled only when a granted network covers it"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn i41_special_addresses_need_a_grant_that_covers_them() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        assert!(Allow::any().check(loopback).is_ok());
        assert!(Allow::public().check(loopback).unwrap_err().contains("loopback"));
        let granted = Allow::parse(["127.0.0.0/8"]).unwrap();
        assert!(granted.check(loopback).is_ok() && granted.check(mapped).is_ok());
        assert!(granted.check("10.0.0.1".parse().unwrap()).is_err());
        assert!(granted.check("8.8.8.8".parse().unwrap()).is_ok());
        assert!(Allow::parse(["10.0.0.0/8", "x"]).is_err());
    }

    #[test]
    fn equal_grants_are_equal_in_any_order() {
        let (a, b) = (Allow::parse(["10.0.0.0/8", "::1"]).unwrap(), Allow::parse(["::1/128", "10.0.0.0/8"]).unwrap());
        assert_eq!(a, b);
        assert_ne!(a, Allow::any());
    }
}
