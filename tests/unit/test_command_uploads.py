"""`arrowseal uploads`: which uploads it means, and what becomes of those that cannot be aborted."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal import cli
from arrowseal.cli import uploads
from arrowseal.exceptions import CredentialsError, StoreAccessDeniedError
from arrowseal.location import ObjectLocation
from arrowseal.store import OpenUpload

if TYPE_CHECKING:
    from arrowseal.location import Url


class Uploads:
    """A client that knows uploads of these ages in hours; aborting one of a key in `refused` fails."""

    def __init__(self, *hours: float, refused: dict[str, Exception] | None = None) -> None:
        now = dt.datetime.now(dt.UTC)
        self._refused = refused or {}
        self.open = [
            OpenUpload(ObjectLocation("lake", f"{age:g}h"), f"id-{age:g}", now - dt.timedelta(hours=age))
            for age in hours
        ]
        self.aborted: list[str] = []

    def uploads(self, url: Url) -> list[OpenUpload]:
        assert str(url) == "s3://lake/"
        return self.open

    def abort_upload(self, upload: OpenUpload) -> None:
        if upload.location.key in self._refused:
            raise self._refused[upload.location.key]
        self.aborted.append(upload.location.key)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(client: Uploads) -> Uploads:
        monkeypatch.setattr(uploads, "connect", lambda _: client)
        return client

    return connect


def test_a_sweep_leaves_what_is_younger_than_a_day(connected: Any) -> None:
    client = connected(Uploads(1, 23, 25, 100))
    assert cli.main(["uploads", "s3://lake", "--abort"]) == 0
    assert client.aborted == ["100h", "25h"]


def test_without_abort_nothing_is_aborted_and_all_are_shown_oldest_first(
    connected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(Uploads(1, 25))
    assert cli.main(["uploads", "s3://lake"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2:] for line in lines] == [["1d1h", "s3://lake/25h", "id-25"], ["1h", "s3://lake/1h", "id-1"]]
    assert client.aborted == []


@pytest.mark.parametrize(("age", "left"), [("0s", ["100h", "2h"]), ("120m", ["100h", "2h"]), ("4d", ["100h"])])
def test_the_age_may_be_said(connected: Any, age: str, left: list[str]) -> None:
    client = connected(Uploads(2, 100))
    assert cli.main(["uploads", "s3://lake", "--abort", "--older-than", age]) == 0
    assert client.aborted == left


def test_an_upload_from_a_clock_that_is_ahead_is_new(connected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    connected(Uploads(-1))
    assert cli.main(["uploads", "s3://lake", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["age_seconds"] == 0


def test_one_that_cannot_be_aborted_does_not_stop_the_others(
    connected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(Uploads(30, 40, refused={"40h": StoreAccessDeniedError("s3://lake/40h: not allowed")}))
    assert cli.main(["uploads", "s3://lake", "--abort"]) == 1
    told = capsys.readouterr()
    assert client.aborted == ["30h"]
    assert "s3://lake/40h: not allowed" in told.err
    assert "40h" not in told.out


def test_a_bucket_that_may_not_be_looked_at_does_not_keep_the_others_from_being_swept(
    connected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connected(Uploads(30))
    monkeypatch.setattr(uploads, "list_buckets", lambda _: [("closed", None), ("lake", None)])
    look = client.uploads

    def denied(url: Url) -> list[OpenUpload]:
        if str(url) == "s3://closed/":
            raise StoreAccessDeniedError("s3://closed/: not allowed")
        return list(look(url))

    client.uploads = denied
    assert cli.main(["uploads", "--abort"]) == 1
    assert client.aborted == ["30h"]
    assert capsys.readouterr().err == "arrowseal: s3://closed/: not allowed\n"
    assert cli.main(["uploads", "s3://closed"]) == 1


def test_without_credentials_the_sweep_stops_at_the_first(connected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    client = connected(Uploads(30, 40, refused={"40h": CredentialsError("no credentials")}))
    assert cli.main(["uploads", "s3://lake", "--abort"]) == 1
    assert client.aborted == []
    assert capsys.readouterr().err == "arrowseal: no credentials\n"
