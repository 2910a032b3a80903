//! What `docs/deploy.md` says of deploying, tried as far as that goes without an account: the block for an application that is
//! there, the outputs that every tool is given, and `sam build`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aft_protocol::settings;
use aft_tests::tools::{repository, tool};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first code block of this section of `docs/deploy.md`.
fn block(section: &str) -> String {
    let document = read("docs/deploy.md");
    let (_, section) = document.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no {section}"));
    let (_, code) = section.split("```").nth(1).unwrap().split_once('\n').unwrap();
    code.to_owned()
}

/// An application that is there, with the block of `docs/deploy.md` put in by hand, as its reader would: in a folder of its own,
/// beside `aft`.
fn application(folder: &str) -> PathBuf {
    let folder = repository().join("target/deploy").join(folder);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(repository(), folder.join("aft")).unwrap();
    let block = block("SAM: an application that you have");
    let (stack, function) = block.split_once("  YourFunction:\n    Properties:\n").unwrap();
    let there = read("tests/sam/application.yaml");
    assert!(there.lines().last().unwrap().starts_with("      "), "the function's properties come last");
    let template = folder.join("template.yaml");
    fs::write(&template, format!("{there}{function}{stack}")).unwrap();
    template
}

fn sam(arguments: &[&str], template: &Path) -> (bool, String) {
    let mut sam = Command::new(tool("sam").join("sam"));
    // What Cargo tells this test of its crate is not to reach the Cargo that `sam build` starts: ring would be built anew.
    let of_cargo = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_cargo(name)) {
        sam.env_remove(name);
    }
    let output = sam.args(arguments).arg("--template").arg(template).current_dir(template.parent().unwrap());
    let output = output.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

/// The names at the first level below this key of `template.yaml`.
fn names_of(section: &str) -> BTreeSet<String> {
    let template = read("template.yaml");
    let (_, lines) = template.split_once(&format!("\n{section}:\n")).unwrap();
    let lines = lines.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    names.filter(|name| !name.starts_with(' ')).map(str::to_owned).collect()
}

/// What stands behind this prefix, up to the next character that no logical name has.
fn named_behind<'a>(text: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    text.split(prefix).skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap())
}

#[test]
fn the_block_for_an_application_that_is_there_is_short_and_valid() {
    let lines = block("SAM: an application that you have").lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 15, "{lines} lines");
    let template = application("validated");
    let (valid, said) = sam(&["validate", "--lint"], &template);
    assert!(valid, "{said}");
    // What says yes to everything would have said yes to this, too.
    let text = fs::read_to_string(&template).unwrap();
    fs::write(&template, text.replace("Layers: ", "Layerss: ")).unwrap();
    let (valid, said) = sam(&["validate", "--lint"], &template);
    assert!(!valid && said.contains("Layerss"), "{said}");
}

/// SAM's linter lets `!GetAtt` of anything pass where an application is nested, and none looks into another stack.
#[test]
fn every_output_that_the_document_uses_is_there() {
    let (outputs, document) = (names_of("Outputs"), read("docs/deploy.md"));
    let block = block("SAM: an application that you have");
    assert_eq!(block.matches("!GetAtt ").count(), block.matches("!GetAtt Aft.Outputs.").count());
    for (prefix, at_least) in [("!GetAtt Aft.Outputs.", 5), ("output('", 5), ("local.aft[\"", 5), ("${cf:aft.", 5)] {
        let named: Vec<_> = named_behind(&document, prefix).collect();
        assert!(named.len() >= at_least, "{prefix}: {named:?}");
        for name in named {
            assert!(outputs.contains(name), "{prefix}{name} is no output of template.yaml");
        }
    }
    for name in outputs.iter().chain(&names_of("Parameters")) {
        assert!(document.contains(&format!("`{name}`")), "{name} of template.yaml is not in docs/deploy.md");
    }
}

#[test]
fn the_templates_retention_is_the_settings() {
    let template = read("template.yaml");
    let (_, parameter) = template.split_once("\n  RetentionSeconds:\n").unwrap();
    let value = |name: &str| named_behind(parameter, &format!("{name}: ")).next().unwrap().to_owned();
    assert_eq!(value("Default"), settings::RETENTION.default);
    assert_eq!(format!("{} to {}", value("MinValue"), value("MaxValue")), settings::RETENTION.allowed);
}

/// The machine that this program is for, by its ELF header.
fn machine(program: &Path) -> &'static str {
    let bytes = fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert_eq!(&bytes[..4], b"\x7fELF", "{}", program.display());
    match bytes[18] {
        0x3e => "x86_64",
        0xb7 => "arm64",
        other => panic!("{}: machine {other:#x}", program.display()),
    }
}

/// `sam build` of an application with AFT nested in it, from the sources by `build-AftLayer` and `build-FaultManager`, and from
/// what a release has built.
#[test]
fn sam_builds_what_the_template_deploys() {
    let here = if cfg!(target_arch = "x86_64") { "x86_64" } else { "arm64" };
    let from_sources = built(&application("built"), here);
    for program in ["AftLayer/extensions/aft-extension", "AftLayer/aft-runtime-shim", "FaultManager/bootstrap"] {
        assert_eq!(machine(&from_sources.join(program)), here, "{program}");
    }
    assert!(from_sources.join("AftLayer/bootstrap").exists());

    let gathered = Command::new("layer/dist.sh").arg(here).current_dir(repository()).output().unwrap();
    assert!(gathered.status.success(), "{}", String::from_utf8_lossy(&gathered.stderr));
    let template = application("released");
    let folder = template.parent().unwrap();
    fs::remove_file(folder.join("aft")).unwrap();
    let archive = repository().join("target/dist/aft-sam.tar.gz");
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).current_dir(folder).status().unwrap();
    assert!(unpacked.success());
    let from_release = built(&template, here);
    let compared = Command::new("diff").arg("-r").args([&from_sources, &from_release]).output().unwrap();
    // The sources of the example are elsewhere, as seen from there; all else is the same.
    let differing = String::from_utf8(compared.stdout).unwrap();
    let lines = differing.lines().filter(|line| line.starts_with(['<', '>', 'O', 'B']));
    assert_eq!(lines.filter(|line| !line.contains("CodeUri: ")).collect::<Vec<_>>(), [""; 0], "{differing}");

    // The parameter alone decides, through the nested stack: with the other value, what lies under the other name is taken.
    let other = if here == "x86_64" { "arm64" } else { "x86_64" };
    fs::rename(folder.join("aft/built").join(here), folder.join("aft/built").join(other)).unwrap();
    let text = fs::read_to_string(&template).unwrap();
    fs::write(&template, text.replace(&format!("Architecture: {here}"), &format!("Architecture: {other}"))).unwrap();
    let (built, said) = sam(&["build"], &template);
    assert!(built && from_release.join("FaultManager/bootstrap").exists(), "{said}");
}

#[test]
fn each_folder_builds_for_its_architecture() {
    for architecture in ["x86_64", "arm64"] {
        let makefile = repository().join(format!("layer/sam/{architecture}/Makefile"));
        for (resource, what) in [("AftLayer", "layer"), ("FaultManager", "fault-manager")] {
            // Where SAM starts it is another folder, a copy of this one.
            let mut make = Command::new("make");
            make.args(["--dry-run", "--makefile"]).arg(&makefile).arg(format!("build-{resource}"));
            let output = make.env("ARTIFACTS_DIR", "/artifacts").current_dir(std::env::temp_dir()).output().unwrap();
            let commands = String::from_utf8(output.stdout).unwrap();
            assert!(commands.contains(&format!("layer/build.sh {what} {architecture}\n")), "{commands}");
            assert!(commands.contains("\"/artifacts\""), "{commands}");
        }
    }
}

/// What `sam build` makes of the nested template.
fn built(template: &Path, architecture: &str) -> PathBuf {
    let text = fs::read_to_string(template).unwrap();
    let parameter = format!("{{ Architecture: {architecture} }}");
    fs::write(template, text.replace("{ Architecture: x86_64 }", &parameter)).unwrap();
    let (built, said) = sam(&["build"], template);
    assert!(built && !said.contains("WARNING"), "{said}");
    let nested = template.with_file_name(".aws-sam").join("build/Aft");
    // The example is not built: the template that is deployed leads to its sources.
    let deployed = fs::read_to_string(nested.join("template.yaml")).unwrap();
    let sources = deployed.lines().filter_map(|line| line.trim().strip_prefix("CodeUri: "));
    let mut sources = sources.map(|path| nested.join(path));
    assert!(sources.any(|path| path.join("app.py").exists()), "{deployed}");
    nested
}
