#!/usr/bin/env python3
"""Test of count_tests.py: every way in which a test target can end."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import count_tests  # noqa: E402

PASSED_CASE = '<testcase name="a" status="run" result="completed"/>'
FAILED_CASE = '<testcase name="b" status="run" result="completed"><failure message="no"/></testcase>'
SKIPPED_CASE = '<testcase name="c" status="run" result="skipped"><skipped message="no data"/></testcase>'
DISABLED_CASE = '<testcase name="DISABLED_d" status="notrun" result="suppressed"/>'


class CountTests(unittest.TestCase):
    def run_event(self, status, xml, label="//x:x", shard=1):
        with tempfile.NamedTemporaryFile("w", suffix=".xml", delete=False) as file:
            file.write(xml)
        self.addCleanup(os.unlink, file.name)
        return {
            "id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": 1}},
            "testResult": {
                "status": status,
                "testActionOutput": [{"name": "test.xml", "uri": "file://" + file.name}],
            },
        }

    def suite(self, *cases):
        return "<testsuites><testsuite>%s</testsuite></testsuites>" % "".join(cases)

    def expect(self, counts, *events):
        self.assertEqual(count_tests.count_events(map(json.dumps, events)), counts)

    def test_cases_of_every_result(self):
        cases = self.suite(PASSED_CASE, PASSED_CASE, FAILED_CASE, SKIPPED_CASE, DISABLED_CASE)
        self.expect([2, 1, 2], self.run_event("FAILED", cases))

    def test_shards_add_up(self):
        shards = [self.run_event("PASSED", self.suite(PASSED_CASE), shard=n) for n in (1, 2)]
        self.expect([2, 0, 0], *shards)

    def test_last_attempt_counts(self):
        first = self.run_event("FAILED", self.suite(FAILED_CASE))
        self.expect([1, 0, 0], first, self.run_event("PASSED", self.suite(PASSED_CASE)))

    def test_failed_target_without_failed_case_is_one_failure(self):
        self.expect([1, 1, 0], self.run_event("FAILED", self.suite(PASSED_CASE)))
        self.expect([0, 1, 0], self.run_event("TIMEOUT", "<testsuites><tests"))

    def test_target_without_cases_is_one(self):
        self.expect([1, 0, 0], self.run_event("PASSED", self.suite()))

    def test_target_that_does_not_build_is_one_failure(self):
        self.expect([0, 1, 0], {"id": {"targetCompleted": {"label": "//x:x"}}, "completed": {}})

    def test_target_that_builds_and_runs_is_counted_once(self):
        completed = {"id": {"targetCompleted": {"label": "//x:x"}}, "completed": {"success": True}}
        self.expect([1, 0, 0], completed, self.run_event("PASSED", self.suite(PASSED_CASE)))

    def test_package_that_does_not_load_is_one_failure(self):
        self.expect([0, 1, 0], {"id": {"pattern": {"pattern": ["//..."]}}, "aborted": {}})


if __name__ == "__main__":
    unittest.main()
