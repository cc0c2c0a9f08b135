#!/usr/bin/env python3
"""Counts the test cases of one `bazel test` run: prints "PASSED FAILED SKIPPED".

    bazel test //... --build_event_json_file=events.json
    tools/count_tests.py events.json

The cases are those in the test.xml files of exactly the targets that ran. A target that has none, or that failed
although no case of it did (a crash, a leak found at exit, a build error), counts as one.
"""

import json
import sys
import urllib.parse
import xml.etree.ElementTree

PASSED, FAILED, SKIPPED = range(3)


def case_result(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILED
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return SKIPPED
    return PASSED


def count_file(path):
    """The counts of one test.xml; none for a file that a crash cut short."""
    counts = [0, 0, 0]
    try:
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            counts[case_result(case)] += 1
    except (OSError, xml.etree.ElementTree.ParseError):
        pass
    return counts


def count_run(result):
    """The counts of one run of a test target, or of one of its shards."""
    counts = [0, 0, 0]
    for output in result.get("testActionOutput", []):
        if output["name"] == "test.xml":
            counts = count_file(urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path))
    passed = result.get("status") == "PASSED"
    if not passed and counts[FAILED] == 0:
        counts[FAILED] = 1
    if sum(counts) == 0:
        counts[PASSED] = 1
    return counts


def count_events(lines):
    runs = {}  # (target, shard, run) -> counts of its last attempt
    broken = set()
    for line in lines:
        event = json.loads(line)
        identity = event["id"]
        if "testResult" in identity and "testResult" in event:
            key = identity["testResult"]
            runs[key["label"], key.get("shard"), key.get("run")] = count_run(event["testResult"])
        elif "targetCompleted" in identity and not event.get("completed", {}).get("success"):
            broken.add(identity["targetCompleted"]["label"])
        elif "pattern" in identity and "aborted" in event:
            broken.add(" ".join(identity["pattern"]["pattern"]))
    broken -= {label for label, _, _ in runs}
    counts = [sum(column) for column in zip(*runs.values())] or [0, 0, 0]
    counts[FAILED] += len(broken)
    return counts


def main():
    with open(sys.argv[1], encoding="utf-8") as events:
        print(*count_events(events))


if __name__ == "__main__":
    main()
