"""EGES: item vectors from a graph and side information, and vectors for items nobody has clicked.

Wang, Huang, Zhao, Zhang, Zhao & Lee, "Billion-scale Commodity Embedding for E-commerce
Recommendation in Alibaba" (KDD 2018, arXiv 1803.02349).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np

from ..core.behaviour import Sequences
from ..core.errors import UsageError
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.side_information import SideInformation
from ..core.vectors import FloatMatrix, VectorSet
from .builder import Monitor
from .cold_start import ColdStart
from .encodings import Encoding
from .fields import Field
from .graph import ItemGraph
from .graph_builder import GraphBuilder
from .options import (
    OneOf,
    Real,
    SearchSpace,
    Whole,
    check_choice,
    check_option,
    check_skipgram,
    lineage_of,
)
from .parts import Parts, slot_weights_all
from .side_information import encode_side
from .skipgram import SkipGram, SkipGramOptions
from .training import train_epochs
from .walks import Walks


class EGES(GraphBuilder):
    """Item vectors H made of a vector for the item itself and one for each field.

    H_v = Σ_s α_s W_s over the slots that item v has: its own row, and for each field the mean of
    the rows of its values; α is the softmax of the item's own logits (section 3.3). H is trained
    as the input of skip-gram over weighted walks on the directed graph of sessions, with a table
    Z of outputs of its own, by the logistic loss with negatives: with e = σ(H·Z) − y the gradients
    are ∂Z = e H, ∂W_s = e α_s Z, ∂a_s = e α_s (W_s − H)·Z.

    Departures from the paper: fields may have several values or none; α is over the slots that
    are there. H of a position is put together once for a walk, trained in its windows, and what
    was added to it goes to its parts at the walk's end; a row that m of the walk's inputs have
    takes the sum of their steps over √m. The window's reach is drawn from 1 to ``window``.

    Parameters
    ----------
    fields
        The fields of side information, as :meth:`.Field.parse` reads them: ``brand``,
        ``genres:multi``, ``price:numeric``.
    mode
        ``eges``: learned weights; ``ges``: the plain mean of the slots; ``bge``: no side
        information, which is DeepWalk on the directed graph.
    dim, num_walks, walk_length, window, negatives, ns_exponent, alpha, sample
        As in :class:`.DeepWalk`. The paper has 160 dimensions, walks of 10, 20 of them, a window
        of 5; it is silent on the rest.
    directed, edge_window, half_life, user_cap, min_weight
        How the graph is made from sequences; see :meth:`.ItemGraph.from_sequences`.
    patience, seed
        As in :class:`.DeepWalk`.
    threads
        The same seed gives the same vectors at ``threads=1`` only.

    Attributes
    ----------
    item_vectors_ : VectorSet
        H, float32, metric ``COSINE``, of the items with an edge to another, with lineage.
    output_vectors_ : VectorSet
        Z of the same items, metric ``INNER_PRODUCT``. This, the weights and the cold start are of
        the last epoch, also where a monitor found the vectors of an earlier one best.
    weights_ : ndarray
        α, (items, slots) float32 in the order of ``item_vectors_``: the item's own first, then
        those of ``slots_``; 0 where an item has no value.
    slots_ : list of str
        ``item`` and the fields that tell items apart.
    report_ : list of str
        What was left out or missing in the side information.
    cold_start_ : ColdStart
        Makes vectors for other items; saved and loaded by itself. None with ``bge``.
    scores_, loss_, skipgram_
        As in :class:`.DeepWalk`.
    """

    supports_monitor: ClassVar[bool] = True
    supports_side: ClassVar[bool] = True
    name_: ClassVar[str] = "eges"
    search_space: ClassVar[SearchSpace] = {
        "mode": OneOf(("eges", "ges")),
        "num_walks": Whole(5, 40, log=True),
        "walk_length": Whole(5, 40, log=True),
        "window": Whole(1, 10, log=True),
        "negatives": Whole(2, 20, log=True),
        "ns_exponent": Real(-1, 1),
        "alpha": Real(0.01, 0.1, log=True),
    }

    def __init__(
        self,
        *,
        fields: Sequence[str] = (),
        mode: Literal["eges", "ges", "bge"] = "eges",
        dim: int = 64,
        num_walks: int = 20,
        walk_length: int = 10,
        window: int | None = 5,
        negatives: int = 5,
        ns_exponent: float = 0.75,
        alpha: float = 0.05,
        sample: float = 0.0,
        directed: bool = True,
        edge_window: int | None = 1,
        half_life: float | None = None,
        user_cap: float | None = None,
        min_weight: float = 0.0,
        patience: int | None = None,
        seed: int = 1,
        threads: int = 2,
    ) -> None:
        self.fields = fields
        self.mode = mode
        self.dim = dim
        self.num_walks = num_walks
        self.walk_length = walk_length
        self.window = window
        self.negatives = negatives
        self.ns_exponent = ns_exponent
        self.alpha = alpha
        self.sample = sample
        self.directed = directed
        self.edge_window = edge_window
        self.half_life = half_life
        self.user_cap = user_cap
        self.min_weight = min_weight
        self.patience = patience
        self.seed = seed
        self.threads = threads

    def fit(
        self,
        data: ItemGraph | Sequences,
        *,
        side: SideInformation | None = None,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train on a graph, or on the graph of sequences.

        Parameters
        ----------
        side
            What is known of the items; those that are not in the graph are not read. Not needed
            with ``bge``.
        monitor, checkpoint
            As in :meth:`.Item2Vec.fit`; an epoch is a walk from each node.

        Raises
        ------
        InvalidOption
            An option out of its range, a field twice, a checkpoint of another training, or an
            ``alpha`` at which training diverges.
        UsageError
            No side information, no fields, or no field that tells items apart, but for ``bge``.
        UnknownColumn, BadRow
            A field that ``side`` lacks; a value that its field cannot have.
        EmptyInput
            No edge joins two nodes.
        """
        self._check_options()
        graph = self._graph_of(data)
        graph = graph.over(np.flatnonzero(graph.connected))
        ids = graph.vocabulary
        encodings, parts, self.report_ = self._parts_of(graph, side)
        walks = Walks(graph, self.walk_length, seed=self.seed, threads=self.threads)
        options = SkipGramOptions.of(
            self, epochs=self.num_walks, keep_places=False, deterministic=False
        )
        trained = SkipGram(walks, options, parts=parts)
        best, self.scores_ = train_epochs(
            trained,
            lambda: VectorSet(ids, trained.vectors(average_outputs=False), Metric.COSINE),
            patience=self.patience,
            progress=progress,
            monitor=monitor,
            checkpoint=checkpoint,
        )
        self.skipgram_, self.loss_ = trained, trained.losses
        self.item_vectors_ = best.with_lineage(
            **lineage_of(self.name_, self, graph, report=self.report_)
        )
        self.output_vectors_ = VectorSet(ids, trained.outputs, Metric.INNER_PRODUCT)
        self.slots_ = ["item", *(encoding.field.name for encoding in encodings)]
        self.weights_ = np.ones((len(ids), 1), dtype=np.float32)
        self.cold_start_ = None
        if parts is not None:
            self.weights_ = slot_weights_all(parts)
            self.cold_start_ = ColdStart(
                tuple(encodings), trained.inputs[len(ids) :].copy(), self._mean_weights()[1:]
            )
        return self

    @property
    def field_weights_(self) -> Mapping[str, float]:
        """Slot → its weight, a mean over the items that have it: which field matters."""
        return dict(zip(self.slots_, self._mean_weights().tolist(), strict=True))

    def _mean_weights(self) -> FloatMatrix:
        has = self.weights_ > 0
        means: FloatMatrix = self.weights_.sum(axis=0) / np.maximum(1, has.sum(axis=0))
        return means

    def _parts_of(
        self, graph: ItemGraph, side: SideInformation | None
    ) -> tuple[list[Encoding], Parts | None, list[str]]:
        if self.mode == "bge":
            return [], None, []
        if side is None or not self.fields:
            raise UsageError(
                f"mode={self.mode!r} needs side information: fields=[…] and fit(…, side=…), or "
                "--field on the command line; mode='bge' goes without."
            )
        fields = [Field.parse(text) for text in self.fields]
        encodings, layout, report = encode_side(graph.vocabulary, side, fields)
        if not encodings:
            raise UsageError(f"No field tells the items apart. {' '.join(report)}")
        logits = np.zeros((len(graph), 1 + len(encodings)), dtype=np.float32)
        return encodings, Parts(*layout, logits, self.mode == "eges"), report

    def _check_options(self) -> None:
        check_skipgram(self, "num_walks")
        check_option(self, "walk_length", int, lambda value: value >= 2, "at least 2")
        check_choice(self, "mode", ("eges", "ges", "bge"))
