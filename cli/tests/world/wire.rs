//! HTTP as bytes on a blocking socket: the fixtures must not share the host's idea of it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// One request on a connection of its own.
pub fn call(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", &length)]].concat();
    exchange(address, &[&head(address, method, path, &headers), body])
}

/// A request with a chunked body and trailers.
pub fn call_chunked(
    address: &str,
    path: &str,
    headers: &[(&str, &str)],
    chunks: &[&str],
    trailers: &[(&str, &str)],
) -> io::Result<Reply> {
    let headers = [headers, &[("Transfer-Encoding", "chunked")]].concat();
    let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    let trailers: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    exchange(address, &[&head(address, "POST", path, &headers), format!("{chunks}0\r\n{trailers}\r\n").as_bytes()])
}

fn head(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").into_bytes()
}

fn exchange(address: &str, parts: &[&[u8]]) -> io::Result<Reply> {
    let mut connection = TcpStream::connect(address)?;
    for part in parts {
        connection.write_all(part)?;
    }
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status =
        lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Ok(Reply { status, headers, body: bytes[end + 4..].to_vec() })
}
