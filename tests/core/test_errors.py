import inspect
import pickle

import pytest
from itemspace.core import errors

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ItemspaceError)
]


@pytest.mark.parametrize("kind", LEAVES)
def test_they_pickle_with_their_parts(kind: type[errors.ItemspaceError]) -> None:
    error = kind("what is wrong; what to do", ids=[1, "a"], expected=3)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == "what is wrong; what to do"
    assert (back.ids, back.expected) == ([1, "a"], 3)


@pytest.mark.parametrize("kind", LEAVES)
def test_the_tree_in_the_docstring_is_whole(kind: type[errors.ItemspaceError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UnknownIds, KeyError),
        (errors.DimensionMismatch, ValueError),
        (errors.MissingExtra, ImportError),
        (errors.BackendUnavailable, ConnectionError),
        (errors.BackendNotFound, FileNotFoundError),
        (errors.DatabaseUnavailable, ConnectionError),
        (errors.UnsupportedError, NotImplementedError),
    ],
)
def test_leaves_are_what_a_caller_would_catch(kind: type, builtin: type) -> None:
    assert issubclass(kind, builtin)
