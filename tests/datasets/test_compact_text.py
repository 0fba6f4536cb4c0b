"""CSV and JSON files are joined byte by byte: no value changes, and what cannot be joined is refused and left alone."""

from __future__ import annotations

import bz2
import gzip
from typing import TYPE_CHECKING, Any

import pytest

from arrowseal.exceptions import ConfigurationError, DatasetWriteError, NotATableError, SchemaMismatchError
from arrowseal.operations import compact
from arrowseal.operations import joined_text as joined_text_module

if TYPE_CHECKING:
    from lake import Lake

BOM = b"\xef\xbb\xbf"
ODD = b"00123,12345678901234567890,NA,1.10,TRUE,2013-01-02T03:04:05+01:00,\n"
NAMES = b"zip,big,word,price,flag,time,nothing\n"


def joined(lake: Lake, pieces: list[bytes], suffix: str = "csv", **arguments: Any) -> bytes:
    """What becomes of files of these contents."""
    lake.put({f"t/{at}.{suffix}": piece for at, piece in enumerate(pieces)})
    report = compact("s3://lake/t", client=lake.client, **arguments)
    (key,) = lake.keys
    assert str(report.merges[0].target) == f"s3://lake/{key}"
    return bytes(lake.client.get(bucket="lake", key=key))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([NAMES + ODD, NAMES + ODD], NAMES + ODD + ODD),
        ([b"a,b\n1,2", b"a,b\n3,4"], b"a,b\n1,2\n3,4\n"),
        ([b"a,b\r\n1,2\r\n", b"a,b\r\n3,4"], b"a,b\r\n1,2\r\n3,4\r\n"),
        ([b"a,b\r1,2\r", b"a,b\r3,4"], b"a,b\r1,2\r3,4\r"),
        ([b"a;b\n1,5;x\n", b"a;b\n2,5;y\n"], b"a;b\n1,5;x\n2,5;y\n"),
        ([b'"a\nb","c ""d"""\n1,"x\ny"\n', b'"a\nb","c ""d"""\n2,z\n'], b'"a\nb","c ""d"""\n1,"x\ny"\n2,z\n'),
        ([BOM + b"a,b\n1,2\n", BOM + b"a,b\n3,4\n", b"a,b\n5,6\n"], BOM + b"a,b\n1,2\n3,4\n5,6\n"),
        ([b"a,b", b"a,b\n1,2\n"], b"a,b\n1,2\n"),
        ([b"a,b\n", b"", b"a,b\n1,2\n"], b"a,b\n1,2\n"),
        ([b'a\n5" disk 6"\n', b"a\n2\n"], b'a\n5" disk 6"\n2\n'),
    ],
    ids=["values", "no newline", "crlf", "cr", "semicolons", "quoted", "bom", "header alone", "empty", "inner quotes"],
)
def test_lines_of_csv_stay_as_they_are_under_one_header(lake: Lake, pieces: list[bytes], expected: bytes) -> None:
    assert joined(lake, pieces) == expected


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b'{"a":1.10}\n', b'{"a":"2013-01-02T00:00:00Z"}\n'], b'{"a":1.10}\n{"a":"2013-01-02T00:00:00Z"}\n'),
        ([b'{"a": 12345678901234567890}', b'{"b":{}}'], b'{"a": 12345678901234567890}\n{"b":{}}\n'),
        ([BOM + b'{"a":1}\r\n', BOM + b'{"a":2}\r\n'], BOM + b'{"a":1}\r\n{"a":2}\r\n'),
        ([b"", b'{"a":1}', b"\n"], b'{"a":1}\n'),
    ],
    ids=["values", "no newline", "bom", "empty"],
)
def test_lines_of_json_stay_as_they_are(lake: Lake, pieces: list[bytes], expected: bytes) -> None:
    assert joined(lake, pieces, "json") == expected


@pytest.mark.parametrize(("suffix", "module"), [("csv.gz", gzip), ("csv.bz2", bz2)])
def test_compressed_text_is_joined_below_its_compression(lake: Lake, suffix: str, module: Any) -> None:
    twice = module.compress(NAMES) + module.compress(ODD)  # of two members
    content = joined(lake, [twice, module.compress(NAMES + ODD)], suffix)
    assert lake.keys[0].endswith("." + suffix)
    assert module.decompress(content) == NAMES + ODD + ODD


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_text_that_comes_in_pieces_is_joined_alike(lake: Lake, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(joined_text_module, "_PIECE", piece)
    pieces = [BOM + b'"a ""b""",c\r\n"x\r\ny",1\r\n', BOM + b'"a ""b""",c\r\n2,z']
    assert joined(lake, pieces) == BOM + b'"a ""b""",c\r\n"x\r\ny",1\r\n2,z\r\n'


def test_lines_are_counted_and_those_in_quotes_are_not(lake: Lake) -> None:
    lake.put(
        {"t/1.csv": b'a,b\n1,"x\ny"\n2,z', "t/2.csv": b"a,b\n3,w\n", "t/3.json": b'{"a":1}', "t/4.json": b'{"a":2}\n'}
    )
    report = compact("s3://lake/t", client=lake.client)
    assert [merge.rows for merge in report.merges] == [3, 2]


@pytest.mark.parametrize(
    ("names", "pieces", "error"),
    [
        ("csv", [b"a,b\n1,2\n", b"b,a\n1,2\n"], SchemaMismatchError),
        ("csv", [b"a,b\n1,2\n", b'"a",b\n1,2\n'], SchemaMismatchError),
        ("csv", [b"a,b\n1,2\n", b"a,b\r\n1,2\r\n"], SchemaMismatchError),
        ("csv", [b"x,1\ny,2\n", b"x,1\nz,3\n"], NotATableError),
        ("csv", [b"x;-1.5e3\n", b"x;-1.5e3\n"], NotATableError),
        ("csv", [b"x,2013-01-02 10:00\n", b"x,2013-01-02 10:00\n"], NotATableError),
        ("csv", [b"a,,b\n1,2,3\n", b"a,,b\n4,5,6\n"], NotATableError),
        ("csv", [b"\na,b\n", b"\na,b\n"], NotATableError),
        ("csv", [b'a,b\n1,"2\n', b"a,b\n3,4\n"], NotATableError),
        ("csv", [b'a"b,c\n1,2\n', b'a"b,c\n1,2\n'], NotATableError),
        ("csv", [b'"a,c\n1,2\n', b'"a,c\n1,2\n'], NotATableError),
        ("csv", ["a,b\n1,2\n".encode("utf-16"), "a,b\n1,2\n".encode("utf-16")], NotATableError),
        ("csv", [b"", b""], NotATableError),
        ("csv.gz", [b"a,b\n1,2\n", b"a,b\n1,2\n"], NotATableError),
        ("csv.gz", [gzip.compress(b"a,b\n1,2\n")[:-9], gzip.compress(b"a,b\n1,2\n")], NotATableError),
        ("json", [b'[{"a":1}]', b'[{"a":2}]'], NotATableError),
    ],
)
def test_what_cannot_be_joined_is_refused_and_left_alone_and_the_rest_is_compacted(
    lake: Lake, names: str, pieces: list[bytes], error: type[Exception]
) -> None:
    lake.put({f"t/{at}.{names}": piece for at, piece in enumerate(pieces)})
    before = dict(lake.s3.server.objects)
    lake.put({"t/sub/1.csv": b"a\nx\n", "t/sub/2.csv": b"a\ny\n"})
    with pytest.raises(DatasetWriteError) as stopped:
        compact("s3://lake/t", client=lake.client, use_threads=False)
    assert type(stopped.value.__cause__) is error
    (new,) = stopped.value.written
    assert new.location.key.startswith("t/sub/")
    assert set(lake.keys) == {key.removeprefix("/lake/") for key in before} | {new.location.key}
    assert all(lake.s3.server.objects[key] == stored for key, stored in before.items())


def test_options_of_writers_are_refused_for_text_before_anything_is_touched(lake: Lake) -> None:
    lake.put({"t/1.csv": b"a\nx\n", "t/2.csv": b"a\ny\n"})
    lake.forget()
    with pytest.raises(ConfigurationError, match="joined as they are"):
        compact("s3://lake/t", file_options={"delimiter": ";"}, client=lake.client)
    assert {seen.operation for seen in lake.s3.log} == {"ListObjectsV2"}
