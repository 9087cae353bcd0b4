#!/usr/bin/env python3
"""Has DuckDB answer the questions of docs/fleet.md, and compares the answers with a
calculation from the reports.

    fleet.py DOCUMENT REPORTS ROWS

DOCUMENT is docs/fleet.md, whose SQL is run as it stands there, in a folder in which
ROWS is fleet.jsonl; REPORTS is the folder with the reports from which it was made. The
hash of each is computed by the program that the page gives. The exit status is 1 where
something differs.
"""

import collections
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys

import duckdb

DOUBTS = {
    "not-converged", "few-samples", "lives-disagree", "not-steady", "drifting", "timestamps-rejected", "clock-unproven",
    "no-witness", "short",
}
POWER_DOUBTS = {
    "power-methods-disagree", "power-aliased", "power-uneven", "power-partly-idle",
    "power-windows-lost", "power-unlike-time",
}

differences = []


def expect(what, found, wanted):
    same = alike(found, wanted)
    print(f"{'ok       ' if same else 'DIFFERENT'} {what}")
    if not same:
        differences.append(f"{what}: {found!r} instead of {wanted!r}")


def alike(found, wanted):
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    if isinstance(wanted, float) and found is not None:
        return math.isclose(found, wanted, rel_tol=1e-9)
    return found == wanted


def accelerator(report):
    """As docs/fleet.md says."""
    adapter, host = report["adapter"], report["host"]
    model = (report["datasheet"] or adapter)["name"]
    if adapter["device_type"] == "cpu":
        model += f" on {host['cpus']} × {host['cpu'] or 'an unknown CPU'}"
    return f"{model}, {adapter['backend']}"


def card(report):
    adapter = report["adapter"]
    if adapter["vendor_id"] == 0x10DE and adapter["driver"] == "NVIDIA":
        return f"GPU-{adapter['uuid']}"
    return f"{report['host']['name']} {adapter['pci_address']}"


class Card:
    """A card and case: medians over the card's runs."""

    def __init__(self, measured):
        report, self.m = measured[0]
        self.accelerator, self.card = accelerator(report), card(report)
        self.host = report["host"]["name"]
        own = [m for _, m in measured]
        powers = [m for m in own if m["power"] and not POWER_DOUBTS & set(m["flags"])]
        self.gflops = middle(m["gflops"]["median"] for m in own if m["gflops"])
        self.ceiling = middle(m["percent_of_ceiling"] for m in own)
        self.datasheet = middle(m["percent_of_datasheet"] for m in own)
        self.watts = middle(m["power"]["median_w"] for m in powers)
        self.per_watt = middle(
            m["gflops_per_watt"]["gross"] for m in powers if m["gflops_per_watt"]
        )


def middle(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def counted(reports):
    for report in reports:
        for m in report["measurements"]:
            usual = (
                m["data"] == "normal" or m["operation"] == "peak"
            ) and m["power_limit_w"] is None
            if m["status"] == "ok" and usual and not DOUBTS & set(m["flags"]):
                yield report, m


def grouped(items, key):
    groups = collections.defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def quantile(values, q):
    """numpy's default, as DuckDB's quantile_cont."""
    values = sorted(values)
    at = q * (len(values) - 1)
    below = math.floor(at)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (at - below)


def expected(reports):
    """The answers, by the name of the query, from the reports alone."""
    measured = list(counted(reports))
    by_card = grouped(measured, lambda rm: (accelerator(rm[0]), card(rm[0]), rm[1]["id"]))
    cards = [Card(own) for own in by_card.values()]
    kinds = grouped(cards, lambda c: (c.accelerator, c.m["id"]))
    answers = {}

    best = {}
    for (name, case), own in kinds.items():
        known = [c.per_watt for c in own if c.per_watt is not None]
        if known and own[0].m["operation"] in ("matmul", "attention"):
            precision = own[0].m["precision"]
            row = (precision, name, case, float(statistics.median(known)), len(known))
            best[precision, name] = max(best.get((precision, name), row), row, key=lambda r: r[3])
    answers["efficiency"] = sorted(best.values(), key=lambda row: (row[0], -row[3]))

    spread, speeds = [], []
    for (name, case), own in kinds.items():
        own = [c for c in own if c.gflops is not None]
        rates = [c.gflops for c in own]
        if not rates:
            continue
        median = statistics.median(rates)
        percents = [100 * rate / median for rate in rates]
        speeds += [(c, percent) for c, percent in zip(own, percents)]
        if len(own) > 1:
            ends = quantile(rates, 0.05), quantile(rates, 0.95)
            apart = 100 * (max(rates) - min(rates)) / median
            spread.append((name, case, len(own), float(median), *ends, apart))
    answers["spread"] = sorted(spread, key=lambda row: -row[-1])
    slow = []
    for (name, number), own in grouped(speeds, lambda s: (s[0].accelerator, s[0].card)).items():
        middle_log = statistics.median(math.log(percent / 100) for _, percent in own)
        host = own[0][0].host
        slow.append((name, number, host, len(own), 100 * math.exp(middle_log)))
    answers["outliers"] = sorted(slow, key=lambda row: row[-1])[:20]

    hosts = []
    for host, own in grouped(speeds, lambda speed: speed[0].host).items():
        slowest, percent = min(own, key=lambda speed: speed[1])
        names = {c.card for c, _ in own}
        percents = [p for _, p in own]
        hosts.append((host, len(names), statistics.median(percents), slowest.m["id"], percent))
    answers["hosts"] = sorted(hosts, key=lambda row: row[2])[:20]

    def driver(rm):
        report, m = rm
        adapter = report["adapter"]
        return accelerator(report), m["id"], adapter["driver"], adapter["driver_info"]

    rated = [(report, m) for report, m in measured if m["gflops"]]
    drivers = {
        key: (len({card(r) for r, _ in own}), middle(m["gflops"]["median"] for _, m in own))
        for key, own in grouped(rated, driver).items()
    }
    rows = []
    for key, (number, rate) in drivers.items():
        same = [other for other in drivers if other[:2] == key[:2]]
        if len(same) > 1:
            fastest = max(drivers[other][1] for other in same)
            rows.append((*key, number, rate, 100 * rate / fastest))
    answers["drivers"] = sorted(rows, key=lambda row: (*row[:2], row[-1]))

    drawn = grouped((c for c in cards if c.watts is not None), lambda c: c.card)
    watts = [max(c.watts for c in own) for own in drawn.values()]
    answers["power"] = [(len(watts), math.fsum(watts))]

    peaks = []
    for (name, case), own in kinds.items():
        own = [c for c in own if c.datasheet is not None]
        if own:
            ceiling = middle(c.ceiling for c in own)
            datasheet = float(statistics.median(c.datasheet for c in own))
            peaks.append((name, case, datasheet, ceiling, len(own)))
    answers["peaks"] = sorted(peaks, key=lambda row: -row[2])
    return answers


def main():
    document, folder, rows = map(pathlib.Path, sys.argv[1:])
    text = document.read_text()
    paths = sorted(folder.rglob("report.json"))
    reports = [json.loads(path.read_text()) for path in paths]

    program = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    for path, report in list(zip(paths, reports))[:3]:
        printed = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
        )
        expect(f"the hash of {path.parent.name}", printed.stdout.strip(), report["file_sha256"])

    queries = dict(re.findall(r"```sql\n-- (\w+)\n(.*?)```", text, re.S))
    answers = expected(reports)
    expect("every query is one with an answer", set(queries) - {"cards", "speeds"}, set(answers))
    os.chdir(rows.parent)
    assert rows.name == "fleet.jsonl", rows
    for name in ["cards", "speeds"]:
        duckdb.sql(queries.pop(name))
    for name, query in queries.items():
        found = duckdb.sql(query).fetchall()
        expect(f"{name}: {len(found)} rows", found, answers[name])
        if not found:
            differences.append(f"{name}: nothing to compare")
    for difference in differences:
        print(f"DIFFERENT {difference[:2000]}", file=sys.stderr)
    sys.exit(1 if differences else 0)


main()
