//! A Lambda runtime whose handler does nothing: it answers each event with the same bytes, over one kept connection.

use aft_bench::Error;
use aft_bench::connection::Connection;
use http_body_util::Full;
use hyper::Request;
use hyper::header::HOST;

const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut lambda = Connection::tcp(api.parse()?).await?;
    loop {
        let next = Request::get(format!("{INVOCATION}next")).header(HOST, &api).body(Full::default())?;
        let event = lambda.call(next).await?;
        let id = event.headers().get("lambda-runtime-aws-request-id").ok_or("an event without a request id")?;
        let path = format!("{INVOCATION}{}/response", id.to_str()?);
        let answer = Request::post(path).header(HOST, &api).body(Full::new(event.into_body()))?;
        lambda.call(answer).await?;
    }
}
