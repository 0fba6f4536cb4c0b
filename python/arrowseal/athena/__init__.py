"""Athena and the Glue catalog: tables over datasets that are written here, and query results, sealed or not.

`create_table_ddl` and `table_input` describe a dataset so that Athena reads it; `read_query_results` reads what Athena
wrote. All of it is text and frames: nothing here talks to Athena or Glue.

>>> import arrowseal.athena
>>> trips = arrowseal.arrow.dataset("s3://lake/trips/", client=client)  # doctest: +SKIP
>>> boto3.client("athena").start_query_execution(  # doctest: +SKIP
...     QueryString=arrowseal.athena.create_table_ddl(trips, "trips", database="weather"),
...     WorkGroup="analysts",
... )
"""

from __future__ import annotations

from arrowseal.athena.results import QueryResults as QueryResults
from arrowseal.athena.results import read_query_results
from arrowseal.athena.table import (
    add_partitions_ddl,
    create_table_ddl,
    partition_inputs,
    table_input,
    table_parameters,
)

__all__ = [
    "add_partitions_ddl",
    "create_table_ddl",
    "partition_inputs",
    "read_query_results",
    "table_input",
    "table_parameters",
]
