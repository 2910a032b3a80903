"""A file as `peers` writes it, of made-up figures: every workload, every system, every storage."""

from report import STORAGES, SYSTEMS

POINTS = {
    "writes": [1, 2, 5, 10],
    "writes-beside-work": [1, 10],
    "end-to-end": [1.0],
    "one-function": [1.0],
    "skew": [1.0, 1.5, 2.0],
    "reads": [0, 20, 40, 60, 80, 100],
    "functions": [1, 2, 4, 6, 8, 10],
    "sandboxes": [1, 2, 4, 8, 16, 32, 64],
    "duplicates": [1, 10],
    "failures": [10, 20, 30, 40],
}
WITHOUT_ATOMICITY = ["plain writes, sequential", "BatchWriteItem", "plain writes, Python", "Powertools and plain writes, Python"]


def row(workload, storage, system, x, size=4096):
    at = list(SYSTEMS).index(system)
    is_modelled = storage.endswith("model")
    keys = x if workload.startswith("writes") else 2
    steps = [0, keys, 1 + keys / 10, 2 + keys / 5, 2 + keys / 3, keys, keys + 2, 2.2, 1.1, 1, 1][at]
    p50 = 0.4 + (3.1 if is_modelled else 0.3) * steps + (1.5 if "Python" in system else 0)
    units = [0, keys, keys, 2 * keys, keys + 1, keys, keys + 2, keys + 1, keys + 1, keys + 1, keys + 1][at] * (1 if size <= 1024 else 4)
    if workload == "skew":
        p50 *= x if system == "TransactWriteItems" else 1
    if workload == "functions":
        p50 *= x
    reads = 4.0 if workload in ("end-to-end", "one-function", "skew") and at else 0.5 if at == 6 else 0.0
    is_ours = system.startswith("this project")
    clients = x if workload == "sandboxes" else 1
    return {
        "workload": workload, "storage": storage, "system": system, "x": x, "bytes": size, "clients": clients, "requests": 200,
        "p50": p50, "p99": p50 * (1.6 + 0.1 * at) + (40 if storage == "embedded" and at == 3 else 0), "free_p50": p50 + 1 if is_ours else 0,
        "per_second": 1000 / p50 * clients / (1 + clients / 40),
        "round_trips": float(steps), "storage_requests": float(steps), "write_units": float(units), "read_units": reads,
        "wire_bytes": 600.0 + keys * size, "extension_micros": 310.0 if is_ours else 0, "shim_micros": 120.0 if is_ours else 0,
        "overran_percent": 0.0, "anomalies": 3.1 * x if system in WITHOUT_ATOMICITY and workload in ("end-to-end", "failures") else 0,
        "aborts": (x - 0.9) * 0.8 if workload == "skew" and system == "TransactWriteItems" else 0,
        "ran_again": 100.0 - at if workload == "duplicates" and at in (1, 2, 5) else 0,
        "dollars": units * 0.625 + reads * 0.125,
    }


def run(workloads=POINTS, systems=SYSTEMS, storages=STORAGES):
    rows = [
        row(workload, storage, system, x, size)
        for workload in workloads
        for storage in storages
        for system in systems
        for x in POINTS[workload]
        for size in ([400, 4096] if workload == "writes" else [4096])
    ]
    return {
        "machine": {"processor": "AMD EPYC 7R13", "processors": 2, "memory_bytes": 8_200_000_000, "kernel": "6.18.0", "load_at_start": 0.3},
        "versions": {"this project": "0.1.0 (a1b2c3d)", "dynamodb-local": "3.3.1"},
        "date": "2026-11-27", "seed": 1,
        "model": {"one": "3/5.5", "five": "4.7/11.7", "ten": "6.8/15.2", "transaction": 2.0},
        "prices": {"write": 0.625, "read": 0.125},
        "rows": rows,
        "targets": [
            {"what": "10 writes, durable, to TransactWriteItems", "found": 0.534, "limit": 0.5, "at_most": True, "met": False},
            {"what": "10 writes end to end, plain sequential to visible", "found": 5.21, "limit": 4.0, "at_most": False, "met": True},
        ],
    }


def scale():
    def row(x, skew, partitions=0):
        return {
            "workload": "scale", "system": "this project, visible", "x": x, "skew": skew, "bytes": 400, "partitions": partitions,
            "per_second": min(x * 45.0, 100_000 / skew**4), "p50": 22.5 + x / 900, "p99": 31.0 + x / 200, "throttled": 0.0 if x < 5000 else x / 40,
        }

    def compared(x):
        return {
            "workload": "calibration", "storage": "embedded, model", "system": "this project, visible", "x": x, "bytes": 4096, "overhead": 1.25,
            "p50": 10.5 + x / 8, "predicted_p50": 10.5, "p50_error": -1.2 * x, "per_second": 92.0 * x, "predicted_per_second": 95.0 * x, "per_second_error": 3.3,
        }

    grid = [row(x, skew) for skew in (1.0, 1.5, 2.0) for x in (1, 10, 100, 1000, 10_000)]
    return {"seed": 1, "model": run([])["model"], "rows": [*grid, row(10_000, 1.0, 4)], "calibration": [compared(x) for x in (1, 2, 4)]}
