//! What is not in the layer: nothing that only tests need.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::process::Command;

#[test]
fn neither_an_engine_nor_anything_of_the_tests_is_in_the_layer() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--locked", "--edges", "normal,features", "--prefix", "none"]);
    let tree = tree.args(["-p", "aft-extension", "-p", "aft-runtime-shim"]).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("aft-store") && tree.contains("aws-sdk-dynamodb"), "{tree}");
    for foreign in ["dynoxide", "rusqlite", "axum", "aft-store feature \"testing\"", "tokio feature \"test-util\""] {
        assert!(!tree.contains(foreign), "{foreign}");
    }
}
