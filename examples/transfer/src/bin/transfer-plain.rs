//! The same function without AFT: it writes straight to DynamoDB.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use transfer::event::Event;
use transfer::handler::handle;
use transfer::plain::Plain;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let table = Plain::from_env()?;
    run(service_fn(async |event: LambdaEvent<Event>| handle(&table, event).await)).await
}
