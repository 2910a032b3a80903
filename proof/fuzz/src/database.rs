//! A DynamoDB that says what it is told to: the production store and the real SDK over a connector that answers at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aft_store::dynamodb::{Config, Credentials, DynamoDb, ReadConsistency, TimeLimits};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

/// What answers: an operation and its body in, a status and a body out.
type Database = Arc<dyn Fn(&str, &Value) -> (u16, Vec<u8>) + Send + Sync>;

thread_local! {
    /// A thread's one store, and what answers it: to make the SDK's client takes longer than a hundred requests.
    static STORE: (DynamoDb, Slot) = {
        let slot = Slot::default();
        (over(Arc::clone(&slot)), slot)
    };
}

type Slot = Arc<Mutex<Option<Database>>>;

struct Connector(Slot);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let database = self.0.lock().unwrap().clone().expect("a store is asked after it was made");
        let (status, body) = database(operation, &body);
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status.try_into().unwrap(), body.into())))
    }
}

/// The store over this database. A thread has one store at a time: whoever has an older one hears the newer one's database.
pub fn store(database: impl Fn(&str, &Value) -> (u16, Vec<u8>) + Send + Sync + 'static) -> DynamoDb {
    STORE.with(|(store, slot)| {
        *slot.lock().unwrap() = Some(Arc::new(database));
        store.clone()
    })
}

fn over(slot: Slot) -> DynamoDb {
    let config = Config {
        data_table: "data".to_owned(),
        transaction_table: "transactions".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: None,
        ca_bundle: None,
        credentials: Credentials::Keys {
            access_key_id: "id".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        },
        reads: ReadConsistency::Strong,
    };
    let client: SharedHttpClient = http_client_fn(move |_, _| SharedHttpConnector::new(Connector(Arc::clone(&slot))));
    DynamoDb::with_http_client(&config, &TimeLimits::default(), client)
}

/// The refusal of a conditional write, because of this item.
#[must_use]
pub fn refusal(item: &str) -> (u16, Vec<u8>) {
    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    (400, format!(r#"{{"__type":"{kind}","message":"The conditional request failed","Item":{item}}}"#).into_bytes())
}

/// The items of the transaction table, by their key: as much of a table as commits and reads of records need.
#[derive(Debug, Clone, Default)]
pub struct Table(Arc<Mutex<BTreeMap<String, Value>>>);

impl Table {
    /// A store over this table.
    #[must_use]
    pub fn store(&self) -> DynamoDb {
        let table = self.clone();
        store(move |operation, body| (200, table.answer(operation, body).to_string().into_bytes()))
    }

    /// Every item.
    #[must_use]
    pub fn items(&self) -> Vec<Value> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    fn answer(&self, operation: &str, body: &Value) -> Value {
        let place = |item: &Value| format!("{} {}", item["id"]["S"], item["part"]["S"]);
        let mut items = self.0.lock().unwrap();
        match operation {
            "PutItem" => {
                items.insert(place(&body["Item"]), body["Item"].clone());
                json!({})
            }
            "GetItem" => items.get(&place(&body["Key"])).map_or(json!({}), |item| json!({ "Item": item })),
            "BatchGetItem" => {
                let keys = body["RequestItems"]["transactions"]["Keys"].as_array().unwrap();
                let found: Vec<_> = keys.iter().filter_map(|key| items.get(&place(key))).collect();
                json!({ "Responses": { "transactions": found } })
            }
            other => panic!("{other} is not expected"),
        }
    }
}
