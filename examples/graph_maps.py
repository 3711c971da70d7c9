"""What p and q of node2vec do, on two graphs small enough to see: the pictures of docs/graphs.md.

pip install 'itemspace[graph,evaluation]'
python examples/graph_maps.py --out docs/images

One graph is made up: a ring of communities that are all alike, so turning the ring takes each hub,
bridge, member and leaf to another of its kind: they have the same role, exactly. The other is that
of the paper, the characters of Les Misérables; its communities are found, its roles are degrees.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt
from itemspace import ItemGraph
from itemspace.builders import Node2Vec
from itemspace.builders.walks import Walks
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist
from sklearn.manifold import TSNE

Array = npt.NDArray[Any]
Setting = tuple[float, float]
"""p and q."""
Options = dict[str, int]
"""Of Node2Vec."""
AWAY, EVEN, HOME = (4.0, 0.25), (1.0, 1.0), (0.25, 4.0)
COLUMNS = ("community", "role", "role at home", "role abroad")
NAMED = "p={:g}, q={:g}"
TURNS = ("back to t", "to a neighbour of t", "away from t")
NEAREST, STEPS = 5, 20
#: Okabe & Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
ROLES = (("black", "*", 130), ("#E69F00", "D", 32), ("#56B4E9", "o", 36), ("#CC79A7", "^", 36))


class Case(NamedTuple):
    """A graph whose nodes have a community and a role, both numbered, (n,)."""

    name: str
    graph: nx.Graph
    communities: Array
    roles: Array
    role_names: tuple[str, ...]
    drawn: tuple[Setting, ...]
    measured: tuple[Setting, ...]


def ring(communities: int = 6, members: int = 7, leaves: int = 5) -> Case:
    """Communities that are alike: a hub, a circle of members, leaves, and a bridge to each side."""
    graph, kinds = nx.Graph(), ("hub", "bridge", "member", "leaf")
    nodes = [
        (home, role, f"{kinds[role]} {home}.{at}")
        for home in range(communities)
        for role, count in enumerate((1, 2, members, leaves))
        for at in range(count)
    ]
    homes, roles, names = zip(*nodes, strict=True)
    graph.add_nodes_from(names)
    for home in range(communities):
        hub, bridge, member, leaf = (f"{kind} {home}." for kind in kinds)
        for at in range(members):
            graph.add_edge(f"{hub}0", f"{member}{at}")
            graph.add_edge(f"{member}{at}", f"{member}{(at + 1) % members}")
        for at in range(2):
            graph.add_edge(f"{hub}0", f"{bridge}{at}")
            graph.add_edge(f"{bridge}{at}", f"{member}{at * members // 2}")
        for at in range(leaves):
            graph.add_edge(f"{leaf}{at}", f"{member}{at}" if at > 1 else f"{hub}0")
        graph.add_edge(f"{bridge}0", f"bridge {(home + 1) % communities}.1")
    settings = (EVEN, (1.0, 0.25), (1.0, 4.0), (0.25, 1.0), (4.0, 1.0), AWAY, HOME)
    labels = np.array([homes, roles])
    return Case("ring", graph, *labels, kinds, (AWAY, EVEN, HOME), settings)


def miserables() -> Case:
    """Who appears with whom in Les Misérables, and in how many chapters (Knuth 1993)."""
    graph = nx.les_miserables_graph()
    found = nx.community.greedy_modularity_communities(graph, weight="weight")
    homes = np.array([next(at for at, nodes in enumerate(found) if one in nodes) for one in graph])
    degrees = np.array([degree for _, degree in graph.degree()])
    roles = np.where(degrees >= 12, 0, np.where(degrees >= 3, 1, 2))
    papers = ((1.0, 0.5), (1.0, 2.0))
    names = ("12+ edges", "3–11", "1–2")
    return Case("miserables", graph, homes, roles, names, papers, (EVEN, *papers, AWAY, HOME))


def vectors(case: Case, setting: Setting, seed: int, options: Options) -> Array:
    """Node2Vec's vectors at length 1, in the order of the nodes."""
    p, q = setting
    builder = Node2Vec(return_parameter=p, in_out_parameter=q, seed=seed, threads=1, **options)
    matrix = builder.fit(ItemGraph.from_networkx(case.graph)).item_vectors_.matrix
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def structure(graph: nx.Graph) -> Array:
    """What surrounds a node, whoever it is: four measures, standardised."""
    degrees, around = dict(graph.degree()), nx.average_neighbor_degree(graph)
    cliques, between = nx.clustering(graph), nx.betweenness_centrality(graph)
    table = np.array([[of[node] for of in (degrees, around, cliques, between)] for node in graph])
    return (table - table.mean(axis=0)) / table.std(axis=0)


def nearest(points: Array, among: Array) -> Array:
    """Which nodes are nearest to each, of those ``among``, (n, n)."""
    distances = np.where(among, cdist(points, points).round(9), np.inf)
    found = np.zeros_like(among)
    np.put_along_axis(found, distances.argsort(axis=1, kind="stable")[:, :NEAREST], True, axis=1)
    return found & among


def shares(case: Case, points: Array | None) -> list[float]:
    """What ``COLUMNS`` say of the nearest nodes; of all nodes, so by chance, without points."""
    homely, alike = (labels[:, None] == labels for labels in (case.communities, case.roles))
    others = ~np.eye(len(alike), dtype=bool)
    found = [others, homely & others, ~homely]
    if points is not None:
        found = [nearest(points, among) for among in found]
    pairs = zip((homely, alike, alike, alike), (found[0], *found), strict=True)
    return [float(((same & near).sum(axis=1) / near.sum(axis=1)).mean()) for same, near in pairs]


def table(case: Case, seeds: int, options: Options) -> Iterator[str]:
    """The shares for each p and q: mean and standard deviation over seeds."""
    yield f"{case.name:<16}" + "".join(f"{name:<15}" for name in COLUMNS).rstrip()
    for setting in case.measured:
        found = [shares(case, vectors(case, setting, seed, options)) for seed in range(seeds)]
        cells = zip(np.mean(found, axis=0), np.std(found, axis=0), strict=True)
        row = "".join(f"{f'{mean:.3f} ± {spread:.3f}':<15}" for mean, spread in cells)
        yield f"{NAMED.format(*setting):<16}{row}".rstrip()
    for name, points in (("chance", None), ("structure", structure(case.graph))):
        row = "".join(f"{share:<15.3f}" for share in shares(case, points))
        yield f"{name:<16}{row}".rstrip()


def steps(graph: ItemGraph, setting: Setting, num_walks: int) -> tuple[Array, Array]:
    """Shares of the ``TURNS``, and the mean distance from the start after 0, 1, … steps."""
    p, q = setting
    walks = Walks(graph, STEPS + 1, return_parameter=p, in_out_parameter=q, threads=1)
    nodes = np.vstack([walks.epoch(at).items.reshape(-1, STEPS + 1) for at in range(num_walks)])
    lengths = shortest_path(graph.to_scipy(), unweighted=True).astype(int)
    turns = np.bincount(lengths[nodes[:, :-2], nodes[:, 2:]].ravel(), minlength=3)
    return turns / turns.sum(), lengths[nodes[:, :1], nodes].mean(axis=0)


def scatter(axes: Axes, points: Array, case: Case, title: str) -> None:
    """A point for each node, coloured by community or by role; roles differ by shape too."""
    by_role = title == "role"
    labels = case.roles if by_role else case.communities
    for label in np.unique(labels)[::-1]:
        colour, marker, size = ROLES[label] if by_role else (COLOURS[label], "o", 36)
        name = case.role_names[label] if by_role else str(label + 1)
        style = {"edgecolors": "white", "linewidths": 0.5, "zorder": 3, "label": name}
        axes.scatter(*points[labels == label].T, s=size, c=colour, marker=marker, **style)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.08)
    axes.spines[:].set_color("#cccccc")


def legend(axes: Axes, title: str, **options: Any) -> None:
    handles, labels = (found[::-1] for found in axes.get_legend_handles_labels())
    axes.legend(handles, labels, title=title, frameon=False, handletextpad=0.2, **options)


def draw_graph(case: Case) -> Figure:
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    places = nx.kamada_kawai_layout(case.graph, weight=None)
    points = np.array([places[node] for node in case.graph])
    for axes, title in zip(figure.subplots(1, 2), ("community", "role"), strict=True):
        for one, other in case.graph.edges:
            axes.plot(*zip(places[one], places[other], strict=True), color="#bbbbbb", linewidth=0.6)
        scatter(axes, points, case, title)
        axes.set_aspect("equal", adjustable="datalim")
        legend(axes, title, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=6, columnspacing=1)
    return figure


def draw_maps(case: Case, options: Options) -> Figure:
    """Maps of vectors, a column for each p and q."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    grid = figure.subplots(2, len(case.drawn))
    for column, setting in zip(grid.T, case.drawn, strict=True):
        found = vectors(case, setting, 0, options)
        points = TSNE(perplexity=15, random_state=0, n_jobs=1).fit_transform(found)
        column[0].set_title(NAMED.format(*setting), fontsize=11)
        for axes, title in zip(column, ("community", "role"), strict=True):
            scatter(axes, points, case, title)
    for axes, title in zip(grid[:, -1], ("community", "role"), strict=True):
        legend(axes, title, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_steps(case: Case, num_walks: int) -> Figure:
    """Where a step leads, and how far from their start walks are."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    for at, setting in enumerate((AWAY, EVEN, HOME)):
        turns, distances = steps(ItemGraph.from_networkx(case.graph), setting, num_walks)
        for turn, colour in enumerate(("#56B4E9", "#E69F00", "#009E73")):
            bar = bars.barh(at, turns[turn], left=turns[:turn].sum(), color=colour)
            bars.bar_label(bar, fmt="%.2f", label_type="center", fontsize=9)
            bar.set_label(TURNS[turn] if at == 0 else "_")
        style = {"color": COLOURS[(5, 0, 2)[at]], "marker": "sov"[at], "markevery": 4}
        lines.plot(distances, label=NAMED.format(*setting), **style)
    bars.set_yticks(range(3), [NAMED.format(*setting) for setting in (AWAY, EVEN, HOME)])
    bars.set(xlim=(0, 1), xlabel="share of steps")
    bars.invert_yaxis()
    shape = {"ncols": 3, "handlelength": 1, "handletextpad": 0.4, "columnspacing": 1, "fontsize": 9}
    bars.legend(loc="lower right", bbox_to_anchor=(1.02, 1), frameon=False, **shape)
    lines.set(xlabel="steps", ylabel="mean distance from start", xlim=(0, STEPS), ylim=(0, 5))
    lines.legend(loc="upper left", frameon=False)
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--walks", type=int, default=50, help="from each node")
    parser.add_argument("--window", type=int, default=10)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    options = {"dim": 16, "num_walks": chosen.walks, "window": chosen.window}

    def save(figure: Figure, name: str) -> None:
        path = chosen.out / f"{name}.png"
        figure.savefig(path, dpi=150)
        Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)

    for case in (ring(), miserables()):
        save(draw_graph(case), f"{case.name}-graph")
        save(draw_maps(case, options), f"{case.name}-maps")
        print(*table(case, chosen.seeds, options), "", sep="\n")
    save(draw_steps(ring(), chosen.walks), "ring-walks")


if __name__ == "__main__":
    main()
