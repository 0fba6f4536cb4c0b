"""What is asked of other packages, which older ones do not have: the oldest that pyproject.toml allows has it."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.response import StreamingBody


def test_bodies_of_boto3_are_read_into_memory() -> None:
    assert hasattr(StreamingBody, "readinto")


@pytest.mark.parametrize(
    ("action", "shape", "name"),
    [
        ("HeadObject", "output_shape", "TagCount"),  # without it a copy in parts leaves the tags behind
        ("CopyObject", "input_shape", "IfMatch"),  # without it rewrap sends content again
        ("DeleteObject", "input_shape", "IfMatch"),
        ("CompleteMultipartUpload", "input_shape", "IfNoneMatch"),
    ],
)
def test_boto3_knows_what_is_asked_of_s3(action: str, shape: str, name: str) -> None:
    operation = botocore.session.Session().get_service_model("s3").operation_model(action)
    assert name in getattr(operation, shape).members
