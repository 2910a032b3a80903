//! Sample events of every source: what names their transaction, what a redelivery keeps, and that no bytes panic.
#![allow(missing_docs, clippy::unwrap_used)]

use aft_protocol::id::{RequestId, Scope};
use aft_runtime_shim::identity::{Identity, Integration, KeyExpression, Refusal, Rules, Source};
use hyper::HeaderMap;
use serde_json::{Value, json};

fn sample(name: &str) -> Value {
    let path = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

fn rules(function: &str, key: Option<&str>) -> Rules {
    Rules { function: Scope::new(function), key: key.map(|text| KeyExpression::parse(text).unwrap()) }
}

/// Identifies an event that Lambda delivers under this request ID.
fn identify_as(rules: &Rules, event: &Value, request: &str) -> Identity {
    rules.identify(event.to_string().as_bytes(), &HeaderMap::new(), &RequestId::new(request))
}

fn identify(event: &Value, request: &str) -> Identity {
    identify_as(&rules("transfer", None), event, request)
}

fn changed(event: &Value, changes: &[(&str, Value)]) -> Value {
    let mut event = event.clone();
    for (pointer, value) in changes {
        *event.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = value.clone();
    }
    event
}

struct Case {
    file: &'static str,
    source: Source,
    /// What another delivery of the same changes.
    redelivered: Vec<(&'static str, Value)>,
    /// What makes it another request.
    another: (&'static str, Value),
    /// What is another payload under the same name.
    payload: (&'static str, Value),
}

fn http_cases() -> Vec<Case> {
    let key = |pointer| (pointer, json!("\"another-key\""));
    let case = |file, redelivered, another| Case {
        file,
        source: Source::IdempotencyKey,
        redelivered,
        another: key(another),
        payload: ("/body", json!("e30=")),
    };
    vec![
        case(
            "apigateway-rest",
            vec![
                ("/requestContext/requestId", json!("other")),
                ("/requestContext/extendedRequestId", json!("other")),
                ("/requestContext/requestTimeEpoch", json!(1)),
                ("/requestContext/authorizer/integrationLatency", json!(7)),
                ("/requestContext/identity/sourceIp", json!("198.51.100.1")),
                ("/multiValueHeaders/X-Amzn-Trace-Id", json!(["Root=1-other"])),
                ("/headers/X-Forwarded-For", json!("198.51.100.1")),
                ("/multiValueHeaders/Idempotency-Key", json!(["5f3c1d52-7f0a-4d7e-9a43-0c6f8a1b2e90"])),
            ],
            "/multiValueHeaders/Idempotency-Key/0",
        ),
        case(
            "apigateway-http",
            vec![
                ("/requestContext/requestId", json!("other")),
                ("/requestContext/time", json!("other")),
                ("/requestContext/timeEpoch", json!(1)),
                ("/requestContext/http/sourceIp", json!("198.51.100.1")),
                ("/requestContext/authorizer/jwt/claims/exp", json!("later")),
                ("/requestContext/authorizer/jwt/claims/jti", json!("t-2")),
                ("/headers/x-amzn-trace-id", json!("Root=1-other")),
                ("/cookies", json!([])),
                // Is that so or is it not: API Gateway decides, by the type of the body.
                ("/body", json!("eyJmcm9tIjoiYWRhIiwidG8iOiJib2IiLCJhbW91bnQiOjV9")),
                ("/isBase64Encoded", json!(true)),
            ],
            "/headers/idempotency-key",
        ),
        case(
            "function-url",
            vec![
                ("/requestContext/requestId", json!("other")),
                ("/requestContext/timeEpoch", json!(1)),
                (
                    "/requestContext/authorizer/iam/userArn",
                    json!("arn:aws:sts::111122223333:assumed-role/Payments/batch-2"),
                ),
                ("/requestContext/authorizer/iam/accessKey", json!("ASIAOTHER")),
            ],
            "/headers/idempotency-key",
        ),
        case(
            "alb",
            vec![
                ("/headers/x-amzn-trace-id", json!("Root=1-other")),
                ("/headers/x-forwarded-for", json!("198.51.100.1")),
            ],
            "/headers/idempotency-key",
        ),
        case(
            "alb-multi-value",
            vec![("/multiValueHeaders/x-amzn-trace-id", json!(["Root=1-other"]))],
            "/multiValueHeaders/idempotency-key/0",
        ),
    ]
}

fn message_cases() -> Vec<Case> {
    let received_again = || {
        vec![
            ("/Records/0/receiptHandle", json!("another")),
            ("/Records/0/attributes/ApproximateReceiveCount", json!("2")),
            ("/Records/0/attributes/ApproximateFirstReceiveTimestamp", json!("1784888199999")),
        ]
    };
    let sqs = |file| Case {
        file,
        source: Source::Sqs,
        redelivered: received_again(),
        another: ("/Records/0/messageId", json!("another")),
        payload: ("/Records/0/body", json!("another")),
    };
    vec![
        sqs("sqs-standard"),
        sqs("sqs-fifo"),
        Case {
            file: "sns",
            source: Source::Sns,
            redelivered: vec![("/Records/0/Sns/Signature", json!("x")), ("/Records/0/Sns/SigningCertUrl", json!("x"))],
            another: ("/Records/0/Sns/MessageId", json!("another")),
            payload: ("/Records/0/Sns/Message", json!("another")),
        },
        Case {
            file: "s3",
            source: Source::S3,
            redelivered: vec![("/Records/0/responseElements", json!({})), ("/Records/0/eventTime", json!("later"))],
            another: ("/Records/0/s3/object/sequencer", json!("0055AED6DCD90281E6")),
            payload: ("/Records/0/s3/object/size", json!(7)),
        },
        Case {
            file: "eventbridge",
            source: Source::EventBridge,
            redelivered: vec![("/version", json!("1"))],
            another: ("/id", json!("another")),
            payload: ("/detail/amount", json!(500)),
        },
    ]
}

fn stream_cases() -> Vec<Case> {
    let kafka = |file| Case {
        file,
        source: Source::Kafka,
        redelivered: vec![("/records/transfers-0/0/timestampType", json!("LOG_APPEND_TIME"))],
        another: ("/records/transfers-0/0/offset", json!(14)),
        payload: ("/records/transfers-0/0/value", json!("another")),
    };
    vec![
        Case {
            file: "kinesis",
            source: Source::Kinesis,
            redelivered: vec![
                ("/Records/0/invokeIdentityArn", json!("another")),
                ("/Records/1/kinesis/approximateArrivalTimestamp", json!(1.5)),
            ],
            another: (
                "/Records/1/kinesis/sequenceNumber",
                json!("49590338271490256608559692540925702759324208523137515619"),
            ),
            payload: ("/Records/0/kinesis/data", json!("another")),
        },
        Case {
            file: "dynamodb-streams",
            source: Source::DynamoDb,
            redelivered: vec![("/Records/0/awsRegion", json!("another"))],
            another: ("/Records/0/dynamodb/SequenceNumber", json!("4421584500000000017450439090")),
            payload: ("/Records/1/dynamodb/NewImage/balance/N", json!("500")),
        },
        kafka("msk"),
        kafka("kafka-self-managed"),
    ]
}

fn cases() -> Vec<Case> {
    [http_cases(), message_cases(), stream_cases()].into_iter().flatten().collect()
}

#[test]
fn every_source_names_its_events_and_a_redelivery_keeps_the_name() {
    for Case { file, source, redelivered, another, payload } in cases() {
        let event = sample(file);
        let first = identify(&event, "r-1");
        assert_eq!((first.source, &first.refusal), (source, &None), "{file}");
        let again = identify(&changed(&event, &redelivered), "r-2");
        assert_eq!(again, first, "{file}: redelivered under another request ID");
        for change in redelivered {
            assert_eq!(
                identify(&changed(&event, std::slice::from_ref(&change)), "r-2").transaction,
                first.transaction,
                "{file}: {change:?}"
            );
        }

        let next = identify(&changed(&event, &[another]), "r-1");
        assert_ne!(next.transaction, first.transaction, "{file}: another one");
        let mismatch = identify(&changed(&event, &[payload]), "r-2");
        assert_eq!(mismatch.transaction, first.transaction, "{file}: found, to be refused");
        assert_ne!(mismatch.fingerprint, first.fingerprint, "{file}: and told apart");

        let elsewhere = identify_as(&rules("refund", None), &event, "r-1");
        assert_ne!(elsewhere.transaction, first.transaction, "{file}: another function's");
    }
}

/// The ARN of a queue, topic, stream, bucket or cluster is in the name: IDs are unique within it.
#[test]
fn the_same_id_from_another_source_is_another_transaction() {
    for (file, pointer) in [
        ("sqs-standard", "/Records/0/eventSourceARN"),
        ("sns", "/Records/0/EventSubscriptionArn"),
        ("s3", "/Records/0/s3/bucket/arn"),
        ("eventbridge", "/source"),
        ("msk", "/eventSourceArn"),
        ("kafka-self-managed", "/bootstrapServers"),
    ] {
        let event = sample(file);
        let elsewhere = changed(&event, &[(pointer, json!("elsewhere"))]);
        assert_ne!(identify(&event, "r").transaction, identify(&elsewhere, "r").transaction, "{file}");
    }
}

#[test]
fn method_path_query_and_body_are_the_payload_of_an_http_request() {
    for (file, pointers) in [
        ("apigateway-rest", ["/httpMethod", "/path", "/multiValueQueryStringParameters/tag/0", "/body"]),
        ("apigateway-http", ["/requestContext/http/method", "/rawPath", "/rawQueryString", "/body"]),
        ("alb", ["/httpMethod", "/path", "/queryStringParameters/dry", "/body"]),
        ("alb-multi-value", ["/httpMethod", "/path", "/multiValueQueryStringParameters/dry/0", "/body"]),
    ] {
        let event = sample(file);
        let first = identify(&event, "r-1");
        for pointer in pointers {
            let other = identify(&changed(&event, &[(pointer, json!("other"))]), "r-1");
            assert_eq!(other.transaction, first.transaction, "{file} {pointer}");
            assert_ne!(other.fingerprint, first.fingerprint, "{file} {pointer}");
        }
    }
}

/// A key belongs to the client that the gateway authenticated: nobody gets another's answer by guessing it.
#[test]
fn two_clients_keys_are_two_keys() {
    for (file, pointer) in [
        ("apigateway-rest", "/requestContext/authorizer/principalId"),
        ("apigateway-http", "/requestContext/authorizer/jwt/claims/sub"),
        ("function-url", "/requestContext/authorizer/iam/userArn"),
    ] {
        let event = sample(file);
        let other = identify(&changed(&event, &[(pointer, json!("somebody-else"))]), "r-1");
        assert_ne!(other.transaction, identify(&event, "r-1").transaction, "{file}");
    }
}

#[test]
fn malformed_keys_are_refused_in_the_integrations_format() {
    for (file, integration, pointer) in [
        ("apigateway-rest", Integration::V1, "/multiValueHeaders/Idempotency-Key"),
        ("apigateway-http", Integration::V2, "/headers/idempotency-key"),
        ("function-url", Integration::V2, "/headers/idempotency-key"),
        ("alb", Integration::LoadBalancer { multi_value: false }, "/headers/idempotency-key"),
        ("alb-multi-value", Integration::LoadBalancer { multi_value: true }, "/multiValueHeaders/idempotency-key"),
    ] {
        for bad in [json!(""), json!("a, b"), json!("\"open")] {
            let bad = if pointer.starts_with("/multi") { json!([bad]) } else { bad };
            let refused = identify(&changed(&sample(file), &[(pointer, bad.clone())]), "r-1");
            let refusal = refused.refusal.unwrap_or_else(|| panic!("{file}: {bad} was taken"));
            assert!(matches!(refusal, Refusal::MalformedKey(_)));
            assert_eq!((refused.integration, refused.source), (Some(integration), Source::Request), "{file}");

            let answer: Value = serde_json::from_slice(&refusal.response(integration)).unwrap();
            assert_eq!(answer["statusCode"], 400);
            let headers = if pointer.starts_with("/multi") && file.starts_with("alb") {
                answer["multiValueHeaders"]["content-type"][0].clone()
            } else {
                answer["headers"]["content-type"].clone()
            };
            assert_eq!(headers, "application/problem+json", "{file}");
            let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            assert_eq!(
                (problem["code"].as_str(), problem["status"].as_u64()),
                (Some("malformed-idempotency-key"), Some(400))
            );
        }
    }
    let several = json!(["a", "b"]);
    let refused =
        identify(&changed(&sample("apigateway-rest"), &[("/multiValueHeaders/Idempotency-Key", several)]), "r-1");
    assert!(refused.refusal.is_some(), "two different keys");
}

/// Without a name of its own, an event is its request ID and its bytes.
#[test]
fn everything_else_is_named_by_its_request() {
    for file in ["direct", "sqs-batch", "websocket"] {
        let event = sample(file);
        let first = identify(&event, "r-1");
        assert_eq!(first.source, Source::Request, "{file}");
        assert_eq!(identify(&event, "r-1"), first);
        assert_ne!(identify(&event, "r-2").transaction, first.transaction, "{file}");
    }
    for raw in
        ["", "null", "[]", "{", "\"aft\"", r#"{"aft": 1}"#, r#"{"aft": {"transaction": ""}}"#, r#"{"Records": [{}]}"#]
    {
        let identity = rules("transfer", None).identify(raw.as_bytes(), &HeaderMap::new(), &RequestId::new("r-1"));
        assert_eq!((identity.source, identity.refusal), (Source::Request, None), "{raw}");
    }
}

#[test]
fn a_context_comes_first_and_is_shared_by_functions() {
    let event = sample("direct-with-context");
    let first = identify(&event, "r-1");
    assert_eq!(first.source, Source::Context);
    assert_eq!(identify_as(&rules("refund", Some("amount")), &event, "r-2").transaction, first.transaction);

    let client = r#"{"client":{},"custom":{"aft.transaction":"order-17"},"env":{}}"#;
    let headers = HeaderMap::from_iter([("lambda-runtime-client-context".parse().unwrap(), client.parse().unwrap())]);
    let by_client = rules("transfer", None).identify(b"{}", &headers, &RequestId::new("r-3"));
    assert_eq!((by_client.source, by_client.transaction), (Source::Context, first.transaction));

    let mut event = sample("apigateway-http");
    event["headers"]["X-Aft-Transaction-Key"] = json!("\"order-17\"");
    let by_header = identify(&event, "r-4");
    assert_eq!((by_header.source, by_header.transaction), (Source::Context, first.transaction));
}

#[test]
fn the_expression_comes_before_the_sources_own_identity_and_after_the_clients_key() {
    let rules = rules("transfer", Some("[Records[0].body, from][?@] | [0]"));
    let message = sample("sqs-standard");
    let first = identify_as(&rules, &message, "r-1");
    assert_eq!(first.source, Source::Expression);
    let other_message = changed(&message, &[("/Records/0/receiptHandle", json!("another"))]);
    assert_eq!(identify_as(&rules, &other_message, "r-2"), first, "the fingerprint is the message's");
    assert_eq!(identify_as(&rules, &sample("direct"), "r-1").source, Source::Expression);
    assert_eq!(identify_as(&rules, &sample("alb"), "r-1").source, Source::IdempotencyKey);
    assert_eq!(identify_as(&rules, &sample("sns"), "r-1").source, Source::Sns, "null falls through");
}

#[test]
fn an_expression_that_fails_warns_and_falls_through() {
    let identity = identify_as(&rules("transfer", Some("sum(amount)")), &sample("direct"), "r-1");
    assert_eq!(identity.source, Source::Request);
    assert!(identity.warning.is_some());
}

/// Whatever comes: bytes changed, cut, doubled, and pieces of one event in another. The seed is fixed.
#[test]
fn no_bytes_panic() {
    let files: Vec<_> = cases().iter().map(|case| sample(case.file).to_string().into_bytes()).collect();
    let rules = rules("transfer", Some("Records[].messageId | [0]"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound.max(1)
    };
    for round in 0..6_000 {
        let mut event = files[below(files.len())].clone();
        for _ in 0..=below(4) {
            let at = below(event.len());
            match below(5) {
                0 => event[at] = u8::try_from(below(256)).unwrap(),
                1 => event.truncate(at),
                2 => event.insert(at, b"{}[]\",:\\0n"[below(10)]),
                3 => drop(event.splice(at..(at + below(40)).min(event.len()), *b"null")),
                _ => {
                    let other = &files[below(files.len())];
                    let from = below(other.len());
                    let piece = other[from..(from + below(200)).min(other.len())].to_vec();
                    drop(event.splice(at..at, piece));
                }
            }
            if event.is_empty() {
                break;
            }
        }
        let identity = rules.identify(&event, &HeaderMap::new(), &RequestId::new("r-1"));
        let again = rules.identify(&event, &HeaderMap::new(), &RequestId::new("r-1"));
        assert_eq!(identity, again, "round {round}");
    }
}
