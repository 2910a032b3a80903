//! What is not an invocation's passes through byte for byte, but for `Host`, which names the next hop.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::support::{World, soon};

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = soon("the rest of a message", stream.read_u8()).await.unwrap();
        text.push(byte);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_unknown_route_passes_both_ways_byte_for_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap().to_string();
    let (_unheard, calls) = mpsc::unbounded_channel();
    let world = World::start_with(&api, calls, tokio::spawn(async {}), &[]).await;
    let runtime = world.runtime().await;

    let mut child = TcpStream::connect(runtime.api()).await.unwrap();
    let body = "{ \"odd\" :  \"spacing\" }\0\u{1}";
    let request = |host: &str| {
        format!(
            "PUT /2022-07-01/telemetry?x=%20y HTTP/1.1\r\nHost: {host}\r\nX-ODD-case: kEpT\r\nlower-case: 1\r\n\
             Lambda-Extension-Identifier: abc\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    child.write_all(request(&runtime.api()).as_bytes()).await.unwrap();
    let (mut lambda, _) = soon("a connection", listener.accept()).await.unwrap();
    assert_eq!(read_until(&mut lambda, body).await, request(&api));

    let answer = "HTTP/1.1 202 Accepted\r\nX-aMz-Odd: 1\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nyes";
    lambda.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut child, "yes").await, answer);
}

/// `restore/next` waits for as long as the snapshot lies there; posts go on beside it.
#[tokio::test]
async fn a_call_that_waits_holds_up_no_other() {
    let mut world = World::start(&[]).await;
    let runtime = world.runtime().await;
    let waits = runtime.post("restore/error", &[], "1");
    let first = world.lambda("/2018-06-01/runtime/restore/error").await;
    let beside = runtime.post("restore/other", &[], "2");
    world.lambda("/2018-06-01/runtime/restore/other").await.answer(200, &[], "second");
    assert_eq!(soon("the second answer", beside).await.unwrap().body, "second");
    first.answer(200, &[], "first");
    assert_eq!(soon("the first answer", waits).await.unwrap().body, "first");
}
