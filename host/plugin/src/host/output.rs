//! Standard output and error of a guest, as log lines.
//!
//! In: bytes written by the guest's own runtime: the text of a panic or an exception. Out: lines.

use crate::host::Context;
use crate::limits;
use crate::options::LogLevel;
use bytes::Bytes;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// What a guest may write before it has to ask again, in bytes.
const WRITE_BYTES_MAX: usize = 4096;

/// One of the two streams; clones share the unfinished line.
#[derive(Clone)]
pub(crate) struct Output(Arc<Unfinished>);

struct Unfinished {
    context: Arc<Context>,
    level: LogLevel,
    line: Mutex<Vec<u8>>,
}

impl Output {
    pub fn new(context: Arc<Context>, level: LogLevel) -> Output {
        Output(Arc::new(Unfinished { context, level, line: Mutex::new(Vec::new()) }))
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.0.line.lock();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = limits::LOG_LINE_BYTES_MAX - line.len();
            // What is longer than a line is cut, not wrapped: a flood must not become many lines.
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.0.finish(&mut line);
            }
        }
    }
}

impl Unfinished {
    fn finish(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        if !text.is_empty() {
            self.context.line(self.level, text, &[]);
        }
        line.clear();
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut *self.line.lock());
        self.finish(&mut line);
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
