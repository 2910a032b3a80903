"""The document, out of made-up figures."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import made_up
import report
from report import Malformed, Measured, document

REPORT = Path(report.__file__)

# Two systems, one of which is this project, of one storage.
TABLE = """\
| keys written | system | p50 ms | p99 ms | sandbox free, p50 ms | per second | round trips | storage requests | write units | KB on the wire | extension µs | shim µs | $ per million |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
| 2 | TransactWriteItems | 7.84 | 14.90 |  | 1,124.4 | 2.4 | 2.4 | 4.0 | 1.4 |  |  | 2.500 |
| 2 | this project, durable | 3.81 | 9.14 | 4.81 | 256.1 | 1.1 | 1.1 | 3.0 | 1.4 | 310 | 120 | 1.875 |
"""

TARGETS = """\
## Targets

Ratios and differences within this run: 1 met, 1 missed.

| target | limit | found |  |
|---|---|---|---|
| 10 writes, durable, to TransactWriteItems | ≤ 0.5 | 0.53 | **missed** |
| 10 writes end to end, plain sequential to visible | ≥ 4 | 5.21 | met |
"""

CIRCUMSTANCES = (
    "AMD EPYC 7R13, 2 processors, 8 GB, Linux 6.18.0 · 2026-11-27 · seed 1 · "
    "latency model (median/p99 ms): one item 3/5.5, 5 4.7/11.7, 10 6.8/15.2, transactional writes 2×"
)


def of(rows, scale=None):
    run = made_up.run([])
    run["rows"] = rows
    return Measured(run, scale)


class Tables(unittest.TestCase):
    def two(self):
        # Not in the order of the tables.
        rows = [made_up.row("writes", "embedded, model", system, 2, 400) for system in ["this project, durable", "TransactWriteItems"]]
        rows[1]["per_second"] = 1124.36
        return rows

    def test_a_table_has_a_row_for_each_system_and_no_column_of_zeros(self):
        self.assertIn(TABLE, document(of(self.two())))

    def test_a_column_is_there_once_a_row_has_something_in_it(self):
        rows = self.two()
        rows[0]["overran_percent"] = 0.04
        text = document(of(rows))
        self.assertIn("shim µs | overran % | $ per million |", text)
        self.assertIn("| 310 | 120 | 0.0 | 1.875 |", text)

    def test_a_field_that_is_not_there_is_as_zero(self):
        rows = self.two()
        for row in rows:
            del row["overran_percent"], row["shim_micros"]
        self.assertNotIn("shim", document(of(rows)))

    def test_storages_and_sizes_have_a_table_each(self):
        text = document(Measured(made_up.run(["writes"], ["BatchWriteItem"], ["embedded", "DynamoDB Local, model"])))
        summaries = [line for line in text.splitlines() if "<summary>" in line]
        expected = [
            f"<details><summary>{storage}, values of {size} bytes: 200 requests in each row, 1 client</summary>"
            for size in ["400", "4,096"]
            for storage in ["DynamoDB Local behind the latency model", "embedded engine, bare"]
        ]
        self.assertEqual(summaries, expected)

    def test_useful_work_is_answers_for_a_thousand_units(self):
        row = made_up.row("failures", "embedded", "TransactWriteItems", 10)
        row["write_units"], row["read_units"] = 12.0, 4.0
        text = document(of([row]))
        self.assertIn("| useful per 1,000 units |", text)
        self.assertIn("| 62.5 |", text)
        self.assertNotIn("useful per", document(of([row | {"workload": "reads"}])))


class Whole(unittest.TestCase):
    def test_what_is_missed_is_said_as_plainly_as_what_is_met(self):
        self.assertIn(TARGETS, document(Measured(made_up.run(["writes"]))))

    def test_machine_date_seed_and_model_are_named(self):
        measured = Measured(made_up.run())
        self.assertEqual(measured.circumstances(), CIRCUMSTANCES)
        self.assertIn(CIRCUMSTANCES, document(measured))
        self.assertIn("Versions: this project 0.1.0 (a1b2c3d), dynamodb-local 3.3.1. Load of the machine at the start: 0.3.", document(measured))

    def test_without_a_model_there_is_none(self):
        run = made_up.run(["writes"])
        run["model"] = None
        self.assertNotIn("latency model (median", document(Measured(run)))

    def test_only_what_was_measured_is_there(self):
        headings = [line for line in document(Measured(made_up.run(["skew", "failures"]))).splitlines() if line.startswith("## ")]
        self.assertEqual(headings, ["## Targets", "## How to read it", "## Skewed keys", "## Failures"])
        self.assertNotIn("embedded,", document(Measured(made_up.run(["skew"], storages=["embedded"]))))

    def test_every_workload_has_its_figure(self):
        text = document(Measured(made_up.run(), made_up.scale()))
        figures = ["writes-400", "writes-4096", "cost", "writes-beside-work", "end-to-end", "one-function", "skew", "reads", "functions", "sandboxes", "duplicates", "failures", "scale"]
        self.assertEqual([line.split("](")[1].split(")")[0] for line in text.splitlines() if line.startswith("[![")], [f"{name}.svg" for name in figures])

    def test_the_model_of_larger_scale_has_all_its_fields(self):
        text = document(Measured(made_up.run(["writes"]), made_up.scale()))
        heading = "| system | x | skew | bytes | partitions | per second | p50 | p99 | throttled |\n|---|---|---|---|---|---|---|---|---|\n"
        self.assertIn(heading + "| this project, visible | 1 | 1 | 400 | 0 | 45 | 22.5 | 31 | 0 |\n", text)
        self.assertIn("| embedded, model | this project, visible | 2 | 4,096 | 1.25 | 10.8 | 10.5 | -2.4 | 184 | 190 | 3.3 |\n", text)

    def test_the_order_of_rows_does_not_matter(self):
        run = made_up.run()
        turned = copy.deepcopy(run)
        turned["rows"].reverse()
        self.assertEqual(document(Measured(run)), document(Measured(turned)))

    def test_an_unknown_system_is_refused_and_where_to_add_it_is_said(self):
        row = made_up.row("writes", "embedded", "BatchWriteItem", 1) | {"system": "another"}
        with self.assertRaisesRegex(Malformed, r"the system 'another' is not known: add it to SYSTEMS in bench/peers/report\.py"):
            of([row])


class Script(unittest.TestCase):
    def run_with(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "peers.json"
            path.write_text(text)
            return subprocess.run([sys.executable, REPORT, path], capture_output=True, text=True)

    def test_it_prints_the_document(self):
        run = made_up.run(["duplicates"])
        self.assertEqual(self.run_with(json.dumps(run)).stdout, document(Measured(run)))

    def test_what_is_no_such_file_is_said_in_one_line(self):
        for text in ["{", "{}", json.dumps({"rows": [{}]})]:
            done = self.run_with(text)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\A.*peers\.json: this is not what peers writes: .*\n\Z")


if __name__ == "__main__":
    unittest.main()
