//! HTTP/1.1 as it lies on the wire: no case, no order, no byte is lost, which is why no library does it.

use std::fmt;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A header or a trailer, as it was written but for the white space around its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, in its case.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Field {
    /// A field of this name and value.
    #[must_use]
    pub fn new(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// Whether it is called that, in whatever case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    fn parse(line: &[u8]) -> io::Result<Self> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| malformed("a header without a colon"))?;
        Ok(Self { name: line[..colon].to_vec(), value: line[colon + 1..].trim_ascii().to_vec() })
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// How a body's end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// By `Content-Length`.
    Length,
    /// In chunks.
    Chunked,
}

/// A request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, target and version.
    pub line: String,
    /// Its headers, in their order.
    pub fields: Vec<Field>,
    /// How its body came.
    pub framing: Framing,
    /// Its body.
    pub body: Bytes,
    /// What came after it.
    pub trailers: Vec<Field>,
}

impl Request {
    /// The target without method and version.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.is(name)).map(|field| field.value.as_slice())
    }

    /// Reads one, `None` at the end of the connection. Who waits for leave to send a body gets it.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is not HTTP.
    pub async fn read<S: AsyncBufRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<Option<Self>> {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(None);
        }
        let fields = read_fields(stream).await?;
        let mut request = Self {
            line: String::from_utf8(line).map_err(|_| malformed("a request line that is no text"))?,
            fields,
            framing: Framing::None,
            body: Bytes::new(),
            trailers: Vec::new(),
        };
        if request.field("expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            stream.flush().await?;
        }
        if let Some(length) = request.field("content-length") {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            let mut body = vec![0; length.ok_or_else(|| malformed("a length that is no number"))?];
            stream.read_exact(&mut body).await?;
            (request.framing, request.body) = (Framing::Length, body.into());
        } else if request.field("transfer-encoding").is_some() {
            request.framing = Framing::Chunked;
            request.body = read_chunks(stream).await?.into();
            request.trailers = read_fields(stream).await?;
        }
        Ok(Some(request))
    }
}

/// An answer with these headers and a `Content-Length`, as it is to be written.
#[must_use]
pub fn answer(status: &str, fields: &[Field], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for Field { name, value } in fields {
        text.extend([name, b": ".as_slice(), value, b"\r\n"].concat());
    }
    text.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
    text.extend(body);
    text
}

/// A line without its end; empty at the end of the connection, too.
async fn read_line<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    Ok(line.trim_ascii_end().to_vec())
}

/// Up to the empty line.
async fn read_fields<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Vec<Field>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        fields.push(Field::parse(&line)?);
    }
}

/// Up to the last chunk, without the trailers.
async fn read_chunks<S: AsyncBufRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = std::str::from_utf8(&line).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| malformed("a chunk without a size"))?;
        if size == 0 {
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        read_line(stream).await?;
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncWriteExt, BufStream};

    use super::{Field, Framing, Request};

    async fn read(text: &[u8]) -> Request {
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(text).await.unwrap();
        Request::read(&mut BufStream::new(server)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn nothing_of_a_request_is_lost() {
        let request =
            read(b"POST /a HTTP/1.1\r\nX-oDD:  \xe4 b \r\nb: 1\r\nB: 2\r\ncontent-length: 3\r\n\r\nx\r\n").await;
        let fields = [("X-oDD", &b"\xe4 b"[..]), ("b", b"1"), ("B", b"2"), ("content-length", b"3")]
            .map(|(n, v)| Field::new(n, v));
        assert_eq!(request.fields, fields);
        assert_eq!((request.target(), request.framing, &request.body[..]), ("/a", Framing::Length, &b"x\r\n"[..]));
    }

    #[tokio::test]
    async fn chunks_are_joined_and_trailers_kept() {
        let request = read(
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nA\r\n0123456789\r\n0\r\nTr-A: 1\r\n\r\n",
        )
        .await;
        assert_eq!((request.framing, &request.body[..]), (Framing::Chunked, &b"ab0123456789"[..]));
        assert_eq!(request.trailers, [Field::new("Tr-A", "1")]);
    }
}
