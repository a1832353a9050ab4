//! I41's table: every way to write an address that must not be dialled, through URL and filter together.

use super::*;

/// What an attacker writes for a host. All are refused or denied; none reaches a socket.
const HOSTS: &[&str] = &[
    // Loopback, in all spellings.
    "127.0.0.1", "127.0.0.2", "127.1.1.1", "127.255.255.255", "127.1", "127.0.1", "127", "2130706433", "017700000001",
    "0x7f000001", "0x7F000001", "0x7f.0.0.1", "0x7f.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1", "0177.0.0.01", "0177.1",
    "127.0.0.01", "127.00.0.1", "127.0.0.0x1", "127.0x0.1", "00000177.1", "0x0000007f.1", "4294967297", "127.0.0.1.",
    "127.0.0.1..", ".127.0.0.1", "127..0.1", "127.0.0.1%00", "127.0.0.1%2e", "%31%32%37.0.0.1", "127%2e0%2e0%2e1",
    "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "127.0.0.１", "127.0.0.1\u{200b}",
    "127.0.0.1\u{ad}", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1\t", "127.0.0.1\n", "127.0.0.1\0", "127,0,0,1",
    "127.0.0.1;", "[127.0.0.1]", "[127.1]", "(127.0.0.1)", "127.0.0.1,8.8.8.8", "127.0.0.256", "127.0.0.1.1", "1e3",
    "0b1111111.0.0.1", "0o177.0.0.1", "+127.0.0.1", "-127.0.0.1", "127.-1.0.1", "0x", "0x7g.0.0.1", "a.0x7f", "a.127",
    // Names: the resolver of the tests answers 127.0.0.1 for each.
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "lvh.me", "localtest.me",
    "127.0.0.1.nip.io", "7f000001.example", "rebind.example", "xn--lcalhost-65a.example",
    // Unspecified and "this network".
    "0.0.0.0", "0", "00", "0x0", "000.000.000.000", "0.0.0.1", "0.1.2.3", "[::]", "[0:0:0:0:0:0:0:0]", "[0::0]",
    // IPv6 loopback, and IPv4 inside IPv6.
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0001]", "[0::1]", "::1",
    "[::1%lo]", "[::1%25lo]", "[::1]]", "[[::1]]", "[::1", "::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::FFFF:127.0.0.1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "[::7f00:1]",
    "[::ffff:0:127.0.0.1]", "[::ffff:0:7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[2002:a00:1::]", "[2002:c0a8:101::]", "[2002:a9fe:a9fe::]",
    "[2001:0:7f00:1::]", "[2001::80ff:fffe]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[2606:4700::5efe:127.0.0.1]",
    "[2606:4700::200:5efe:10.0.0.1]", "[::ffff:127.1]", "[::ffff:0x7f.1]", "[::ffff:2130706433]",
    // Private, shared, link-local, metadata.
    "10.0.0.1", "10.255.255.255", "10.1", "012.0.0.1", "0xa.0.0.1", "167772161", "172.16.0.1", "172.31.255.255", "172.16.1",
    "192.168.0.1", "192.168.255.255", "192.168.1", "0300.0250.0.1", "3232235521", "100.64.0.1", "100.127.255.255",
    "100.100.100.200", "169.254.0.1", "169.254.169.254", "169.254.43518", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376", "169.254.169.254.", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[::ffff:10.0.0.1]", "[::ffff:192.168.0.1]",
    "[fc00::1]", "[fd12:3456:789a::1]", "[fe80::1]", "[fe80::1%25eth0]", "[febf::1]", "[fec0::1]",
    // The rest of what is not public.
    "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255", "[ff02::1]", "[ff0e::1]", "[100::1]", "[2001:db8::1]", "[3fff::1]",
    "[2001:10::1]", "[2001:20::1]", "[2001:2::1]", "[5f00::1]", "[4000::1]", "[::2]", "[::ffff:224.0.0.1]",
    // Two hosts in one, for those who read differently.
    "8.8.8.8@127.0.0.1", "user:pw@127.0.0.1", "@127.0.0.1", "127.0.0.1@8.8.8.8", "8.8.8.8:80@127.0.0.1", "8.8.8.8\\@127.0.0.1",
    "8.8.8.8#@127.0.0.1", "8.8.8.8%23@127.0.0.1", "127.0.0.1\\.example", "127.0.0.1\r\nx:y",
];

#[tokio::test]
async fn i41_a_hundred_and_fifty_forms_of_forbidden_addresses_are_refused() {
    assert!(HOSTS.len() >= 150, "{}", HOSTS.len());
    let (address, connections) = server(|_| async {}).await;
    let client = client_with(TlsSettings::default());
    for host in HOSTS {
        for text in [format!("http://{host}:{}/", address.port()), format!("https://{host}/latest/meta-data")] {
            let Ok(url) = Url::parse(&text) else { continue };
            let request = Request { method: Method::GET, url, headers: HeaderMap::new(), value: Bytes::new() };
            let fault = client.send(request, &Allow::public(), Duration::from_secs(5), 1).await.unwrap_err();
            assert!(matches!(fault, Fault::Denied(_)), "{text}: {fault}");
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_grant_opens_its_own_network_and_no_other() {
    let (address, _) =
        server(|stream| async move { answer_each(stream, b"HTTP/1.1 204 No Content\r\n\r\n").await }).await;
    let client = client_with(TlsSettings::default());
    let granted = Allow::parse(["127.0.0.1/32"]).unwrap();
    let timeout = Duration::from_secs(5);
    let sent = client.send(get(&format!("http://granted.example:{}/", address.port())), &granted, timeout, 1).await;
    assert_eq!(sent.unwrap().status.as_u16(), 204);
    for host in ["127.0.0.2", "10.0.0.1", "169.254.169.254", "[::1]"] {
        let fault = client.send(get(&format!("http://{host}/")), &granted, timeout, 1).await.unwrap_err();
        assert!(matches!(fault, Fault::Denied(_)), "{host}: {fault}");
    }
}
