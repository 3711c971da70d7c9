"""Item2vec: skip-gram with negative sampling over item sequences, on gensim or our own kernel.

Barkan & Koenigstein, "Item2Vec: Neural Item Embedding for Collaborative Filtering" (2016), after
Mikolov et al. (2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from ..core.behaviour import Sequences
from ..core.errors import EmptyInput, UnsupportedError
from ..core.metric import Metric
from ..core.progress import Progress
from ..core.vectors import FloatMatrix, VectorSet
from .builder import Monitor
from .options import Configured, check_choice, check_option, lineage_of
from .skipgram import SkipGram, SkipGramOptions

#: gensim cuts a longer text silently; ours are handed over in pieces of this length.
GENSIM_LONGEST_TEXT = 10_000


class Item2Vec(Configured):
    """Item vectors from sequences of items.

    Parameters
    ----------
    dim
        Dimensions of the vectors, at least 1.
    window
        Items within this distance in a sequence are each other's context; the distance used is
        drawn uniformly from 1 to ``window`` for each position, as in word2vec. At least 1.
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
    engine
        ``gensim``, or ``native``: :mod:`.skipgram`, which shares the noise items among the inputs
        of a window, takes the sequences in a new order in each epoch, and reports a true loss.
    keep_places
        For ``native``: whether a dropped item keeps its place, so that its neighbours do not
        move together.
    average_outputs
        For ``native``: whether an item's vector is the mean of its input and its output vector.
    patience
        With a ``monitor``: stop when so many epochs in a row brought nothing better, at least 1;
        ``None`` trains all epochs.
    seed, threads
        The same seed gives the same vectors at ``threads=1`` only: with more, the order of the
        updates is a race.

    Attributes
    ----------
    item_vectors_ : VectorSet
        float32, metric ``COSINE``, in the order of the vocabulary, with lineage.
    scores_ : list of float
        What ``monitor`` said of each epoch.
    loss_ : list of float
        For ``native``: the mean loss of a pair in each epoch; a pair's is −log σ(u·v⁺) −
        Σ log σ(−u·v⁻).

    Notes
    -----
    Sequences go to gensim as integers, never as strings. Sequences of more than 10,000 items are
    handed over in pieces of 10,000, between which no pairs are formed; gensim alone would drop
    the rest.
    """

    supports_vectors: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dim: int = 64,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 10,
        min_count: int = 1,
        sample: float = 1e-3,
        ns_exponent: float = 0.75,
        alpha: float = 0.025,
        engine: Literal["gensim", "native"] = "gensim",
        keep_places: bool = False,
        average_outputs: bool = False,
        patience: int | None = None,
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
        self.engine = engine
        self.keep_places = keep_places
        self.average_outputs = average_outputs
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
        """Train on sequences.

        Parameters
        ----------
        monitor
            Called with the vectors after each epoch; what it returns (higher is better) decides
            which epoch's vectors are kept, and with ``patience`` when to stop. ``native`` only.
        checkpoint
            A folder for the state after each epoch. A fit that finds one there goes on with it;
            at one thread it ends with the same vectors as without the interruption (except that
            ``monitor`` judges anew from there). ``native`` only.

        Raises
        ------
        InvalidOption
            An option out of its range, or a checkpoint of other options or sequences.
        UnsupportedError
            ``monitor`` or ``checkpoint`` with gensim.
        EmptyInput
            No item is seen ``min_count`` times, or no sequence has two items.
        """
        self._check_options()
        counts = sequences.counts()
        kept = np.flatnonzero(counts >= self.min_count)
        if not len(kept) or not np.any(np.diff(sequences.offsets) >= 2):
            raise EmptyInput(
                f"Nothing to learn from: {len(sequences):,} sequences, of which "
                f"{int(np.count_nonzero(np.diff(sequences.offsets) >= 2)):,} have two items or "
                f"more, and {len(kept):,} items seen at least {self.min_count} times.",
                path="sequences",
            )
        if self.engine == "native":
            matrix = self._train_native(sequences, kept, progress, monitor, checkpoint)
        elif monitor is not None or checkpoint is not None:
            raise UnsupportedError(
                "gensim can neither be monitored nor resumed; use engine='native'."
            )
        else:
            matrix = self._train_gensim(sequences, counts, kept, progress)
        self.item_vectors_ = VectorSet(
            sequences.vocabulary[kept],
            matrix,
            Metric.COSINE,
            lineage_of("item2vec", self, sequences, engine=self.engine, items=len(kept)),
        )
        return self

    def _train_gensim(
        self,
        sequences: Sequences,
        counts: np.ndarray[Any, np.dtype[np.int64]],
        kept: np.ndarray[Any, np.dtype[np.int64]],
        progress: Progress | None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        from gensim.models import Word2Vec
        from gensim.models.callbacks import CallbackAny2Vec

        class Report(CallbackAny2Vec):  # type: ignore[misc]
            done = 0

            def on_epoch_end(self, model: Any) -> None:
                self.done += 1
                if progress is not None:
                    progress(self.done, model.epochs, "training")

        model = Word2Vec(
            vector_size=self.dim,
            window=self.window,
            negative=self.negatives,
            sg=1,
            hs=0,
            min_count=1,
            sample=self.sample,
            ns_exponent=self.ns_exponent,
            alpha=self.alpha,
            min_alpha=self.alpha / 1000,
            seed=self.seed,
            workers=self.threads,
        )
        model.build_vocab_from_freq({int(c): int(counts[c]) for c in kept})
        texts = _Texts(sequences)
        model.train(
            texts,
            total_examples=texts.count,
            total_words=len(sequences.items),
            epochs=self.epochs,
            callbacks=[Report()],
        )
        places = [model.wv.key_to_index[int(code)] for code in kept]
        return np.ascontiguousarray(model.wv.vectors[places])

    def _train_native(
        self,
        sequences: Sequences,
        kept: np.ndarray[Any, np.dtype[np.int64]],
        progress: Progress | None,
        monitor: Monitor | None,
        checkpoint: str | Path | None,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        vocabulary = sequences.vocabulary[kept]
        trained = SkipGram(
            sequences.over(kept),
            SkipGramOptions(
                dim=self.dim,
                window=self.window,
                shrink=True,
                negatives=self.negatives,
                epochs=self.epochs,
                sample=self.sample,
                keep_places=self.keep_places,
                ns_exponent=self.ns_exponent,
                alpha=self.alpha,
                seed=self.seed,
                threads=self.threads,
            ),
        )
        folder = None if checkpoint is None else Path(checkpoint)
        if folder is not None:
            trained.resume(folder)
        self.scores_: list[float] = []
        best = self._vectors_of(trained)
        while trained.epoch < self.epochs:
            trained.train_epoch()
            if folder is not None:
                trained.save(folder)
            if progress is not None:
                progress(trained.epoch, self.epochs, "training")
            vectors = self._vectors_of(trained)
            if monitor is None:
                best = vectors
                continue
            self.scores_.append(monitor(VectorSet(vocabulary, vectors, Metric.COSINE)))
            at = int(np.argmax(self.scores_))
            if at == len(self.scores_) - 1:
                best = vectors.copy()
            if self.patience is not None and len(self.scores_) - 1 - at >= self.patience:
                break
        self.loss_ = trained.losses
        return best

    def _vectors_of(self, trained: SkipGram) -> FloatMatrix:
        if self.average_outputs:
            return np.add(trained.inputs, trained.outputs) * np.float32(0.5)
        return trained.inputs

    def _check_options(self) -> None:
        check_choice(self, "engine", ("gensim", "native"))
        if self.patience is not None:
            check_option(self, "patience", int, lambda value: value >= 1, "None or at least 1")
        at_least_one = ("dim", "window", "negatives", "epochs", "min_count", "threads")
        for name in at_least_one:
            check_option(self, name, int, lambda value: value >= 1, "a whole number of at least 1")
        check_option(self, "sample", float, lambda value: value >= 0, "a number of at least 0")
        check_option(self, "alpha", float, lambda value: value > 0, "a number above 0")
        check_option(self, "ns_exponent", float, np.isfinite, "a finite number")
        check_option(self, "seed", int, lambda value: value >= 0, "a whole number of at least 0")


class _Texts:
    """Sequences as gensim wants to iterate them: again and again, lists of at most 10,000."""

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        lengths = np.diff(sequences.offsets)
        self.count = int(np.sum(-(-lengths // GENSIM_LONGEST_TEXT)))

    def __iter__(self) -> Iterator[list[int]]:
        for codes in self._sequences:
            for start in range(0, len(codes), GENSIM_LONGEST_TEXT):
                yield codes[start : start + GENSIM_LONGEST_TEXT].tolist()
