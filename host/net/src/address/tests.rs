//! Addresses of every special kind, by their borders; public ones beside them.
#![allow(clippy::unwrap_used)]

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn i41_special_addresses_are_known_at_both_borders() {
    for text in [
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.0",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.192",
        "192.0.2.255",
        "192.88.99.1",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.0",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        "100.100.100.200",
        "::",
        "::1",
        "::2",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.1.2.3",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::",
        "2001:db8::1",
        "2001:db8:ffff::",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "3fff:fff::",
        "5f00::1",
        "4000::",
        "fc00::",
        "fd00:ec2::254",
        "fdff::",
        "fe80::1",
        "febf::",
        "fec0::1",
        "ff02::1",
        "ffff::",
        "2606:4700::5efe:7f00:1",
        "2606:4700::200:5efe:a00:1",
    ] {
        assert!(special(ip(text)).is_some(), "{text}");
    }
}

#[test]
fn public_addresses_beside_the_borders_are_public() {
    for text in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700::1111",
        "3ffe::1",
        "3fff:1000::1",
        "2606:4700::5efe:808:808",
    ] {
        assert_eq!(special(ip(text)), None, "{text}");
    }
}

#[test]
fn networks_contain_their_borders_and_mapped_addresses_count_as_ipv4() {
    let ten: Cidr = "10.0.0.0/8".parse().unwrap();
    assert!(ten.contains(ip("10.0.0.0")) && ten.contains(ip("10.255.255.255")) && ten.contains(ip("::ffff:10.1.1.1")));
    assert!(!ten.contains(ip("11.0.0.0")) && !ten.contains(ip("9.255.255.255")) && !ten.contains(ip("::a00:1")));
    let all: Cidr = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains(ip("255.1.1.1")) && !all.contains(ip("::1")));
    let everything: Cidr = "::/0".parse().unwrap();
    assert!(everything.contains(ip("fe80::1")) && !everything.contains(ip("1.1.1.1")));
    let one: Cidr = "::1".parse().unwrap();
    assert_eq!(one.to_string(), "::1/128");
    assert!(one.contains(ip("::1")) && !one.contains(ip("::2")));
}

#[test]
fn what_is_not_a_network_is_refused_with_the_one_that_was_meant() {
    for text in [
        "",
        "/8",
        "10/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "10.0.0.0 /8",
        "::/129",
        "::ffff:10.0.0.0/104",
        "localhost",
        "fe80::1%lo/128",
    ] {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
    assert!("10.1.0.0/8".parse::<Cidr>().unwrap_err().contains("10.0.0.0/8"));
    assert!("fd00::1/8".parse::<Cidr>().unwrap_err().contains("fd00::/8"));
}
