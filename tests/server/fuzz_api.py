"""`make fuzz-api`: schemathesis over every operation of a server that runs, with checks of status, type and shape.

Ends with an error where an answer is a 5xx, or is not what the API's description says.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from server_kit import ADMIN, ENVIRON, in_thread

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "ignored_auth",
)  # fmt: skip


def main(examples: int = 200, *options: str) -> int:
    """Return the exit code of schemathesis over a server with tokens, asked by an admin."""
    with (
        tempfile.TemporaryDirectory() as folder,
        in_thread(Path(folder), environ=ENVIRON, manual_override=True) as service,
    ):
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json",
            "--header", f"Authorization: Bearer {ADMIN}", "--checks", ",".join(CHECKS),
            "--max-examples", str(examples), "--continue-on-failure", *options,
        ]  # fmt: skip
        return subprocess.run(command, check=False, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2]), *sys.argv[2:]))
