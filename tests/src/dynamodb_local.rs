//! AWS's own DynamoDB Local, the reference: one per test process, in memory, shared by its tests.
//!
//! `tests/tools.sh dynamodb-local` fetches it; Java must be installed. It ends with the test process, whatever ends that:
//! a shell holds the pipe whose other end is here, and kills it when the pipe closes.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::tools::{free_port, tool};

/// A start takes two seconds, many more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Runs the engine until the pipe to its standard input closes.
const GUARD_SCRIPT: &str = r#"
java -Xmx1g -Djava.library.path="$1/DynamoDBLocal_lib" -jar "$1/DynamoDBLocal.jar" \
  -inMemory -sharedDb -disableTelemetry -port "$2" >/dev/null 2>&1 </dev/null &
engine=$!
read -r _
kill -KILL "$engine"
"#;

/// A running DynamoDB Local.
#[derive(Debug)]
pub struct DynamoDbLocal {
    port: u16,
    _guard: Child,
}

impl DynamoDbLocal {
    /// The one of this test process, started when it is first asked for.
    ///
    /// # Panics
    /// If it cannot be had: Java is missing, the download failed, or it does not answer.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<DynamoDbLocal> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// The endpoint's URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn start() -> Self {
        let directory = tool("dynamodb-local");
        let port = free_port();
        let guard = Command::new("sh")
            .args(["-c", GUARD_SCRIPT, "sh"])
            .arg(&directory)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let local = Self { port, _guard: guard };
        local.until_it_answers().await;
        local
    }

    async fn until_it_answers(&self) {
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            assert!(Instant::now() < limit, "DynamoDB Local did not answer on port {} in {START_LIMIT:?}", self.port);
            sleep(Duration::from_millis(50)).await;
        }
    }
}
