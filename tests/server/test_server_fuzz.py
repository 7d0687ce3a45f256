"""Requests that nobody would think of, over every operation: never a 5xx, never an answer of another shape."""

from __future__ import annotations

import fuzz_api


def test_no_request_that_can_be_thought_up_breaks_the_server() -> None:
    assert fuzz_api.main(3, "--phases", "examples,coverage,fuzzing", "--seed", "1") == 0
