//! A runtime without a library: it answers each event with every byte that it was sent since its last answer, which is
//! Lambda's answer to that answer, and the event.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const INVOCATION: &str = "/2018-06-01/runtime/invocation";

/// More would be refused.
const LARGEST: usize = 6 * 1_024 * 1_024;

fn main() -> io::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let mut connection = BufReader::new(TcpStream::connect(&api)?);
    connection.get_ref().set_nodelay(true)?;
    let mut seen = Vec::new();
    loop {
        write!(connection.get_mut(), "GET {INVOCATION}/next HTTP/1.1\r\nhOST: {api}\r\nx-RAW: \u{e4}\r\n\r\n")?;
        let event = read(&mut connection)?;
        let request = field(&event, "lambda-runtime-aws-request-id: ");
        seen.extend(event);
        seen.truncate(LARGEST);
        let head = format!(
            "POST {INVOCATION}/{request}/response HTTP/1.1\r\nX-b: 1\r\nX-B: 3\r\nhOST: {api}\r\nX-a: 2\r\n\
             content-TYPE: a/b; c=\"d\"\r\ncOnnection: keep-alive\r\nX-Empty:\r\nContent-Length: {}\r\nX-Last: \u{e4}\r\n\r\n",
            seen.len()
        );
        connection.get_mut().write_all(&[head.as_bytes(), &seen].concat())?;
        seen = read(&mut connection)?;
    }
}

/// One answer, head and body, as it came.
fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if connection.read_until(b'\n', &mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length: usize = field(&answer, "content-length: ").parse().map_err(io::Error::other)?;
    let start = answer.len();
    answer.resize(start + length, 0);
    connection.read_exact(&mut answer[start..])?;
    Ok(answer)
}

/// The value of the header whose line begins so, in lower case.
fn field(answer: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(answer);
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
    line.map(|line| line[name.len()..].to_owned()).unwrap_or_default()
}
