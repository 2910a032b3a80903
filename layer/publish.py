#!/usr/bin/env python3
"""Publishes the layer's zips to AWS, in many regions and for both architectures: `make publish-layer`.

Without --confirm it only prints the commands that it would run, and asks nobody. With it, AWS's CLI runs them one after the other. A zip
that is what a region's newest version of the layer holds already (CodeSha256) is not published again, so that a run that was cut off is
simply started again. The first failure ends it, in one line and with exit code 1. What there is by then is a table on standard output and
published.json beside the zips.
"""

import argparse
import base64
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYBODY = "everybody"


class Failure(Exception):
    """What ends the run, in one line."""


def aws(region, command, *arguments):
    return ["aws", "lambda", command, "--region", region, "--output", "json", *arguments]


def publish_command(region, layer, architecture, archive, version):
    return aws(
        region, "publish-layer-version", "--layer-name", layer, "--description", f"AFT on Lambda {version}",
        "--license-info", "MIT OR Apache-2.0", "--compatible-architectures", architecture, "--zip-file", f"fileb://{archive}",
    )


def permission_command(region, layer, number):
    return aws(
        region, "add-layer-version-permission", "--layer-name", layer, "--version-number", number,
        "--statement-id", EVERYBODY, "--action", "lambda:GetLayerVersion", "--principal", "*",
    )


def ask(command):
    """The answer of AWS's CLI, and what it said if it failed."""
    run = subprocess.run(command, capture_output=True, text=True)
    said = " ".join(run.stderr.split()) or f"exit code {run.returncode}"
    return (json.loads(run.stdout or "{}"), None) if run.returncode == 0 else (None, said)


def run(command):
    answer, said = ask(command)
    if said:
        raise Failure(f"{command[2]} in {command[4]} failed: {said}")
    return answer


def is_public(region, layer, number):
    policy, said = ask(aws(region, "get-layer-version-policy", "--layer-name", layer, "--version-number", number))
    if said and "ResourceNotFoundException" not in said:
        raise Failure(f"get-layer-version-policy in {region} failed: {said}")
    return bool(policy) and any(s["Sid"] == EVERYBODY for s in json.loads(policy["Policy"])["Statement"])


def newest(region, layer):
    """The newest version of the layer: its number, ARN and hash, if it has any."""
    versions = run(aws(region, "list-layer-versions", "--layer-name", layer, "--max-items", "1")).get("LayerVersions")
    if not versions:
        return None
    number = str(versions[0]["Version"])
    content = run(aws(region, "get-layer-version", "--layer-name", layer, "--version-number", number))["Content"]
    return number, versions[0]["LayerVersionArn"], content["CodeSha256"]


def publish(region, layer, architecture, archive, version, public):
    wanted = base64.b64encode(hashlib.sha256(archive.read_bytes()).digest()).decode()
    there = newest(region, layer)
    if there and there[2] == wanted:
        number, arn, state = there[0], there[1], "unchanged"
    else:
        answer = run(publish_command(region, layer, architecture, archive, version))
        number, arn, state = str(answer["Version"]), answer["LayerVersionArn"], "published"
    if public and not is_public(region, layer, number):
        run(permission_command(region, layer, number))
    return {"region": region, "architecture": architecture, "arn": arn, "state": state}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--regions", required=True, help="separated by spaces")
    parser.add_argument("--architectures", default="x86_64 arm64", help="separated by spaces")
    parser.add_argument("--layer", default="aft", help="the layer's name, which the architecture follows")
    parser.add_argument("--zips", type=Path, default=ROOT / "target/layer", help="the folder of aft-<architecture>.zip")
    parser.add_argument("--public", action="store_true", help="every account may use the layer")
    parser.add_argument("--confirm", action="store_true", help="do it")
    options = parser.parse_args()

    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    archives = {architecture: options.zips / f"aft-{architecture}.zip" for architecture in options.architectures.split()}
    for archive in archives.values():
        if not archive.is_file():
            raise Failure(f"{archive} is missing: make layer builds it")
    todo = [(region, f"{options.layer}-{name}", name, zip) for region in options.regions.split() for name, zip in archives.items()]

    if not options.confirm:
        for region, layer, architecture, archive in todo:
            print(shlex.join(publish_command(region, layer, architecture, archive, version)))
            if options.public:
                print(shlex.join(permission_command(region, layer, "VERSION")))
        print("A dry run: nothing was asked of AWS. CONFIRM=yes runs these commands.", file=sys.stderr)
        return

    if not shutil.which("aws"):
        raise Failure("aws is missing: install AWS's CLI")
    published = []
    try:
        for region, layer, architecture, archive in todo:
            published.append(publish(region, layer, architecture, archive, version, options.public))
            print("{region:16}{architecture:8}{state:11}{arn}".format(**published[-1]), flush=True)
    finally:
        (options.zips / "published.json").write_text(json.dumps(published, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"publish-layer: {failure}")
