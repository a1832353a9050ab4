//! `walhost dev`: a host in a temporary directory, and a receiver that prints what it delivers.
//!
//! In: a port. Out: the two URLs, then a line for each record delivered.

use super::arguments::DevArguments;
use super::failure::Failure;
use super::output::print;
use super::serve::{host, start_logs};
use crate::builtin;
use crate::config::load_text;
use crate::serve::ServeOptions;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use walhost_core::Clock;
use walhost_core::exec;
use walhost_core::time::SystemClock;

/// Between two looks whether the host listens.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Serves until it is told to stop; the directory is removed then.
pub fn run(arguments: &DevArguments, verbose: u8) -> Result<u8, Failure> {
    let directory = tempfile::Builder::new().prefix("walhost-dev-").tempdir()?;
    let (ingest, admin) = ports(arguments.port)?;
    let receiver = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    receiver.set_nonblocking(true)?;
    let text = config(ingest, admin, receiver.local_addr()?);
    let loaded = load_text("dev.toml", directory.path(), &text, &builtin::kinds())
        .map_err(|found| Failure::failed(format!("the configuration of dev is refused: {found}")))?;
    exec::thread("dev-receiver", move || receive(receiver))?;
    exec::thread("dev-greeting", move || greet(ingest, admin))?;
    if verbose > 0 {
        start_logs(verbose - 1);
    } else {
        crate::telemetry::logs::start(crate::telemetry::logs::Format::Text, Some("warn"), false);
    }
    host(ServeOptions { model: loaded.model, config_path: None, shard: None })
}

/// The two addresses, free at this moment.
fn ports(port: u16) -> Result<(SocketAddr, SocketAddr), Failure> {
    let free = |port: u16| {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        bound.map_err(|error| {
            Failure::failed(format!("port {port} cannot be had: {error}; give --port, 0 for a free one"))
        })
    };
    let first = free(port)?;
    let second = free(if port == 0 {
        0
    } else {
        port.checked_add(1).ok_or_else(|| Failure::usage("--port 65535 leaves none for admin"))?
    })?;
    Ok((first.local_addr()?, second.local_addr()?))
}

fn config(ingest: SocketAddr, admin: SocketAddr, receiver: SocketAddr) -> String {
    format!(
        "[server]\ningest.listen = \"{ingest}\"\nadmin.listen = \"{admin}\"\ndrain_timeout = \"5s\"\n\
         [shard]\ndata_dir = \"data\"\nmin_free = \"64MiB\"\n\
         [namespaces.demo.targets.print]\ntype = \"http\"\nurl = \"http://{receiver}/\"\n"
    )
}

/// Prints the URLs as soon as the host listens.
fn greet(ingest: SocketAddr, admin: SocketAddr) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let clock = SystemClock::default();
    while TcpStream::connect(ingest).is_err() {
        // The sleep is made where the runtime is.
        runtime.block_on(async { clock.sleep(LOOK_INTERVAL).await });
    }
    // Nobody can be told that stdout is closed.
    drop(print(&format!(
        "ingest  http://{ingest}\nadmin   http://{admin}\n\n  curl -d '{{\"hello\":\"world\"}}' http://{ingest}/v1/namespaces/demo/records\n\n"
    )));
}

/// Takes deliveries, prints each one, confirms it.
fn receive(listener: TcpListener) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            exec::task(async move {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(show));
                // The host may close a connection at any time.
                drop(connection.await);
            });
        }
    });
}

async fn show(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let value = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    drop(print(&line(&head.headers, &value)));
    Ok(Response::new(Empty::new()))
}

/// One delivery as a line; control characters are escaped (I44).
fn line(headers: &http::HeaderMap, value: &[u8]) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut line = format!("{} {}", header("wal-namespace").unwrap_or("-"), header("webhook-id").unwrap_or("-"));
    for (name, label) in [("wal-key", "key"), ("wal-attempt", "attempt")] {
        if let Some(value) = header(name).filter(|value| label != "attempt" || *value != "1") {
            line.push_str(&format!(" {label}={value}"));
        }
    }
    let text = String::from_utf8_lossy(value);
    let text: String = text
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    format!("{line}  {text}\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_dev_can_be_served() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let text = config(address(1), address(2), address(3));
        let loaded = load_text("dev.toml", std::path::Path::new("/tmp"), &text, &builtin::kinds());
        assert!(loaded.is_ok_and(|loaded| loaded.warnings.list.is_empty()));
    }

    #[test]
    fn i44_a_record_cannot_forge_a_line() {
        let line = line(&http::HeaderMap::new(), b"a\n\x1b[31mb");
        assert_eq!(line, "- -  a\\n\\u{1b}[31mb\n");
    }

    #[test]
    fn a_port_of_zero_takes_two_free_ones() {
        let (ingest, admin) = ports(0).unwrap();
        assert!(ingest.port() != 0 && admin.port() != 0 && ingest != admin);
        assert_eq!(ports(65_535).err().map(|failure| failure.code > 0), Some(true));
    }
}
