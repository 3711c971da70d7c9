"""The factorisations of the ``implicit`` library, epoch by epoch."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix

from ..core.errors import InvalidOption, MissingExtra
from ..core.vectors import FloatMatrix
from .checkpoints import read_state, write_state

_KIND, _FORMAT = "factorisation state", 1
#: Pairs that the loss of ``bpr`` is a mean over, at most.
_PAIRS = 1 << 14


@dataclass(frozen=True)
class ImplicitOptions:
    """What the library is told; see :class:`.MatrixFactorization`."""

    model: str
    dim: int
    epochs: int
    regularization: float
    learning_rate: float
    seed: int
    threads: int

    @classmethod
    def of(cls, builder: Any) -> Self:
        """The options of a builder."""
        return cls(**{known.name: getattr(builder, known.name) for known in fields(cls)})


class Factorisation:
    """Vectors of the rows (users) and columns (items) of a matrix, trained epoch by epoch.

    The library draws from (seed, epoch), so that an epoch is the same after a checkpoint.

    Parameters
    ----------
    cells
        (users, items) float32 with sorted indices.
    """

    def __init__(self, cells: csr_matrix, options: ImplicitOptions) -> None:
        self._cells, self.options = cells, options
        #: The loss after each epoch so far, float64.
        self.losses: list[float] = []
        with _library() as implicit:
            self._model = self._make(implicit.cpu)

    @property
    def user_factors(self) -> FloatMatrix:
        """(users, width) float32, no copy."""
        found: FloatMatrix = self._model.user_factors
        return found

    @property
    def item_factors(self) -> FloatMatrix:
        """(items, width) float32, no copy."""
        found: FloatMatrix = self._model.item_factors
        return found

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    @property
    def epochs(self) -> int:
        """How many epochs there are to be."""
        return self.options.epochs

    def train_epoch(self) -> float:
        """One epoch more; returns the loss after it.

        Raises
        ------
        InvalidOption
            The vectors grew beyond all bounds.
        """
        self._model.random_state = (self.options.seed, self.epoch)
        with _library() as implicit, suppress(implicit.recommender_base.ModelFitError):
            self._model.fit(self._cells, show_progress=False)
        if not (np.isfinite(self.user_factors).all() and np.isfinite(self.item_factors).all()):
            raise InvalidOption(
                f"The vectors grew beyond all bounds in epoch {self.epoch + 1}, with a "
                f"regularization of {self.options.regularization} and, of bpr, a learning_rate of "
                f"{self.options.learning_rate}; choose lower ones, or smaller weights.",
                option="regularization",
                received=self.options.regularization,
            )
        self.losses.append(self._loss())
        return self.losses[-1]

    def finish(self) -> None:
        """Let go of the matrix: there are no more epochs."""
        del self._cells

    def save(self, folder: Path) -> None:
        """Write the state after an epoch into a folder; older states go."""
        arrays = {"users": self.user_factors, "items": self.item_factors}
        meta = {"fingerprint": self.fingerprint(), "losses": self.losses}
        write_state(folder, self.epoch, _KIND, _FORMAT, arrays, meta)

    def resume(self, folder: Path) -> bool:
        """Take up the newest state in a folder, see :func:`.read_state`; whether there was one."""
        found = read_state(folder, _KIND, _FORMAT, self.fingerprint())
        if found is None:
            return False
        meta, arrays = found
        self._model.user_factors = np.array(arrays["users"])
        self._model.item_factors = np.array(arrays["items"])
        self.losses = list(meta["losses"])
        return True

    def fingerprint(self) -> str:
        """SHA-256 of the options, threads aside, and the matrix."""
        facts = {**asdict(self.options), "threads": None}
        digest = sha256(json.dumps(facts, sort_keys=True).encode())
        for array in (self._cells.indptr, self._cells.indices, self._cells.data):
            digest.update(array.tobytes())
        return digest.hexdigest()

    @abstractmethod
    def _make(self, cpu: Any) -> Any:
        """A model of one epoch, of the library for processors."""

    @abstractmethod
    def _loss(self) -> float:
        """Of the vectors as they are."""


class AlternatingLeastSquares(Factorisation):
    """Of a matrix of confidences."""

    def _make(self, cpu: Any) -> Any:
        return _least_squares(cpu, self.options)

    def _loss(self) -> float:
        with _library() as implicit:
            loss: float = implicit.cpu.als.calculate_loss(
                self._cells,
                self.user_factors,
                self.item_factors,
                self.options.regularization,
                self.options.threads,
            )
        return loss


class BayesianPersonalizedRanking(Factorisation):
    """Of the cells alone: their values are not looked at.

    The last column is 1 for users and the bias for items. The loss is over pairs that are drawn
    once, as the training draws its own.
    """

    def __init__(self, cells: csr_matrix, options: ImplicitOptions) -> None:
        super().__init__(cells, options)
        rng = np.random.default_rng(options.seed)
        liked = rng.choice(cells.nnz, min(cells.nnz, _PAIRS), replace=False)
        users = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))[liked]
        others = cells.indices[rng.integers(cells.nnz, size=len(liked))]
        unseen = np.asarray(cells[users, others]).ravel() == 0
        self._pairs = tuple(column[unseen] for column in (users, cells.indices[liked], others))

    def _make(self, cpu: Any) -> Any:
        return cpu.bpr.BayesianPersonalizedRanking(
            factors=self.options.dim,
            learning_rate=self.options.learning_rate,
            regularization=self.options.regularization,
            iterations=1,
            num_threads=self.options.threads,
        )

    def _loss(self) -> float:
        users, liked, others = self._pairs
        if not len(users):
            return 0.0
        ahead = (self.item_factors[liked] - self.item_factors[others]).astype(np.float64)
        margins = np.einsum("ij,ij->i", self.user_factors[users], ahead)
        return float(np.logaddexp(0, -margins).mean())


MODELS: dict[str, type[Factorisation]] = {
    "als": AlternatingLeastSquares,
    "bpr": BayesianPersonalizedRanking,
}


def solve_rows(cells: csr_matrix, fixed: FloatMatrix, options: ImplicitOptions) -> FloatMatrix:
    """The vectors of rows (n, dim) by least squares, those of the columns being ``fixed``.

    x = (YᵀY + Yᵀ(C − I)Y + λI)⁻¹ YᵀC p: Hu, Koren & Volinsky 2008, equation 4.
    """
    with _library() as implicit:
        model = _least_squares(implicit.cpu, options)
        model.item_factors = np.require(fixed, requirements="W")
        found: FloatMatrix = model.recalculate_user(np.arange(cells.shape[0]), cells)
    return found


def _least_squares(cpu: Any, options: ImplicitOptions) -> Any:
    return cpu.als.AlternatingLeastSquares(
        factors=options.dim,
        regularization=options.regularization,
        iterations=1,
        num_threads=options.threads,
    )


@contextmanager
def _library() -> Iterator[Any]:
    """The library, and meanwhile BLAS on one thread in all of the process.

    The library has threads of its own, among which those of BLAS would get in each other's way
    (it warns of that); and so a sum does not depend on how many there are.
    """
    try:
        import implicit
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "Factorising users and items needs implicit; pip install 'itemspace[factorization]'.",
            extra="factorization",
        ) from error
    with threadpool_limits(1, "blas"):
        yield implicit
