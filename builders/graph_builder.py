"""What builders of vectors from an item graph share."""

from __future__ import annotations

from typing import ClassVar

from ..core.behaviour import Sequences
from ..core.errors import InvalidOption
from .graph import ItemGraph
from .options import Configured, check_half_life, check_option, check_window


class GraphBuilder(Configured):
    """A builder whose ``fit`` takes an :class:`.ItemGraph`, or sequences to make one from.

    Parameters
    ----------
    directed, edge_window, half_life, user_cap, min_weight
        How the graph is made from sequences; see :meth:`.ItemGraph.from_sequences`, whose
        ``window`` is ``edge_window``. Of no effect on a graph.
    """

    supports_vectors: ClassVar[bool] = True
    name_: ClassVar[str]
    directed: bool
    edge_window: int | None
    half_life: float | None
    user_cap: float | None
    min_weight: float

    def _graph_of(self, data: ItemGraph | Sequences) -> ItemGraph:
        """The graph to learn from; :class:`EmptyInput` where no edge joins two nodes."""
        check_window(self, "edge_window")
        check_half_life(self)
        if self.user_cap is not None:
            check_option(self, "user_cap", float, lambda value: value > 0, "None or above 0")
        check_option(self, "min_weight", float, lambda value: value >= 0, "at least 0")
        graph = data
        if isinstance(data, Sequences):
            graph = ItemGraph.from_sequences(
                data,
                directed=self.directed,
                window=self.edge_window,
                half_life=self.half_life,
                user_cap=self.user_cap,
                min_weight=self.min_weight,
            )
        if not isinstance(graph, ItemGraph):
            raise InvalidOption(
                f"fit takes an ItemGraph or Sequences; received {type(data).__name__}.",
                option="data",
                received=type(data).__name__,
            )
        graph.check_edges()
        return graph
