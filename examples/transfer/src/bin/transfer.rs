//! The function with AFT: `aft local -- transfer`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use transfer::aft::Aft;
use transfer::event::Event;
use transfer::handler::handle;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let aft = Aft::from_env()?;
    run(service_fn(async |event: LambdaEvent<Event>| handle(&aft, event).await)).await
}
