"""What docs/bench has: by a name of its own, because it does not hold while `make bench-peers` is at work."""

import json
import unittest
from pathlib import Path

import report
from report import Measured, document


class Published(unittest.TestCase):
    DIRECTORY = Path(report.__file__).resolve().parents[2] / "docs" / "bench"

    def read(self, name):
        return json.loads((self.DIRECTORY / name).read_text())

    def test_the_document_is_made_of_the_figures(self):
        measured = Measured(self.read("peers.json"), self.read("scale.json"))
        self.assertEqual(document(measured).rstrip(), (self.DIRECTORY / "README.md").read_text().rstrip())

    def test_who_has_no_extension_and_no_shim_has_no_time_of_theirs(self):
        """The first run gave the process of each function without the layer as a shim: it is what Lambda starts there."""
        for row in self.read("peers.json")["rows"]:
            is_ours = row["system"].startswith("this project")
            self.assertEqual((row["extension_micros"] > 0, row["shim_micros"] > 0), (is_ours, is_ours), row["system"])


if __name__ == "__main__":
    unittest.main()
