//! What goes out beside the binaries of a release says what is in them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use aft_tests::tools::repository;
use serde_json::Value;

/// `layer/bill.py sbom`, into a folder of this name: the layer's, and the fault manager's.
fn bills(folder: &str) -> [Value; 2] {
    let folder = repository().join("target/bills").join(folder);
    let mut script = Command::new(repository().join("layer/bill.py"));
    let output = script.arg("sbom").arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ["layer", "fault-manager"]
        .map(|what| serde_json::from_slice(&fs::read(folder.join(format!("aft-{what}.cdx.json"))).unwrap()).unwrap())
}

#[test]
fn a_bill_names_what_is_in_the_binaries_and_nothing_else() {
    let both = bills("named");
    assert_eq!(both, bills("again"), "the same sources, the same bill");
    for (bill, own) in both.iter().zip(["aft-runtime-shim", "aft-fault-manager"]) {
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&Value::from("CycloneDX"), &Value::from("1.6")));
        let components = bill["components"].as_array().unwrap();
        let names: BTreeSet<_> = components.iter().map(|component| component["name"].as_str().unwrap()).collect();
        for inside in [own, "aft-store", "aws-sdk-dynamodb", "ring", "webpki-root-certs", "tokio"] {
            assert!(names.contains(inside), "{own} without {inside}: {names:?}");
        }
        // Of the tests, of the build, and of the compiler.
        for outside in ["dynoxide-rs", "libsqlite3-sys", "proptest", "cc", "serde_derive"] {
            assert!(!names.contains(outside), "{own} with {outside}");
        }
        for component in components {
            let is_of_others = component["purl"].is_string();
            assert_eq!(is_of_others, !component["name"].as_str().unwrap().starts_with("aft-"), "{component}");
            assert!(!is_of_others || component["hashes"][0]["content"].as_str().unwrap().len() == 64, "{component}");
            assert!(!component["licenses"][0]["expression"].as_str().unwrap().is_empty(), "{component}");
        }
        let references: BTreeSet<_> =
            components.iter().map(|component| &component["bom-ref"]).map(Value::to_string).collect();
        let dependencies = bill["dependencies"].as_array().unwrap();
        assert_eq!(dependencies.len(), components.len() + 1);
        for each in dependencies.iter().flat_map(|one| one["dependsOn"].as_array().unwrap()) {
            assert!(references.contains(&each.to_string()), "{each}");
        }
    }
    // By it GitHub tells that this is CycloneDX.
    assert!(both[0]["serialNumber"].as_str().unwrap().starts_with("urn:uuid:"));
    assert_ne!(both[0]["serialNumber"], both[1]["serialNumber"]);
}

#[test]
fn a_release_has_the_workspaces_version_and_its_own_section_of_the_changelog() {
    let folder = repository().join("target/release-notes");
    fs::create_dir_all(folder.join("layer")).unwrap();
    for file in ["layer/release-notes.sh", "Cargo.toml"] {
        fs::copy(repository().join(file), folder.join(file)).unwrap();
    }
    let version = env!("CARGO_PKG_VERSION");
    let notes = |tag: &str, changelog: &str| {
        fs::write(folder.join("CHANGELOG.md"), changelog).unwrap();
        let output = Command::new(folder.join("layer/release-notes.sh")).arg(tag).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    };
    let changelog =
        format!("# Changelog\n\n## Unreleased\n\n* c\n\n## {version} - 2027-01-31\n\n* b\n\n## 0.0.1\n\n* a\n");
    assert_eq!(notes(&format!("v{version}"), &changelog).unwrap().trim(), "* b");
    assert!(notes("v9.9.9", &changelog).unwrap_err().starts_with(&format!("v9.9.9 is not v{version}, ")));
    let unreleased = notes(&format!("v{version}"), "## Unreleased\n\n* c\n").unwrap_err();
    assert!(unreleased.starts_with("CHANGELOG.md has no section") && unreleased.lines().count() == 1, "{unreleased}");
}
