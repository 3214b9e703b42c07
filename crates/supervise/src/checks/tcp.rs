//! A TCP connect.

use tokio::net::TcpStream;

use crate::spec::short;

/// `:3000` as an address of this machine; `Err` for what is none.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let address = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    match address.rsplit_once(':').map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(_)) => Ok(address),
        _ => Err(format!("`{address}` is no TCP address; expected host:port")),
    }
}

/// Good when the address takes a connection, which is closed at once.
pub(super) async fn connect(address: &str) -> Result<(), String> {
    open(address).await.map(drop)
}

pub(super) async fn open(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("no connection to {}: {error}", short(address)))
}
