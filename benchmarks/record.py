"""How a benchmark leaves its results: NAME.json with its metrics and where they come from, NAME.md for people."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from dashgaze.tables import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def head_commit() -> str:
    """Short hash of the commit that is measured."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def write_results(
    name: str, command: str, metrics: Mapping[str, float | None], text: str, folder: Path = RESULTS
) -> None:
    """Write JSON and report, each atomically, and print the report."""
    result = {
        "name": name,
        "commit": head_commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": command,
        "metrics": dict(metrics),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.md", text.encode())
    write_atomically(folder / f"{name}.json", json.dumps(result, indent=1).encode() + b"\n")
    print(text)
