"""The figures of docs/lsh.md.

    python benchmarks/lsh_figures.py docs/images [curves.json]

Collisions against the angle, bucket sizes by family, and, from what
``benchmarks/retrieval.py --curves`` wrote, recall against queries per second.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt
from data import clustered
from itemspace import Metric
from itemspace.core.vectors import RowView
from itemspace.lsh import HyperplaneLSH, LSHOptions
from itemspace.lsh.buckets import BUCKETS
from itemspace.lsh.planes import gaussian, orthogonal

COUNT = 100_000


def collisions(folder: Path) -> None:
    """Shares of planes that two vectors at an angle are on one side of; and of a tree's."""
    rng = np.random.default_rng(0)
    angles = np.linspace(2, 178, 45)
    one = rng.standard_normal((len(angles), 64))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other = rng.standard_normal(one.shape)
    other -= (other * one).sum(axis=1, keepdims=True) * one
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    radians = np.radians(angles)[:, None]
    second = np.cos(radians) * one + np.sin(radians) * other
    figure, axes = plt.subplots(figsize=(6, 3.6))
    axes.plot(angles, 1 - angles / 180, color="0.6", label="1 − θ/π")
    for name, draw in (("gaussian", gaussian), ("orthogonal", orthogonal)):
        planes = draw(20_000, 64, 1)
        same = ((one @ planes.T > 0) == (second @ planes.T > 0)).mean(axis=1)
        axes.plot(angles, same, ".", label=name)
    axes.set(xlabel="angle, degrees", ylabel="share of planes with both on one side")
    axes.legend(frameon=False)
    _save(figure, folder / "lsh-collisions.png")


def sizes(folder: Path) -> None:
    matrix, _ = clustered(COUNT, 64, 10)
    rows = RowView(matrix, np.linalg.norm(matrix, axis=1).astype(np.float32))
    figure, axes = plt.subplots(figsize=(6, 3.6))
    bins = np.arange(0, 264, 8)
    for family in ("adapted", "pairs", "orthogonal", "gaussian"):
        index = HyperplaneLSH(64, Metric.COSINE, LSHOptions(family=family, trees=1, bucket=256))
        index.add(rows, 0)
        trees: Any = index._trees
        found = trees.buckets.sizes[: trees.buckets.counts[BUCKETS]]
        axes.hist(found, bins=bins, histtype="step", label=f"{family}, {len(found)} buckets")
    bits = int(np.log2(COUNT / 150))
    codes = (matrix @ orthogonal(bits, 64, 1).T > 0) @ (1 << np.arange(bits))
    fixed = np.bincount(codes, minlength=1 << bits)
    label = f"a table of {bits} bits: {np.mean(fixed == 0):.0%} empty, largest {fixed.max():,}"
    axes.hist(np.minimum(fixed, 256), bins=bins, histtype="step", color="0.6", label=label)
    axes.set(xlabel="rows of a bucket (of the table: 256 and more together)", ylabel="buckets")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, folder / "lsh-buckets.png")


def curves(folder: Path, file: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.set_prop_cycle(color=mpl.colormaps["tab20"].colors[::2] + mpl.colormaps["Dark2"].colors)
    for contender in json.loads(file.read_text()):
        points = [(recall, rate) for _, recall, rate in contender["curve"] if recall > 0.3]
        if len(points) < 2 or contender["index"] == "lsh by URL":
            continue
        width = 2.5 if contender["index"].startswith("lsh") else 1
        axes.plot(*zip(*points, strict=True), ".-", linewidth=width, label=contender["index"])
    axes.set(xlabel="recall@10", ylabel="queries a second, one thread", xlim=(0.6, 1.005))
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=7, loc="lower left")
    _save(figure, folder / "lsh-recall.png")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("curves", type=Path, nargs="?")
    options = parser.parse_args()
    collisions(options.folder)
    sizes(options.folder)
    if options.curves is not None:
        curves(options.folder, options.curves)


if __name__ == "__main__":
    main()
