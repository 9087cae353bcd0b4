#!/usr/bin/env python3
"""Has other people's readers read what `flopwatt report` wrote.

    check.py DIR

DIR holds reports.json, the truth, and the same reports as report.jsonl,
report.csv and report.fom. DuckDB and pandas read the first two, ReFrame's
functions for sanity and performance read the third. Columns must have the types
that their names promise, and rows, missing values and sums must be those of the
truth. The exit status is 1 where something differs.
"""

import json
import math
import pathlib
import re
import sys

import duckdb
import pandas
import reframe.utility.sanity as reframe

# Columns of floats, and where a measurement has them.
NUMBERS = {
    "median_s": lambda m: (m["time"] or {}).get("median_s"),
    "gflops_median": lambda m: (m["gflops"] or {}).get("median"),
    "gbytes_per_s": lambda m: m["gbytes_per_s"],
    "percent_of_ceiling": lambda m: m["percent_of_ceiling"],
    "max_scaled_error": lambda m: m["verification"]["max_scaled_error"],
}
# Columns of whole numbers, likewise.
COUNTS = {
    "work": lambda m: m["work"],
    "samples": lambda m: m["time"] and len(m["time"]["samples_s"]),
    "heads": lambda m: m["shape"].get("heads"),
}
TEXTS = ["id", "adapter", "status", "driver_info", "reason"]

differences = []


def expect(what, found, wanted):
    same = found == wanted
    if isinstance(wanted, float) and found is not None:
        # Readers may add up in any order.
        same = math.isclose(found, wanted, rel_tol=1e-12)
    print(f"{'ok       ' if same else 'DIFFERENT'} {what}: {found!r}")
    if not same:
        differences.append(f"{what}: {found!r} instead of {wanted!r}")


def expect_columns(reader, measurements, column):
    """Compares sums and missing values; `column` gives (sum, how many)."""
    for name, value in (NUMBERS | COUNTS).items():
        known = [value(m) for m in measurements if value(m) is not None]
        total, count = column(name)
        expect(f"{reader}: {name}, values", count, len(known))
        expect(f"{reader}: {name}, sum", float(total), math.fsum(known))


def read_with_duckdb(source, measurements, adapters):
    reader = f"DuckDB, {source.split('(')[0]}"
    table = duckdb.sql(f"SELECT * FROM {source}")
    types = dict(zip(table.columns, map(str, table.types)))
    for name in NUMBERS:
        expect(f"{reader}: type of {name}", types[name], "DOUBLE")
    for name in COUNTS:
        expect(f"{reader}: type of {name}", types[name], "BIGINT")
    for name in TEXTS:
        expect(f"{reader}: type of {name}", types[name], "VARCHAR")
    expect(f"{reader}: type of causal", types["causal"], "BOOLEAN")
    expect(f"{reader}: type of started", types["started"].startswith("TIMESTAMP"), True)

    def column(name):
        return duckdb.sql(f"SELECT sum({name}), count({name}) FROM {source}").fetchall()[0]

    expect_columns(reader, measurements, column)
    rows = f"SELECT adapter, backend, count(*) FROM {source} GROUP BY ALL ORDER BY ALL"
    expect(f"{reader}: rows by adapter", duckdb.sql(rows).fetchall(), adapters)


def read_with_pandas(reader, frame, measurements):
    expect(f"{reader}: rows", len(frame), len(measurements))
    for name in NUMBERS:
        expect(f"{reader}: type of {name}", str(frame[name].dtype), "float64")
    expect_columns(reader, measurements, lambda name: (frame[name].sum(), int(frame[name].count())))
    ids = [m["id"] for m in measurements]
    expect(f"{reader}: ids in their order", list(frame["id"]) == ids, True)


def read_with_reframe(path, reports):
    """What a ReFrame test does: find a line by its case, take the number."""
    names = reframe.extractall(r"^fom (?P<name>\S+ \S+) \S+ \S+$", path, "name").evaluate()
    values = reframe.extractall(r"^fom \S+ \S+ (?P<v>\S+) \S+$", path, "v", float).evaluate()
    expect("ReFrame: names are unique", len(set(names)), len(names))
    rates = [value for name, value in zip(names, values) if name.endswith(" gflops")]
    wanted = [m["gflops"]["median"] for r in reports for m in r["measurements"] if m["gflops"]]
    expect("ReFrame: rates are those of the reports", rates, wanted)
    backends = {"vulkan", "gl"}
    for report in reports:
        for m in report["measurements"]:
            if m["status"] != "ok":
                continue
            seconds = m["time"]["median_s"]
            pattern = rf"^fom {re.escape(m['id'])}@\S+ median_s (?P<s>\S+) s$"
            found = reframe.extractall(pattern, path, "s", float).evaluate()
            if seconds not in found:
                differences.append(f"ReFrame: no time of {m['id']}")
    assert {r["adapter"]["backend"] for r in reports} == backends
    first = reports[0]["measurements"][0]
    single = reframe.extractsingle(
        rf"^fom {first['id']}@\S+ gflops (?P<rate>\S+) GFLOP/s$", path, "rate", float
    )
    expect("ReFrame: the first rate", single.evaluate(), first["gflops"]["median"])
    valid = reframe.assert_found(r"^status VALID$", path)
    expect("ReFrame: the status", valid.evaluate(), True)


def main():
    folder = pathlib.Path(sys.argv[1])
    reports = json.loads((folder / "reports.json").read_text())
    measurements = [m for report in reports for m in report["measurements"]]
    adapters = sorted(
        (r["adapter"]["name"], r["adapter"]["backend"], len(r["measurements"])) for r in reports
    )
    lines, table = str(folder / "report.jsonl"), str(folder / "report.csv")
    read_with_duckdb(f"read_json_auto('{lines}')", measurements, adapters)
    read_with_duckdb(f"read_csv_auto('{table}')", measurements, adapters)
    read_with_pandas("pandas, read_json", pandas.read_json(lines, lines=True), measurements)
    read_with_pandas("pandas, read_csv", pandas.read_csv(table), measurements)
    read_with_reframe(str(folder / "report.fom"), reports)
    for difference in differences:
        print(f"DIFFERENT {difference}", file=sys.stderr)
    sys.exit(1 if differences else 0)


main()
