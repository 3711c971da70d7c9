"""Item2vec: skip-gram with negative sampling over item sequences, on our own kernel or gensim.

Barkan & Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering" (2016), after
Mikolov et al. (2013).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Sequences
from ..core.errors import CorruptData, EmptyInput, UnsupportedError, UsageError
from ..core.ids import Ids
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.storage import open_directory, verify_directory, write_directory
from ..core.vectors import FloatMatrix, VectorSet, ids_from_arrays
from .builder import Monitor
from .options import (
    Configured,
    OneOf,
    Real,
    SearchSpace,
    Whole,
    check_choice,
    check_half_life,
    check_option,
    check_skipgram,
    lineage_of,
)
from .skipgram import SkipGram, SkipGramOptions, Start
from .sources import Counts, Log
from .training import train_epochs

_KIND, _FORMAT = "item2vec model", 1


class Item2Vec(Configured):
    """Item vectors from sequences of items.

    Parameters
    ----------
    dim
        Dimensions of the vectors, at least 1.
    window
        Items within this distance in a sequence are each other's context; the distance used is
        drawn uniformly from 1 to ``window`` for each position, as in word2vec. At least 1; or
        ``None``: a sequence is a basket, each item is every other's context, and the time grows
        with the square of its length.
    negatives
        Noise items drawn for each pair, at least 1.
    epochs
        Passes over the data, at least 1.
    min_count
        Items seen fewer times get no vector. At least 1, which keeps every item (gensim's own
        default of 5 drops the tail).
    sample
        Frequent items are left out at random beyond this share of all events; 0 keeps all.
        A dropped item does not keep its place: its neighbours move together (as in word2vec).
    ns_exponent
        Noise items are drawn in proportion to count ** ns_exponent; any number. 0.75 is
        word2vec's; the best value depends on the data (Caselles-Dupré et al. 2018).
    alpha
        Learning rate at the start, falling linearly to a thousandth of it; above 0.
    half_life
        Time decay: an event counts half as much for every so many seconds that it is older than
        the newest, above 0; ``None``: all alike. It then is the middle of a window in so many of
        the epochs, and still the context of newer ones. Needs sequences with times.
    engine
        ``native``: :mod:`.skipgram_kernel`, which shares the noise items among the inputs of a
        window, takes the sequences in a new order in each epoch, and reports a true loss; or
        ``gensim``, which has none of the options below, nor ``half_life``.
    keep_places
        Whether a dropped item keeps its place, so that its neighbours do not move together.
    average_outputs
        Whether an item's vector is the mean of its input and its output vector.
    patience
        With a ``monitor``: stop when so many epochs in a row brought nothing better, at least 1;
        ``None`` trains all epochs.
    deterministic
        Whether the same seed gives the same vectors at any number of threads, on machines of one
        kind; see :class:`.SkipGram`. It costs speed (docs/figures.md).
    seed, threads
        Without ``deterministic`` the same seed gives the same vectors at ``threads=1`` only: with
        more, the order of the updates is a race.

    Attributes
    ----------
    item_vectors_ : VectorSet
        float32, metric ``COSINE``, in the order of the vocabulary, with lineage.
    scores_ : list of float
        What ``monitor`` said of each epoch.
    loss_ : list of float
        For ``native``: the mean loss of a pair in each epoch, float64; a pair's is −log σ(u·v⁺) −
        Σ log σ(−u·v⁻).
    skipgram_ : SkipGram
        For ``native``: the trained state, input and output vectors after the last epoch.

    Notes
    -----
    Sequences go to gensim as integers, never as strings. Sequences of more than 10,000 items are
    handed over in pieces of 10,000, between which no pairs are formed; gensim alone would drop
    the rest.
    """

    supports_vectors: ClassVar[bool] = True
    supports_monitor: ClassVar[bool] = True
    search_space: ClassVar[SearchSpace] = {
        "window": Whole(1, 20, log=True),
        "epochs": Whole(5, 100, log=True),
        "negatives": Whole(2, 20, log=True),
        "sample": Real(1e-5, 1e-1, log=True),
        "ns_exponent": Real(-1, 1),
        "alpha": Real(0.01, 0.2, log=True),
        "min_count": Whole(1, 5),
        "average_outputs": OneOf((False, True)),
    }

    def __init__(
        self,
        *,
        dim: int = 64,
        window: int | None = 5,
        negatives: int = 5,
        epochs: int = 10,
        min_count: int = 1,
        sample: float = 1e-3,
        ns_exponent: float = 0.75,
        alpha: float = 0.025,
        half_life: float | None = None,
        engine: Literal["native", "gensim"] = "native",
        keep_places: bool = False,
        average_outputs: bool = False,
        patience: int | None = None,
        deterministic: bool = False,
        seed: int = 1,
        threads: int = 2,
    ) -> None:
        self.dim = dim
        self.window = window
        self.negatives = negatives
        self.epochs = epochs
        self.min_count = min_count
        self.sample = sample
        self.ns_exponent = ns_exponent
        self.alpha = alpha
        self.half_life = half_life
        self.engine = engine
        self.keep_places = keep_places
        self.average_outputs = average_outputs
        self.patience = patience
        self.deterministic = deterministic
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
        """Train on sequences.

        Parameters
        ----------
        monitor
            Called with the vectors after each epoch; what it returns (higher is better) decides
            which epoch's vectors are kept, and with ``patience`` when to stop. ``native`` only.
        checkpoint
            A folder for the state after each epoch. A fit that finds one there goes on with it;
            at one thread, or ``deterministic``, it ends with the same vectors as without the
            interruption (except that ``monitor`` judges anew from there). ``native`` only.

        Raises
        ------
        InvalidOption
            An option out of its range, a checkpoint of other options or sequences, or an ``alpha``
            at which training diverges.
        UnsupportedError
            What gensim cannot do.
        EmptyInput
            No item is seen ``min_count`` times, or no sequence has two items.
        """
        self._check_options()
        counts = self._counts(sequences)
        if self.engine == "gensim":
            self._refuse_beyond_gensim(monitor is not None or checkpoint is not None)
            from .gensim_engine import train_with_gensim

            matrix = train_with_gensim(sequences, counts, SkipGramOptions.of(self), progress)
            ids = sequences.vocabulary[np.flatnonzero(counts)]
            self.item_vectors_ = self._vector_set(ids, matrix, sequences)
            return self
        known = sequences.over(np.flatnonzero(counts))
        return self._train(known, None, progress, monitor, checkpoint)

    def update(
        self,
        sequences: Sequences,
        *,
        freeze: bool = True,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        """Go on training with new sequences, after :meth:`fit` or :meth:`load`.

        Items that are new get vectors in the space of the old ones: they start fresh and are
        trained with them. The options are those of this builder, the learning rate starts again
        at ``alpha``, and counts go on from where they were.

        Parameters
        ----------
        sequences
            New ones alone, over any vocabulary of the same kind of ids.
        freeze
            Whether the vectors of items known before stay exactly as they are. Measured
            (docs/figures.md), that comes close to training anew on everything, where free ones
            forget what the new sequences don't repeat; with few epochs they forget less.

        Raises
        ------
        UsageError
            Nothing was trained before, or with gensim.
        InvalidOption, EmptyInput
            As :meth:`fit`; also another ``dim`` than before.
        """
        if not hasattr(self, "skipgram_"):
            raise UsageError("There is nothing to update; fit with engine='native', or load.")
        self._check_options()
        before = self.skipgram_
        check_option(
            self,
            "dim",
            int,
            lambda dim: dim == before.options.dim,
            f"{before.options.dim}, as before",
        )
        counts = self._counts(sequences)
        fresh = (counts > 0) & (self.ids_.rows_of(sequences.vocabulary) < 0)
        ids = self.ids_.concat(sequences.vocabulary[np.flatnonzero(fresh)])
        frozen = len(self.ids_) if freeze else 0
        start = Start(before.inputs, before.outputs, before.counts, frozen)
        return self._train(sequences.onto(ids), start, progress, monitor, None)

    def save(self, path: str | Path) -> None:
        """Write what :meth:`update` needs as a new directory: both kinds of vectors, and counts."""
        trained = self.skipgram_
        arrays: dict[str, npt.NDArray[Any]] = {
            "inputs": trained.inputs,
            "outputs": trained.outputs,
            "counts": trained.counts,
            **self.ids_.buffers,
        }
        write_directory(Path(path), _KIND, _FORMAT, arrays, {"options": self.get_params()})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A builder as :meth:`save` left it.

        Raises :class:`CorruptData`, or :class:`MissingData` where there is nothing.
        """
        verify_directory(Path(path), _KIND, _FORMAT)
        meta, arrays = open_directory(Path(path), _KIND, _FORMAT)
        try:
            builder, ids = cls(**meta["options"]), ids_from_arrays(arrays)
            start = Start(arrays["inputs"], arrays["outputs"], arrays["counts"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptData(f"{path} is no whole model: {error}.", path=str(path)) from error
        nothing = Sequences(ids, np.empty(0, np.int32), np.zeros(1, np.int64))
        builder.ids_ = ids
        builder.skipgram_ = SkipGram(Log(nothing), SkipGramOptions.of(builder), start=start)
        builder.item_vectors_ = builder._vector_set(
            ids, builder.skipgram_.vectors(builder.average_outputs), nothing
        )
        return builder

    def _train(
        self,
        sequences: Sequences,
        start: Start | None,
        progress: Progress | None,
        monitor: Monitor | None,
        checkpoint: str | Path | None,
    ) -> Self:
        source = Log(sequences, sequences.decay(self.half_life))
        trained = SkipGram(source, SkipGramOptions.of(self), start=start)

        def look() -> VectorSet:
            vectors = trained.vectors(self.average_outputs)
            return VectorSet(sequences.vocabulary, vectors, Metric.COSINE)

        best, self.scores_ = train_epochs(
            trained,
            look,
            patience=self.patience,
            progress=progress,
            monitor=monitor,
            checkpoint=checkpoint,
        )
        self.ids_, self.skipgram_, self.loss_ = sequences.vocabulary, trained, trained.losses
        self.item_vectors_ = self._vector_set(sequences.vocabulary, best.matrix, sequences)
        return self

    def _vector_set(self, ids: Ids, matrix: FloatMatrix, sequences: Sequences) -> VectorSet:
        lineage = lineage_of("item2vec", self, sequences, engine=self.engine, items=len(ids))
        return VectorSet(ids, matrix, Metric.COSINE, lineage)

    def _counts(self, sequences: Sequences) -> Counts:
        """How often each item is seen, 0 below ``min_count``."""
        counts = sequences.counts()
        counts[counts < self.min_count] = 0
        pairs = int(np.count_nonzero(np.diff(sequences.offsets) >= 2))
        if not counts.any() or not pairs:
            raise EmptyInput(
                f"Nothing to learn from: {len(sequences):,} sequences, of which {pairs:,} have two "
                f"items or more, and {np.count_nonzero(counts):,} items seen at least "
                f"{self.min_count} times.",
                path="sequences",
            )
        return counts

    def _refuse_beyond_gensim(self, steered: bool) -> None:
        beyond = {
            "a monitor or checkpoints": steered,
            "half_life": self.half_life is not None,
            "keep_places": self.keep_places,
            "average_outputs": self.average_outputs,
            "deterministic": self.deterministic and self.threads > 1,
        }
        wanted = [name for name, asked in beyond.items() if asked]
        if wanted:
            raise UnsupportedError(
                f"gensim has no {', '.join(wanted)}; use engine='native', or leave it out."
            )

    def _check_options(self) -> None:
        check_choice(self, "engine", ("native", "gensim"))
        check_half_life(self)
        check_skipgram(self, "epochs", "min_count")
