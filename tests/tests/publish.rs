//! `make publish-layer`, the script itself against a stand-in for AWS's CLI (`tests/fixtures/aws`).
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use aft_tests::tools::repository;
use serde_json::Value;

/// A folder with two zips, and a PATH on which AWS's CLI is the stand-in.
struct Account {
    folder: PathBuf,
}

impl Account {
    fn new(name: &str) -> Self {
        let folder = repository().join("target/publish").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).unwrap();
        // A copy, because the stand-in keeps what it has beside itself.
        fs::copy(repository().join("tests/fixtures/aws"), folder.join("bin/aws")).unwrap();
        let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        symlink(String::from_utf8(python.stdout).unwrap().trim(), folder.join("bin/python3")).unwrap();
        symlink("/usr/bin/env", folder.join("bin/env")).unwrap();
        let account = Self { folder };
        account.deny("");
        account.build("first");
        account
    }

    fn deny(&self, regions: &str) {
        fs::write(self.folder.join("bin/denied"), regions).unwrap();
    }

    fn build(&self, content: &str) {
        for architecture in ["x86_64", "arm64"] {
            fs::write(self.folder.join(format!("aft-{architecture}.zip")), format!("{content} {architecture}"))
                .unwrap();
        }
    }

    /// Whether it succeeded, its standard output and its standard error.
    fn publish(&self, arguments: &[&str]) -> (bool, String, String) {
        let mut script = Command::new(self.folder.join("bin/python3"));
        script.arg(repository().join("layer/publish.py")).env("PATH", self.folder.join("bin"));
        script.args(["--regions", "eu-west-1 eu-central-1 us-east-1", "--zips"]).arg(&self.folder).args(arguments);
        let output = script.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// What was asked of AWS, and is then forgotten.
    fn calls(&self) -> Vec<String> {
        let path = self.folder.join("bin/calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    /// Region, architecture and state of each layer in the file that the script leaves.
    fn published(&self) -> Vec<[String; 3]> {
        let published: Value = serde_json::from_slice(&fs::read(self.folder.join("published.json")).unwrap()).unwrap();
        let text = |layer: &Value, name: &str| layer[name].as_str().unwrap().to_owned();
        let layers = published.as_array().unwrap().iter();
        layers.map(|layer| ["region", "architecture", "state"].map(|name| text(layer, name))).collect()
    }
}

fn count(calls: &[String], command: &str) -> usize {
    calls.iter().filter(|call| call.ends_with(&format!(" {command}"))).count()
}

#[test]
fn a_dry_run_prints_the_commands_and_asks_nobody() {
    let account = Account::new("dry");
    let (succeeded, commands, said) = account.publish(&["--public"]);
    assert!(succeeded && said.contains("dry run"), "{said}");
    assert_eq!(account.calls(), [""; 0]);
    let commands: Vec<_> = commands.lines().collect();
    assert_eq!(commands.len(), 12, "{commands:?}");
    let zip = account.folder.join("aft-x86_64.zip");
    assert!(commands[0].starts_with("aws lambda publish-layer-version --region eu-west-1 "), "{}", commands[0]);
    assert!(
        commands[0].contains(" --layer-name aft-x86_64 ") && commands[0].contains("--license-info 'MIT OR Apache-2.0'")
    );
    assert!(commands[0].ends_with(&format!(" --compatible-architectures x86_64 --zip-file fileb://{}", zip.display())));
    assert!(commands[1].starts_with("aws lambda add-layer-version-permission --region eu-west-1 "), "{}", commands[1]);
    assert!(commands[1].ends_with("--action lambda:GetLayerVersion --principal '*'"), "{}", commands[1]);
}

#[test]
fn what_is_published_is_not_published_again() {
    let account = Account::new("again");
    let (succeeded, table, said) = account.publish(&["--confirm"]);
    assert!(succeeded, "{said}");
    assert!(table.contains("arn:aws:lambda:us-east-1:111122223333:layer:aft-arm64:1"), "{table}");
    assert_eq!(table.lines().count(), 6);
    let calls = account.calls();
    assert_eq!((count(&calls, "publish-layer-version"), count(&calls, "add-layer-version-permission")), (6, 0));
    assert_eq!(account.published()[0], ["eu-west-1", "x86_64", "published"]);

    assert!(account.publish(&["--confirm"]).0);
    assert_eq!(count(&account.calls(), "publish-layer-version"), 0);
    assert!(account.published().iter().all(|layer| layer[2] == "unchanged"));

    account.build("second");
    let (_, table, _) = account.publish(&["--confirm", "--architectures", "arm64"]);
    assert!(table.contains("layer:aft-arm64:2") && !table.contains("aft-x86_64"), "{table}");
    assert_eq!(count(&account.calls(), "publish-layer-version"), 3);
}

#[test]
fn the_first_failure_ends_it_and_another_run_goes_on_from_there() {
    let account = Account::new("failure");
    account.deny("eu-central-1");
    let (succeeded, table, said) = account.publish(&["--confirm"]);
    assert!(!succeeded && table.lines().count() == 2, "{table}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("publish-layer: list-layer-versions in eu-central-1 failed: ")
            && said.contains("AccessDenied")
    );
    assert!(!account.calls().iter().any(|call| call.starts_with("us-east-1 ")));
    assert_eq!(account.published().len(), 2);

    account.deny("");
    assert!(account.publish(&["--confirm"]).0);
    let states: Vec<_> = account.published().into_iter().map(|[_, _, state]| state).collect();
    assert_eq!(states, ["unchanged", "unchanged", "published", "published", "published", "published"]);
}

/// A run that was cut off between the two commands must not leave a layer that nobody may use.
#[test]
fn a_layer_for_everybody_gets_its_permission_once_published_by_whichever_run() {
    let account = Account::new("public");
    assert!(account.publish(&["--confirm"]).0);
    account.calls();
    let (succeeded, _, said) = account.publish(&["--confirm", "--public"]);
    assert!(succeeded, "{said}");
    let calls = account.calls();
    assert_eq!((count(&calls, "publish-layer-version"), count(&calls, "add-layer-version-permission")), (0, 6));
    assert!(account.publish(&["--confirm", "--public"]).0);
    assert_eq!(count(&account.calls(), "add-layer-version-permission"), 0);
}

#[test]
fn what_is_missing_is_said_before_anything_is_published() {
    let account = Account::new("missing");
    fs::remove_file(account.folder.join("aft-arm64.zip")).unwrap();
    let (succeeded, _, said) = account.publish(&["--confirm"]);
    assert!(!succeeded && said.contains("aft-arm64.zip is missing: make layer builds it"), "{said}");
    assert_eq!((said.lines().count(), account.calls().len()), (1, 0));

    account.build("first");
    fs::remove_file(account.folder.join("bin/aws")).unwrap();
    let (succeeded, _, said) = account.publish(&["--confirm"]);
    assert!(!succeeded && said.trim() == "publish-layer: aws is missing: install AWS's CLI", "{said}");
}
