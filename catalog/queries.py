"""Query text → one read-only query over mapped tables: parsed, checked, written anew.

sqlglot parses the text in the database's own dialect; every node must be on the lists below, every
table and column one that is mapped. What reaches the database is written from that tree, with each
text as a bound parameter. In FROM may stand table functions (:data:`TABLE_FUNCTIONS`), whose rows
the caller brings.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlalchemy import (
    CTE,
    ColumnClause,
    ColumnElement,
    Select,
    TextClause,
    TextualSelect,
    bindparam,
    column,
    null,
    select,
    text,
)
from sqlalchemy.types import NullType
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.schema import MappingSchema

from ..core.errors import InvalidCondition, UnknownColumn
from .candidates import ITEM_ID, RANK, SCORE
from .mapping import ItemTable

#: The table functions, and what their arguments are.
TABLE_FUNCTIONS = {
    "similar": "similar(item_id, k)",
    "for_user": "for_user(user_id, k)",
    "near": "near(vector, k)",
}
_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_MAX_LENGTH = 20_000
#: Marks a parameter in the written text; no character of a query.
_MARK = "\0"
#: The names of what we add.
_STAND_IN, _TEXT = "itemspace_near_", "itemspace_text_"

_CLAUSES: tuple[type[exp.Expression], ...] = (
    exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered,
    exp.Limit, exp.Offset, exp.Distinct, exp.With, exp.CTE, exp.Subquery, exp.Table,
    exp.TableAlias, exp.Identifier, exp.Union, exp.Intersect, exp.Except, exp.Window,
    exp.WindowSpec, exp.Filter,
)  # fmt: skip
_EXPRESSIONS: tuple[type[exp.Expression], ...] = (
    exp.Column, exp.Star, exp.Alias, exp.Literal, exp.Null, exp.Boolean, exp.Placeholder,
    exp.Paren, exp.Tuple, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT,
    exp.GTE, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Exists, exp.Add, exp.Sub,
    exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe, exp.Case, exp.If, exp.Cast, exp.DataType,
    exp.DataTypeParam, exp.Abs, exp.Ceil, exp.Floor, exp.Round, exp.Sqrt, exp.Ln, exp.Exp,
    exp.Pow, exp.Sign, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least, exp.Lower, exp.Upper,
    exp.Length, exp.Trim, exp.Substring, exp.Replace, exp.Concat, exp.Count, exp.Sum, exp.Avg,
    exp.Min, exp.Max, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag, exp.Lead,
)  # fmt: skip
#: What a statement of the database's may call, written by these nodes.
FUNCTIONS = frozenset(
    {"abs", "avg", "ceil", "ceiling", "coalesce", "concat", "count", "dense_rank", "exp", "floor"}
    | {
        "greatest",
        "ifnull",
        "iif",
        "json_each",
        "json_extract",
        "json_group_array",
        "lag",
        "lead",
        "least",
        "length",
    }
    | {
        "length",
        "like",
        "ln",
        "lower",
        "max",
        "min",
        "mod",
        "nullif",
        "pow",
        "power",
        "rank",
        "replace",
    }
    | {"round", "row_number", "sign", "sqrt", "substr", "substring", "sum", "total", "trim"}
    | {"upper"}
)
_TYPES = exp.DataType.Type
_CASTS = frozenset(
    {_TYPES.BIGINT, _TYPES.BOOLEAN, _TYPES.CHAR, _TYPES.DATE, _TYPES.DATETIME, _TYPES.DECIMAL}
    | {_TYPES.DOUBLE, _TYPES.FLOAT, _TYPES.INT, _TYPES.SMALLINT, _TYPES.TEXT, _TYPES.TIMESTAMP}
    | {_TYPES.TIMESTAMPTZ, _TYPES.VARCHAR}
)
_VALUES = (str, int, float, bool, decimal.Decimal, dt.date, dt.datetime, type(None))


@dataclass(frozen=True)
class Call:
    """A table function in a query."""

    function: str
    subject: Any
    k: int | None
    """How many items are asked for, if that is said."""
    name: str
    """The table that stands for it in the statement, (item_id, score, rank)."""

    def __str__(self) -> str:
        return self.function


@dataclass(frozen=True)
class Narrowing:
    """A query over the items that are near, as conditions on items."""

    matching: Select[Any]
    """The ids of the items that meet the query's conditions, maybe more than once each."""
    id: ColumnElement[Any]
    """Their column, to be narrowed further."""
    narrowed: bool
    """Whether there are conditions at all."""
    limit: int | None
    """How many rows the query wants."""


class Query:
    """A checked query; made by :func:`parse_query`."""

    def __init__(
        self, written: str, tree: exp.Query, calls: Sequence[Call], values: dict[str, Any]
    ) -> None:
        self.text = written
        self.calls = calls
        self._tree, self._values = tree, values

    def statement(self, dialect: str, tables: Sequence[CTE]) -> TextualSelect:
        """The query, where ``tables`` are the rows of its :attr:`calls`."""
        return self._textual(self._tree, dialect, tables)

    def narrowing(self, dialect: str, items: ItemTable) -> Narrowing | None:
        """The query as conditions on items, if it is one about a single call's neighbours.

        So it is where the call and the items are joined by their ids in the outermost FROM, and
        no other condition is about the call.
        """
        if len(self.calls) != 1 or not isinstance(self._tree, exp.Select):
            return None
        tree = self._tree.copy()
        joins = tree.args.get("joins") or []
        sources = [_from(tree).this, *(join.this for join in joins)]
        places = [at for at, source in enumerate(sources) if _is(source, self.calls[0].name)]
        table = getattr(items.table, "name", None)
        ours = [source.alias_or_name for source in sources if _is(source, table)]
        if len(places) != 1 or len(ours) != 1:
            return None
        near, item = sources[places[0]].alias_or_name, ours[0]
        # A LEFT JOIN of something else leaves the neighbours and the items as they are.
        sides = [join.side for join in joins if join.side != "LEFT"]
        lefts = {join.alias_or_name for join in joins if join.side == "LEFT"}
        if any(sides) or lefts & {near, item}:
            return None
        conditions = [place for place in (tree.args.get("where"), *joins) if place is not None]
        equals = [
            equal
            for place in conditions
            for equal in _conjuncts(place.args.get("on") or place.this)
            if _names(equal) == {(near, ITEM_ID), (item, items.id.name)}
            and isinstance(equal, exp.EQ)
        ]
        about = [one for place in conditions for one in place.find_all(exp.Column)]
        if len(equals) != 1 or sum(one.table == near for one in about) != 1:
            return None
        equals[0].replace(exp.true())
        # One row in the place of the neighbours leaves the rest of the query as it is.
        one_row = exp.select(exp.alias_(exp.Literal.number(1), ITEM_ID)).subquery(near)
        sources[places[0]].replace(one_row)
        limit = tree.args.get("limit")
        for clause in ("group", "having", "order", "limit", "offset", "distinct"):
            tree.set(clause, None)
        tree.set("expressions", [exp.column(items.id.name, item, quoted=True).as_(ITEM_ID, True)])
        id_column = column(ITEM_ID, items.id.type)
        found = self._textual(tree, dialect, (), id_column).subquery("itemspace_matches").c[ITEM_ID]
        where = tree.args.get("where")
        narrowed = len(joins) > 1 or any(
            not isinstance(part, exp.Boolean)
            for place in (where, *joins)
            if place is not None
            for part in _conjuncts(place.args.get("on") or place.this)
        )
        wanted = limit.expression if limit is not None else None
        count = int(wanted.this) if isinstance(wanted, exp.Literal) else None
        matching = select(found).where(found.is_not(null()))
        return Narrowing(matching, found, narrowed, count)

    def _textual(
        self,
        tree: exp.Query,
        dialect: str,
        tables: Sequence[CTE],
        *columns: ColumnClause[Any],
    ) -> TextualSelect:
        tree = tree.copy()
        ctes = [self._bound(cte.this, dialect).columns().cte(f"{cte.alias}") for cte in tree.ctes]
        tree.set("with_", None)
        return self._bound(tree, dialect).columns(*columns).add_cte(*tables, *ctes)

    def _bound(self, tree: exp.Query, dialect: str) -> TextClause:
        written = tree.sql(dialect=_DIALECTS[dialect], comments=False, identify=True)
        # No colon but those of our parameters means anything.
        parts = written.replace("\\", "\\\\").replace(":", "\\:").split(_MARK)
        names = set(parts[1::2])
        parts[1::2] = [f":{name}" for name in parts[1::2]]
        binds = [bindparam(name, self._values[name], type_=NullType()) for name in sorted(names)]
        return text("".join(parts)).bindparams(*binds)


def parse_query(
    written: str,
    dialect: str,
    tables: Mapping[str, Sequence[str]],
    parameters: Mapping[str, Any],
    schemas: Mapping[str, str | None],
) -> Query:
    """One query over ``tables``, table → names of columns, checked.

    Parameters
    ----------
    written
        At most 20,000 characters; ``:name`` stands for a parameter.
    dialect
        SQLAlchemy's name of the database's.
    parameters
        Name → text, number, date, time, True, False or None; of a vector also a sequence.
    schemas
        Table → the schema that it is in, if any.

    Raises
    ------
    InvalidCondition
        Not one query, or one that holds anything that is not allowed; it is named.
    UnknownColumn
        A column that no table of the query has.
    """
    if not written.strip() or len(written) > _MAX_LENGTH or _MARK in written:
        raise InvalidCondition(
            f"A query has 1 to {_MAX_LENGTH} characters, none of them NUL; received "
            f"{len(written)}.",
            text=written,
        )
    if dialect not in _DIALECTS:
        raise _refused(written, f"queries as text are not known for {dialect}")
    try:
        trees = sqlglot.parse(written, read=_DIALECTS[dialect])
        if len(trees) != 1 or not isinstance(trees[0], exp.Query) or trees[0] is None:
            raise _refused(written, "it is not one SELECT")
        tree = trees[0]
        calls = _take_calls(tree, written, parameters)
        _check_nodes(tree, written)
        known = {name: dict.fromkeys(columns, "text") for name, columns in tables.items()}
        near = dict.fromkeys((ITEM_ID, SCORE, RANK), "text")
        schema = MappingSchema(
            {**known, **{call.name: near for call in calls}},
            dialect=_DIALECTS[dialect],
            normalize=False,
        )
        qualified = qualify(tree, schema=schema, dialect=_DIALECTS[dialect], identify=True)
    except SqlglotError as error:
        told = str(error).partition("\n")[0]
        if "could not be resolved" in told:
            raise UnknownColumn(
                f"{told.partition(' Line:')[0]} The tables are: {_listed(tables)}.", column=""
            ) from error
        raise _refused(written, f"it cannot be read ({told[:200]})") from error
    except RecursionError as error:
        raise _refused(written, "it is nested too deeply") from error
    names = {*tables, *(call.name for call in calls)}
    for scope in traverse_scope(qualified):
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and (source.name not in names or source.catalog):
                raise _refused(
                    written, f"there is no table {source.name!r}; there are: {_listed(tables)}"
                )
    for table in qualified.find_all(exp.Table):
        schema_name = schemas.get(table.name)
        if table.db and table.db != schema_name:
            raise _refused(written, f"the table {table.name!r} is not in {table.db!r}")
        if schema_name and table.name in tables:
            table.set("db", exp.to_identifier(schema_name, quoted=True))
    return Query(written, qualified, calls, _bind(qualified, written, parameters))


def _take_calls(tree: exp.Query, written: str, parameters: Mapping[str, Any]) -> list[Call]:
    """Put a table in the place of each table function."""
    calls: list[Call] = []
    for table in list(tree.find_all(exp.Table)):
        function = table.this
        if not isinstance(function, exp.Func):
            continue
        name = function.name.lower() if isinstance(function, exp.Anonymous) else ""
        if name not in TABLE_FUNCTIONS or table.args.get("joins"):
            raise _refused(written, f"{function.sql()} is no table; the functions are {_FORMS}")
        arguments = [_value(one, written, parameters) for one in function.expressions]
        if not 1 <= len(arguments) <= 2:
            raise _refused(written, f"{name} is called as {TABLE_FUNCTIONS[name]}")
        k = arguments[1] if len(arguments) == 2 else None
        if len(arguments) == 2 and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
            raise _refused(written, f"k in {TABLE_FUNCTIONS[name]} is a whole number from 1")
        call = Call(name, arguments[0], k, f"{_STAND_IN}{len(calls) + 1}")
        if table.alias == "":
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
        table.set("this", exp.to_identifier(call.name))
        calls.append(call)
    return calls


_FORMS = ", ".join(TABLE_FUNCTIONS.values())


def _value(node: Any, written: str, parameters: Mapping[str, Any]) -> Any:
    """An argument of a table function, which is a literal or a parameter."""
    negative = isinstance(node, exp.Neg)
    literal = node.this if negative else node
    if isinstance(literal, exp.Literal):
        if literal.is_string:
            return literal.this
        try:
            return -int(literal.this) if negative else int(literal.this)
        except ValueError:
            return float(literal.this)
    if isinstance(node, exp.Placeholder) and node.name:
        return _parameter(node.name, written, parameters)
    raise _refused(written, f"{node.sql()}: arguments of table functions are literals or :names")


def _check_nodes(tree: exp.Query, written: str) -> None:
    for node in tree.walk():
        kind = type(node)
        reason = ""
        if kind not in _CLAUSES and kind not in _EXPRESSIONS:
            reason = f"{node.sql()[:60]!r} is not allowed in it"
        elif kind is exp.Table and not isinstance(node.this, exp.Identifier):
            reason = f"{node.sql()[:60]!r} is no table"
        elif kind is exp.Select and (node.args.get("kind") or node.args.get("operation_modifiers")):
            reason = "SELECT takes no modifier"
        elif kind is exp.Join and node.args.get("method"):
            reason = f"{node.args['method']} JOIN is not allowed in it; say ON"
        elif kind is exp.With and node.args.get("recursive"):
            reason = "WITH RECURSIVE is not allowed in it"
        elif kind is exp.DataType and node.this not in _CASTS:
            reason = f"nothing is cast to {node.sql()}"
        elif kind is exp.Placeholder and not node.name:
            reason = "parameters have names, as in :price"
        elif kind is exp.With and node.parent is not tree:
            reason = "WITH stands at the beginning"
        if reason:
            raise _refused(written, reason)


def _bind(tree: exp.Query, written: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Mark parameters and texts in the tree; their values."""
    values: dict[str, Any] = {}
    for node in list(tree.find_all(exp.Placeholder, exp.Literal)):
        if isinstance(node, exp.Placeholder):
            name, value = node.name, _parameter(node.name, written, parameters)
            if not isinstance(value, _VALUES):
                raise InvalidCondition(
                    f"The parameter :{name} is a {type(value).__name__}; a text, a number, a date "
                    "or None is needed.",
                    text=written,
                )
        elif node.is_string:
            name, value = f"{_TEXT}{len(values) + 1}", node.this
        else:
            continue
        values[name] = value
        node.replace(exp.Var(this=f"{_MARK}{name}{_MARK}"))
    return values


def _parameter(name: str, written: str, parameters: Mapping[str, Any]) -> Any:
    if name not in parameters or name.startswith("itemspace_"):
        given = ", ".join(parameters) or "none"
        raise _refused(written, f"there is no value for :{name} (there are: {given})")
    return parameters[name]


def _from(tree: exp.Select) -> Any:
    return tree.args.get("from_") or exp.From(this=exp.Null())


def _is(source: Any, name: str | None) -> bool:
    return isinstance(source, exp.Table) and source.name == name


def _conjuncts(condition: Any) -> list[Any]:
    """The parts of a condition that must all hold."""
    if isinstance(condition, exp.Paren):
        return _conjuncts(condition.this)
    if isinstance(condition, exp.And):
        return [*_conjuncts(condition.this), *_conjuncts(condition.expression)]
    return [] if condition is None or isinstance(condition, exp.Table) else [condition]


def _names(condition: exp.Expression) -> set[tuple[str, str]]:
    return {(one.table, one.name) for one in condition.find_all(exp.Column)}


def _listed(tables: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} ({', '.join(columns)})" for name, columns in tables.items())


def _refused(written: str, reason: str) -> InvalidCondition:
    return InvalidCondition(
        f"The query is refused: {reason}. It is one SELECT over the mapped tables and {_FORMS}.",
        text=written,
    )
