//! Who asks: keys from the environment, or from an endpoint within the sandbox.
//!
//! Lambda hands a function its keys in the environment, except under SnapStart: keys in a snapshot would have expired by the
//! time that it is restored. There it names an endpoint and a token instead. The SDK caches what the endpoint answers, and asks
//! again 5 to 10 seconds before it expires by the wall clock, which goes on while the sandbox is frozen. If DynamoDB says
//! earlier that it has expired, the endpoint is asked again at once (`Clients::renew_expired`). aws-config, which has a
//! provider for this, would cost the layer 0.7 MB.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_sdk_dynamodb::config::{Credentials as Keys, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// All of one request for keys. The endpoint is within the sandbox.
const LIMIT: Duration = Duration::from_secs(2);
/// Larger than any answer.
const ANSWER_BYTES: usize = 64 * 1_024;

/// AWS credentials, as Lambda hands them to a function.
#[derive(Clone)]
pub enum Credentials {
    /// Keys.
    Keys {
        /// `AWS_ACCESS_KEY_ID`.
        access_key_id: String,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret_access_key: String,
        /// `AWS_SESSION_TOKEN`.
        session_token: Option<String>,
    },
    /// Where keys are to be had, over plain HTTP.
    Container {
        /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
        uri: String,
        /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
        token: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        match self {
            Self::Keys { access_key_id, .. } => shown.field("access_key_id", access_key_id),
            Self::Container { uri, .. } => shown.field("uri", uri),
        };
        shown.finish_non_exhaustive()
    }
}

impl Credentials {
    /// Whether others can be had while the process lives.
    pub(super) const fn can_be_renewed(&self) -> bool {
        match self {
            Self::Keys { .. } => false,
            Self::Container { .. } => true,
        }
    }

    pub(super) fn provider(&self) -> SharedCredentialsProvider {
        match self.clone() {
            Self::Keys { access_key_id, secret_access_key, session_token } => SharedCredentialsProvider::new(
                Keys::new(access_key_id, secret_access_key, session_token, None, "caller"),
            ),
            Self::Container { uri, token } => SharedCredentialsProvider::new(Container { uri, token }),
        }
    }
}

struct Container {
    uri: String,
    token: String,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Why the endpoint gave no keys.
#[derive(Debug, thiserror::Error)]
enum ContainerError {
    #[error("AWS_CONTAINER_CREDENTIALS_FULL_URI is {0:?}, which is no http:// URL")]
    Uri(String),
    #[error("AWS_CONTAINER_AUTHORIZATION_TOKEN cannot be a header: {0}")]
    Token(#[from] http::Error),
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("it broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("its answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("its answer is none: {0}")]
    Document(#[from] serde_json::Error),
    #[error("its answer expires at {0:?}, which is no time")]
    Expiration(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl Container {
    async fn keys(&self) -> Result<Keys, CredentialsError> {
        match timeout(LIMIT, self.fetch()).await {
            Ok(Ok(document)) => keys(document).map_err(CredentialsError::provider_error),
            Ok(Err(error)) => Err(CredentialsError::provider_error(error)),
            Err(_) => Err(CredentialsError::provider_timed_out(LIMIT)),
        }
    }

    async fn fetch(&self) -> Result<Document, ContainerError> {
        let malformed = || ContainerError::Uri(self.uri.clone());
        let uri: Uri = self.uri.parse().map_err(|_| malformed())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(malformed)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).header(HOST, authority.as_str()).header(AUTHORIZATION, &self.token);
        let request = request.body(Empty::<Bytes>::new())?;
        let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the sender: nothing is kept, which a snapshot could hold.
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(ContainerError::Refused(head.status));
        }
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(ContainerError::Body)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}

fn keys(document: Document) -> Result<Keys, ContainerError> {
    let time = |text: String| -> Result<SystemTime, ContainerError> {
        let time = DateTime::from_str(&text, DateTimeFormat::DateTime).ok();
        time.and_then(|time| SystemTime::try_from(time).ok()).ok_or(ContainerError::Expiration(text))
    };
    let expires = document.expiration.map(time).transpose()?;
    Ok(Keys::new(document.access_key_id, document.secret_access_key, document.token, expires, "container"))
}

impl ProvideCredentials for Container {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(self.keys())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::{Container, Credentials};

    /// An endpoint that answers one request with this, and tells what it heard.
    async fn fetched(status: &str, answer: &str) -> (Result<super::Keys, String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/2021-04-23/credentials", listener.local_addr().unwrap());
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        let endpoint = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut heard = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if line.trim().is_empty() {
                    break;
                }
                heard.push(line.trim().to_owned());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            heard
        });
        let container = Container { uri, token: "s3cret".to_owned() };
        let keys = container.keys().await.map_err(|error| format!("{:?}", error));
        (keys, endpoint.await.unwrap())
    }

    #[tokio::test]
    async fn keys_come_from_the_endpoint_with_their_expiry() {
        let answer = r#"{"AccessKeyId":"AKIA","SecretAccessKey":"secret","Token":"session","Expiration":"2026-11-26T10:00:00Z"}"#;
        let (keys, heard) = fetched("200 OK", answer).await;
        let keys = keys.unwrap();
        assert_eq!(
            (keys.access_key_id(), keys.secret_access_key(), keys.session_token()),
            ("AKIA", "secret", Some("session"))
        );
        assert_eq!(keys.expiry().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_795_687_200);
        assert_eq!(heard[0], "GET /2021-04-23/credentials HTTP/1.1");
        assert!(heard.iter().any(|line| line.eq_ignore_ascii_case("authorization: s3cret")), "{heard:?}");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for (status, answer, why) in [
            ("404 Not Found", "", "404"),
            ("200 OK", "{}", "AccessKeyId"),
            ("200 OK", r#"{"AccessKeyId":"a","SecretAccessKey":"s","Expiration":"soon"}"#, "soon"),
        ] {
            let error = fetched(status, answer).await.0.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let nowhere = Container { uri: "https://127.0.0.1/".to_owned(), token: String::new() };
        let error = nowhere.fetch().await.err().unwrap();
        assert!(error.to_string().contains("no http:// URL"), "{error}");
    }

    #[test]
    fn secrets_stay_out_of_logs() {
        let keys = Credentials::Keys {
            access_key_id: "AKIA".to_owned(),
            secret_access_key: "s3cret".to_owned(),
            session_token: Some("t0ken".to_owned()),
        };
        let container = Credentials::Container { uri: "http://127.0.0.1/".to_owned(), token: "t0ken".to_owned() };
        let text = format!("{keys:?} {container:?} {:?}", container.provider());
        assert!(text.contains("AKIA") && !text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    }
}
