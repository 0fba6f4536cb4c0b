"""Work on many objects of a bucket at a time."""

from __future__ import annotations

from arrowseal.operations.compaction import CompactionReport, compact

__all__ = ["CompactionReport", "compact"]
