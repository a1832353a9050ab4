//! The destination that the bench plays for the host: takes every record, remembers its number and time.
//!
//! In: deliveries of an http target. Out: counts.

use super::Run;
use super::answer;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, spawn_local};

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Listens; aborting the handle ends it.
pub async fn start(address: SocketAddr, run: Rc<Run>) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await.map_err(|error| anyhow::anyhow!("--receive {address}: {error}"))?;
    Ok(spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(take(stream, Rc::clone(&run)));
        }
    }))
}

async fn take(mut stream: TcpStream, run: Rc<Run>) {
    // Without it, small answers wait for the other side's delayed ones.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut received = Vec::with_capacity(64 * 1024);
    loop {
        match answer::head(&received) {
            Ok(Some(head)) if received.len() >= head.bytes() => {
                let now_us = run.now_us();
                for (number, at_us) in run.values.find(&received[head.head_bytes..head.bytes()]) {
                    run.counts.borrow_mut().delivered(number, now_us.saturating_sub(at_us));
                }
                received.drain(..head.bytes());
                if stream.write_all(TAKEN).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(_) => {}
            Err(_) => return,
        }
        match stream.read_buf(&mut received).await {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}
