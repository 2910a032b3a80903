//! `hello BYTES`: the least that an HTTP server on loopback costs. Prints its address, and answers every request alike.
//!
//! Built and run as the extension is: hyper, one thread, the same profile. What the extension takes longer is AFT.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let bytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let hello = Bytes::from(vec![b'x'; bytes]);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, hello.clone()));
    }
}

async fn connection(stream: TcpStream, hello: Bytes) {
    // A connection that refuses it works all the same, only later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, hello.clone()));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, hello: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let get = request.method() == Method::GET;
    let _ = request.into_body().collect().await;
    Ok(Response::new(if get { Full::new(hello) } else { Full::default() }))
}
