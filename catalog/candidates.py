"""Candidates into SQL: any number of ids (and scores) as one bound parameter.

Measured on SQLite with 16,000 candidates: a ``VALUES`` list takes 992 ms, one parameter through
``json_each`` 23 ms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    String,
    Text,
    cast,
    column,
    func,
    literal,
    select,
    table,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from ..core.ids import IdKind

ITEM_ID, SCORE, RANK = "item_id", "score", "rank"


def placeholder(name: str, kind: IdKind) -> FromClause:
    """The columns ``item_id, score, rank`` of the candidates, before there are any.

    Statements refer to it by name; :func:`candidates` makes the CTE of that name.
    """
    return table(
        name, column(ITEM_ID, _id_type(kind)), column(SCORE, Double()), column(RANK, Integer())
    )


def candidates(
    dialect: str, name: str, kind: IdKind, ids: Sequence[Any], scores: Sequence[float]
) -> CTE:
    """A CTE with a row (item_id, score, rank) per candidate; rank counts from 1."""
    if dialect == "sqlite":
        pairs = json.dumps(list(zip(ids, scores, strict=True)), ensure_ascii=False)
        source = func.json_each(literal(pairs, Text())).table_valued("key", "value")
        statement = select(
            func.json_extract(source.c.value, "$[0]", type_=_id_type(kind)).label(ITEM_ID),
            func.json_extract(source.c.value, "$[1]", type_=Double()).label(SCORE),
            (source.c.key + 1).label(RANK),
        )
    elif dialect == "postgresql":
        unnested = func.unnest(
            cast(list(ids), ARRAY(_id_type(kind))), cast(list(scores), ARRAY(Double()))
        ).table_valued(ITEM_ID, SCORE, with_ordinality=RANK, joins_implicitly=True)
        statement = select(unnested.render_derived(name=f"{name}_rows"))
    else:
        rows = [
            (item, score, rank)
            for rank, (item, score) in enumerate(zip(ids, scores, strict=True), start=1)
        ]
        statement = select(
            values(
                column(ITEM_ID, _id_type(kind)),
                column(SCORE, Double()),
                column(RANK, Integer()),
                name=f"{name}_rows",
            ).data(rows)
        )
    return statement.cte(name)


def is_among(
    dialect: str, id_column: ColumnElement[Any], kind: IdKind, ids: Sequence[Any]
) -> ColumnElement[bool]:
    """The condition that ``id_column`` is one of ``ids``."""
    if dialect == "sqlite":
        text = json.dumps(list(ids), ensure_ascii=False)
        source = func.json_each(literal(text, Text())).table_valued("value")
        return id_column.in_(select(source.c.value))
    if dialect == "postgresql":
        return id_column == func.any(cast(list(ids), ARRAY(_id_type(kind))))
    return id_column.in_(list(ids))


def _id_type(kind: IdKind) -> TypeEngine[Any]:
    return BigInteger() if kind == "int" else String()
