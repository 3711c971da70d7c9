import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Sequences, VectorSet
from itemspace.builders import Item2Vec, Node2Vec
from itemspace.builders.builder import Monitor
from itemspace.builders.counting import ItemKNN, Popularity
from itemspace.builders.factorisation import PMIFactorization
from itemspace.builders.options import Configured, OneOf, Real, SearchSpace, Whole
from itemspace.core.errors import InputError, InvalidOption, MissingExtra
from itemspace.core.histories import Recent
from itemspace.core.progress import Progress
from itemspace.evaluation import evaluate, leave_last_out
from itemspace.evaluation.configuration import Configuration, read_config
from itemspace.evaluation.trials import State, Trial
from itemspace.evaluation.tuning import RECENTS, name_of, tune

KNN_SPACE: SearchSpace = {
    "window": OneOf((1, 5, None)),
    "direction": OneOf(("both", "forward")),
}


def two_worlds() -> Sequences:
    rng = np.random.default_rng(9)
    return Sequences.from_lists(
        [(rng.permutation(15)[:6] + 15 * (at % 2)).tolist() for at in range(300)]
    )


SPLIT = leave_last_out(two_worlds(), skip=1)


class Watched(Item2Vec):
    """The kernel, which can be monitored."""

    supports_monitor: ClassVar[bool] = True
    search_space: ClassVar[SearchSpace] = {
        "alpha": Real(0.005, 0.5, log=True),
        "epochs": Whole(2, 30),
        "window": Whole(1, 10),
    }


#: At one thread the kernel gives the same vectors again.
WATCHED = {"engine": "native", "threads": 1, "dim": 16}


class Toy(Configured):
    """Vectors that tell the two worlds apart the better, the higher ``quality`` is.

    Refuses a ``quality`` above 0.9, and needs ``pause`` seconds for an epoch.
    """

    supports_vectors: ClassVar[bool] = True
    supports_monitor: ClassVar[bool] = True
    search_space: ClassVar[SearchSpace] = {"quality": Real(0.0, 1.0)}

    def __init__(
        self, *, quality: float = 0.1, epochs: int = 4, pause: float = 0.0, patience: Any = None
    ) -> None:
        self.quality = quality
        self.epochs = epochs
        self.pause = pause
        self.patience = patience

    def fit(
        self,
        sequences: Sequences,
        *,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        if self.quality > 0.9:
            raise InvalidOption(
                f"quality is at most 0.9; received {self.quality}.",
                option="quality",
                received=self.quality,
            )
        ids = sequences.vocabulary
        worlds = np.array([[name < 15, name >= 15] for name in ids.to_list()], dtype=np.float32)
        noise = np.random.default_rng(1).standard_normal((len(ids), 2))
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.pause)
            share = self.quality * epoch / self.epochs
            self.item_vectors_ = VectorSet(ids, share * worlds + 0.4 * noise)
            if progress is not None:
                progress(epoch, self.epochs, "training")
            if monitor is not None:
                monitor(self.item_vectors_)
            if self.patience == epoch:
                break
        return self


class Unwatched(Toy):
    supports_monitor: ClassVar[bool] = False


def lists(sequences: Sequences) -> list[list[int]]:
    return [codes.tolist() for codes in sequences]


def outcomes(trials: list[Trial]) -> list[Trial]:
    """The trials without what the machine adds."""
    return [replace(trial, seconds=0) for trial in trials]


def test_it_finds_much_better_options_than_the_defaults() -> None:
    found = tune(Watched, SPLIT, trials=25, fixed=WATCHED)
    first = found.trials[0]
    assert first.options == Watched(**WATCHED).get_params()  # type: ignore[arg-type]
    assert (first.recent, first.decay) == (10, 1)
    assert first.value is not None
    assert found.best.value is not None
    assert first.value < 0.5
    assert found.best.value > 0.85
    assert (found.measure, found.cases, len(found.trials)) == ("hr@10", 300, 25)
    assert {trial.options["dim"] for trial in found.trials} == {16}


def test_the_best_value_is_that_of_evaluate_by_hand() -> None:
    found = tune(Watched, SPLIT, trials=8, fixed=WATCHED, measure="ndcg", k=5)
    builder = Watched(**found.best.options).fit(SPLIT.train)
    recent = Recent(found.best.recent, found.best.decay)
    by_hand = evaluate(builder, SPLIT, ks=(5,), recent=recent).per_case("ndcg", 5).mean()
    assert found.best.value == by_hand == found.best.epochs[-1]
    assert len(found.best.epochs) == found.best.options["epochs"]
    assert found.best.value == max(trial.value or 0 for trial in found.trials)


def test_options_of_evaluate_are_passed_on() -> None:
    twice = leave_last_out(Sequences.from_lists([[1, 2, 1]] * 20), skip=0)
    space: SearchSpace = {"window": OneOf((1, 5))}
    values = [
        tune(ItemKNN, twice, trials=2, space=space, **more).best.value
        for more in ({}, {"repeats": "hit"}, {"exclude_history": False})
    ]
    assert values == [0, 1, 1]


def test_a_seed_gives_one_search() -> None:
    one, same, other = (
        outcomes(tune(Watched, SPLIT, trials=15, fixed=WATCHED, seed=seed, cases=100).trials)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_bad_trials_are_pruned() -> None:
    found = tune(Toy, SPLIT, trials=40, fixed={"epochs": 20}, recents=[Recent(5)])
    pruned = [trial for trial in found.trials if trial.state is State.PRUNED]
    complete = [trial for trial in found.trials if trial.state is State.COMPLETE]
    assert len(pruned) > 5
    assert len(complete) > 5
    assert found.counts()["pruned"] == len(pruned)
    # Three tenths of its epochs are granted to each.
    assert min(len(trial.epochs) for trial in pruned) >= 6
    assert max(len(trial.epochs) for trial in pruned) < 20
    assert {len(trial.epochs) for trial in complete} == {20}
    assert {trial.value for trial in pruned} == {None}


def test_long_trials_are_not_pruned_for_a_slow_start() -> None:
    """At equal tenths all are alike here, while at equal epochs the long ones are far behind."""
    space: SearchSpace = {"epochs": OneOf(tuple(range(10, 200, 10)))}
    found = tune(Toy, SPLIT, trials=19, space=space, fixed={"quality": 0.9}, recents=[Recent(5)])
    assert found.counts() == {"complete": 19}
    assert max(trial.options["epochs"] for trial in found.trials) == 190


def test_trials_that_fail_are_recorded_and_the_search_goes_on() -> None:
    found = tune(Toy, SPLIT, trials=40, recents=[Recent(5)], seed=3)
    failed = [trial for trial in found.trials if trial.state is State.FAILED]
    assert 0 < len(failed) < 20
    assert all(trial.options["quality"] > 0.9 for trial in failed)
    assert all("at most 0.9" in (trial.message or "") for trial in failed)
    assert {trial.value for trial in failed} == {None}
    assert found.trials[-1].number == 39


def test_a_search_in_which_everything_fails_ends() -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidOption, match=r"None of 100 trials of Toy .* at most 0\.9"):
        tune(Toy, SPLIT, budget=600, fixed={"quality": 0.95}, space={"pause": Real(0, 1)})
    assert time.perf_counter() - started < 30


def test_no_monitor_where_the_builder_refuses_it() -> None:
    with pytest.raises(InvalidOption, match="native"):
        tune(Watched, SPLIT, trials=1, fixed={"engine": "gensim"})
    with pytest.raises(InvalidOption, match="stopped after 2 of 4 epochs"):
        tune(Toy, SPLIT, trials=1, fixed={"patience": 2})


@pytest.mark.parametrize("kind", [Toy, Unwatched])
def test_the_budget_cuts_the_running_trial_off(kind: type[Toy]) -> None:
    seen: list[tuple[int, int, str]] = []
    found = tune(
        kind,
        SPLIT,
        budget=1.2,
        space={"epochs": Whole(4, 100_000)},
        fixed={"pause": 0.005},
        progress=lambda *report: seen.append(report),
    )
    assert found.seconds < 5
    last = found.trials[-1]
    assert last.state is State.CUT_OFF
    assert last.value is None
    assert [trial.state for trial in found.trials].count(State.CUT_OFF) == 1
    assert found.trials[0].state is State.COMPLETE
    assert seen[0] == (0, 2, "seconds")
    assert seen[-1] == (1, 2, "seconds")


@pytest.mark.parametrize("kind", [Toy, Unwatched])
def test_the_last_epoch_counts_though_the_budget_is_over(kind: type[Toy]) -> None:
    fixed = {"epochs": 1, "pause": 0.02}
    found = tune(kind, SPLIT, budget=0.01, fixed=fixed)
    assert [trial.state for trial in found.trials] == [State.COMPLETE]


def test_a_budget_too_small_for_one_trial() -> None:
    fixed = {"epochs": 1000, "pause": 0.01}
    with pytest.raises(InvalidOption, match=r"No trial ended within 0\.1 seconds"):
        tune(Toy, SPLIT, budget=0.1, fixed=fixed)


def test_a_trial_that_cannot_be_cut_off_counts() -> None:
    found = tune(PMIFactorization, SPLIT, budget=1e-6, space={"dim": Whole(1, 9)})
    assert [trial.state for trial in found.trials] == [State.COMPLETE]


def test_counts_are_searched_with_their_own_recent_and_decay() -> None:
    found = tune(ItemKNN, SPLIT, trials=100, space=KNN_SPACE)
    assert len(found.trials) == 3 * 2 * len(RECENTS)  # there is no more, and nothing comes twice
    assert found.trials[0].options == ItemKNN().get_params()
    for trial in found.trials:
        assert (trial.options["recent"], trial.options["decay"]) == (trial.recent, trial.decay)
    assert {(trial.recent, trial.decay) for trial in found.trials} == {
        (one.count, one.decay) for one in RECENTS
    }
    by_hand = evaluate(ItemKNN(**found.best.options).fit(SPLIT.train), SPLIT)
    assert found.best.value == by_hand.per_case("hr", 10).mean()


def test_fixed_options_are_not_searched() -> None:
    fixed = {"recent": 3, "window": 2}
    found = tune(ItemKNN, SPLIT, trials=100, space=KNN_SPACE, fixed=fixed)
    assert len(found.trials) == 2 * 3  # directions, and the decays of the recents
    assert {trial.options["recent"] for trial in found.trials} == {3}
    assert {trial.options["window"] for trial in found.trials} == {2}
    assert found.searched == ("direction",)


def test_ranges_of_recent_and_decay_go_before_the_recents() -> None:
    found = tune(ItemKNN, SPLIT, trials=12, space={"recent": Whole(2, 4)})
    assert {trial.recent for trial in found.trials} == {10, 2, 3, 4}  # 10 is the default
    assert {trial.decay for trial in found.trials} == {1.0}
    fixed = tune(ItemKNN, SPLIT, trials=12, space={"recent": Whole(2, 4)}, fixed={"decay": 0.5})
    assert {trial.options["decay"] for trial in fixed.trials} == {0.5}


def test_defaults_outside_of_the_space_are_tried_first() -> None:
    space: SearchSpace = {"dim": Whole(2, 5), "window": Whole(6, 9)}
    found = tune(PMIFactorization, SPLIT, trials=5, space=space)
    assert found.trials[0].options == PMIFactorization().get_params()
    assert all(6 <= trial.options["window"] <= 9 for trial in found.trials[1:])


def test_at_most_so_many_cases() -> None:
    found, same = (tune(ItemKNN, SPLIT, trials=3, space=KNN_SPACE, cases=40) for _ in range(2))
    assert found.cases == 40
    assert outcomes(found.trials) == outcomes(same.trials)
    values = [40 * trial.value for trial in found.trials if trial.value is not None]
    assert values == pytest.approx(np.round(values))


def test_the_record_holds_every_trial(tmp_path: Path) -> None:
    record = tmp_path / "new" / "trials.jsonl"
    found = tune(Toy, SPLIT, trials=12, record=record, seed=3)
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(12))
    for line, trial in zip(lines, found.trials, strict=True):
        assert line["options"] == trial.options
        assert line["epochs"] == list(trial.epochs)
        assert (line["state"], line["value"]) == (trial.state, trial.value)
        assert (line["recent"], line["decay"]) == (trial.recent, trial.decay)
        assert (line["seconds"], line["message"]) == (trial.seconds, trial.message)
    assert json.loads(json.dumps(found.to_dict()))["best"] == found.best.number


KILLED = """
import os, signal, sys
from itemspace import Sequences
from itemspace.builders.counting import ItemKNN
from itemspace.builders.options import Whole
from itemspace.evaluation import leave_last_out
from itemspace.evaluation.tuning import tune

class Mortal(ItemKNN):
    fits = 0
    def fit(self, sequences, *, progress=None):
        Mortal.fits += 1
        if Mortal.fits == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(sequences)

split = leave_last_out(Sequences.from_lists([[1, 2, 3], [2, 3, 4]]))
tune(Mortal, split, trials=50, space={"window": Whole(1, 50)}, record=sys.argv[1])
"""


def test_a_killed_search_leaves_its_record(tmp_path: Path) -> None:
    record = tmp_path / "trials.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, record], check=False)
    assert done.returncode == -9
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2, 3, 4]
    assert {line["state"] for line in lines} == {"complete"}


def test_the_table_is_best_first() -> None:
    found = tune(Toy, SPLIT, trials=30, seed=3, k=5)
    columns, rows = found.table()
    assert columns == ["trial", "state", "HR@5", "quality", "recent", "decay", "s"]
    assert len(rows) == 30
    assert rows[0][:3] == [str(found.best.number), "complete", f"{found.best.value:.4f}"]
    states = [row[1] for row in rows]
    assert states == sorted(states, key=["complete", "pruned", "failed"].index)
    values = [float(row[2]) for row in rows if row[2]]
    assert values == sorted(values, reverse=True)
    assert found.table(3)[1] == rows[:3]
    measured = tune(ItemKNN, SPLIT, trials=1, space=KNN_SPACE, measure="mrr")
    assert measured.table()[0][2:5] == ["MRR", "window", "direction"]


def test_optuna_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    tune(ItemKNN, SPLIT, trials=3, space=KNN_SPACE)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'itemspace\[tuning\]'"):
        tune(ItemKNN, SPLIT, trials=3, space=KNN_SPACE)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"trials": None}, "budget of seconds or a number of trials"),
        ({"trials": 0}, "trials is a whole number of at least 1"),
        ({"trials": True}, "trials is a whole number"),
        ({"budget": 0}, "budget is a number of seconds above 0"),
        ({"budget": float("nan")}, "budget"),
        ({"budget": float("inf")}, "budget"),
        ({"measure": "auc"}, "measure is one of hr, recall, ndcg, mrr"),
        ({"k": 0}, "k is a whole"),
        ({"cases": 0}, "cases is a whole"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"seed": 1 << 32}, "seed"),
        ({"recents": []}, "at least one way"),
        ({"space": {"size": Whole(1, 2)}}, "ItemKNN has no option 'size'; it has: window"),
        ({"fixed": {"size": 3}}, "no option 'size'"),
        ({"fixed": {"recent": 0}}, "at least 1"),
        ({"space": {"window": Whole(5, 2)}}, "range of window cannot be searched"),
        ({"space": {"window": Whole(0, 2, log=True)}}, "range of window"),
        ({"space": {"shrinkage": Real(0, float("inf"))}}, "not finite"),
        ({"space": {"window": OneOf(())}}, "range of window"),
        ({"space": {"window": (1, 5)}}, "Whole, Real or OneOf"),
        ({"space": {}, "recents": [Recent(1)]}, "nothing to search"),
    ],
)
def test_bad_arguments(bad: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        tune(ItemKNN, SPLIT, **{"trials": 3, "space": KNN_SPACE} | bad)


def test_a_builder_without_anything_to_search() -> None:
    with pytest.raises(InvalidOption, match="nothing to search"):
        tune(Popularity, SPLIT, trials=1)

    class Needy(ItemKNN):
        def __init__(self, size: int) -> None:
            super().__init__(window=size)
            self.size = size

    with pytest.raises(InvalidOption, match="size of Needy has no default"):
        tune(Needy, SPLIT, trials=1, space={"size": Whole(1, 2)})


def test_other_errors_are_not_swallowed() -> None:
    class Broken(Toy):
        def fit(self, *_: Any, **__: Any) -> Self:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tune(Broken, SPLIT, trials=3)


def test_names() -> None:
    assert name_of(ItemKNN) == "itemknn"
    assert name_of(Item2Vec) == "item2vec"
    assert name_of(Toy).endswith(":Toy")


def test_the_configuration_builds_the_same_vectors(tmp_path: Path) -> None:
    space: SearchSpace = {"dim": Whole(2, 9), "window": OneOf((None, 2)), "shift": Real(1, 5)}
    found = tune(PMIFactorization, SPLIT, trials=6, space=space)
    found.write_config(tmp_path / "best.toml")
    kept = read_config(tmp_path / "best.toml")
    assert kept == found.configuration()
    assert kept.builder == "pmi"
    assert kept.options == PMIFactorization(**found.best.options).get_params()
    assert kept.recent == Recent(found.best.recent, found.best.decay)
    assert kept.found["measure"] == "hr@10"
    assert kept.found["trials"] == 6
    one = kept.make().fit(SPLIT.train).item_vectors_
    other = PMIFactorization(**found.best.options).fit(SPLIT.train).item_vectors_
    assert np.array_equal(one.matrix, other.matrix)
    value = evaluate(one, SPLIT, recent=kept.recent).per_case("hr", 10).mean()
    assert value == kept.found["value"]
    assert kept.make(dim=3).dim == 3


def test_the_configuration_of_counts(tmp_path: Path) -> None:
    found = tune(ItemKNN, SPLIT, trials=6, space=KNN_SPACE, fixed={"window": None})
    found.write_config(tmp_path / "best.toml")
    kept = read_config(tmp_path / "best.toml")
    assert kept.options == found.best.options
    assert kept.options["window"] is None
    assert 'window = "none"' in (tmp_path / "best.toml").read_text()
    again = evaluate(kept.make().fit(SPLIT.train), SPLIT)
    assert again.per_case("hr", 10).mean() == kept.found["value"]


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text().filter(lambda text: text != "none"),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "made.toml")
        # The option's default is None, so that it has no type of its own.
        Configuration("item2vec", {"patience": value}, Recent()).write(path)
        assert read_config(path).options == {"patience": value}


def test_values_that_are_not_plain(tmp_path: Path) -> None:
    path = tmp_path / "made.toml"
    made = Configuration("item2vec", {"dim": np.int64(3), "alpha": 1}, Recent())
    made.write(path)
    assert read_config(path).options == {"dim": 3, "alpha": 1.0}
    with pytest.raises(InvalidOption, match="patience is no plain value"):
        Configuration("item2vec", {"patience": object()}, Recent()).write(tmp_path / "new.toml")
    assert not (tmp_path / "new.toml").exists()


WHOLE = """
builder = "itemknn"
[options]
window = 3
[user]
recent = 10
decay = 0.5
"""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('builder = "itemknn"\n', "", "has no builder"),
        ('"itemknn"', "3", "builder is of type str; received 3"),
        ("[options]\nwindow = 3\n", "", "has no options"),
        ("[user]\nrecent = 10\ndecay = 0.5\n", "", "has no user"),
        ("recent = 10\n", "", "has no user.recent"),
        ("recent = 10", "recent = 1.5", "user.recent is of type int"),
        ("recent = 10", "recent = 0", r"in \[user\], count"),
        ("decay = 0.5", "decay = 2", r"in \[user\], decay"),
        ("decay = 0.5", "decay = true", "user.decay is of type float"),
        ("window = 3", "widow = 3", "unknown options.widow; it may have: window, direction"),
        ("window = 3", 'window = "three"', "options.window is of type int"),
        ("window = 3", "window = true", "options.window is of type int"),
        ("[user]", "[users]", "has no user"),
        ("[options]", "colour = 1\n[options]", "unknown colour"),
        ("decay = 0.5", "decay = 0.5\n[found]\nvalue = 'high'", "found.value is of type float"),
        ("decay = 0.5", "decay = 0.5\n[found]\nplace = 'here'", "unknown found.place"),
        ("[options]", "[options", "not valid TOML"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = tmp_path / "made.toml"
    path.write_text(WHOLE)
    assert read_config(path).options == {"window": 3}
    assert old in WHOLE
    path.write_text(WHOLE.replace(old, new))
    with pytest.raises(InputError, match=text) as caught:
        read_config(path)
    assert caught.value.path == str(path)


def test_files_that_are_not_there_or_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "nothing.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)
    path = tmp_path / "made.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not valid TOML"):
        read_config(path)
    path.write_text(WHOLE.replace("itemknn", "itemnn"))
    with pytest.raises(InvalidOption, match="Did you mean 'itemknn'"):
        read_config(path)


def test_p_and_q_are_searched() -> None:
    split = leave_last_out(
        Sequences.from_lists([[at % 9, (at + 1) % 9, at % 7] for at in range(90)])
    )
    fixed = {"dim": 8, "num_walks": 2, "walk_length": 5, "threads": 1}
    space = {name: Node2Vec.search_space[name] for name in ("return_parameter", "in_out_parameter")}
    found = tune(Node2Vec, split, trials=4, space=space, fixed=fixed)
    assert {trial.options["return_parameter"] for trial in found.trials[1:]} != {1.0}
    assert all(0.25 <= trial.options["in_out_parameter"] <= 4 for trial in found.trials)
    assert found.best.value is not None
