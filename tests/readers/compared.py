#!/usr/bin/env python3
"""Compares what Google's compare.py made of two reports with the reports.

    compared.py COMPARED.json FIRST.json SECOND.json

compare.py pairs the repetitions of each case, in their order, and states by how
much the time of each changed.
"""

import json
import math
import pathlib
import sys


def samples(path):
    report = json.loads(pathlib.Path(path).read_text())
    return {m["id"]: m["time"]["samples_s"] for m in report["measurements"] if m["time"]}


def main():
    compared = json.loads(pathlib.Path(sys.argv[1]).read_text())
    first, second = samples(sys.argv[2]), samples(sys.argv[3])
    found = {entry["name"]: entry for entry in compared if entry["name"] in first}
    both = first.keys() & second.keys()
    assert found.keys() == both, f"compared were {sorted(found)}"
    for name, entry in found.items():
        assert entry["time_unit"] == "ns", entry
        pairs = list(zip(first[name], second[name]))
        assert len(entry["measurements"]) == len(pairs), name
        for (before, after), measured in zip(pairs, entry["measurements"]):
            change = (after - before) / before
            assert math.isclose(measured["time"], change, rel_tol=1e-9, abs_tol=1e-9), name
            assert math.isclose(measured["real_time"], 1e9 * before, rel_tol=1e-12), name
    print(f"ok        compare.py: {len(found)} cases")


main()
