"""Every view of the contract, row by row, as it has to be after a year; it must not know how the product makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.report.year.day_views import DayViews
from tests.report.year.job_views import JobViews
from tests.report.year.names import SERVER_NAME, Row
from tests.report.year.run_views import RunViews


class Views(JobViews, RunViews, DayViews):
    """The views by name."""

    def rows(self, view: str) -> list[Row]:
        """Return the rows of a view, in no order."""
        make: Callable[[], Iterator[Row]] = getattr(self, f"_{view.removeprefix('rpt_')}")
        return list(make())

    def _data_freshness(self) -> Iterator[Row]:
        now = self.truth.now
        yield {
            "server_id": SERVER_NAME,
            "server_name": SERVER_NAME,
            "last_good_sync_at": now,
            "seconds_since_good_sync": None,  # the database's clock; the year lies more than a day behind it
            "passes_24h": 0,
            "failed_passes_24h": 0,
            "rejected_open": 0,
            "observed_at": now,
        }
