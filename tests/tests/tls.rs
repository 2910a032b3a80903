//! The store behind TLS with a certificate that only `AFT_CA_BUNDLE` vouches for: the layer commits, and what has committed is
//! recovered by hand. That nothing works without the setting is in `init.rs`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use aft_cli::arguments::{Arguments, Command};
use aft_cli::embedded::{Embedded, Storage};
use aft_cli::{Engine, Host, HostConfig, Invocation, Program, Tables};
use aft_protocol::key::Key;
use aft_store::Store;
use aft_tests::tls::Tls;
use aft_tests::{layer, store};
use clap::Parser;

const FUNCTION: &str = env!("CARGO_BIN_EXE_shared-function");

#[tokio::test]
async fn with_the_bundle_everything_works_over_tls() {
    let engine = Embedded::start(Storage::Memory).await.unwrap();
    let tls = Tls::before(&engine.endpoint()).await;
    let (tables, bundle) = (Tables::default(), tls.bundle().to_str().unwrap());
    let mut config = HostConfig::new(Program::new(FUNCTION)).unwrap();
    config.layer = Some(layer::shipped());
    config.environment.insert("AFT_CA_BUNDLE".to_owned(), bundle.to_owned());
    let secure = Engine::Endpoint { url: tls.endpoint().parse().unwrap(), create_tables: true };
    let connected = secure.connect(&mut config, &tables).await.unwrap();
    let made = tls.handshakes();
    assert!(made.0 > 0, "the tables are made over TLS, too");

    let host = Host::start(config).await.unwrap();
    for count in ["1", "2"] {
        let result = host.invoke(Invocation::new(r#"{"do":"count","counter":"hits"}"#)).await;
        assert!(result.succeeded() && result.payload == count, "{result:?}");
    }
    host.stop().await;
    assert!(tls.handshakes() > made, "{:?}", tls.handshakes());
    // The layer has spoken to this engine, and to no other.
    let key = Key::new("hits").unwrap();
    let plain = store::patient(&store::config(&engine.endpoint(), &tables.data, &tables.transactions));
    let heads = plain.heads(&BTreeSet::from([key.clone()])).await.unwrap();
    assert_eq!(heads[&key].current.value.as_ref().unwrap().bytes(), b"2".as_slice());

    let endpoint = tls.endpoint();
    let recover = async |more: &[&str]| {
        let line = ["aft", "recover", "--dynamodb-endpoint", &endpoint].into_iter().chain(more.iter().copied());
        let Command::Recover(arguments) = Arguments::parse_from(line).command else { panic!("another command") };
        aft_cli::app::recover(arguments).await
    };
    let summary = recover(&["--ca-bundle", bundle]).await.unwrap();
    assert_eq!((summary.applied, summary.failed), (2, 0), "{summary:?}");
    let error = recover(&[]).await.unwrap_err().to_string();
    assert!(error.contains("certificate is not trusted") && error.contains("AFT_CA_BUNDLE"), "{error}");
    connected.stop().await.unwrap();
    engine.stop().await.unwrap();
}
