"""What a SELECT of the user's says: its sources, its conditions, its shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause, Join, Select, Table, UniqueConstraint
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import desc_op

from ..catalog.candidates import SCORE
from ..catalog.mapping import ItemTable
from ..core.errors import InvalidCondition, UnsupportedError

#: Functions that make one row of many, where an order by rank has no meaning.
_AGGREGATES = frozenset(
    {"aggregate_strings", "array_agg", "avg", "count", "group_concat", "json_agg"}
    | {"json_group_array", "max", "min", "stddev", "string_agg", "sum", "total", "variance"}
)


def sources_of(statement: Select[Any], items: ItemTable, near: FromClause) -> list[Any]:
    """The FROM of the statement without the placeholder, checked.

    Raises
    ------
    InvalidCondition
        The items are not in it.
    UnsupportedError
        The statement's WHERE is about the placeholder.
    """
    sources = [items.table]
    if not _is_over_items_alone(statement, items, near):  # which is much faster to tell
        sources = [source for source in statement.get_final_froms() if source is not near]
    if not any(_stands_in(items.table, source) for source in sources):
        raise InvalidCondition(
            f"The statement does not select from {items.table}, the mapped items, itself (an "
            "alias or a subquery of it cannot be joined with the neighbours); add it to the "
            "FROM.",
            text=str(statement),
        )
    ours = set(near.c)
    condition = statement.whereclause
    if condition is not None and not ours.isdisjoint(visitors.iterate(condition)):
        raise UnsupportedError(
            "A WHERE on the score would change which items are the k nearest; ask for a "
            "larger k and filter the rows, or use HAVING."
        )
    return sources


def conditions_of(statement: Select[Any], items: ItemTable, near: FromClause) -> Select[Any]:
    """The ids of the items that meet the statement's conditions, maybe more than once each."""
    # Made from the statement itself, which carries its joins and the ORM's options along.
    columns = [c for c in statement._raw_columns if near not in getattr(c, "_from_objects", ())]
    plain = statement.with_only_columns(*(columns or [items.id]))
    matching = plain.with_only_columns(items.id, maintain_column_froms=True)
    matching = matching.order_by(None).group_by(None).limit(None).offset(None)
    matching._having_criteria, matching._distinct = (), False
    return matching.where(items.id.is_not(None))


def is_one_row_per_item(statement: Select[Any], items: ItemTable, near: FromClause) -> bool:
    """Whether a statement over the items alone gives the rows of the k first with LIMIT k.

    So it is where ids are unique, rows are not merged, and their order is the ranking's.
    """
    if statement._limit_clause is not None or statement._offset_clause is not None:
        return False
    order = statement._order_by_clauses
    if merges_rows(statement) or (order and not _is_by_score(order, near)):
        return False
    table = items.table
    if not isinstance(table, Table):
        return False
    unique = [key for key in table.constraints if isinstance(key, UniqueConstraint)]
    keys = [table.primary_key.columns, *(key.columns for key in unique)]
    keys += [index.columns for index in table.indexes if index.unique]
    return any(len(key) == 1 and next(iter(key)) is items.id for key in keys)


def _is_over_items_alone(statement: Select[Any], items: ItemTable, near: FromClause) -> bool:
    if statement._from_obj or statement._setup_joins:
        return False
    parts = (*statement._raw_columns, *statement._where_criteria)
    found = {source for part in parts for source in part._from_objects}
    return found - {near} == {items.table}


def merges_rows(statement: Select[Any]) -> bool:
    """Whether a row of the statement may be of several joined rows."""
    if statement._group_by_clauses or statement._distinct or statement._having_criteria:
        return True
    inside = (part for column in statement.selected_columns for part in visitors.iterate(column))
    return any(
        isinstance(part, FunctionElement) and getattr(part, "name", "").lower() in _AGGREGATES
        for part in inside
    )


def _is_by_score(order: Sequence[Any], near: FromClause) -> bool:
    """Whether an ORDER BY is that of the scores, descending."""
    (first, *others) = order
    if others or getattr(first, "modifier", None) is not desc_op:
        return False
    return getattr(first.element, "element", first.element) is near.c[SCORE]


def _stands_in(table: FromClause, source: Any) -> bool:
    """Whether the table itself, not an alias of it, is the FROM or joined into it."""
    if isinstance(source, Join):
        return _stands_in(table, source.left) or _stands_in(table, source.right)
    return source is table or getattr(source, "_deannotate", lambda: None)() is table
