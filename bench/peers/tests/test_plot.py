"""The figures, out of made-up figures. Needs matplotlib: `make bench-peers` runs this before it draws."""

import tempfile
import unittest
from pathlib import Path

import made_up
import plot
from PIL import Image
from report import STORAGES, SYSTEMS, WORKLOADS, Measured, document


def drawn(run, scale=None):
    """Every file by its name."""
    with tempfile.TemporaryDirectory() as folder:
        plot.draw(Measured(run, scale), Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class Figures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = drawn(made_up.run(), made_up.scale())

    def test_the_same_input_gives_the_same_bytes(self):
        again = drawn(made_up.run(), made_up.scale())
        self.assertEqual(sorted(again), sorted(self.files))
        for name, content in self.files.items():
            self.assertTrue(content == again[name], name)

    def test_they_are_those_that_the_document_shows(self):
        text = document(Measured(made_up.run(), made_up.scale()))
        shown = {line.split("](")[1].split(")")[0] for line in text.splitlines() if line.startswith("[![")}
        self.assertEqual({name for name in self.files if name.endswith(".svg")}, shown)
        self.assertEqual({name for name in self.files if name.endswith(".png")}, {name.replace(".svg", ".png") for name in shown})

    def test_text_is_text_and_the_storages_machine_and_seed_are_in_it(self):
        for name, content in self.files.items():
            if name.endswith(".svg"):
                text = content.decode()
                self.assertIn("AMD EPYC 7R13, 2 processors" if name != "scale.svg" else "computed, not measured", text, name)
                self.assertIn("seed 1", text, name)
                self.assertIn(" ms" if name != "cost.svg" else "dollars per million requests", text, name)
        for storage in STORAGES.values():
            self.assertIn(f"{storage[1:]}</text>", self.files["writes-400.svg"].decode())

    def test_every_system_is_named_in_every_figure_of_a_workload(self):
        for name, content in self.files.items():
            if name.endswith(".svg") and name not in ("cost.svg", "scale.svg"):
                for system in SYSTEMS:
                    self.assertIn(f">{system}</text>", content.decode(), name)

    def test_pictures_are_small_and_twice_as_large_as_a_page_shows_them(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                if name.endswith(".png"):
                    self.assertLess(len(content), 150_000, name)
                    path = Path(folder) / name
                    path.write_bytes(content)
                    with Image.open(path) as image:
                        self.assertEqual(image.width, 1760, name)

    def test_what_is_missing_is_not_drawn(self):
        for workload in WORKLOADS:
            with self.subTest(workload.name):
                files = drawn(made_up.run([workload.name], ["empty function", "this project, durable"], ["embedded"]))
                names = {name.removesuffix(".svg").removesuffix(".png") for name in files}
                expected = {"writes-400", "writes-4096", "cost"} if workload.name == "writes" else {workload.name}
                self.assertEqual(names, expected)
                self.assertNotIn("TransactWriteItems", b"".join(content for name, content in files.items() if name.endswith(".svg")).decode())
        self.assertEqual(drawn(made_up.run([])), {})

    def test_this_project_is_blue_and_nothing_else_is(self):
        for system, colour in plot.COLOURS.items():
            red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
            self.assertEqual(blue > 1.2 * red and blue > 1.2 * green, system.startswith("this project"), system)
        self.assertEqual(list(plot.COLOURS), list(SYSTEMS))


if __name__ == "__main__":
    unittest.main()
