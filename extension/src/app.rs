//! The life of the process: configuration, listeners, registration, store, invocations, SHUTDOWN.
//!
//! Listeners are bound before registering, so that they are there when the runtime starts. The store is probed after it, so
//! that the runtime starts meanwhile; a store that cannot be used fails the init all the same (closed).

use std::net::{Ipv4Addr, SocketAddr};

use aft_store::Store;
use aft_store::dynamodb::DynamoDb;
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Bootstrap, Config};
use crate::control::{self, Control};
use crate::error::AppError;
use crate::http::{Endpoint, Token};
use crate::lambda::{self, Api, Registration};
use crate::session::{Journal, Session};
use crate::sources::Sources;

/// The name to register under: that of the file in `/opt/extensions`.
pub const NAME: &str = "aft-extension";

/// Runs the extension until SHUTDOWN.
///
/// # Errors
/// [`AppError`]; Lambda has been told.
pub async fn run(name: &str, bootstrap: Bootstrap, variables: Vec<(String, String)>) -> Result<(), AppError> {
    let api = Api::new(bootstrap.runtime_api.ok_or(AppError::NotInLambda)?);
    let prepared = match Config::read(variables).map_err(AppError::from) {
        Ok(config) if !config.enabled => return idle(api, name).await,
        Ok(config) => Prepared::new(config).await,
        Err(error) => Err(error),
    };
    match prepared {
        Ok(prepared) => prepared.run(&mut api.register(name, &["INVOKE", "SHUTDOWN"]).await?).await,
        // Where INVOKE cannot be had (Managed Instances), the error must still reach Lambda.
        Err(error) => fail_init(&mut api.register(name, &["SHUTDOWN"]).await?, error).await,
    }
}

/// `AFT_ENABLED=false`: only wait for the end.
async fn idle(api: Api, name: &str) -> Result<(), AppError> {
    tracing::info!("AFT_ENABLED is false: nothing is transactional");
    let mut me = api.register(name, &["SHUTDOWN"]).await?;
    while !matches!(me.next().await?, lambda::Event::Shutdown { .. }) {}
    Ok(())
}

async fn fail_init(me: &mut Registration, error: AppError) -> Result<(), AppError> {
    if let Err(told) = me.init_error(error.kind(), &error.to_string()).await {
        // The shim may have failed the init first; what is wrong here is said all the same.
        tracing::warn!("telling Lambda that the init failed: {told}");
    }
    Err(error)
}

/// All that can fail without Lambda and without the store.
struct Prepared {
    config: Config,
    endpoint: TcpListener,
    address: SocketAddr,
    control: UnixListener,
}

impl Prepared {
    async fn new(config: Config) -> Result<Self, AppError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let taken = |source| AppError::Endpoint { address, source };
        let endpoint = TcpListener::bind(address).await.map_err(taken)?;
        let control = control::bind(&config.control_socket);
        let path = || config.control_socket.clone();
        let control = control.map_err(|source| AppError::ControlSocket { path: path(), source })?;
        Ok(Self { config, endpoint, address, control })
    }

    async fn run(self, me: &mut Registration) -> Result<(), AppError> {
        let sources = Sources::system();
        let store = DynamoDb::new(&self.config.store);
        let token = self.config.require_token.then(|| Token::from_random(sources.random()));
        let journal = Journal::beside(&self.config.control_socket);
        let session = Session::with_journal(store.clone(), self.config.behaviour, sources.clone(), journal);
        let endpoint = Endpoint::new(session.clone(), self.address, token.clone(), self.config.function.clone());
        let control = Control::new(session.clone(), format!("http://{}", self.address), token);
        tokio::spawn(endpoint.serve(self.endpoint));
        tokio::spawn(control.serve(self.control));
        if let Err(error) = store.probe().await {
            return fail_init(me, error.into()).await;
        }
        if self.config.snap_start {
            // The probe's connection must not be in the snapshot: its keys would be those of every restored sandbox.
            store.reconnect();
        }
        session.recover();
        tracing::debug!(sandbox = %session.sandbox(), "ready on {}", self.address);
        if let Err(error) = lambda::run(me, &session, &sources).await {
            // Most often the API is gone, and this fails too: the first error tells more.
            let _ = me.exit_error("Aft.ExtensionsApi", &error.to_string()).await;
            return Err(error.into());
        }
        Ok(())
    }
}
