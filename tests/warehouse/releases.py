"""Other releases of this program: their views differ from today's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import literal

from etl.warehouse.views import CONTRACT_VERSION, VIEWS, View, view_named

RUN, SCHEDULE = view_named("rpt_run"), view_named("rpt_schedule")


def without_last_column(view: View) -> View:
    columns = list(view.select.selected_columns)[:-1]
    return replace(view, select=view.select.with_only_columns(*columns, maintain_column_froms=True))


def with_a_column_of_long_ago(view: View) -> View:
    return replace(view, select=view.select.add_columns(literal(1).label("of_long_ago")))


@contextmanager
def release(*changed: View, version: int = CONTRACT_VERSION) -> Iterator[None]:
    """Be a program whose views differ from today's in these, and whose contract is of that version."""
    by_name = {view.name: view for view in changed}
    views = tuple(by_name.get(view.name, view) for view in VIEWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etl.warehouse.rebuild.VIEWS", views)
        patch.setattr("etl.warehouse.dictionary.VIEWS", views)
        patch.setattr("etl.warehouse.rebuild.CONTRACT_VERSION", version)
        patch.setattr("etl.warehouse.schema.sources_digest", lambda: f"of {sorted(by_name)} at {version}"[:32])
        yield
