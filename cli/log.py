"""What commands share about the log: how it is de-noised, and how much its events count."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..builders.denoising import Denoising
from ..builders.replaced import replaced_items
from ..catalog import Catalog
from ..catalog.item_files import read_item_file
from ..core.behaviour import Interactions, Weights
from ..core.errors import EmptyInput, UsageError
from ..core.ids import Ids
from ..core.side_information import SideInformation
from .output import say, working

DenoiseOption = Annotated[
    bool,
    typer.Option(
        "--denoise",
        help="Leave out clicks of less than a second, users with more than 3,500 clicks or 1,000 "
        "purchases and more in 90 days, and items that were replaced (--earlier).",
    ),
]
PurchaseOption = Annotated[
    list[str] | None,
    typer.Option(
        "--purchase",
        help="A kind of event that is a purchase; repeatable. With --denoise.",
        show_default=False,
    ),
]
EarlierOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--earlier",
        help="CSV or Parquet of an earlier state of the items: those whose fields (--field) were "
        "others were replaced under the same id. A field whose column the file lacks is not "
        "compared; repeatable. With --denoise.",
        show_default=False,
    ),
]
EventOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        help="How much an event of a kind counts, others 1: purchase=5; repeatable. For builders "
        "that weigh events.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class LogOptions:
    """What the options of a command say of the log; ``str`` writes them."""

    denoise: bool
    purchase: Sequence[str] | None
    earlier: Sequence[Path] | None
    event: Sequence[str] | None

    def __str__(self) -> str:
        words = ["--denoise"] if self.denoise else []
        given = {"--purchase": self.purchase, "--earlier": self.earlier, "--event": self.event}
        for option, values in given.items():
            words += [word for value in values or () for word in (option, str(value))]
        return shlex.join(words)

    def read(
        self, catalog: Catalog, side: SideInformation | None, fields: Sequence[str]
    ) -> tuple[Interactions, Weights | None]:
        """The log without what ``--denoise`` drops, which is told; and how much its events count.

        Parameters
        ----------
        side, fields
            What the catalog says of the items today, and the fields of it that ``--earlier``
            compares; None where there are none.

        Raises
        ------
        UsageError
            Options that do not go together, or that cannot be read.
        EmptyInput
            A log without events, or all of them dropped.
        """
        weights = dict(map(_weight, self.event or ()))
        if not self.denoise and (self.purchase or self.earlier):
            option = "--purchase" if self.purchase else "--earlier"
            raise UsageError(f"{option} is for --denoise; add that, or leave {option} out.")
        replaced = self._replaced(catalog, side, fields)
        with working("reading the interactions"):
            log = catalog.read_interactions()
        kinds = {str(kind): kind for kind in log.kinds or ()}
        if self.denoise:
            purchases = [kinds.get(name, name) for name in self.purchase or ()]
            log, report = Denoising().apply(log, purchases=purchases, replaced=replaced)
            for sentence in report.sentences():
                say(sentence)
            if not len(log):
                table = catalog.interactions.table
                raise EmptyInput(
                    f"De-noising left no event of {table}; leave --denoise out, or see to the "
                    "columns of times, dwell and kinds.",
                    path=str(table),
                )
        if not weights:
            return log, None
        return log, log.weigh({kinds.get(name, name): weight for name, weight in weights.items()})

    def _replaced(
        self, catalog: Catalog, side: SideInformation | None, fields: Sequence[str]
    ) -> Ids:
        """The items that the files of ``--earlier`` know as others."""
        if not self.earlier:
            return Ids([])
        if side is None:
            raise UsageError(
                "--earlier compares the fields that a builder reads; name some (--field) of one "
                "such as eges, or leave --earlier out."
            )
        snapshots = [side]
        for path in self.earlier:
            found, report = read_item_file(
                path,
                list(side.columns),
                id_column=str(catalog.items.id.key),
                id_kind=side.ids.kind,
            )
            for sentence in report:
                say(sentence)
            snapshots.append(found)
        return replaced_items(*snapshots, fields=fields)


def _weight(text: str) -> tuple[str, float]:
    """The kind and the weight of ``KIND=WEIGHT``."""
    kind, _, number = text.rpartition("=")
    try:
        if kind:
            return kind, float(number)
    except ValueError:
        pass
    raise UsageError(
        f"--event says how much an event of a kind counts, as in purchase=5; received {text!r}."
    )
