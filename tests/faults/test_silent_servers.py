"""Ctrl-C while a server takes what it is asked and never answers: nobody waits for that, on whichever thread it is."""

from __future__ import annotations

import io
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from broken_bodies import Fault, operation_of
from pyarrow import parquet

from arrowseal import TransferOptions
from arrowseal.exceptions import StoreAccessDeniedError
from arrowseal.fs import S3CseFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broken_servers import BrokenServers
    from children import Run

LARGE = 11 * 2**20
PATIENT = """
    import time, botocore.session, boto3, arrowseal.arrow, arrowseal.fs, arrowseal.pandas, arrowseal.polars
    from botocore.config import Config
    session = botocore.session.Session()
    session.set_default_client_config(Config(read_timeout=600, connect_timeout=600))
    session = boto3.Session(region_name="eu-west-1", botocore_session=session)
    client = arrowseal.Client(
        sys.argv[1], session=session, endpoint_url=os.environ.get("ENDPOINT", sys.argv[2]),
        kms_endpoint_url=sys.argv[3], lane="boto3", transfer=transfer,
    )
    def begin():
        client.list("s3://bucket/now/")
    large, tables = "s3://bucket/large", "s3://bucket/tables/"
"""
WAITS = {
    "get": ("GetObject", "begin(); client.get(large)"),
    "get over connections that were used": ("GetObject", "client.get(large); begin(); client.get(large)"),
    "ranges": (
        "GetObject",
        "opened = client.object(large); begin(); opened.read_ranges([(at << 20, 9) for at in (1, 2, 3)])",
    ),
    "read ahead": (
        "GetObject",
        "file = client.open(large, 'rb'); file.read(9); begin(); file.read(9); file.read()",
    ),
    "beside what is read ahead": (
        "GetObject",
        "file = client.open(large, 'rb'); file.read(9); file.read(9); time.sleep(1); begin(); file.read()",
    ),
    "open": ("GetObject", "begin(); client.object(large)"),
    "heads": ("HeadObject", "begin(); client.list(tables, encryption=True)"),
    "files": (
        "GetObject",
        "fs = arrowseal.fs.S3CseFileSystem(client=client); paths = fs.find('bucket/tables'); begin(); fs.cat(paths)",
    ),
    "dataset": ("GetObject", "rows = arrowseal.arrow.dataset(tables, client=client); begin(); rows.to_table()"),
    "keys of a dataset": ("Decrypt", "rows = arrowseal.arrow.dataset(tables, client=client); begin(); rows.to_table()"),
    "pandas": ("GetObject", "begin(); arrowseal.pandas.read_parquet(tables, client=client)"),
    "polars": ("GetObject", "begin(); arrowseal.polars.read_parquet(tables, client=client)"),
    "schema of a scan": ("GetObject", "begin(); arrowseal.polars.scan_parquet(tables, client=client).collect()"),
    "scan": (
        "GetObject",
        "rows = arrowseal.polars.scan_parquet(tables, client=client); rows.collect_schema(); begin(); rows.collect()",
    ),
    "keys of a scan": (
        "Decrypt",
        "rows = arrowseal.polars.scan_parquet(tables, client=client); rows.collect_schema(); begin(); rows.collect()",
    ),
    "scan of text": ("GetObject", "begin(); arrowseal.polars.scan_csv('s3://bucket/text/', client=client).collect()"),
    "await": (
        "GetObject",
        """
    import asyncio
    from arrowseal.aio import AsyncClient
    async def both():
        awaited = AsyncClient(client)
        await asyncio.gather(awaited.get(large), awaited.get(large))
    begin()
    asyncio.run(both())
""",
    ),
}


class Silence:
    """Leaves requests without an answer until the test has ended; `outwaited` says that they were waited for."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.fell = threading.Event()
        self.outwaited = False

    def keep(self) -> None:
        """Leave a request without an answer."""
        self.outwaited |= not self.over.wait(70)

    def rule(self, operation: str, fell: Callable[[], object] = lambda: None) -> Callable[..., None]:
        """Those of one operation, from the first listing of what is below `now/` on; `fell` is called at the first."""
        begun = threading.Event()

        def leave(method: str, path: str, headers: dict[str, str]) -> None:
            if "now%2F" in path:
                begun.set()
            elif begun.is_set() and operation_of(method, path, headers) == operation:
                if not self.fell.is_set():
                    self.fell.set()
                    fell()
                self.keep()

        return leave


@pytest.fixture
def silence() -> Iterator[Silence]:
    silence = Silence()
    yield silence
    silence.over.set()


@pytest.fixture
def lake(servers: BrokenServers) -> BrokenServers:
    """A large object, and several tables."""
    client = servers.client()
    client.put("s3://bucket/large", bytes(LARGE))
    for at in range(4):
        content = io.BytesIO()
        parquet.write_table(pa.table({"a": [at]}), content)
        client.put(f"s3://bucket/tables/{at}.parquet", content.getvalue())
        client.put(f"s3://bucket/text/{at}.csv", b"a,b\n1,2\n")
    return servers


@pytest.mark.parametrize("name", WAITS)
def test_ctrl_c_does_not_wait_for_an_answer(lake: BrokenServers, run: Run, silence: Silence, name: str) -> None:
    operation, waits = WAITS[name]
    child: list[Any] = []
    rule = silence.rule(operation, lambda: threading.Timer(0.5, child[0].send_signal, (signal.SIGINT,)).start())
    lake.s3.rule = lake.kms_proxy.rule = rule
    child.append(run(PATIENT + "\n    " + waits))
    _, err = child[0].communicate(timeout=60)
    assert silence.fell.is_set(), err
    assert child[0].returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_ctrl_c_does_not_wait_for_a_server_that_does_not_shake_hands(servers: BrokenServers, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"https://127.0.0.1:{listening.getsockname()[1]}"
        read = "arrowseal.fs.S3CseFileSystem(client=client).cat(['bucket/a', 'bucket/b'])"
        child = run(PATIENT + "\n    " + read, ENDPOINT=endpoint)
        listening.settimeout(60)
        accepted = [listening.accept()[0] for _ in range(2)]
        threading.Timer(0.5, child.send_signal, (signal.SIGINT,)).start()
        _, err = child.communicate(timeout=60)
        for each in accepted:
            each.close()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err


def test_an_error_does_not_wait_for_an_answer_beside_it_and_the_client_reads_on(
    lake: BrokenServers, silence: Silence
) -> None:
    client = lake.client(read_timeout=600, lane="boto3")
    asked = threading.Event()

    def rule(_: str, path: str, __: dict[str, str]) -> Fault | None:
        if path.endswith("/tables/0.parquet"):
            asked.set()
            silence.keep()
        elif path.endswith("/tables/1.parquet"):
            asked.wait(60)
            return Fault("status", 403, "AccessDenied")
        return None

    lake.s3.rule = rule
    files = S3CseFileSystem(client=client)
    with pytest.raises(StoreAccessDeniedError):
        files.cat(["bucket/tables/0.parquet", "bucket/tables/1.parquet"])
    assert not silence.outwaited
    lake.s3.reset()
    assert files.cat("bucket/tables/0.parquet") == client.get("s3://bucket/tables/0.parquet")


def test_a_file_that_is_closed_on_another_thread_waits_for_nothing_and_says_so(
    lake: BrokenServers, silence: Silence
) -> None:
    options = TransferOptions(part_bytes=2**20, max_unindexed_bytes=0)
    client = lake.client(read_timeout=600, lane="boto3", transfer=options)
    file = client.open("s3://bucket/large", "rb")
    file.read(9)

    def rule(_: str, __: str, headers: dict[str, str]) -> None:
        start = headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        if int(start or 0) >= 2**20:  # what is fetched ahead of the first MiB
            silence.keep()

    lake.s3.rule = rule
    closing = threading.Timer(1, file.close)
    closing.start()
    with pytest.raises(ValueError, match="s3://bucket/large: this file was closed while it was read"):
        [*iter(lambda: file.read(1000), b"")]
    closing.join()
    assert not silence.outwaited
