"""Condition text → a SQLAlchemy expression: parsed, never pasted.

The text is parsed by sqlglot into a tree; each node on the list below becomes a SQLAlchemy
construct, literals become bound parameters, and anything else is refused. No character of the
text reaches the database.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlglot
from sqlalchemy import Boolean, ColumnElement, and_, false, func, literal, not_, null, or_, true
from sqlalchemy.exc import ArgumentError
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from ..core.errors import InvalidCondition, UnknownColumn

Columns = Mapping[str, ColumnElement[Any]]
_MAX_LENGTH = 10_000

_BINARY: dict[type[exp.Expression], Callable[[Any, Any], Any]] = {
    exp.And: and_,
    exp.Or: or_,
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
    exp.Div: operator.truediv,
    exp.Mod: operator.mod,
    exp.Like: lambda left, right: left.like(right),
    exp.ILike: lambda left, right: left.ilike(right),
}
_FUNCTIONS: dict[type[exp.Expression], Callable[..., Any]] = {
    exp.Abs: func.abs,
    exp.Length: func.length,
    exp.Lower: func.lower,
    exp.Upper: func.upper,
}
_BOOLEAN = (
    exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE,
    exp.Like, exp.ILike, exp.In, exp.Between, exp.Is, exp.Boolean,
)  # fmt: skip

_ARGUMENTS = frozenset(
    {"this", "expression", "expressions", "low", "high", "is_string", "quoted", "negate"}
)


def parse_condition(text: str, columns: Columns) -> ColumnElement[bool]:
    """One boolean SQL expression over ``columns``.

    Allowed: ``AND OR NOT``, comparisons, ``LIKE ILIKE IN BETWEEN``, ``IS [NOT] NULL``,
    arithmetic (``/`` is true division, of integers too), ``lower upper length abs coalesce``,
    numbers and texts in single quotes.
    NULL semantics are SQL's.

    Parameters
    ----------
    text
        Such as ``"year >= 1990 AND genres LIKE '%Comedy%'"``; at most 10,000 characters.
    columns
        Name → column. Names are matched exactly, then without regard to case.

    Raises
    ------
    InvalidCondition
        Not one boolean expression, or one that holds anything else.
    UnknownColumn
        Names the columns there are.
    """
    try:
        if not text.strip() or len(text) > _MAX_LENGTH:
            raise InvalidCondition(
                f"A condition has 1 to {_MAX_LENGTH} characters; received {len(text)}.", text=text
            )
        (tree,) = sqlglot.parse(text)
    except (SqlglotError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidCondition):
            raise
        raise _refused(text, "it cannot be read as one") from error
    while isinstance(tree, exp.Paren):
        tree = tree.this
    try:
        return _condition(tree, columns, text)
    except RecursionError as error:
        raise _refused(text, "it is nested too deeply") from error
    except ArgumentError as error:
        raise _refused(text, f"SQLAlchemy does not take it ({error})") from error


def _condition(tree: Any, columns: Columns, text: str) -> ColumnElement[bool]:
    if isinstance(tree, _BOOLEAN):
        found: ColumnElement[bool] = _translate(tree, columns, text)
        return found
    if isinstance(tree, exp.Column):
        column = _column(tree, columns, text)
        if isinstance(column.type, Boolean):
            return column
    raise _refused(text, "it is no true-or-false expression")


def _translate(node: Any, columns: Columns, text: str) -> Any:
    # What we do not know of a node must not be passed over: it may turn its sense around.
    unknown = [name for name, value in node.args.items() if value and name not in _ARGUMENTS]
    if unknown:
        raise _refused(text, f"{unknown[0].upper()} is not allowed in it")
    translated = _positive(node, columns, text)
    return not_(translated) if node.args.get("negate") else translated


def _positive(node: Any, columns: Columns, text: str) -> Any:
    """The node's expression, its own NOT (as in NOT LIKE) left aside."""

    def inner(child: Any) -> Any:
        return _translate(child, columns, text)

    kind = type(node)
    if kind in _BINARY:
        return _BINARY[kind](inner(node.this), inner(node.expression))
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind](inner(node.this))
    if kind is exp.Coalesce:
        return func.coalesce(inner(node.this), *map(inner, node.expressions))
    if kind is exp.Paren:
        return inner(node.this)
    if kind is exp.Not:
        return not_(inner(node.this))
    if kind is exp.Neg:
        return -inner(node.this)
    if kind is exp.Column:
        return _column(node, columns, text)
    return _leaf(node, inner, text)


def _leaf(node: Any, inner: Callable[[Any], Any], text: str) -> Any:
    if isinstance(node, exp.Literal):
        return literal(node.this if node.is_string else _number(node.this, text))
    if isinstance(node, exp.Boolean):
        return true() if node.this else false()
    if isinstance(node, exp.Null):
        # Bound, so that "= NULL" stays SQL's and does not become IS NULL.
        return literal(None)
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return inner(node.this).is_(null())
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
        return inner(node.this).is_(inner(node.expression))
    if isinstance(node, exp.Between):
        return inner(node.this).between(inner(node.args["low"]), inner(node.args["high"]))
    if isinstance(node, exp.In) and node.expressions:
        return inner(node.this).in_([inner(value) for value in node.expressions])
    raise _refused(text, f"{type(node).__name__.upper()} is not allowed in it")


def _number(written: str, text: str) -> int | float:
    try:
        number = int(written)
    except ValueError:
        return float(written)
    if not -(2**63) <= number < 2**63:
        raise _refused(text, f"the integer {written} does not fit 64 bits")
    return number


def _column(node: exp.Column, columns: Columns, text: str) -> ColumnElement[Any]:
    if not isinstance(node.this, exp.Identifier) or node.args.get("table"):
        raise _refused(text, f"{node.sql()!r} is not a plain column name")
    name = node.name
    if name in columns:
        return columns[name]
    folded = [column for column in columns if column.lower() == name.lower()]
    if len(folded) == 1:
        return columns[folded[0]]
    near = difflib.get_close_matches(name, list(columns), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if node.this.quoted:
        hint += f" For a text, use single quotes: '{name}'."
    raise UnknownColumn(
        f"There is no column {name!r}; there are: {', '.join(columns)}.{hint}", column=name
    )


def _refused(text: str, why: str) -> InvalidCondition:
    return InvalidCondition(
        f"{text!r} is not one condition over the items' columns: {why}. "
        "Write, for example: year >= 1990 AND genres LIKE '%Comedy%'.",
        text=text,
    )
