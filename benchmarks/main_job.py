"""The whole job on a MovieLens folder, command by command: wall time and peak memory of each.

python benchmarks/main_job.py path/to/ml-latest-small
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from processes import run

BUILD = (
    "build item2vec -o window=8 -o epochs=100 -o negatives=20 -o min_count=4 -o ns_exponent=0.5 "
    "--recent 50 --decay 0.6"
)
COMMANDS = [
    ["ingest", "{data}"],
    BUILD.split(),
    ["publish", "--to", "lsh:published"],
    ["similar", "--title", "Toy Story (1995)", "--where", "year >= 1990", "--columns", "title"],
    ["recommend", "--user", "17", "--recent", "50", "--decay", "0.6", "--columns", "title"],
]


def itemspace(words: list[str], folder: Path) -> tuple[float, float, str]:
    return run([Path(sys.executable).parent / "itemspace", *words], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            words = [word.format(data=options.data.absolute()) for word in command]
            seconds, megabytes, output = itemspace(words, Path(folder))
            rows.append({"command": words[0], "seconds": seconds, "peak_megabytes": megabytes})
            if not options.json:
                print(f"{words[0]:<10}{seconds:>8.1f} s{megabytes:>8.0f} MB")
                print(output, end="")
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    total, peak = sum(row["seconds"] for row in rows), max(row["peak_megabytes"] for row in rows)
    print(f"{'in all':<10}{total:>8.1f} s{peak:>8.0f} MB")


if __name__ == "__main__":
    main()
