"""Writes report.json from what run.sh noted in its results' folder.

    python3 report.py RESULTS
"""

import datetime
import json
import pathlib
import sys


def value_of(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def figures_of(path):
    """Name and value of each line; none where the part noted nothing."""
    if not path.exists():
        return {}
    pairs = (line.split("\t", 1) for line in path.read_text().splitlines())
    return {name: value_of(value) for name, value in pairs}


def report(folder):
    machine = (line.split(": ", 1) for line in (folder / "machine").read_text().splitlines())
    parts = []
    for line in (folder / "parts.tsv").read_text().splitlines():
        name, status, seconds, reason = line.split("\t", 3)
        parts.append({
            "part": name,
            "status": status,
            "seconds": int(seconds),
            "reason": reason,
            "figures": figures_of(folder / f"{name}.figures"),
            "log": f"{name}.log",
        })
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"date": date, **dict(machine), "parts": parts}


def main():
    folder = pathlib.Path(sys.argv[1])
    (folder / "report.json").write_text(json.dumps(report(folder), indent=2) + "\n")


if __name__ == "__main__":
    main()
