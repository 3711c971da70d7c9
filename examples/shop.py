"""A made-up shop: a catalogue and the sessions of its visitors, as two CSV files.

Visitors have an errand (a sport) and a taste for a brand. In a session they mostly look at things
of one sport, one after the other in the order of an outfit, and lean to their brand. So the
neighbours of a running shoe should be running things, those of the same brand first.
"""

from __future__ import annotations

import csv
import sys
from itertools import product
from pathlib import Path

import numpy as np

SPORTS = ["running", "climbing", "cycling", "swimming", "skiing", "tennis", "hiking", "yoga"]
KINDS = ["shoes", "shirt", "shorts", "jacket", "bag", "socks", "gloves", "watch"]
BRANDS = ["Acme", "Borealis", "Cirrus", "Dune", "Ember"]
START = 1_700_000_000


def catalogue(rng: np.random.Generator) -> list[dict[str, object]]:
    """Two models of each kind, sport and brand."""
    return [
        {
            "item_id": f"{sport}-{kind}-{brand}-{model}".lower(),
            "title": f"{brand} {sport} {kind} {model}",
            "category": sport,
            "kind": kind,
            "brand": brand,
            "price": round(float(rng.gamma(3, 20)) + 5, 2),
            "stock": int(rng.poisson(3)),
        }
        for sport, kind, brand, model in product(SPORTS, KINDS, BRANDS, ("One", "Two"))
    ]


def sessions(
    rng: np.random.Generator, items: list[dict[str, object]], count: int
) -> list[tuple[str, object, int, str]]:
    """Views of items by visitors, ten minutes apart at most."""
    by_place = {(i["category"], i["kind"], i["brand"]): [] for i in items}
    for item in items:
        by_place[item["category"], item["kind"], item["brand"]].append(item["item_id"])
    events = []
    for number in range(count):
        user = f"u{int(rng.integers(count // 4))}"
        sport, brand = rng.choice(SPORTS), rng.choice(BRANDS)
        now = START + number * 60
        start = int(rng.integers(len(KINDS)))
        for step in range(int(rng.integers(3, 9))):
            here = rng.choice(SPORTS) if rng.random() < 0.05 else sport
            liked = brand if rng.random() < 0.7 else rng.choice(BRANDS)
            kind = KINDS[(start + step) % len(KINDS)]
            now += int(rng.integers(10, 600))
            event = "purchase" if rng.random() < 0.1 else "view"
            events.append((user, rng.choice(by_place[here, kind, liked]), now, event))
    return events


def write_shop(folder: Path, count: int = 20_000, seed: int = 7) -> None:
    """Write ``items.csv`` and ``interactions.csv``; the same seed gives the same files."""
    rng = np.random.default_rng(seed)
    items = catalogue(rng)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(items[0]))
        writer.writeheader()
        writer.writerows(items)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer_of_rows = csv.writer(stream)
        writer_of_rows.writerow(["user_id", "item_id", "timestamp", "event"])
        writer_of_rows.writerows(sessions(rng, items, count))


if __name__ == "__main__":
    write_shop(Path(sys.argv[1] if len(sys.argv) > 1 else "shop"))
