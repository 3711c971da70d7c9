"""The main job, command by command: ``make demo``, or ``make demo DATA=<MovieLens folder>``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from itemspace.cli.app import main as itemspace
from shop import write_shop


def run(*words: str) -> None:
    """Show a command, then run it."""
    shown = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"\n$ itemspace {shown}", flush=True)
    code = itemspace(list(words))
    if code:
        sys.exit(code)


def shop(folder: Path) -> None:
    print(f"Making a shop of 640 items and 20,000 sessions in {folder / 'shop'} …")
    write_shop(folder / "shop")
    run(
        "ingest",
        "--items",
        str(folder / "shop/items.csv"),
        "--interactions",
        str(folder / "shop/interactions.csv"),
    )
    run("build", "item2vec", "--gap", "1800")
    run("publish", "--to", f"lsh:{folder}/published")
    columns = ("--columns", "item_id,title,category,price,stock")
    run("recommend", "--user", "u17", "-k", "5", *columns)
    condition = "price < 100 AND stock > 0"
    run("similar", "running-shoes-acme-one", "--where", condition, "-k", "10", *columns)


def movielens(folder: Path, data: Path) -> None:
    run("ingest", str(data))
    options = "-o window=8 -o epochs=100 -o negatives=20 -o min_count=4 -o ns_exponent=0.5"
    user = ("--recent", "50", "--decay", "0.6")
    run("build", "item2vec", *options.split(), *user)
    run("publish", "--to", f"lsh:{folder}/published")
    columns = ("--columns", "title,genres")
    run("recommend", "--user", "17", *user, *columns)
    run("similar", "--title", "Toy Story (1995)", "--where", "year >= 1990", "-k", "10", *columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a MovieLens folder")
    parser.add_argument("--folder", type=Path, default=Path("demo-data"))
    chosen = parser.parse_args()
    shutil.rmtree(chosen.folder, ignore_errors=True)
    chosen.folder.mkdir(parents=True)
    os.environ["ITEMSPACE_DATABASE"] = f"sqlite:///{chosen.folder}/shop.db"
    os.environ["ITEMSPACE_HOME"] = str(chosen.folder)
    started = time.perf_counter()
    if chosen.data:
        movielens(chosen.folder, chosen.data)
    else:
        shop(chosen.folder)
    print(f"\nDone in {time.perf_counter() - started:.1f} s; everything is in {chosen.folder}/.")


if __name__ == "__main__":
    main()
