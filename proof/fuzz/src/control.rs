//! The control API between shim and extension, from both sides.
//!
//! The first byte says what the rest is: `e`: a request to the extension, in short (see [`crate::endpoint`]); `a` and a call:
//! the extension's answer to it, byte for byte; `r`: a content type, a line's end, and a body, for a response that is
//! recorded by one side and told to the other.

use aft_extension::control::Control;
use aft_extension::http::Token;
use aft_extension::session::{Named, Session};
use aft_protocol::id::{AttemptNumber, RequestId, TransactionId};
use aft_protocol::wire::{Begin, End, Outcome, control, header};
use aft_runtime_shim::coordinator::{Answer as Heard, ControlError, Coordinator};
use aft_store::memory::Memory;
use bytes::Bytes;
use hyper::header::HeaderValue;

use crate::conversation::{Answer, answering, pipe, told};
use crate::endpoint::{Short, begin, behaviour, sources};
use crate::items::block_on;

const ENDPOINT: &str = "http://127.0.0.1:7321";

/// The target.
pub fn check(data: &[u8]) {
    match data {
        [b'e', rest @ ..] => {
            if let Some(request) = Short::read(rest) {
                block_on(asked(&request));
            }
        }
        [b'a', call, rest @ ..] => block_on(answered(*call, rest)),
        [b'r', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            // As a header has it: HTTP takes the spaces around it away.
            let kind = rest[..end].trim_ascii();
            let content_type = HeaderValue::from_bytes(kind).ok().filter(|_| !kind.is_empty());
            let body = Bytes::copy_from_slice(rest.get(end + 1..).unwrap_or_default());
            block_on(recorded(content_type, body));
        }
        _ => {}
    }
}

fn control(session: &Session<Memory>) -> Control<Memory> {
    Control::new(session.clone(), ENDPOINT.to_owned(), Some(Token::from_random(42)))
}

/// Every call is answered: with an outcome, or as one that this version does not make, which changes nothing.
async fn asked(request: &Short<'_>) {
    let session = Session::new(Memory::new(), behaviour(), sources());
    session.begin(begin(1)).await.unwrap();
    let control = control(&session);
    let said = told(&request.long(&[]), |stream| async move { control.converse(stream).await }).await;
    let answer = Answer::read(&said);
    if !request.is_plain() {
        return;
    }
    let answer = answer.expect("every call is answered");
    let outcome = answer.header(header::OUTCOME).map(|text| text.parse::<Outcome>().unwrap());
    match answer.status {
        200 if outcome.is_none() => {
            assert!(matches!(request.target, control::ATTACH | control::RESTORE), "{}", request.target);
            assert_eq!(answer.json()["endpoint"], ENDPOINT);
        }
        200 => {}
        204 => assert_eq!(request.target, control::END),
        // Of hyper's.
        400 | 414 | 431 if outcome.is_none() => {}
        status => {
            assert_eq!(
                (status, outcome, &answer.json()["code"]),
                (400, Some(Outcome::Failed), &"malformed-request".into())
            );
            assert_eq!(session.status(Named::default()).unwrap().identity.transaction, TransactionId::from_bits(1));
        }
    }
    if request.target == control::BEGIN && outcome == Some(Outcome::Open) {
        let begun: Begin = serde_json::from_slice(request.body).unwrap();
        let named = Named { transaction: Some(begun.transaction), attempt: Some(begun.attempt) };
        assert_eq!(session.status(named).unwrap().identity.transaction, begun.transaction);
    }
}

/// Whatever the extension says, a call ends as what it says, or as an error that does not deny that something was sent.
async fn answered(call: u8, answer: &[u8]) {
    let attached = format!(r#"{{"endpoint":"{ENDPOINT}","token":null,"sandbox":"{}"}}"#, TransactionId::from_bits(4));
    let attached = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{attached}", attached.len());
    let (near, far) = pipe();
    let (transaction, attempt) = (TransactionId::from_bits(1), AttemptNumber::FIRST);
    let call = async move {
        let (mut coordinator, _) = Coordinator::over(near).await.unwrap();
        let heard = match call {
            b'b' => coordinator.begin(&begin(1)).await,
            b'c' => coordinator.commit(transaction, attempt, None, Bytes::from_static(b"{}")).await,
            b'k' => coordinator.known(transaction, attempt).await,
            b'e' => coordinator.end(&End { request: RequestId::new("r-1") }).await.map(|()| Heard::Opened),
            _ => coordinator.abort(transaction, attempt).await,
        };
        if let Err(error) = heard {
            assert!(
                !matches!(error, ControlError::NotSent | ControlError::Connect(_) | ControlError::TimedOut),
                "{error:?}"
            );
        }
    };
    tokio::join!(call, answering(far, vec![attached.into_bytes(), answer.to_vec()]));
}

/// What one side records is what the other is told, byte for byte.
pub async fn recorded(content_type: Option<HeaderValue>, body: Bytes) {
    let session = Session::new(Memory::new(), behaviour(), sources());
    let control = control(&session);
    let (near, far) = pipe();
    let (transaction, attempt) = (TransactionId::from_bits(1), AttemptNumber::FIRST);
    let shim = async move {
        let (mut coordinator, attached) = Coordinator::over(near).await.unwrap();
        assert_eq!(attached.endpoint, ENDPOINT);
        assert!(matches!(coordinator.begin(&begin(1)).await, Ok(Heard::Opened)));
        let committed = coordinator.commit(transaction, attempt, content_type.clone(), body.clone()).await;
        assert!(matches!(committed, Ok(Heard::Committed)), "{committed:?}");
        coordinator.end(&End { request: RequestId::new("r-1") }).await.unwrap();
        let again = Begin { request: RequestId::new("r-2"), ..begin(1) };
        assert!(matches!(coordinator.begin(&again).await, Ok(Heard::Opened)));
        let duplicate = coordinator.commit(transaction, attempt, None, Bytes::from_static(b"another")).await;
        let Ok(Heard::Duplicate(recorded)) = duplicate else { panic!("{duplicate:?}") };
        // A record keeps text: of what is not even UTF-8 nothing is left.
        let kept = content_type.filter(|bytes| std::str::from_utf8(bytes.as_bytes()).is_ok());
        assert_eq!((recorded.content_type, recorded.body), (kept, body));
    };
    tokio::join!(shim, control.converse(far));
}
