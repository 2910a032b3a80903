#!/usr/bin/env python3
"""What `peers` measured, as Markdown: the targets, and for every workload its figure and its tables.

  bench/peers/report.py FILE.json [--scale SCALE.json]      docs/bench/README.md, on standard output: `make bench-peers`

The same input gives the same text. Here is also what the tables and the figures (plot.py) must agree on: which systems, storages and
workloads there are, in which order, and which figure shows which rows.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple


class Workload(NamedTuple):
    name: str
    title: str
    # What `x` counts.
    x: str
    # What a request does, and where the workload comes from.
    about: str


WORKLOADS = [
    Workload("writes", "Blind writes", "keys written", "A request writes so many keys and reads none (AFT's paper, Figure 2)."),
    Workload("writes-beside-work", "Blind writes by a handler that works", "keys written", "The same by a handler that works for 10 ms before it writes."),
    Workload("end-to-end", "AFT's end-to-end workload", "Zipf exponent",
             "A request calls two functions, one after the other, each of which reads two keys and writes one (AFT's paper, Figure 3). With this project each call is a transaction of its own: anomalies *across* are what a request saw in both."),
    Workload("one-function", "The same work in one function", "Zipf exponent",
             "Four reads and two writes in one invocation: the end-to-end work as one transaction."),
    Workload("skew", "Skewed keys", "Zipf exponent",
             "Four reads and two writes in one function, on keys that are the hotter, the larger the exponent (AFT's paper, Figure 4). An abort is an attempt that was cancelled because others were in the way, and that was made again."),
    Workload("reads", "Share of reads", "reads, percent", "Of ten operations of one function so many percent are reads, and then come the writes (AFT's paper, Figure 5)."),
    Workload("functions", "Number of functions", "functions", "A request calls so many functions, one after the other, each of which reads two keys and writes one (AFT's paper, Figure 6)."),
    Workload("sandboxes", "Number of sandboxes", "sandboxes", "So many sandboxes, each kept busy by a client of its own, up to the limits of this machine; two reads and a write in each request."),
    Workload("duplicates", "Duplicates", "duplicates, percent", "A request adds one to two numbers, and so many percent of the requests are delivered twice, half of these while the first delivery runs. *Ran again* is the share of the duplicates that added twice, as the numbers say afterwards."),
    Workload("failures", "Failures", "failures, percent",
             "Four reads and two writes; so many percent of the attempts end with their process, before any operation or after the last. Without this project the caller sends the request again. An anomaly is a request that saw part of another one's writes."),
]

# In the order of every table and every legend: the bare minimum, what one writes without a library, the library, this project.
SYSTEMS = {
    "empty function": "does nothing: what Lambda itself takes",
    "plain writes, sequential": "`PutItem` after `PutItem`; neither atomic nor idempotent",
    "BatchWriteItem": "one request, not atomic, not idempotent",
    "TransactWriteItems": "one atomic request with a client token",
    "AFT as published": "the paper's request pattern: the versions, then the commit record. Implemented in this benchmark, not its authors' program",
    "plain writes, Python": "the first in Python, to compare the next with",
    "Powertools and plain writes, Python": "the idempotency of Powertools for AWS Lambda, the library itself, around plain writes; not atomic",
    "this project, visible": "`AFT_ACK=visible`: answers when every key is visible",
    "this project, durable": "`AFT_ACK=durable`: answers when the commit record is durable",
    "this project, durable, no look-ups": "the same with `AFT_WRITE_LOOK_UP=false`: clocks are trusted, as AFT as published trusts them",
    "this project, durable, cached reads": "durable, and reads may be a minute old, out of the sandbox's cache",
}

STORAGES = {
    "DynamoDB Local, model": "DynamoDB Local behind the latency model",
    "embedded, model": "embedded engine behind the latency model",
    "DynamoDB Local": "DynamoDB Local, bare",
    "embedded": "embedded engine, bare",
}


class Column(NamedTuple):
    heading: str
    field: str
    digits: int
    # What 0 means: not measured, or not there.
    zero_is_none: bool = False


COLUMNS = [
    Column("p50 ms", "p50", 2),
    Column("p99 ms", "p99", 2),
    Column("sandbox free, p50 ms", "free_p50", 2, True),
    Column("beside the storage, p50 ms", "beside_p50", 2, True),
    Column("per second", "per_second", 1),
    Column("round trips", "round_trips", 1),
    Column("storage requests", "storage_requests", 1),
    Column("write units", "write_units", 1),
    Column("read units", "read_units", 1),
    Column("KB on the wire", "wire_kilobytes", 1),
    Column("extension µs", "extension_micros", 0, True),
    Column("shim µs", "shim_micros", 0, True),
    Column("overran %", "overran_percent", 1),
    Column("anomalies %", "anomalies", 2),
    Column("across %", "anomalies_across", 2),
    Column("aborts", "aborts", 2),
    Column("ran again %", "ran_again", 1),
    Column("useful per 1,000 units", "useful", 1, True),
    Column("$ per million", "dollars", 3),
]


class Malformed(Exception):
    """The file is not what `peers` writes."""


class Measured:
    """What a run measured; of the model of larger scale, what it computed."""

    def __init__(self, run, scale=None):
        self.run = run
        self.scale = scale
        order = [workload.name for workload in WORKLOADS]
        for row in run["rows"]:
            for field, known, where in [("workload", order, "WORKLOADS"), ("system", SYSTEMS, "SYSTEMS"), ("storage", STORAGES, "STORAGES")]:
                if row[field] not in known:
                    raise Malformed(f"the {field} {row[field]!r} is not known: add it to {where} in bench/peers/report.py")
            row["wire_kilobytes"] = row.get("wire_bytes", 0) / 1e3
            # Of other workloads it says nothing that the units do not say.
            row["useful"] = useful(row) if row["workload"] == "failures" else 0
            # One function has nothing across.
            if row["workload"] not in ("end-to-end", "functions"):
                row.pop("anomalies_across", None)
        systems, storages = list(SYSTEMS), list(STORAGES)
        self.rows = sorted(
            run["rows"],
            key=lambda row: (order.index(row["workload"]), row["bytes"], storages.index(row["storage"]), row["x"], systems.index(row["system"])),
        )

    @classmethod
    def read(cls, path, scale=None):
        try:
            return cls(json.loads(Path(path).read_text()), scale and json.loads(Path(scale).read_text()))
        except (KeyError, json.JSONDecodeError) as error:
            raise Malformed(f"this is not what peers writes: {error!r}") from error

    def figures(self):
        """Every figure: its file's name without extension, the workload, and the rows that it shows."""
        found = []
        for workload in WORKLOADS:
            rows = [row for row in self.rows if row["workload"] == workload.name]
            sizes = values(rows, "bytes")
            for size in sizes:
                name = workload.name if len(sizes) == 1 else f"{workload.name}-{size}"
                found.append((name, workload, [row for row in rows if row["bytes"] == size]))
        return found

    def costs(self):
        """The rows whose price is drawn: blind writes on one storage. The embedded engine counts the units of transactions as DynamoDB does."""
        for storage in ["embedded, model", "embedded", "DynamoDB Local, model", "DynamoDB Local"]:
            rows = [row for row in self.rows if row["workload"] == "writes" and row["storage"] == storage and row.get("dollars")]
            if rows:
                return rows
        return []

    def circumstances(self):
        """Machine, date, seed and model, in one line."""
        machine = self.run["machine"]
        return " · ".join([
            f"{machine['processor']}, {counted(machine['processors'], 'processor')}, {machine['memory_bytes'] / 1e9:.0f} GB, Linux {machine['kernel']}",
            self.run["date"],
            *seed_and_model(self.run),
        ])

    def assumptions(self):
        """What the model of larger scale was given, in one line."""
        return " · ".join(["computed, not measured", *seed_and_model(self.scale)])


def seed_and_model(run):
    parts = [f"seed {run['seed']}"]
    model = run.get("model")
    if model:
        parts.append(f"latency model (median/p99 ms): one item {model['one']}, 5 {model['five']}, 10 {model['ten']}, transactional writes {model['transaction']:g}×")
    return parts


def useful(row):
    """Answered requests for 1,000 units of storage, reads and writes."""
    units = row.get("write_units", 0) + row.get("read_units", 0)
    return 1000 / units if units else 0


def values(rows, field):
    """The values that a field has, in their order."""
    return sorted({row[field] for row in rows})


def known(rows, field, order):
    """The names that a field has, in the order of `order`."""
    found = {row[field] for row in rows}
    return [name for name in order if name in found]


def counted(number, what):
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def cell(row, column):
    value = row.get(column.field, 0)
    return "" if column.zero_is_none and not value else f"{value:,.{column.digits}f}"


def of_rows(workload, rows):
    """The table of one storage and size. What is zero in all of its rows is left out."""
    columns = [column for column in COLUMNS if any(row.get(column.field) for row in rows)]
    return table(
        [workload.x, "system", *(column.heading for column in columns)],
        [[f"{row['x']:g}", row["system"], *(cell(row, column) for column in columns)] for row in rows],
    )


def of_targets(targets):
    lines = []
    for target in targets:
        sign = "≤" if target["at_most"] else "≥"
        lines.append([target["what"], f"{sign} {target['limit']:g}", f"{target['found']:.2f}", "met" if target["met"] else "**missed**"])
    return table(["target", "limit", "found", ""], lines)


def of_records(records):
    """A table of objects whose fields are not known here, in the order in which they appear."""
    fields = list(dict.fromkeys(field for record in records for field in record if field != "workload"))
    headings = [field.replace("_", " ") for field in fields]
    return table(headings, [[plain(record.get(field, "")) for field in fields] for record in records])


def plain(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def figure(name, title):
    return f"[![{title}]({name}.svg)]({name}.svg)\n"


def details(summary, body):
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def of_workload(measured, workload, figures):
    parts = [f"## {workload.title}\n", f"{workload.about}\n"]
    for name, _, rows in figures:
        size = f", values of {rows[0]['bytes']:,} bytes"
        parts.append(figure(name, workload.title + size))
        for storage in known(rows, "storage", STORAGES):
            of_storage = [row for row in rows if row["storage"] == storage]
            requests, clients = values(of_storage, "requests"), values(of_storage, "clients")
            much = f"{spread(requests)} requests in each row, {spread(clients)} client{'' if clients == [1] else 's'}"
            parts.append(details(f"{STORAGES[storage]}{size}: {much}", of_rows(workload, of_storage)))
    if workload.name == "writes" and measured.costs():
        parts.append("What that costs:\n")
        parts.append(figure("cost", "Dollars for a million requests of blind writes"))
    return parts


def spread(numbers):
    low, high = numbers[0], numbers[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def of_scale(measured):
    scale = measured.scale
    parts = ["## Paper scale\n", "A discrete-event model of many sandboxes on DynamoDB's published partition limits, calibrated against the rows above.\n", f"{measured.assumptions().capitalize()}.\n"]
    if any(row.get("per_second") for row in scale["rows"]):
        parts.append(figure("scale", "Throughput of the model against sandboxes"))
    parts.append(details("What the model computes", of_records(scale["rows"])))
    calibration = scale.get("calibration")
    if calibration:
        records = calibration if isinstance(calibration, list) else [{"what": what, "value": value} for what, value in calibration.items()]
        parts.append("The model against what was measured:\n")
        parts.append(of_records(records))
    return parts


def document(measured):
    """docs/bench/README.md."""
    run = measured.run
    machine = run["machine"]
    versions = ", ".join(f"{name} {str(version).removeprefix(name + ' ')}" for name, version in run["versions"].items())
    prices = ", ".join(f"{name} ${price:g}" for name, price in run.get("prices", {}).items())
    parts = [
        "# Side by side\n",
        "<!-- Written by bench/peers/report.py out of peers.json. -->\n",
        "```sh\nmake bench-peers\n```\n",
        "Every system does the same work on the same storage in one run. [peers.json](peers.json) has every figure; all that is below is made of it.\n",
        f"{measured.circumstances()}.\n",
        f"Versions: {versions}. Load of the machine at the start: {machine['load_at_start']:g}." + (f" Prices of a million units: {prices}.\n" if prices else "\n"),
    ]
    if run.get("targets"):
        met = sum(target["met"] for target in run["targets"])
        parts += ["## Targets\n", f"Ratios and differences within this run: {met} met, {len(run['targets']) - met} missed.\n", of_targets(run["targets"])]
    systems = known(measured.rows, "system", SYSTEMS)
    parts += [
        "## How to read it\n",
        table(["system", "what it does"], [[name, SYSTEMS[name]] for name in systems]),
        "* Times are those of the caller, in milliseconds, the local Lambda's own included: what the *empty function* takes is in every row. *Sandbox free* is when the sandbox can take the next request.\n"
        "* Behind the latency model every request to the engine takes as long as DynamoDB would by the model; *overran* says how many took the engine longer than that. Such a row shows this machine, not the model.\n"
        "* *Round trips* are requests one after the other; *storage requests* are all of them. These, units and bytes are the mean of a request; microseconds are processor time.\n"
        "* The embedded engine counts the units of transactions as DynamoDB does: the figure of costs is made of its rows, if there are any.\n"
        "* Dollars are for the storage's requests only. What is zero in a whole table is left out of it.\n"
        "* Quote ratios of one run. The same machine may be twice as fast or slow at another time.\n",
    ]
    figures = measured.figures()
    for workload in WORKLOADS:
        of_this = [each for each in figures if each[1] == workload]
        if of_this:
            parts += of_workload(measured, workload, of_this)
    if measured.scale:
        parts += of_scale(measured)
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="What peers measured, as Markdown.")
    parser.add_argument("file", help="what peers wrote")
    parser.add_argument("--scale", help="what the model of larger scale computed")
    arguments = parser.parse_args()
    try:
        print(document(Measured.read(arguments.file, arguments.scale)), end="")
    except Malformed as error:
        sys.exit(f"{arguments.file}: {error}")


if __name__ == "__main__":
    main()
