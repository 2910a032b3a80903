//! Just enough of Lambda's Extensions API for one extension: it registers, asks for its first event, and waits for ever.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::Error;
use crate::process::PATIENCE;

/// A call of the extension's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `/extension/register`.
    Register,
    /// `/extension/event/next`: it is ready.
    Next,
    /// Something else, most likely `init/error`.
    Other,
}

/// The API; it listens for as long as this lives.
#[derive(Debug)]
pub struct Lambda {
    address: SocketAddr,
    calls: UnboundedReceiver<(Call, Instant)>,
    server: JoinHandle<()>,
}

impl Lambda {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (noted, calls) = unbounded_channel();
        Ok(Self { address, calls, server: tokio::spawn(serve(listener, noted)) })
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a call, and says when it came.
    ///
    /// # Errors
    /// If another came, or none.
    pub async fn called(&mut self, expected: Call) -> Result<Instant, Error> {
        match timeout(PATIENCE, self.calls.recv()).await? {
            Some((call, at)) if call == expected => Ok(at),
            other => Err(format!("the extension was to call {expected:?}; it called {other:?}").into()),
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, noted: UnboundedSender<(Call, Instant)>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, noted.clone()));
    }
}

async fn connection(stream: TcpStream, noted: UnboundedSender<(Call, Instant)>) {
    let service = service_fn(|request| answer(request, &noted));
    // An extension that was killed is no event.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    noted: &UnboundedSender<(Call, Instant)>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let arrived = Instant::now();
    let call = match request.uri().path() {
        "/2020-01-01/extension/register" => Call::Register,
        "/2020-01-01/extension/event/next" => Call::Next,
        _ => Call::Other,
    };
    // Nobody may be waiting any more.
    let _ = noted.send((call, arrived));
    if call == Call::Next {
        std::future::pending::<()>().await;
    }
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::from("{}"));
    let identifier = hyper::header::HeaderValue::from_static("bench");
    response.headers_mut().insert("lambda-extension-identifier", identifier);
    Ok(response)
}
