"""DeepWalk: skip-gram over random walks on an item graph.

Perozzi, Al-Rfou & Skiena, "DeepWalk: Online Learning of Social Representations" (2014).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from ..core.behaviour import Sequences
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import VectorSet
from .builder import Monitor
from .graph import ItemGraph
from .graph_builder import GraphBuilder
from .options import OneOf, Real, SearchSpace, Whole, check_option, check_skipgram, lineage_of
from .skipgram import SkipGram, SkipGramOptions
from .training import train_epochs
from .walks import Walks


class DeepWalk(GraphBuilder):
    """Vectors of the nodes of a graph, from walks that step by the weights of its edges.

    Walks are made inside the training threads, anew for each epoch, and never all kept.

    Departures from the paper: negative sampling instead of a hierarchical softmax; weighted and
    directed graphs; no node's walk is read twice.

    Parameters
    ----------
    dim
        Dimensions of the vectors, at least 1.
    num_walks
        Walks from each node (γ), at least 1. Each is an epoch, with the nodes in a random order.
    walk_length
        Nodes of a walk (t), at least 2; where no edge leads on it is shorter.
    window
        Nodes within this distance in a walk are each other's context; the distance used is drawn
        uniformly from 1 to ``window`` for each position. At least 1; ``None``: the whole walk.
    negatives, ns_exponent, alpha, average_outputs
        As in :class:`.Item2Vec`. The counts behind the noise are those of the first epoch's walks.
    sample
        Frequent nodes are left out of walks beyond this share of all steps; 0 keeps all.
    directed, edge_window, half_life, user_cap, min_weight
        How the graph is made from sequences; see :meth:`.ItemGraph.from_sequences`, whose
        ``window`` is ``edge_window``. Of no effect on a graph.
    patience
        With a ``monitor``: stop when so many epochs in a row brought nothing better, at least 1;
        ``None`` trains all.
    deterministic, seed, threads
        As in :class:`.Item2Vec`. The walks are the same at any number of threads in any case.

    Attributes
    ----------
    item_vectors_ : VectorSet
        float32, metric ``COSINE``, in the order of the vocabulary, with lineage. Nodes without an
        edge to another have none, nor has a node that no walk came to.
    scores_, loss_, skipgram_
        As in :class:`.Item2Vec`.
    """

    supports_monitor: ClassVar[bool] = True
    name_: ClassVar[str] = "deepwalk"
    search_space: ClassVar[SearchSpace] = {
        "directed": OneOf((False, True)),
        "edge_window": Whole(1, 5),
        "num_walks": Whole(5, 40, log=True),
        "walk_length": Whole(5, 80, log=True),
        "window": Whole(1, 10, log=True),
        "negatives": Whole(2, 20, log=True),
        "ns_exponent": Real(-1, 1),
        "alpha": Real(0.01, 0.2, log=True),
        "average_outputs": OneOf((False, True)),
    }

    def __init__(
        self,
        *,
        dim: int = 128,
        num_walks: int = 10,
        walk_length: int = 80,
        window: int | None = 10,
        negatives: int = 5,
        ns_exponent: float = 0.75,
        alpha: float = 0.025,
        sample: float = 0.0,
        average_outputs: bool = False,
        directed: bool = False,
        edge_window: int | None = 1,
        half_life: float | None = None,
        user_cap: float | None = None,
        min_weight: float = 0.0,
        patience: int | None = None,
        deterministic: bool = False,
        seed: int = 1,
        threads: int = 2,
    ) -> None:
        self.dim = dim
        self.num_walks = num_walks
        self.walk_length = walk_length
        self.window = window
        self.negatives = negatives
        self.ns_exponent = ns_exponent
        self.alpha = alpha
        self.sample = sample
        self.average_outputs = average_outputs
        self.directed = directed
        self.edge_window = edge_window
        self.half_life = half_life
        self.user_cap = user_cap
        self.min_weight = min_weight
        self.patience = patience
        self.deterministic = deterministic
        self.seed = seed
        self.threads = threads

    def fit(
        self,
        data: ItemGraph | Sequences,
        *,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train on a graph, or on the graph of sequences.

        Parameters
        ----------
        monitor, checkpoint
            As in :meth:`.Item2Vec.fit`; an epoch is a walk from each node.

        Raises
        ------
        InvalidOption
            An option out of its range, a checkpoint of other options or another graph, or an
            ``alpha`` at which training diverges.
        EmptyInput
            No edge joins two nodes.
        """
        self._check_options()
        graph = self._graph_of(data)
        options = SkipGramOptions.of(self, epochs=self.num_walks, keep_places=False)
        trained = SkipGram(self._walks(graph), options)
        connected = graph.connected

        def look() -> VectorSet:
            # Only what was in the middle of a window, or noise and so counted, has an output.
            met = np.flatnonzero(connected & trained.outputs.any(axis=1))
            vectors = trained.vectors(self.average_outputs, met)
            return VectorSet(graph.vocabulary[met], vectors, Metric.COSINE)

        best, self.scores_ = train_epochs(
            trained,
            look,
            patience=self.patience,
            progress=progress,
            monitor=monitor,
            checkpoint=checkpoint,
        )
        self.skipgram_, self.loss_ = trained, trained.losses
        self.item_vectors_ = best.with_lineage(**lineage_of(self.name_, self, graph))
        return self

    def _walks(self, graph: ItemGraph) -> Walks:
        return Walks(graph, self.walk_length, seed=self.seed, threads=self.threads)

    def _check_options(self) -> None:
        check_skipgram(self, "num_walks")
        check_option(self, "walk_length", int, lambda value: value >= 2, "at least 2")
