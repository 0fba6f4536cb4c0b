"""Work on many objects of a bucket at a time."""

from __future__ import annotations

from arrowseal.operations.compaction import CompactionReport, compact
from arrowseal.operations.migration import MigrateReport, migrate
from arrowseal.operations.rewrapping import RewrapReport, rewrap

__all__ = ["CompactionReport", "MigrateReport", "RewrapReport", "compact", "migrate", "rewrap"]
