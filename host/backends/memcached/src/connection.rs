//! One connection to one server: a batch goes out in one go while its answers come in.
//!
//! In: a socket that `net` has dialled, commands. Out: answers. What is there when the future is dropped
//! stays with the caller.

use crate::limits;
use crate::protocol::{Answers, BARRIER, Command, parse_line};
use bytes::{Buf, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection; of no more use after an error or when an exchange was dropped half way.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    /// Around a fresh socket.
    pub fn new(stream: TcpStream) -> Connection {
        Connection { stream, buffer: BytesMut::with_capacity(4 * 1024) }
    }

    /// Whether an idle connection can be used again: the other side has neither closed it nor sent
    /// anything that nobody asked for.
    pub fn is_fresh(&self) -> bool {
        let mut probe = [0_u8; 1];
        let read = self.stream.try_read(&mut probe);
        self.buffer.is_empty() && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends the commands and the barrier, and reads until the barrier is answered. Writing and reading go
    /// side by side: neither end can block the other.
    pub async fn exchange(&mut self, commands: &[Command], answers: &mut Answers) -> io::Result<()> {
        let Connection { stream, buffer } = self;
        let (mut reader, mut writer) = stream.split();
        let writing = write(commands, &mut writer);
        let reading = async {
            while !answers.ended() {
                if let Some(line) = next_line(buffer)? {
                    let taken = parse_line(&line).is_some_and(|line| answers.take(line));
                    if !taken {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "an answer that is none of memcached's",
                        ));
                    }
                } else if reader.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(())
        };
        tokio::pin!(writing, reading);
        let mut written = false;
        let mut failed = None;
        loop {
            tokio::select! {
                biased;
                read = &mut reading => return read.map_err(|error| failed.unwrap_or(error)),
                // A write that fails is looked at when the answers that came before it are read.
                wrote = &mut writing, if !written => { written = true; failed = wrote.err(); }
            }
        }
    }
}

async fn write(commands: &[Command], writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(limits::WRITE_BYTES.min(commands.len() * 512 + 64));
    for (number, command) in commands.iter().enumerate() {
        command.put_line(number, &mut buffer);
        if let Command::Store { value, .. } = command {
            if value.len() >= limits::WRITE_BYTES {
                writer.write_all_buf(&mut buffer).await?;
                writer.write_all(value).await?;
            } else {
                buffer.extend_from_slice(value);
            }
            buffer.extend_from_slice(b"\r\n");
        }
        if buffer.len() >= limits::WRITE_BYTES {
            writer.write_all_buf(&mut buffer).await?;
        }
    }
    buffer.extend_from_slice(BARRIER);
    writer.write_all_buf(&mut buffer).await
}

/// The next whole line, its end left out.
fn next_line(buffer: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some(end) = buffer.iter().take(limits::LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        if buffer.len() >= limits::LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
        }
        return Ok(None);
    };
    let mut line = buffer.split_to(end);
    buffer.advance(1);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Ok(Some(line))
}
