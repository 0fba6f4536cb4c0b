"""Ten thousand files for a handful of KMS calls. By default a few hundred: `ARROWSEAL_TEST_FILES=10000` writes and
reads as many, in some minutes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

import arrowseal.arrow as sa

if TYPE_CHECKING:
    from lake import Lake

FILES = int(os.environ.get("ARROWSEAL_TEST_FILES", "500"))
PARTITIONS = 100
PAGE = 1000
"""Objects of one answer to a listing."""


def test_many_small_files_take_few_kms_calls_and_one_request_each(lake: Lake) -> None:
    rows = pa.table({"k": [at % PARTITIONS for at in range(FILES)], "n": range(FILES)})
    written = sa.write_dataset(
        rows.to_reader(max_chunksize=1000), "s3://lake/t", partitioning=["k"], max_rows_per_file=1, client=lake.client
    )
    assert len(written.files) == len(lake.keys) == FILES
    assert lake.kms_calls("GenerateDataKey") <= 10
    assert len(lake.asked("PutObject")) == FILES

    lake.forget()
    reader = lake.make_client()
    read = sa.dataset("s3://lake/t", client=reader)
    assert read.to_table().sort_by("n").equals(pa.table({"n": rows["n"], "k": rows["k"].cast(pa.int32())}))
    assert lake.kms_calls("Decrypt") <= 10
    assert len(lake.asked("GetObject")) == FILES + 1  # the first one for the schema as well
    assert len(lake.asked("ListObjectsV2")) == -(-FILES // PAGE)
    assert len(lake.s3.log) == len(lake.asked("GetObject")) + len(lake.asked("ListObjectsV2"))

    lake.forget()
    assert read.to_table(filter=pc.field("k") == 7).num_rows == FILES // PARTITIONS
    assert len(lake.asked("GetObject")) == FILES // PARTITIONS

    messages = [stored.headers["x-amz-meta-x-amz-i"] for stored in lake.s3.server.objects.values()]
    assert len(set(messages)) == FILES
