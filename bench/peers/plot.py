#!/usr/bin/env python3
"""The figures of what `peers` measured, as SVG and PNG: `make bench-peers`.

  $(tests/tools.sh matplotlib)/bin/python bench/peers/plot.py FILE.json DIRECTORY [--scale SCALE.json]

The same input gives the same bytes. What is not in the file is not drawn. Which rows a figure shows is decided in report.py, where
the document that shows the figures is made.
"""

import argparse
import logging
import math
import os
import sys
import textwrap
from pathlib import Path

# The home is left alone. Before matplotlib is imported, which reads it.
os.environ.setdefault("MPLCONFIGDIR", str(Path(sys.prefix) / "state"))

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator
from PIL import Image

from report import STORAGES, SYSTEMS, Malformed, Measured, known, values

# Okabe and Ito's palette, which the colour-blind tell apart: this project is blue, nothing else is.
COLOURS = {
    "empty function": "#d0d0d0",
    "plain writes, sequential": "#999999",
    "BatchWriteItem": "#4d4d4d",
    "TransactWriteItems": "#d55e00",
    "AFT as published": "#e69f00",
    "plain writes, Python": "#e8c9d9",
    "Powertools and plain writes, Python": "#cc79a7",
    "this project, visible": "#56b4e9",
    "this project, durable": "#0072b2",
    "this project, durable, no look-ups": "#5b7fd6",
    "this project, durable, cached reads": "#003a5c",
}
# And without colours.
MARKERS = dict(zip(SYSTEMS, [".", "s", "D", "^", "v", "P", "X", "o", "o", "d", "h"], strict=True))

INK, QUIET, ALARM = "#222222", "#666666", "#b03a00"
WIDTH = 10  # inches; everything else is in inches, too
PANEL = 2.6
LEGEND_COLUMNS = 4
NO_BREAK = "\N{NO-BREAK SPACE}"
ROW = 0.155

STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    # What is drawn here, and what a reader of the SVG has instead: of nearly the same width.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "normal",
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "aft",
}


class Figure:
    """Panels under a title, with one legend between them and one line of circumstances below."""

    def __init__(self, title, footnote, rows, columns, entries=(), panel=PANEL, **axes):
        legend_rows = math.ceil(len(entries) / LEGEND_COLUMNS)
        top, bottom = 0.42 + ROW * legend_rows + (0.1 if legend_rows else 0), 0.3
        height = top + rows * panel + bottom
        self.figure, self.axes = pyplot.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **axes)
        self.figure.set_layout_engine("constrained", rect=(0.005, bottom / height, 0.99, 1 - (top + bottom) / height), wspace=0.04, hspace=0.05)
        self.figure.text(0.012, 1 - 0.13 / height, title, va="top", fontsize=12, fontweight="bold")
        self.figure.text(0.012, 0.1 / height, footnote, va="bottom", fontsize=6.8, color=QUIET)
        if entries:
            # By rows, as they are read; matplotlib fills columns.
            by_rows = [entries[at] for column in range(LEGEND_COLUMNS) for at in range(column, len(entries), LEGEND_COLUMNS)]
            self.figure.legend(
                handles=by_rows, loc="upper left", bbox_to_anchor=(0.012, 1 - 0.4 / height), ncols=min(LEGEND_COLUMNS, len(entries)),
                columnspacing=1.6, handlelength=1.6, borderaxespad=0, borderpad=0, labelspacing=0.35,
            )

    def settle(self):
        """The solver behind the layout goes through its variables by their addresses: the last bits of its result are another each time."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        for axes in self.axes.flat:
            axes.set_position([round(side, 4) for side in axes.get_position().bounds])

    def save(self, directory, name):
        self.settle()
        svg, png = directory / f"{name}.svg", directory / f"{name}.png"
        self.figure.savefig(svg, metadata={"Date": None, "Creator": None})
        # Twice what a page shows; flat colours need no more than a palette.
        self.figure.set_dpi(176)
        self.figure.canvas.draw()
        pixels = Image.frombuffer("RGBA", self.figure.canvas.get_width_height(), self.figure.canvas.buffer_rgba()).convert("RGB")
        pixels.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(png, optimize=True)
        pyplot.close(self.figure)
        return [svg, png]


def patches(systems):
    return [Patch(color=COLOURS[system], label=system) for system in systems]


def lines(systems):
    return [Line2D([], [], color=COLOURS[system], marker=MARKERS[system], label=system) for system in systems]


def of_system(rows, system):
    return [row for row in rows if row["system"] == system]


def title_of(workload, rows):
    """With the size of values, and the storage if there is only one: else the panels name it."""
    storages = known(rows, "storage", STORAGES)
    of_one = f", {STORAGES[storages[0]]}" if len(storages) == 1 else ""
    return f"{workload.title}, values of {rows[0]['bytes']:,} bytes{of_one}"


def name_of(storage):
    return STORAGES[storage][0].upper() + STORAGES[storage][1:]


def panels_by_storage(rows):
    return [(storage, [row for row in rows if row["storage"] == storage]) for storage in known(rows, "storage", STORAGES)]


def grouped_bars(axes, rows, height, label, whisker=None):
    """Bars of each system beside those of the others, for every x; whiskers reach up to another field."""
    systems, groups = known(rows, "system", SYSTEMS), values(rows, "x")
    width = 0.84 / len(systems)
    for at, system in enumerate(systems):
        for row in of_system(rows, system):
            centre = groups.index(row["x"]) + (at - (len(systems) - 1) / 2) * width
            axes.bar(centre, row.get(height, 0), width * 0.9, color=COLOURS[system], linewidth=0)
            if whisker:
                axes.plot([centre, centre], [row[height], row[whisker]], color=INK, linewidth=0.7, solid_capstyle="butt")
                axes.plot([centre - width * 0.25, centre + width * 0.25], [row[whisker]] * 2, color=INK, linewidth=0.7, solid_capstyle="butt")
    if whisker:
        cut(axes, rows, groups, systems, width, height, whisker)
    axes.set_xticks(range(len(groups)), [f"{x:g}" for x in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)


def cut(axes, rows, groups, systems, width, height, whisker):
    """Whiskers that would make everything else small end at the edge, with their figure."""
    reach, highest = sorted(row[whisker] for row in rows), max(row[height] for row in rows)
    limit = reach[-1] if reach[-1] <= 4 * highest else max(highest, *(end for end in reach if end <= 2.5 * highest))
    axes.set_ylim(top=limit * 1.06)
    for at, system in enumerate(systems):
        for row in of_system(rows, system):
            if row[whisker] > limit:
                centre = groups.index(row["x"]) + (at - (len(systems) - 1) / 2) * width
                axes.annotate(
                    number(row[whisker]), (centre, 1), xycoords=("data", "axes fraction"), xytext=(0, -1), textcoords="offset points",
                    ha="right", va="top", rotation=90, fontsize=6.5, color=INK,
                )


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def lines_of(axes, rows, field, label):
    """A line of each system over x."""
    for system in known(rows, "system", SYSTEMS):
        of_this = of_system(rows, system)
        axes.plot(
            [row["x"] for row in of_this], [row.get(field, 0) for row in of_this],
            color=COLOURS[system], marker=MARKERS[system], markeredgewidth=0, clip_on=False, zorder=3,
        )
    ticks_of(axes, rows)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(label)


def ticks_of(axes, rows):
    xs = values(rows, "x")
    if len(xs) > 2 and xs[0] > 0 and xs[-1] / xs[0] >= 16:
        axes.set_xscale("log", base=2)
    axes.set_xticks(xs, [f"{x:g}" for x in xs])
    axes.minorticks_off()


def name_zeros(axes, rows, field, characters):
    """Lines on the axis hide each other, and bars without height are not seen: who is zero throughout is said in words."""
    systems = [system for system in known(rows, "system", SYSTEMS) if system != "empty function"]
    zero = [system for system in systems if not any(row.get(field) for row in of_system(rows, system))]
    if len(zero) == len(systems):
        axes.set_yticks([0])
        axes.set_ylim(0, 1)
    rest = [system for system in systems if system not in zero]
    if zero:
        few, opening = (zero, "0 throughout: ") if len(zero) <= len(rest) else (rest, "0 throughout: all but ")
        # No system's name is parted.
        text = opening + "; ".join(name.replace(" ", NO_BREAK) for name in few) if rest else "0 throughout: every system"
        axes.set_title(textwrap.fill(text, characters).replace(NO_BREAK, " "), fontsize=6.8, color=QUIET)


def draw_writes(workload, rows, footnote):
    panels = panels_by_storage(rows)
    columns = min(2, len(panels))
    sheet = Figure(title_of(workload, rows), footnote, math.ceil(len(panels) / columns), columns, patches(known(rows, "system", SYSTEMS)))
    for axes in sheet.axes.flat[len(panels):]:
        axes.set_visible(False)
    for axes, (storage, of_storage) in zip(sheet.axes.flat, panels):
        grouped_bars(axes, of_storage, "p50", "latency, ms (bar p50, line p99)", "p99")
        axes.set_xlabel(workload.x)
        if len(panels) > 1:
            axes.set_title(name_of(storage))
    return sheet


def draw_bars(workload, rows, footnote):
    """A system a line, for workloads of one point."""
    panels = [(storage, x, [row for row in of_storage if row["x"] == x]) for storage, of_storage in panels_by_storage(rows) for x in values(of_storage, "x")]
    systems = known(rows, "system", SYSTEMS)
    columns = min(2, len(panels))
    sheet = Figure(title_of(workload, rows), footnote, math.ceil(len(panels) / columns), columns, panel=0.75 + 0.26 * len(systems), sharey=True)
    for axes in sheet.axes.flat[len(panels):]:
        axes.set_visible(False)
    for axes, (storage, x, of_panel) in zip(sheet.axes.flat, panels):
        for row in of_panel:
            at = systems.index(row["system"])
            axes.barh(at, row["p50"], 0.68, color=COLOURS[row["system"]], linewidth=0)
            axes.plot([row["p50"], row["p99"]], [at, at], color=INK, linewidth=0.8, solid_capstyle="butt")
            axes.plot([row["p99"]] * 2, [at - 0.17, at + 0.17], color=INK, linewidth=0.8, solid_capstyle="butt")
            text = axes.annotate(f"{number(row['p50'])} / {number(row['p99'])}", (row["p99"], at), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7.5)
            if row.get("anomalies"):
                axes.annotate(f"{row['anomalies']:.2g} % anomalies", (1, 0.5), xycoords=text, xytext=(5, 0), textcoords="offset points", va="center", fontsize=7, color=ALARM)
        axes.set_yticks(range(len(systems)), systems)
        axes.set_ylim(len(systems) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        # For what is written beside the longest.
        room = 1 + (0.7 if any(row.get("anomalies") for row in of_panel) else 0.35) * columns / 2
        axes.set_xlim(0, max(row["p99"] for row in of_panel) * room)
        axes.set_xlabel("latency, ms: p50 (bar) / p99 (line)")
        at_x = f", {workload.x} {x:g}" if len(values(rows, "x")) > 1 else ""
        if len(panels) > 1:
            axes.set_title(name_of(storage) + at_x)
    return sheet


def draw_over_x(workload, rows, footnote, painters, entries=lines):
    """A row of panels for each storage, with a painter for each panel."""
    panels = panels_by_storage(rows)
    sheet = Figure(title_of(workload, rows), footnote, len(panels), len(painters), entries(known(rows, "system", SYSTEMS)))
    for of_row, (storage, of_storage) in zip(sheet.axes, panels):
        for axes, paint in zip(of_row, painters):
            paint(axes, of_storage)
            axes.set_xlabel(workload.x)
        if len(panels) > 1:
            of_row[0].set_title(name_of(storage))
    return sheet


def line(field, label, characters=None):
    """Paints lines. Of so many characters a line is who is zero."""

    def paint(axes, rows):
        lines_of(axes, [row for row in rows if row["system"] != "empty function" or row.get(field)], field, label)
        if characters:
            name_zeros(axes, rows, field, characters)

    return paint


P50, P99 = line("p50", "latency, p50, ms"), line("p99", "latency, p99, ms")


def draw_skew(workload, rows, footnote):
    return draw_over_x(workload, rows, footnote, [P50, P99, line("aborts", "aborts per request", 56)])


def draw_latency(workload, rows, footnote):
    return draw_over_x(workload, rows, footnote, [P50, P99])


def draw_sandboxes(workload, rows, footnote):
    def throughput(axes, of_storage):
        lines_of(axes, of_storage, "per_second", "requests per second")
        axes.set_yscale("log")
        lowest, highest = (pick(row["per_second"] for row in of_storage) for pick in (min, max))
        axes.set_ylim(lowest / 1.4, highest * 1.4)
        logarithmic(axes.yaxis, (1, 2, 5) if highest < 50 * lowest else (1,))
        axes.minorticks_off()

    return draw_over_x(workload, rows, footnote, [throughput, P50, P99])


def draw_duplicates(workload, rows, footnote):
    def bars(axes, of_storage):
        grouped_bars(axes, of_storage, "p50", "latency, ms (bar p50, line p99)", "p99")

    def again(axes, of_storage):
        grouped_bars(axes, of_storage, "ran_again", "duplicates that ran again, percent")
        name_zeros(axes, of_storage, "ran_again", 84)

    return draw_over_x(workload, rows, footnote, [bars, again], patches)


def draw_failures(workload, rows, footnote):
    useful = line("useful", "answered requests per 1,000 units")
    return draw_over_x(workload, rows, footnote, [useful, line("anomalies", "requests with anomalies, percent", 84)])


DRAWN = {
    "writes": draw_writes,
    "writes-beside-work": draw_writes,
    "end-to-end": draw_bars,
    "one-function": draw_bars,
    "skew": draw_skew,
    "reads": draw_latency,
    "functions": draw_latency,
    "sandboxes": draw_sandboxes,
    "duplicates": draw_duplicates,
    "failures": draw_failures,
}


def draw_cost(rows, prices, footnote):
    """Dollars, the part of the reads on top."""
    sizes, systems = values(rows, "bytes"), known(rows, "system", SYSTEMS)
    title = f"Dollars for a million requests of blind writes, {STORAGES[rows[0]['storage']]}"
    has_reads = any(row.get("read_units") for row in rows)
    entries = patches(systems) + [Patch(facecolor="white", edgecolor=QUIET, hatch="//////", linewidth=0.5, label="of that, reads")] * has_reads
    sheet = Figure(title, footnote, 1, len(sizes), entries)
    for axes, size in zip(sheet.axes.flat, sizes):
        of_size = [row for row in rows if row["bytes"] == size]
        groups, of_these = values(of_size, "x"), known(of_size, "system", SYSTEMS)
        width = 0.84 / len(of_these)
        for at, system in enumerate(of_these):
            for row in of_system(of_size, system):
                centre = groups.index(row["x"]) + (at - (len(of_these) - 1) / 2) * width
                reads = row.get("read_units", 0) * prices["read"]
                axes.bar(centre, row["dollars"], width * 0.9, color=COLOURS[system], linewidth=0)
                if reads:
                    axes.bar(centre, reads, width * 0.9, bottom=row["dollars"] - reads, facecolor="none", edgecolor="white", hatch="//////", linewidth=0)
        axes.set_xticks(range(len(groups)), [f"{x:g}" for x in groups])
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("keys written")
        axes.set_ylabel("dollars per million requests")
        axes.set_title(f"Values of {size:,} bytes")
    return sheet


def draw_scale(scale, footnote):
    """What the model computes for partitions without number; below, what it predicts of measured runs beside what they measured."""
    rows = [row for row in scale["rows"] if row.get("per_second") and not row.get("partitions")]
    compared = scale.get("calibration") or []
    names = list(dict.fromkeys(series_of(row, rows) for row in rows))
    colours = ["#56b4e9", "#0072b2", "#003a5c", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#999999"]
    look = {name: {"color": colours[at % len(colours)], "marker": "osD^vPXh"[at % 8], "markeredgewidth": 0} for at, name in enumerate(names)}
    entries = [Line2D([], [], label=name, **look[name]) for name in names]
    systems = ", ".join(dict.fromkeys(row["system"] for row in rows if "system" in row))
    sheet = Figure(f"Paper scale: a model{systems and ' of ' + systems}", footnote, 2 if compared else 1, 3, entries, panel=2.8)
    fields = [("per_second", "transactions per second"), ("p50", "latency, p50, ms"), ("p99", "latency, p99, ms")]
    for axes, (field, label) in zip(sheet.axes[0], fields):
        for name in names:
            of_this = sorted((row for row in rows if series_of(row, rows) == name and row.get(field)), key=lambda row: row["x"])
            axes.plot([row["x"] for row in of_this], [row[field] for row in of_this], **look[name])
        axes.set_xlabel("sandboxes")
        axes.set_ylabel(label)
        axes.set_xscale("log")
        logarithmic(axes.xaxis, (1,))
        drawn = [row[field] for row in rows if row.get(field)]
        if drawn and max(drawn) >= 20 * min(drawn):
            axes.set_yscale("log")
            logarithmic(axes.yaxis, (1,))
        else:
            axes.set_ylim(0, max(drawn, default=1) * 1.08)
        axes.minorticks_off()
    if compared:
        draw_calibration(sheet.axes[1], compared, fields)
    return sheet


def draw_calibration(panels, compared, fields):
    series = list(dict.fromkeys((row["system"], row["storage"], row["bytes"]) for row in compared))
    for axes, (field, label) in zip(panels, fields):
        if f"predicted_{field}" not in compared[0]:
            axes.set_visible(False)
            continue
        for one in series:
            of_this = sorted((row for row in compared if (row["system"], row["storage"], row["bytes"]) == one), key=lambda row: row["x"])
            xs, colour = [row["x"] for row in of_this], COLOURS[one[0]]
            axes.plot(xs, [row[f"predicted_{field}"] for row in of_this], color=colour)
            axes.plot(xs, [row[field] for row in of_this], color=colour, marker="x", linestyle="none", markersize=7, markeredgewidth=1.6)
        ticks_of(axes, compared)
        axes.set_ylim(0, 1.1 * max(max(row[field], row[f"predicted_{field}"]) for row in compared))
        axes.set_xlabel("sandboxes")
        axes.set_ylabel(label)
    panels[0].set_title("Calibration: lines predicted, crosses measured (" + "; ".join(dict.fromkeys(system for system, _, _ in series)) + ")")


def logarithmic(axis, subs):
    """Ticks at these multiples of powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def series_of(row, rows):
    """What tells the model's lines apart, beside x."""
    said = {"system": "{}", "bytes": "{:,} bytes", "skew": "Zipf {:g}"}
    varied = [field for field in said if len({one.get(field) for one in rows}) > 1]
    return ", ".join(said[field].format(row[field]) for field in varied) or "model"


def draw(measured, directory):
    """Every figure into the directory; their files."""
    # The families that are there for the SVG's readers only.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    directory.mkdir(parents=True, exist_ok=True)
    footnote, written = measured.circumstances(), []
    with pyplot.rc_context(STYLE):
        for name, workload, rows in measured.figures():
            written += DRAWN[workload.name](workload, rows, footnote).save(directory, name)
        if measured.costs():
            written += draw_cost(measured.costs(), measured.run["prices"], footnote).save(directory, "cost")
        if measured.scale and any(row.get("per_second") for row in measured.scale["rows"]):
            written += draw_scale(measured.scale, measured.assumptions()).save(directory, "scale")
    return written


def main():
    parser = argparse.ArgumentParser(description="The figures of what peers measured.")
    parser.add_argument("file", help="what peers wrote")
    parser.add_argument("directory", type=Path, help="where the figures go")
    parser.add_argument("--scale", help="what the model of larger scale computed")
    arguments = parser.parse_args()
    try:
        draw(Measured.read(arguments.file, arguments.scale), arguments.directory)
    except Malformed as error:
        sys.exit(f"{arguments.file}: {error}")


if __name__ == "__main__":
    main()
