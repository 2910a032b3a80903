#!/usr/bin/env python3
"""What others wrote and our binaries contain, by Cargo's own account:

  layer/bill.py sbom FOLDER     CycloneDX 1.6, a file for the layer and one for the fault manager: `make sbom`
  layer/bill.py notices         the notices that their licences ask for: layer/THIRD-PARTY.txt

Of both architectures; without build scripts, procedural macros and tests, which are not in a binary. The same Cargo.lock gives the same
bytes: there is neither a time nor a random number in them.
"""

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"layer": ["aft-extension", "aft-runtime-shim"], "fault-manager": ["aft-fault-manager"]}
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
LOCK = {(p["name"], p["version"]): p for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
APACHE = "Apache-2.0"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tree(programs):
    """Each crate (name, version) with its licence, and the crates that it depends on."""
    licences, edges = {}, {}
    for target in TARGETS:
        packages = [argument for program in programs for argument in ("-p", program)]
        lines = cargo(
            "tree", *packages, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "|{p}|{l}|"
        )
        above = []
        for depth, crate, licence in re.findall(r"^(\d+)\|(\S+ v[^\s|]+)[^|]*\|([^|]*)\|", lines, re.M):
            name, version = crate.split(" v")
            crate = (name, version)
            # "/" is what "OR" was once written as.
            licences[crate] = " OR ".join(re.split(r"\s*/\s*", licence))
            del above[int(depth):]
            if above:
                edges.setdefault(above[-1], set()).add(crate)
            above.append(crate)
    return licences, edges


def is_of_others(crate):
    return "checksum" in LOCK[crate]


def reference(crate):
    """A package URL for what is on crates.io, as our own crates are not."""
    return ("pkg:cargo/{}@{}" if is_of_others(crate) else "{}@{}").format(*crate)


def component(crate, licence):
    made = {"type": "library", "bom-ref": reference(crate), "name": crate[0], "version": crate[1]}
    made["licenses"] = [{"expression": licence}]
    if is_of_others(crate):
        made |= {"hashes": [{"alg": "SHA-256", "content": LOCK[crate]["checksum"]}], "purl": reference(crate)}
    return made


def sbom(what):
    licences, edges = tree(PROGRAMS[what])
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    whole = {"type": "application", "bom-ref": f"aft-{what}", "name": f"aft-{what}", "version": version}
    whole["licenses"] = [{"expression": "MIT OR Apache-2.0"}]
    programs = [crate for crate in licences if crate[0] in PROGRAMS[what]]
    dependencies = [{"ref": whole["bom-ref"], "dependsOn": sorted(map(reference, programs))}]
    dependencies += [{"ref": reference(c), "dependsOn": sorted(map(reference, edges.get(c, ())))} for c in sorted(licences)]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": whole},
        "components": [component(crate, licences[crate]) for crate in sorted(licences)],
        "dependencies": dependencies,
    }
    # Made of what it says, so that another run says the same.
    return bill | {"serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill)).urn}


def packages():
    """What each crate says of itself, and where its sources are."""
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    return {(package["name"], package["version"]): package for package in metadata["packages"]}


def texts(folder, pattern):
    files = sorted(path for path in folder.iterdir() if re.match(pattern, path.name, re.I) and path.is_file())
    return ["\n".join(line.rstrip() for line in path.read_text(errors="replace").splitlines()).strip() for path in files]


def licence_of(package):
    """The licences in a crate's sources; where its authors forgot the file, the text that its Cargo.toml names."""
    own = texts(Path(package["manifest_path"]).parent, r"(LICEN[CS]E|COPYING|COPYRIGHT|UNLICENSE)(?!.*APACHE)")
    if not own and package["license"] == "MIT":
        _, terms = (ROOT / "LICENSE-MIT").read_text().split("The AFT on Lambda authors\n")
        by = ", ".join(package["authors"]) or "its authors"
        own = [f"MIT License\n\nCopyright (c) {by} ({package['repository']})\n{terms}".strip()]
    if not own:
        sys.exit(f"{package['name']} ({package['license']}) has no licence in its package: layer/bill.py cannot repeat it")
    return own


def notices():
    """Whatever may be had under the Apache License is taken under it, whose text is enough for all; others bring their own."""
    licences, _ = tree(sum(PROGRAMS.values(), []))
    known, others, apache, kept = packages(), {}, [], {}
    for crate, licence in sorted(licences.items()):
        if not is_of_others(crate):
            continue
        for notice in texts(Path(known[crate]["manifest_path"]).parent, r"NOTICE"):
            kept.setdefault(notice, []).append("{} {}".format(*crate))
        # "A AND B" asks for both, so that the alternative does not cover it.
        if APACHE in re.split(r"\s+OR\s+", licence) or licence == APACHE:
            apache.append("{} {}".format(*crate))
            continue
        for text in licence_of(known[crate]):
            others.setdefault(text, []).append("{} {} ({})".format(*crate, licence))
    rule = "=" * 100
    yield "What others wrote and the programs of AFT on Lambda contain. Made by layer/bill.py; do not edit."
    yield "Rust's standard library, under the Apache License, too: The Rust Project Developers."
    yield "\nUnder the Apache License, Version 2.0, which is in LICENSE-APACHE:\n"
    yield textwrap.fill(", ".join(apache), 100, break_on_hyphens=False)
    for group, heading in ((kept, "Notice of"), (others, "Licence of")):
        for text, crates in group.items():
            yield f"\n{rule}\n{textwrap.fill(f'{heading} ' + ', '.join(crates), 100, break_on_hyphens=False)}\n{rule}\n\n{text}"


def main():
    match sys.argv[1:]:
        case ["sbom", folder]:
            for what in PROGRAMS:
                path = Path(folder) / f"aft-{what}.cdx.json"
                os.makedirs(folder, exist_ok=True)
                path.write_text(json.dumps(sbom(what), indent=1) + "\n")
                print(path)
        case ["notices"]:
            print("\n".join(notices()))
        case _:
            sys.exit("usage: layer/bill.py sbom FOLDER | notices")


if __name__ == "__main__":
    main()
