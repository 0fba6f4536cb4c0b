"""Ctrl-C at any moment of a read or a write: it ends, the process ends, and nothing is left."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from broken_bodies import Fault, operation_of, part_of
from children import finished

from arrowseal import TransferOptions

if TYPE_CHECKING:
    from broken_servers import BrokenServers
    from children import Run

LARGE = 11 * 2**20
WRITES = {
    "put": 'client.put("s3://bucket/o", bytes(11 * 2**20))',
    "open": """
        with client.open("s3://bucket/o", "wb") as file:
            for _ in range(11):
                file.write(bytes(2**20))
    """,
}


def test_ctrl_c_before_anybody_waits_for_an_upload_that_has_begun_leaves_no_upload(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Struck(ThreadPoolExecutor):
        def submit(self, *call: Any, **arguments: Any) -> NoReturn:
            super().submit(*call, **arguments).result()
            raise KeyboardInterrupt

    monkeypatch.setattr("arrowseal.standby.ThreadPoolExecutor", Struck)
    with pytest.raises(KeyboardInterrupt):
        servers.client().put("s3://bucket/o", bytes(LARGE))
    assert servers.s3.count("CreateMultipartUpload") == servers.s3.count("AbortMultipartUpload") == 1
    assert not servers.s3.server.open_uploads


def test_ctrl_c_while_the_thread_of_an_upload_is_started_leaves_no_upload(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def struck(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("arrowseal-write"):
            begun.append(thread)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", struck)
    with pytest.raises(KeyboardInterrupt), servers.client().open("s3://bucket/o", "wb") as file:
        file.write(bytes(LARGE))
    for thread in begun:
        thread.join()
    assert servers.s3.count("CreateMultipartUpload") == servers.s3.count("AbortMultipartUpload") == 1
    assert not servers.s3.server.open_uploads


def test_a_part_whose_thread_was_interrupted_as_it_started_has_arrived_before_the_upload_is_aborted(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, submitted, begun, ended = threading.Thread.start, [], [], []

    class Counted(ThreadPoolExecutor):
        def submit(self, *call: Any, **arguments: Any) -> Any:
            submitted.append(call)
            return super().submit(*call, **arguments)

    def struck(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("arrowseal-write_1"):
            while len(begun) < len(submitted):
                time.sleep(0.01)
            raise KeyboardInterrupt

    def slowly(method: str, path: str, headers: dict[str, str]) -> None:
        operation = operation_of(method, path, headers)
        begun.append(operation)
        time.sleep(0.3 * (part_of(path) or 0))
        ended.append(operation)

    monkeypatch.setattr("arrowseal.standby.ThreadPoolExecutor", Counted)
    monkeypatch.setattr(threading.Thread, "start", struck)
    servers.s3.rule = slowly
    with pytest.raises(KeyboardInterrupt):
        servers.client().put("s3://bucket/o", bytes(LARGE))
    assert "UploadPart" in begun
    assert len(ended) == len(begun)
    assert ended[-1] == "AbortMultipartUpload"
    assert not servers.s3.server.open_uploads


@pytest.mark.parametrize("how", WRITES)
def test_ctrl_c_twice_leaves_no_upload(servers: BrokenServers, run: Run, how: str) -> None:
    child: list[Any] = []

    def impatient(method: str, path: str, headers: dict[str, str]) -> None:
        if operation_of(method, path, headers) == "UploadPart" and len(child) == 1:
            child.append(child[0].send_signal(signal.SIGINT))
            time.sleep(0.5)
            child[0].send_signal(signal.SIGINT)  # while the first one waits for this part
            time.sleep(0.5)

    servers.s3.rule = impatient
    child.append(run(WRITES[how]))
    _, err = child[0].communicate(timeout=60)
    assert len(child) == 2
    assert child[0].returncode != 0
    assert "KeyboardInterrupt" in err
    assert not servers.s3.server.open_uploads
    assert not servers.s3.server.objects


@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize(
    ("operation", "part"),
    [("CreateMultipartUpload", None), *(("UploadPart", part) for part in (1, 2, 3)), ("CompleteMultipartUpload", None)],
)
def test_ctrl_c_under_a_write_in_parts_leaves_the_object_whole_or_nothing(
    servers: BrokenServers, run: Run, operation: str, part: int | None, how: str
) -> None:
    child: list[Any] = []

    def interrupt(method: str, path: str, headers: dict[str, str]) -> None:
        if operation_of(method, path, headers) == operation and part_of(path) == part and len(child) == 1:
            child.append(child[0].send_signal(signal.SIGINT))

    servers.s3.rule = interrupt
    child.append(run(WRITES[how]))
    _, err = child[0].communicate(timeout=60)
    assert len(child) == 2
    assert child[0].returncode != 0
    assert "KeyboardInterrupt" in err
    assert not servers.s3.server.open_uploads
    stored = servers.s3.server.objects.get("/bucket/o")
    if operation != "CompleteMultipartUpload":
        assert stored is None
    elif stored is not None:
        assert servers.client().get("s3://bucket/o") == bytes(LARGE)


@pytest.mark.parametrize("start", [0, 5, 10])
def test_ctrl_c_under_a_read_ends_it(servers: BrokenServers, run: Run, start: int) -> None:
    servers.client().put("s3://bucket/o", bytes(LARGE))
    child: list[Any] = []

    def interrupt(method: str, path: str, headers: dict[str, str]) -> None:
        wanted = operation_of(method, path, headers) == "GetObject" and seen.append(path) is None
        if wanted and len(seen) == 1 + start // 4 and len(child) == 1:
            child.append(child[0].send_signal(signal.SIGINT))

    seen: list[str] = []
    servers.s3.rule = interrupt
    child.append(run('client.get("s3://bucket/o")'))
    _, err = child[0].communicate(timeout=60)
    assert child[0].returncode != 0
    assert "KeyboardInterrupt" in err


@pytest.mark.parametrize(
    ("prefix", "thread", "reads"),
    [
        *(("arrowseal-read", thread, "client.get(url)") for thread in (1, 2, 3)),
        ("arrowseal-ahead", 1, "kept = client.open(url, 'rb'); [kept.read(1000) for _ in range(9)]"),
        *(("arrowseal-aio", thread, "loop.run_until_complete(gathered())") for thread in (1, 2)),
    ],
)
def test_ctrl_c_while_a_thread_of_a_read_is_started_ends_the_process(
    servers: BrokenServers, run: Run, prefix: str, thread: int, reads: str
) -> None:
    servers.client().put("s3://bucket/o", bytes(LARGE))
    child = run(f"""
        import asyncio, threading
        from arrowseal.aio import AsyncClient
        awaited, loop, url = AsyncClient(client), asyncio.new_event_loop(), "s3://bucket/o"
        async def gathered():
            await asyncio.gather(awaited.get(url), awaited.get(url))
        start, begun = threading.Thread.start, []
        def struck(thread):
            start(thread)
            if thread.name.startswith("{prefix}"):
                begun.append(thread)
                if len(begun) == {thread}:
                    raise KeyboardInterrupt
        threading.Thread.start = struck
        try:
            {reads}
        except KeyboardInterrupt:
            print("interrupted", len(begun))
        threading.Thread.start = start
        assert client.get(url) == bytes({LARGE})
    """)
    assert finished(child) == f"interrupted {thread}\n"


def test_a_file_that_was_interrupted_as_it_read_ahead_reads_on(
    servers: BrokenServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 2**13
    servers.client().put("s3://bucket/o", content)
    start, begun = threading.Thread.start, []

    def struck(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("arrowseal-ahead") and not begun:
            begun.append(thread)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", struck)
    with servers.client(transfer=TransferOptions(max_unindexed_bytes=0)).open("s3://bucket/o", "rb") as file:
        with pytest.raises(KeyboardInterrupt):
            [*iter(lambda: file.read(1000), b"")]
        assert begun
        file.seek(0)
        assert b"".join(iter(lambda: file.read(100_000), b"")) == content


def test_ctrl_c_at_the_end_of_ranges_is_raised(servers: BrokenServers, monkeypatch: pytest.MonkeyPatch) -> None:
    def struck(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    servers.client().put("s3://bucket/o", bytes(LARGE))
    with servers.client().object("s3://bucket/o") as opened:
        monkeypatch.setattr("arrowseal.standby.wait", struck)
        with pytest.raises(KeyboardInterrupt):
            opened.read_ranges([(at << 20, 9) for at in (1, 3, 5)])


@pytest.mark.parametrize(
    "reads", ['get("s3://bucket/o")', 'object("s3://bucket/o").read_ranges([(at << 20, 9) for at in (1, 2, 3)])']
)
def test_ctrl_c_does_not_wait_for_bytes_that_a_server_has_stopped_to_send(
    servers: BrokenServers, run: Run, reads: str
) -> None:
    servers.client().put("s3://bucket/o", bytes(LARGE))
    stalled: list[str] = []
    child: list[Any] = []

    def stall(method: str, path: str, headers: dict[str, str]) -> Fault | None:
        of_content = operation_of(method, path, headers) == "GetObject" and path.endswith("/o")
        if not of_content or headers["Range"].startswith("bytes=-"):  # the tag, when it is opened
            return None
        stalled.append(path)
        if len(stalled) == 3:  # all that are at work at once
            threading.Timer(0.5, child[0].send_signal, (signal.SIGINT,)).start()
        return Fault("stall", 2**15)

    servers.s3.rule = stall
    code = f"""
        import botocore.session, boto3
        from botocore.config import Config
        session = botocore.session.Session()
        session.set_default_client_config(Config(read_timeout=600))
        session = boto3.Session(region_name="eu-west-1", botocore_session=session)
        patient = arrowseal.Client(
            sys.argv[1], session=session, endpoint_url=sys.argv[2], kms_endpoint_url=sys.argv[3], lane="boto3",
            transfer=transfer,
        )
        patient.{reads}
    """
    child.append(run(code))
    _, err = child[0].communicate(timeout=60)
    assert child[0].returncode != 0
    assert "KeyboardInterrupt" in err
    assert servers.s3.outwaited == 0
