"""Vectors of users and items whose inner products say what a user takes: the ``implicit`` library.

Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008); Rendle,
Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
Feedback" (UAI 2009).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from scipy.sparse import csr_matrix

from ..core.behaviour import Sequences
from ..core.errors import InvalidOption, UnsupportedError
from ..core.ids import Ids
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import FloatMatrix, VectorSet
from .builder import Monitor, UserItemVectors
from .implicit_engine import MODELS, ImplicitOptions, solve_rows
from .interaction_matrix import InteractionMatrix, ids_of_users
from .options import (
    Configured,
    Real,
    SearchSpace,
    Whole,
    check_choice,
    check_half_life,
    check_option,
    lineage_of,
)
from .training import train_epochs


class MatrixFactorization(Configured):
    """A vector for each user and each item, by alternating least squares or BPR.

    Both learn from r(u, i), the sum of what the events of user u with item i count
    (:class:`.InteractionMatrix`), in no order; a user's sequences are taken together.

    ``als`` minimises Σ c (p − x·y)² + λ (Σ‖x‖² + Σ‖y‖²) over all users and items, where p is 1
    where r > 0 and 0 elsewhere, and the confidence c is 1 + α r, or 1 + α log(1 + r / ε) with
    ``epsilon`` (Hu et al., section 4 and equation 6). ``bpr`` ranks, by steps of −log σ(x·(y⁺ −
    y⁻)), an item that the user has before one that another event was with; it asks only whether
    r > 0, so neither weights nor ``half_life`` have a meaning for it.

    Parameters
    ----------
    model
        ``als`` or ``bpr``.
    dim
        Dimensions that are learned, at least 1. The vectors of ``bpr`` have one more, in which an
        item has its bias and a user 1: the inner product alone ranks.
    epochs
        At least 1; ``bpr`` needs some hundred.
    regularization
        λ, above 0.
    alpha
        Of ``als``: α, at least 0.
    epsilon
        Of ``als``: ε above 0 takes the logarithm of r; ``None``: r itself.
    learning_rate
        Of ``bpr``: above 0.
    half_life
        Of ``als``: an event counts half as much for every so many seconds that it is older than
        the newest, above 0; ``None``: all alike. Needs sequences with times.
    patience
        With a ``monitor``: stop when so many epochs in a row brought nothing better, at least 1;
        ``None`` trains all epochs.
    seed, threads
        With ``als`` the same seed gives the same vectors at any number of threads (of the loss,
        the last digits may differ), with ``bpr`` at ``threads=1`` only, on machines of one kind.

    Attributes
    ----------
    item_vectors_, user_vectors_ : VectorSet
        float32, metric ``INNER_PRODUCT``, with lineage: of the items in the order of the
        vocabulary, and of the users in that of their numbers, under :attr:`.Sequences.user_ids`,
        or else those numbers. Without an event that counts more than 0 there is no vector. Both
        lineages name the ``training``, by the items' vectors; so do those of what is folded in.
    scores_ : list of float
        What ``monitor`` said of each epoch.
    loss_ : list of float
        After each epoch, float64. For ``als`` what is minimised over Σ c, as the library reports
        it; for ``bpr`` the mean of −log σ over at most 16,384 pairs, the same in each epoch,
        drawn as the training draws its own.

    Notes
    -----
    Departures of the library: ``als`` takes three steps of conjugate gradients from the vectors
    of the epoch before in place of the exact solution (Takács, Pilászy & Tikk 2011); ``bpr`` draws
    the item y⁻ as often as there are users with it, not uniformly, and an epoch is as many draws
    as there are pairs of a user and an item. In the library's own ``fit``, c is α r.

    While it trains, BLAS has one thread in all of the process.
    """

    supports_vectors: ClassVar[bool] = True
    supports_users: ClassVar[bool] = True
    supports_monitor: ClassVar[bool] = True
    name_: ClassVar[str] = "mf"
    search_space: ClassVar[SearchSpace] = {
        "dim": Whole(16, 512, log=True),
        "epochs": Whole(5, 200, log=True),
        "regularization": Real(1e-3, 100, log=True),
        "alpha": Real(0.05, 50, log=True),
        "learning_rate": Real(0.005, 0.2, log=True),
    }

    def __init__(
        self,
        *,
        model: Literal["als", "bpr"] = "als",
        dim: int = 64,
        epochs: int = 15,
        regularization: float = 0.01,
        alpha: float = 1.0,
        epsilon: float | None = None,
        learning_rate: float = 0.05,
        half_life: float | None = None,
        patience: int | None = None,
        seed: int = 1,
        threads: int = 2,
    ) -> None:
        self.model = model
        self.dim = dim
        self.epochs = epochs
        self.regularization = regularization
        self.alpha = alpha
        self.epsilon = epsilon
        self.learning_rate = learning_rate
        self.half_life = half_life
        self.patience = patience
        self.seed = seed
        self.threads = threads

    def fit(
        self,
        sequences: Sequences,
        *,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train from the start, or from a checkpoint.

        Parameters
        ----------
        monitor
            Called after each epoch with a :class:`.UserItemVectors`; the vectors of the epoch
            with the highest value are kept.
        checkpoint
            A folder: the state after each epoch is written there, and training goes on from the
            newest state in it, to the same vectors where the seed gives the same at all.

        Raises
        ------
        InvalidOption
            An option out of its range, a weight that is negative or no number, a checkpoint of
            another training, or options at which training diverges.
        EmptyInput
            No event counts more than 0.
        MissingExtra
            Without implicit.
        """
        self._check_options()
        found = InteractionMatrix.from_sequences(sequences, self.half_life)
        cells = self._confidences(found.amounts)
        trained = MODELS[self.model](cells, ImplicitOptions.of(self))

        def look() -> UserItemVectors:
            items, users = trained.item_factors.copy(), trained.user_factors.copy()
            training = hashlib.sha256(items.tobytes()).hexdigest()[:16]
            return UserItemVectors(
                self._vector_set(found.items, items, sequences, training),
                self._vector_set(found.users, users, sequences, training),
            )

        best, self.scores_ = train_epochs(
            trained,
            look,
            patience=self.patience,
            progress=progress,
            monitor=monitor,
            checkpoint=checkpoint,
        )
        self.loss_ = trained.losses
        self.item_vectors_, self.user_vectors_ = best.item_vectors_, best.user_vectors_
        return self

    def fold_in_users(self, sequences: Sequences) -> VectorSet:
        """Vectors of the users of sequences, with the items' as they are.

        The exact solution of ``als`` for the user alone, from ``item_vectors_`` and the options;
        for a user who was trained on it comes near the vector that they have. Events with items
        that have no vector are left out, and users without another. With a ``half_life`` an
        event's age counts from the newest of ``sequences``.

        Raises
        ------
        UnsupportedError
            With ``bpr``, which has no such solution.
        InvalidOption, EmptyInput
            As :meth:`fit`.
        """
        known = sequences.onto(self.item_vectors_.ids)
        found = InteractionMatrix.from_sequences(known, self.half_life)
        return self._folded(found.users, found.amounts, found.items, self.item_vectors_, known)

    def fold_in_items(self, sequences: Sequences) -> VectorSet:
        """Vectors of the items of sequences, with the users' as they are.

        As :meth:`fold_in_users`: events of users who have no vector are left out. A user is known
        again by their id, or their number where sequences have no ids.
        """
        ids = ids_of_users(sequences, sequences.owners())
        known = self.user_vectors_.ids.rows_of(ids) >= 0
        kept = sequences.where(np.repeat(known, np.diff(sequences.offsets)))
        found = InteractionMatrix.from_sequences(kept, self.half_life)
        amounts = csr_matrix(found.amounts.T)
        return self._folded(found.items, amounts, found.users, self.user_vectors_, kept)

    def _folded(
        self,
        ids: Ids,
        amounts: csr_matrix,
        others: Ids,
        fixed: VectorSet,
        sequences: Sequences,
    ) -> VectorSet:
        """Vectors of ``ids``, which have to do with ``others``, some of those in ``fixed``."""
        self._check_options()
        if self.model != "als":
            raise UnsupportedError(
                f"{self.model} cannot fold in what is new: its steps need pairs with all other "
                "items or users. Fit again, or use model='als'; a new user can be taken for the "
                "mean of their recent items."
            )
        columns = fixed.ids.rows_of(others).astype(np.int32)[amounts.indices]
        shape = (len(ids), len(fixed))
        cells = csr_matrix((amounts.data, columns, amounts.indptr), shape=shape)
        options = ImplicitOptions.of(self)
        matrix = solve_rows(self._confidences(cells), fixed.matrix, options)
        return self._vector_set(ids, matrix, sequences, fixed.lineage["training"])

    def _confidences(self, amounts: csr_matrix) -> csr_matrix:
        """The matrix that is factorised."""
        r = amounts.data if self.epsilon is None else np.log1p(amounts.data / self.epsilon)
        with np.errstate(over="ignore"):  # the training says that it diverges
            confidences = (1 + self.alpha * r).astype(np.float32)
        return csr_matrix((confidences, amounts.indices, amounts.indptr), shape=amounts.shape)

    def _vector_set(
        self, ids: Ids, matrix: FloatMatrix, sequences: Sequences, training: str
    ) -> VectorSet:
        lineage = lineage_of(self.name_, self, sequences, training=training)
        return VectorSet(ids, matrix, Metric.INNER_PRODUCT, lineage)

    def _check_options(self) -> None:
        check_choice(self, "model", tuple(MODELS))
        check_half_life(self)
        if self.model == "bpr" and self.half_life is not None:
            raise InvalidOption(
                "half_life has no meaning for bpr, which asks only whether there was an event; "
                "leave it out, or use model='als'.",
                option="half_life",
                received=self.half_life,
            )
        for name in ("dim", "epochs", "threads"):
            check_option(self, name, int, lambda value: value >= 1, "a whole number of at least 1")
        if self.patience is not None:
            check_option(self, "patience", int, lambda value: value >= 1, "None or at least 1")
        for name in ("regularization", "learning_rate"):
            check_option(self, name, float, lambda v: 0 < v < np.inf, "a number above 0")
        check_option(self, "alpha", float, lambda v: 0 <= v < np.inf, "a number of at least 0")
        if self.epsilon is not None:
            check_option(self, "epsilon", float, lambda v: 0 < v < np.inf, "None or above 0")
        check_option(self, "seed", int, lambda value: value >= 0, "a whole number of at least 0")
