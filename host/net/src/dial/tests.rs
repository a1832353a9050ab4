//! What is dialled, seen from a resolver that says what a test wants.
#![allow(clippy::unwrap_used)]

use super::*;
use async_trait::async_trait;
use tokio::net::TcpListener;
use walhost_core::time::SystemClock;

const SOON: Duration = Duration::from_secs(5);

struct Says(Vec<&'static str>);

#[async_trait]
impl Resolver for Says {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "missing" => Err(io::Error::other("no such name")),
            "hangs" => std::future::pending().await,
            _ => Ok(self.0.iter().map(|ip| ip.parse().unwrap()).collect()),
        }
    }
}

fn dialer(addresses: &[&'static str]) -> Dialer {
    Dialer::new(Arc::new(Says(addresses.to_vec())), Arc::new(SystemClock::default()))
}

async fn dial(addresses: &[&'static str], host: &str, port: u16, allow: &Allow) -> Result<TcpStream, Fault> {
    dialer(addresses).dial(&Host::parse(host).unwrap(), port, allow, SOON).await
}

#[tokio::test]
async fn i41_every_address_of_a_name_is_checked_not_only_the_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let denied = dial(&["127.0.0.1", "10.0.0.1", "169.254.169.254"], "a", port, &Allow::public()).await.unwrap_err();
    assert!(matches!(&denied, Fault::Denied(text) if text.contains("loopback")), "{denied}");
    let granted = Allow::parse(["127.0.0.1/32"]).unwrap();
    let stream = dial(&["10.0.0.1", "::1", "127.0.0.1"], "a", port, &granted).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn i41_addresses_in_the_url_are_checked_too() {
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0", "[::]"] {
        let fault = dial(&[], host, 1, &Allow::public()).await.unwrap_err();
        assert!(matches!(fault, Fault::Denied(_)), "{host}: {fault}");
    }
}

#[tokio::test]
async fn faults_of_dialling_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert!(matches!(dial(&["127.0.0.1"], "a", closed, &Allow::any()).await, Err(Fault::Connect(_))));
    assert!(matches!(dial(&[], "a", closed, &Allow::any()).await, Err(Fault::Dns(_))));
    assert!(matches!(dial(&[], "missing", closed, &Allow::any()).await, Err(Fault::Dns(_))));
    let hanging = dialer(&[]);
    let host = Host::parse("hangs").unwrap();
    let outcome = hanging.dial(&host, 1, &Allow::any(), Duration::from_millis(20)).await;
    assert!(matches!(outcome, Err(Fault::Dns(_))));
}

#[tokio::test]
async fn a_dead_first_address_does_not_hide_a_living_second_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = dial(&["127.0.0.2", "127.0.0.1"], "a", port, &Allow::any()).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
}
