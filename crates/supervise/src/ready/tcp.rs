//! Readiness by TCP connect.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Found;

/// First wait between tries; doubles up to [`LONGEST`]. The kernel has no event for "somebody listens now" that needs no
/// privileges, so this one thing is asked again and again, for the readiness timeout at most.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);
/// One try: a listener on this machine answers within microseconds, a filtered port never.
const TRY: Duration = Duration::from_secs(2);

/// Returns when the address takes a connection.
pub(super) async fn accepts(address: String) -> Found {
    let address = match address.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => address,
    };
    if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Found::Never(format!("`{address}` is no TCP address; expected host:port"));
    }
    let mut wait = FIRST;
    loop {
        if let Ok(Ok(_connection)) = timeout(TRY, TcpStream::connect(&address)).await {
            return Found::Ready;
        }
        sleep(wait).await;
        wait = LONGEST.min(wait * 2);
    }
}
