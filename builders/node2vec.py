"""node2vec: DeepWalk whose walks stay near, or go away, as two parameters tell.

Grover & Leskovec, "node2vec: Scalable Feature Learning for Networks" (2016).
"""

from __future__ import annotations

from typing import ClassVar

from .deepwalk import DeepWalk
from .graph import ItemGraph
from .options import Real, SearchSpace, check_option
from .walks import Walks


class Node2Vec(DeepWalk):
    """Vectors of the nodes of a graph, from second-order walks.

    Having come from t to v, a walk goes on to x with a probability in proportion to the weight of
    the edge v → x, times 1/p if x is t, times 1/q if x is not t and there is no edge t → x. See
    :mod:`.walk_kernels`; docs/graphs.md shows what p and q do.

    Departures from the paper: in directed graphs the edge t → x decides (the paper speaks of the
    distance from t to x, which that is); walks are drawn by rejection, exactly, without a table
    over pairs of edges.

    Parameters
    ----------
    return_parameter
        p, above 0: the lower, the more a walk turns back, and so stays around its start.
    in_out_parameter
        q, above 0: above 1 walks keep to the nodes around t, below they go away from it.
    others
        As in :class:`.DeepWalk`, which this is with p = q = 1.
    """

    name_: ClassVar[str] = "node2vec"
    search_space: ClassVar[SearchSpace] = {
        **DeepWalk.search_space,
        "return_parameter": Real(0.25, 4, log=True),
        "in_out_parameter": Real(0.25, 4, log=True),
    }

    def __init__(
        self,
        *,
        return_parameter: float = 1.0,
        in_out_parameter: float = 1.0,
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
        super().__init__(
            dim=dim,
            num_walks=num_walks,
            walk_length=walk_length,
            window=window,
            negatives=negatives,
            ns_exponent=ns_exponent,
            alpha=alpha,
            sample=sample,
            average_outputs=average_outputs,
            directed=directed,
            edge_window=edge_window,
            half_life=half_life,
            user_cap=user_cap,
            min_weight=min_weight,
            patience=patience,
            deterministic=deterministic,
            seed=seed,
            threads=threads,
        )
        self.return_parameter = return_parameter
        self.in_out_parameter = in_out_parameter

    def _walks(self, graph: ItemGraph) -> Walks:
        return Walks(
            graph,
            self.walk_length,
            return_parameter=self.return_parameter,
            in_out_parameter=self.in_out_parameter,
            seed=self.seed,
            threads=self.threads,
        )

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("return_parameter", "in_out_parameter"):
            check_option(self, name, float, lambda value: 0 < value < float("inf"), "above 0")
