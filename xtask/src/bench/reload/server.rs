//! The Rust server of the bench: a textbook one, a thread for each connection, on the socket of its manager's (LISTEN_FDS).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The first descriptor that a manager hands over, sd_listen_fds(3).
const LISTEN_FDS_START: i32 = 3;
/// What an answer takes.
const WORK: Duration = Duration::from_millis(5);

/// Serves until it is killed.
pub(crate) fn serve() -> Result<()> {
    if std::env::var("BAD").as_deref() == Ok("never-ready") {
        loop {
            std::thread::park();
        }
    }
    if std::env::var("BAD").as_deref() == Ok("dies-after-2s") {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(2));
            // Signal 0 would ask only; this is how a crash looks.
            std::process::abort();
        });
    }
    // A second descriptor for the socket: taking a bare number as one's own is not safe code.
    let this = pidfd_open(getpid(), PidfdFlags::empty()).context("pidfd_open")?;
    let socket = pidfd_getfd(&this, LISTEN_FDS_START, PidfdGetfdFlags::empty());
    let listener = TcpListener::from(socket.context("no socket was handed over")?);
    println!("listening");
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        // A client that goes away ends its thread, nothing else.
        std::thread::spawn(move || drop(answer(stream)));
    }
}

fn answer(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let body = std::process::id().to_string();
    let mut reader = BufReader::new(stream);
    loop {
        let mut close = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            close |= line.eq_ignore_ascii_case("connection: close\r\n");
            if line == "\r\n" {
                break;
            }
        }
        std::thread::sleep(WORK);
        let connection = if close { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            body.len()
        );
        reader.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        if close {
            return Ok(());
        }
    }
}
