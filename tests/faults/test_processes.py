"""What befalls a whole process: no place for files, no memory, forks in the midst of the work, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from children import finished

from arrowseal import PLAIN

if TYPE_CHECKING:
    from broken_servers import BrokenServers
    from children import Run

MIB = 2**20
LARGE = 11 * MIB


def test_no_operation_takes_a_file(servers: BrokenServers, run: Run) -> None:
    code = """
        import io, resource
        import pandas as pd, polars as pl, pyarrow as pa

        opened = []
        def hook(event, arguments):
            if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                opened.append(arguments[0])

        client.put("s3://bucket/warm", b"x")
        sys.addaudithook(hook)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # also what no hook of Python sees
        content, columns = os.urandom(7 * 2**20), {"a": list(range(5000)), "b": ["x" * 500] * 5000}
        for data in (b"small", content, io.BytesIO(content)):
            client.put("s3://bucket/o", data)
        assert client.get("s3://bucket/o") == content
        for ending, write, read in (
            ("parquet", arrowseal.arrow.write_table, arrowseal.arrow.read_table),
            ("arrow", arrowseal.arrow.write_table, arrowseal.arrow.read_table),
            ("csv", arrowseal.arrow.write_table, arrowseal.arrow.read_table),
        ):
            write(pa.table(columns), f"s3://bucket/t.{ending}", client=client)
            assert read(f"s3://bucket/t.{ending}", client=client).num_rows == 5000
        arrowseal.pandas.to_csv(pd.DataFrame(columns), "s3://bucket/p.csv", client=client, index=False)
        assert len(arrowseal.pandas.read_csv("s3://bucket/p.csv", client=client)) == 5000
        arrowseal.pandas.to_parquet(pd.DataFrame(columns), "s3://bucket/p.parquet", client=client)
        assert len(arrowseal.pandas.read_parquet("s3://bucket/p.parquet", client=client)) == 5000
        arrowseal.polars.write_parquet(pl.DataFrame(columns), "s3://bucket/l.parquet", client=client)
        assert arrowseal.polars.read_parquet("s3://bucket/l.parquet", client=client).height == 5000
        print([name for name in opened if name != os.devnull])
    """
    assert finished(run(code, TMPDIR="/nowhere/at/all")).strip() == "[]"


def test_memory_that_is_not_there_is_an_error_and_the_client_goes_on(servers: BrokenServers, run: Run) -> None:
    servers.client().put("s3://bucket/large", bytes(192 * MIB))
    servers.client().put("s3://bucket/small", b"small")
    servers.client().put("s3://bucket/plain", bytes(192 * MIB), encryption=PLAIN)
    code = """
        import resource

        assert client.get("s3://bucket/small") == b"small"
        content = bytes(192 * 2**20)
        one = arrowseal.Client(
            sys.argv[1], region_name="eu-west-1", endpoint_url=sys.argv[2], kms_endpoint_url=sys.argv[3],
            transfer=TransferOptions(part_bytes=256 * 2**20, concurrency=1),
        )
        plain = one.replace(allow_plaintext=True, transfer=TransferOptions(concurrency=1))
        plain.get("s3://bucket/small")
        one.put("s3://bucket/warm", b"x")
        with open("/proc/self/statm") as statm:
            in_use = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 96 * 2**20,) * 2)
        for attempt in (
            lambda: client.get("s3://bucket/large"),
            lambda: plain.get("s3://bucket/plain"),
            lambda: one.put("s3://bucket/o", content),
            lambda: one.open("s3://bucket/o", "wb").write(content),
        ):
            try:
                attempt()
            except (MemoryError, ArrowSealError) as error:
                print(type(error).__name__, *[word for word in str(error).split() if word.startswith("s3:")])
        assert client.get("s3://bucket/small") == b"small"
        client.put("s3://bucket/new", b"new")
    """
    told = ["MemoryError s3://bucket/large:", "MemoryError s3://bucket/plain:"]
    told += ["MemoryError s3://bucket/o:"] * 2
    assert finished(run(code, MALLOC_ARENA_MAX="1")).splitlines() == told
    there = ["_arrowseal.large.index", "large", "new", "plain", "small", "warm"]
    assert sorted(servers.s3.server.objects) == [f"/bucket/{key}" for key in there]
    assert not servers.s3.server.open_uploads


def test_children_that_are_forked_in_the_midst_of_the_work_go_on(servers: BrokenServers, run: Run) -> None:
    servers.client().put("s3://bucket/o", bytes(3 * MIB))
    code = """
        import threading, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which is what this is about
        done = threading.Event()

        def work():
            while not done.is_set():
                assert client.get("s3://bucket/o") == bytes(3 * 2**20)

        def fork(number):
            child = os.fork()
            if child == 0:
                assert client.get("s3://bucket/o") == bytes(3 * 2**20)
                client.put(f"s3://bucket/{number}", b"child")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

        client.get("s3://bucket/o")  # boto3 is imported: a fork under an import is beyond any library
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        forks = [threading.Thread(target=lambda: [fork(number) for number in range(3)]) for _ in range(2)]
        for thread in forks:
            thread.start()
        for thread in forks:
            thread.join()
        done.set()
        for worker in workers:
            worker.join()
    """
    finished(run(code))
    assert all(f"/bucket/{number}" in servers.s3.server.objects for number in range(3))


def test_a_child_that_is_forked_while_another_thread_makes_a_client_makes_its_own(
    servers: BrokenServers, run: Run
) -> None:
    servers.client().put("s3://bucket/o", b"x")
    code = """
        import signal

        assert client.get("s3://bucket/o") == b"x"
        parents = client._connections.s3()
        with client._connections._lock:  # as by a thread that the child does not have
            child = os.fork()
        if child == 0:
            signal.alarm(20)
            assert client.get("s3://bucket/o") == b"x"
            assert client._connections.s3() is not parents, "and with it the parent's sockets"
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    finished(run(code))


def test_a_child_finds_no_lock_taken_that_another_thread_of_its_parent_held(servers: BrokenServers, run: Run) -> None:
    servers.client().put("s3://bucket/o", bytes(3 * MIB))
    code = """
        import asyncio, contextlib, io, signal, threading
        import pyarrow as pa
        import arrowseal.aio, arrowseal.arrow
        from arrowseal.fork_lock import ForkLock

        made, make = [], ForkLock.__init__

        def noted(lock, *arguments):
            make(lock, *arguments)
            made.append(lock)

        ForkLock.__init__ = noted
        client = arrowseal.Client(
            sys.argv[1], region_name="eu-west-1", endpoint_url=sys.argv[2], kms_endpoint_url=sys.argv[3],
            transfer=transfer,
        )
        arrowseal.arrow.write_table(pa.table({"n": [1]}), "s3://bucket/t/a.parquet", client=client)
        opened, file = client.object("s3://bucket/o"), client.open("s3://bucket/o", "rb")
        writer, table = client.open("s3://bucket/new", "wb"), arrowseal.arrow.dataset("s3://bucket/t/", client=client)
        awaited = arrowseal.aio.AsyncClient(client)
        asyncio.run(awaited.get("s3://bucket/o"))
        file.read(10), writer.write(b"1")

        def work():
            assert client.get("s3://bucket/o") == opened.read_at(0, 3 * 2**20) == file.read() + bytes(10)
            assert table.to_table()["n"].to_pylist() == [1]
            assert asyncio.run(awaited.get("s3://bucket/o")) == bytes(3 * 2**20)
            writer.abort()

        held, forked = threading.Event(), threading.Event()

        def hold():
            with contextlib.ExitStack() as stack:
                for lock in [*made]:
                    stack.enter_context(lock._lock)
                held.set()
                forked.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            work()
            os._exit(0)
        forked.set()
        thread.join()
        assert len(made) > 8
        assert os.waitpid(child, 0)[1] == 0
        work()
    """
    finished(run(code))


def test_an_upload_that_a_parent_has_open_is_left_alone_by_its_children(servers: BrokenServers, run: Run) -> None:
    code = """
        file = client.open("s3://bucket/o", "wb")
        file.write(bytes(11 * 2**20))
        child = os.fork()
        if child == 0:
            file.abort()
            sys.exit(0)  # with all that is done at an exit
        os.waitpid(child, 0)
        file.commit()
    """
    finished(run(code))
    assert servers.client().get("s3://bucket/o") == bytes(LARGE)


def test_a_child_seals_nothing_under_the_key_stream_of_its_parent(servers: BrokenServers, run: Run) -> None:
    code = """
        import pytest
        from arrowseal._core import DataKey, PartBuffer, Sealer
        from arrowseal.exceptions import UncommittedWriteError

        file = client.open("s3://bucket/o", "wb")
        small = client.open("s3://bucket/small", "wb")
        sealer = Sealer(DataKey.generate(), 0x73)
        file.write(bytes(11 * 2**20))
        small.write(b"of both")
        child = os.fork()
        if child == 0:
            with pytest.raises(UncommittedWriteError, match="s3://bucket/o: the process that this one was forked from"):
                file.write(bytes(11 * 2**20 * 2))
            with pytest.raises(ValueError, match="closed"):
                file.commit()
            with pytest.raises(ValueError, match="another process"):
                sealer.seal_range(b"child", 0, 5, last=True)
            small.commit()  # of which nothing was sealed when it was forked
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        file.commit()
        small.commit()
        sealer.seal_range(b"parent", 0, 6, last=True)
    """
    finished(run(code))
    client = servers.client()
    assert client.get("s3://bucket/o") == bytes(LARGE)
    assert client.get("s3://bucket/small") == b"of both"
    assert servers.s3.count("UploadPart") == 3


def test_a_child_reads_on_in_a_file_of_its_parent(servers: BrokenServers, run: Run) -> None:
    content = bytes(range(256)) * (12 * MIB // 256)
    servers.client().put("s3://bucket/o", content)
    code = """
        import signal

        file = client.open("s3://bucket/o", "rb")
        read = [file.read(300_000) for _ in range(5)]  # by now it reads ahead, on a thread
        child = os.fork()
        if child == 0:
            signal.alarm(20)
        while piece := file.read(300_000):
            read.append(piece)
        assert b"".join(read) == bytes(range(256)) * (12 * 2**20 // 256)
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """
    finished(run(code))


def test_writers_that_the_garbage_collector_finds_under_other_calls_are_aborted(
    servers: BrokenServers, run: Run
) -> None:
    code = """
        import gc, threading, warnings

        warnings.simplefilter("ignore", ResourceWarning)
        gc.set_threshold(50, 2, 2)

        def drop(number):
            for turn in range(3):
                file = client.open(f"s3://bucket/dropped-{number}-{turn}", "wb")
                file.write(bytes(6 * 2**20))
                file.itself = file  # a cycle, so that only the collector frees it, on whichever thread
                del file
                client.put(f"s3://bucket/{number}", b"x" * 1000)
                assert client.get(f"s3://bucket/{number}") == b"x" * 1000

        threads = [threading.Thread(target=drop, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
    """
    finished(run(code))
    assert sorted(servers.s3.server.objects) == [f"/bucket/{number}" for number in range(4)]
    assert not servers.s3.server.open_uploads


def test_a_writer_that_is_open_when_the_interpreter_ends_is_aborted(servers: BrokenServers, run: Run) -> None:
    code = """
        file = client.open("s3://bucket/o", "wb")
        file.write(bytes(11 * 2**20))
        kept = sys.modules["kept"] = file  # which no reference count ends
    """
    finished(run(code))
    assert not servers.s3.server.objects
    assert not servers.s3.server.open_uploads


def test_a_writer_that_is_dropped_when_no_more_threads_are_to_be_had_is_aborted_at_the_end(
    servers: BrokenServers, run: Run
) -> None:
    code = """
        import gc, threading
        file = client.open("s3://bucket/o", "wb")
        file.write(bytes(11 * 2**20))

        def refused(thread):
            raise RuntimeError("can't start new thread")

        threading.Thread.start = refused
        del file
        gc.collect()
    """
    finished(run(code))
    assert not servers.s3.server.objects
    assert not servers.s3.server.open_uploads


def test_where_no_more_threads_are_to_be_had_all_goes_on_with_those_that_there_are(
    servers: BrokenServers, run: Run
) -> None:
    servers.client().put("s3://bucket/large", bytes(LARGE))
    code = """
        import asyncio, threading
        import pandas as pd, polars as pl, pyarrow as pa
        import arrowseal.aio, arrowseal.fs

        content, columns = bytes(11 * 2**20), {"a": list(range(200)), "b": [str(n) * 9 for n in range(200)]}
        started, start, most = [], threading.Thread.start, int(os.environ["MOST"])

        def refused(thread):
            ours = thread.name.startswith("arrowseal")  # polars' own are its affair
            if ours and len(started) >= most:
                raise RuntimeError("can't start new thread")
            start(thread)
            started.extend([thread] * ours)

        def all_faces():
            assert client.get("s3://bucket/large") == content
            assert client.object("s3://bucket/large").read_ranges([(at, 9) for at in range(0, 2**23, 2**20)])
            with client.open("s3://bucket/large", "rb") as file:
                assert b"".join(iter(lambda: bytes(file.read(300_000)), b"")) == content
            client.put("s3://bucket/new", content)
            with client.open("s3://bucket/written", "wb") as file:
                file.write(content)
                file.commit()
            assert client.get("s3://bucket/written") == content
            for ending in ("parquet", "arrow", "csv", "orc"):
                url = f"s3://bucket/t.{ending}"
                arrowseal.arrow.write_table(pa.table(columns), url, client=client)
                assert arrowseal.arrow.read_table(url, columns=["a"], client=client)["a"].to_pylist() == columns["a"]
            arrowseal.arrow.write_dataset(
                pa.table(columns | {"p": [n % 3 for n in range(200)]}), "s3://bucket/d/", partitioning=["p"],
                client=client, mode="overwrite",
            )
            found = arrowseal.arrow.dataset("s3://bucket/d/", client=client).to_table()
            assert sorted(found["a"].to_pylist()) == columns["a"]
            assert arrowseal.polars.scan_parquet("s3://bucket/l.parquet", client=client).collect().height == 200
            assert len(arrowseal.pandas.read_parquet("s3://bucket/l.parquet", client=client)) == 200
            assert len(client.list("s3://bucket/", encryption=True)) > 5

        arrowseal.polars.write_parquet(pl.DataFrame(columns), "s3://bucket/l.parquet", client=client)
        threading.Thread.start = refused
        all_faces()
        awaited = arrowseal.aio.AsyncClient(client).get("s3://bucket/new")
        try:
            print(len(asyncio.run(awaited)))
        except arrowseal.exceptions.UnavailableError as error:
            print(error)
    """
    for most in (0, 3):
        assert "no thread is to be had" in finished(run(code, MOST=str(most)))
    assert not servers.s3.server.open_uploads


def test_what_runs_as_the_interpreter_ends_reads_and_writes_as_ever(servers: BrokenServers, run: Run) -> None:
    code = """
        import atexit

        content = bytes(11 * 2**20)

        def last():
            client.put("s3://bucket/o", content)
            with client.open("s3://bucket/written", "wb") as file:
                file.write(content)
                file.commit()
            assert client.get("s3://bucket/o") == content
            with client.open("s3://bucket/o", "rb") as file:
                assert b"".join(iter(lambda: bytes(file.read(300_000)), b"")) == content
            print("all of it")

        atexit.register(last)
    """
    assert finished(run(code)) == "all of it\n"


@pytest.mark.parametrize("imported", [False, True])
def test_where_no_more_files_may_be_open_all_goes_on_over_the_connections_that_there_are_or_says_so(
    servers: BrokenServers, run: Run, *, imported: bool
) -> None:
    servers.client().put("s3://bucket/large", bytes(LARGE))
    code = """
        import gc, resource

        gc.disable()  # clients of before would give their files back in the midst of it

        def told(client, room):
            os.close(lowest := os.open(os.devnull, os.O_RDONLY))  # no number that is free is below it
            most = lowest + room
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, 4096))
            try:
                found = client.object("s3://bucket/large").read_ranges([(at, 9) for at in range(0, 2**23, 2**20)])
                assert [bytes(each) for each in found] == [bytes(9)] * 8
                client.put("s3://bucket/new", bytes(11 * 2**20))
            except ArrowSealError as error:
                print(error)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))

        client.get("s3://bucket/large"), client.put("s3://bucket/new", b"")  # all else is imported
        if os.environ["IMPORTED"]:
            import obstore.store  # of which only the threads have to be started
        for lane in ("obstore", "boto3"):
            for room in range(6):
                client = client.replace(lane=lane)
                client.get("s3://bucket/large")
                told(client, room)
        client = client.replace(lane="boto3")
        client._connections.s3(), client._connections.kms()  # which have no connection yet
        told(client, 0)
    """
    lines = finished(run(code, IMPORTED="1" * imported)).splitlines()
    assert lines
    for line in lines:
        assert line.startswith("s3://bucket/"), line
        assert "as many files open as may be (`ulimit -n`)" in line
