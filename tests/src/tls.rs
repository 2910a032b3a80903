//! TLS in front of an engine that speaks plain HTTP, with a certificate of an authority that nobody knows: what a private
//! endpoint, or a company's proxy, looks like to the store.
//!
//! Like DynamoDB it speaks HTTP/1.1 only and resumes sessions, and its chain has an authority in between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

/// Handshakes that were completed.
#[derive(Debug, Default)]
struct Handshakes {
    full: AtomicUsize,
    resumed: AtomicUsize,
}

/// A TLS endpoint on 127.0.0.1; gone, with its connections, when this is dropped.
#[derive(Debug)]
pub struct Tls {
    address: SocketAddr,
    bundle: PathBuf,
    handshakes: Arc<Handshakes>,
    server: JoinHandle<()>,
}

impl Tls {
    /// Listens, for the engine at this `http://` endpoint.
    ///
    /// # Panics
    /// If the endpoint is none, or the machine gives no port or file.
    pub async fn before(engine: &str) -> Self {
        let engine: SocketAddr = engine.trim_start_matches("http://").parse().expect("an engine has an address");
        let Identity { config, authority } = identity();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("it listens");
        let bundle = std::env::temp_dir().join(format!("aft-ca-{}-{}.pem", std::process::id(), address.port()));
        std::fs::write(&bundle, authority).expect("files can be made");
        let (acceptor, handshakes) = (TlsAcceptor::from(Arc::new(config)), Arc::default());
        let server = tokio::spawn(serve(listener, acceptor, engine, Arc::clone(&handshakes)));
        Self { address, bundle, handshakes, server }
    }

    /// The `https://` endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A file with the authority's certificate, there for as long as this is.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// How many handshakes were completed, first those in full, then those that resumed a session.
    #[must_use]
    pub fn handshakes(&self) -> (usize, usize) {
        (self.handshakes.full.load(Ordering::SeqCst), self.handshakes.resumed.load(Ordering::SeqCst))
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.server.abort();
        // Somebody may have cleared the directory.
        let _ = std::fs::remove_file(&self.bundle);
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, engine: SocketAddr, handshakes: Arc<Handshakes>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, handshakes) = (acceptor.clone(), Arc::clone(&handshakes));
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            // Who does not trust the certificate ends the handshake.
            let Ok(mut client) = acceptor.accept(stream).await else { return };
            match client.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => handshakes.resumed.fetch_add(1, Ordering::SeqCst),
                _ => handshakes.full.fetch_add(1, Ordering::SeqCst),
            };
            let Ok(mut behind) = TcpStream::connect(engine).await else { return };
            let _ = behind.set_nodelay(true);
            // Either end may go at any time.
            let _ = copy_bidirectional(&mut client, &mut behind).await;
        });
    }
}

struct Identity {
    config: ServerConfig,
    authority: String,
}

fn identity() -> Identity {
    let name = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let authority = |called: &str| {
        let mut params = name(called);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let key = || KeyPair::generate().expect("keys can be made");
    let root = CertifiedIssuer::self_signed(authority("a root of tests"), key()).expect("it signs itself");
    let between = CertifiedIssuer::signed_by(authority("an authority in between"), key(), &root);
    let between = between.expect("the root signs");
    let own = key();
    let mut params = name("an engine of tests");
    params.subject_alt_names = vec![rcgen::SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = params.signed_by(&own, &between).expect("the one in between signs");
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone(), between.der().clone()];
    let own = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, own);
    let mut config = config.expect("the key is the certificate's");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Identity { config, authority: root.pem() }
}
