"""URLs and keys: what names one object, and what is refused before any request."""

from __future__ import annotations

import pytest

from arrowseal.exceptions import ConfigurationError, DirectoryKeyError, LocationError
from arrowseal.location import ObjectLocation, check_suffix, locate, locate_prefix


@pytest.mark.parametrize(
    ("url", "bucket", "key"),
    [
        ("s3://lake/a.csv", "lake", "a.csv"),
        ("s3://lake/a b/ü?x=1#y%20.csv", "lake", "a b/ü?x=1#y%20.csv"),
        ("s3://lake//double//slash", "lake", "/double//slash"),
        (
            "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/ap/dir/a.csv",
            "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap",
            "dir/a.csv",
        ),
        (
            "s3://arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-01/accesspoint/ap/dir/a.csv",
            "arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-01/accesspoint/ap",
            "dir/a.csv",
        ),
        (
            "s3://arn:aws:s3-outposts:eu-west-1:111122223333:outpost:op-01:accesspoint:ap/a.csv",
            "arn:aws:s3-outposts:eu-west-1:111122223333:outpost:op-01:accesspoint:ap",
            "a.csv",
        ),
    ],
)
def test_a_url_is_split_at_the_first_slash_and_nothing_in_a_key_is_special(url: str, bucket: str, key: str) -> None:
    assert locate(url) == ObjectLocation(bucket, key)
    assert str(locate(url)) == url


def test_bucket_and_key_name_an_object_as_well() -> None:
    assert locate(bucket="lake", key="a.csv") == locate("s3://lake/a.csv")


@pytest.mark.parametrize("url", ["s3://lake", "s3://lake/", "s3://lake/year=2013/"])
def test_a_directory_like_key_is_refused_as_a_directory(url: str) -> None:
    with pytest.raises(DirectoryKeyError) as caught:
        locate(url)
    assert isinstance(caught.value, IsADirectoryError)
    assert locate_prefix(url).bucket == "lake"


@pytest.mark.parametrize(
    "url", ["lake/a.csv", "/data/a.csv", "https://lake/a.csv", "s3:/lake/a", "", "s3://", "s3:///a", 7]
)
def test_what_is_no_s3_url_is_refused(url: str) -> None:
    with pytest.raises(LocationError):
        locate(url)


def test_an_object_is_named_once_and_completely() -> None:
    for arguments in ({}, {"bucket": "lake"}, {"key": "a"}, {"url": "s3://lake/a", "key": "a"}):
        with pytest.raises(LocationError):
            locate(**arguments)


@pytest.mark.parametrize("key", ["a\nb", "a\x00b", "a\x7f", "x" * 1025, "ü" * 513, "\ud800"])
def test_keys_that_s3_or_http_cannot_carry_are_refused(key: str) -> None:
    with pytest.raises(LocationError):
        locate(bucket="lake", key=key)


def test_suffixes_are_those_of_the_last_component_in_lower_case() -> None:
    assert locate("s3://lake/v1.2/Flights.CSV.gz").suffixes == [".csv", ".gz"]
    assert locate("s3://lake/v1.2/flights").suffixes == []
    assert locate("s3://lake/.hidden").suffixes == []


def test_instruction_files_have_the_suffix_of_all_clients_or_one_of_their_own() -> None:
    assert check_suffix(False) is None
    assert check_suffix(True) == ".instruction"
    assert check_suffix(".instruction-for_B2") == ".instruction-for_B2"


@pytest.mark.parametrize(
    "suffix", ["", "instruction", ".", "./a", ".a b", ".ü", ".a\n", "." + "a" * 64, 1, None, b".a"]
)
def test_a_suffix_that_could_name_anything_else_is_refused(suffix: object) -> None:
    with pytest.raises(ConfigurationError, match="instruction_files="):
        check_suffix(suffix)  # type: ignore[arg-type]
