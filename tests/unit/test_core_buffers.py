"""Memory of the core: who sees what, when, and for how long."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import subprocess
import sys
import textwrap
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from arrowseal._core import DataKey, PartBuffer, PlainReceiver, Sealer, crc32
from arrowseal.exceptions import AuthenticationError
from core_messages import KEY, MIB, V3, land, open_message, opener, seal


def address(buffer: Any) -> int:
    with memoryview(buffer) as view:
        return int(np.frombuffer(view, np.uint8).ctypes.data)


def flags_of_memory_at(place: int) -> list[str]:
    """What Linux keeps in mind of a mapping (proc(5), VmFlags)."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *words = line.split()
        if "-" in first:
            begin, end = (int(bound, 16) for bound in first.split("-"))
            inside = begin <= place < end
        elif inside and first == "VmFlags:":
            return words
    raise AssertionError("no such memory")


def plain(content: bytes) -> Any:
    receiver = PlainReceiver(len(content))
    land(receiver, content, [(0, len(content))])
    return receiver.finish()


def run(program: str) -> str:
    """What a program says in a process of its own."""
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("length", [1, 100, 5000, 5 * MIB])
def test_buffers_are_aligned_and_read_only(length: int) -> None:
    content = bytes(length)
    for buffer in (Sealer(DataKey(KEY), V3).seal(content), open_message(seal(content)), plain(content)):
        assert address(buffer) % 64 == 0
        with memoryview(buffer) as view:
            assert view.readonly
            assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
            with pytest.raises(TypeError, match="read-only"):
                view[0] = 1
        with pytest.raises(TypeError, match="not writable"):
            (ctypes.c_char * length).from_buffer(buffer)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
@pytest.mark.parametrize("length", [100, 5 * MIB])
def test_no_buffer_is_part_of_a_core_dump(length: int) -> None:
    content = bytes(length)
    part = PartBuffer(length)
    part.append(content)
    sealed = Sealer(DataKey(KEY), V3).seal_part(0, part, last=True)
    for buffer in (sealed, open_message(seal(content)), plain(content)):
        assert "dd" in flags_of_memory_at(address(buffer))


def test_pyarrow_wraps_plaintext_without_a_copy() -> None:
    plaintext = open_message(seal(b"x" * 1000))
    wrapped = pa.py_buffer(plaintext)
    assert wrapped.address == address(plaintext)
    assert not wrapped.is_mutable
    assert wrapped.to_pybytes() == b"x" * 1000


@pytest.mark.parametrize("hold", [memoryview, pa.py_buffer, lambda it: np.frombuffer(it, np.uint8)])
def test_memory_is_not_used_again_while_an_export_lives(hold: Any) -> None:
    length = 9 * MIB + 123
    held = hold(open_message(seal(b"a" * length)))
    gc.collect()
    others = [open_message(seal(b"b" * length)) for _ in range(3)]
    assert bytes(memoryview(held)) == b"a" * length
    assert all(other == b"b" * length for other in others)


def test_memory_is_used_again_after_the_last_export_is_released() -> None:
    message = seal(b"a" * (13 * MIB))
    plaintext = open_message(message)
    view, where = memoryview(plaintext), address(plaintext)
    del plaintext
    assert address(open_message(message)) != where
    view.release()
    assert where in {address(one) for one in [open_message(message), open_message(message), open_message(message)]}


def test_bytes_of_encrypted_objects_never_come_up_in_a_plain_receiver() -> None:
    length = 11 * MIB
    message = seal(b"secret!!" * (length // 8))
    open_message(message)
    gc.collect()
    receivers = [PlainReceiver(length + 16) for _ in range(4)]  # more than there are idle regions of that size
    for receiver in receivers:
        assert b"secret" not in bytes(receiver.window(0, length + 16))


def test_a_refused_message_is_wiped_before_the_error_leaves() -> None:
    message = seal(b"secret!!" * 1000)
    forged = message._replace(stored=message.stored[:-1] + bytes([message.stored[-1] ^ 1]))
    target = opener(forged)
    window = target.window(0, len(forged.stored))
    where = address(window)
    with memoryview(window) as view:
        view[:] = forged.stored
    window.received()
    assert ctypes.string_at(where, 8000) == b"secret!!" * 1000
    with pytest.raises(AuthenticationError):
        target.finish()
    assert ctypes.string_at(where, 8016) == bytes(8016)


def test_an_opener_that_is_given_up_is_wiped() -> None:
    message = seal(b"secret!!" * 1000)
    target = opener(message)
    where = address(target.window(0, 16))
    land(target, message.stored, [(0, 4096)])
    assert ctypes.string_at(where, 8) == b"secret!!"
    del target
    gc.collect()
    assert ctypes.string_at(where, 4096) == bytes(4096)


def test_an_opener_that_is_given_up_takes_no_memory_for_what_never_arrived() -> None:
    done = run(
        """
        import resource
        from arrowseal._core import DataKey, Opener

        def most_kib():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        before = most_kib()
        target = Opener(DataKey(bytes(32)), 0x72, bytes(range(12)), None, 2**29)
        with memoryview(target.window(0, 2**20)) as view:
            view[:] = bytes(2**20)
        del target
        print(most_kib() - before < 2**17)
        """
    )
    assert done == "True"


def test_memory_that_is_kept_for_later_is_given_back_where_the_process_may_have_no_more() -> None:
    done = run(
        """
        import resource
        from arrowseal._core import PlainReceiver

        PlainReceiver(500 * 2**20)  # and is idle from here on
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 700 * 2**20, mapped + 700 * 2**20))
        PlainReceiver(900 * 2**20)
        print("fits")
        """
    )
    assert done == "fits"


def test_opened_bytes_are_out_of_reach_until_they_are_proven() -> None:
    message = seal(b"secret!!" * 1000)
    target = opener(message)
    window = target.window(0, len(message.stored))
    with memoryview(window) as view:
        view[:] = message.stored
        assert not view.readonly
    window.received()
    with pytest.raises(BufferError, match="out of reach"):
        memoryview(window)
    with pytest.raises(TypeError):
        memoryview(target)  # type: ignore[arg-type]
    plaintext = target.finish()
    with pytest.raises(BufferError, match="out of reach"):
        memoryview(window)
    assert plaintext == b"secret!!" * 1000


def test_a_window_outlives_its_opener_only_as_memory() -> None:
    window = opener(seal(bytes(100))).window(0, 64)
    gc.collect()
    with memoryview(window) as view:
        view[:] = bytes(64)
    window.received()


def test_a_bytearray_that_another_thread_changes_seals_to_one_of_its_states() -> None:
    states = {b"a" * (4 * MIB), b"b" * (4 * MIB)}
    content = bytearray(b"a" * (4 * MIB))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for state in states:
                content[:] = state

    thread = threading.Thread(target=change)
    thread.start()
    try:
        sealed = [seal(content) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert {bytes(open_message(message)) for message in sealed} <= states


def test_a_buffer_of_any_shape_and_type_is_sealed_as_its_bytes() -> None:
    table = np.arange(10_000, dtype=np.float64).reshape(100, 100)
    for content in (
        table,
        memoryview(table),
        bytearray(table.tobytes()),
        pa.py_buffer(table),
        open_message(seal(table)),
    ):
        assert open_message(seal(content)) == table.tobytes()
    for empty in (b"", bytearray(), np.array([], np.float32)):
        assert open_message(seal(empty)) == b""


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("begin", "length"), [(0, 16), (0, 5 * 2**16), (3 * 2**16 + 16, 2**17), (2**16 - 16, 48)])
def test_the_checksum_of_a_part_is_that_of_its_sealed_bytes(begin: int, length: int, last: bool) -> None:
    content = np.random.default_rng(length).bytes(begin + length)
    for way in ("range", "part"):
        sealer = Sealer(DataKey(KEY), V3)
        if begin:
            sealer.seal_range(content, 0, begin)
        if way == "range":
            sealed = sealer.seal_range(content, begin, begin + length, last=last)
        else:
            part = PartBuffer(length)
            part.append(content[begin:])
            sealed = sealer.seal_part(begin, part, last=last)
        stored = bytes(sealed)
        assert len(stored) == length + (16 if last else 0)
        assert crc32(sealed) == crc32(sealed, 0, len(stored)) == zlib.crc32(stored)
        assert crc32(sealed, 1) == zlib.crc32(stored[1:])
        assert crc32(sealed, 0, len(stored) - 1) == zlib.crc32(stored[:-1])
        with pytest.raises(ValueError, match="outside of the content"):
            crc32(sealed, 0, len(stored) + 1)


def test_a_part_is_sealed_or_handed_over_as_it_was_made_to_be_and_none_follows_the_last() -> None:
    sealer, secret = Sealer(DataKey(KEY), V3), PartBuffer(16)
    secret.append(b"a secret")
    with pytest.raises(ValueError, match="not handed over as it is"):
        secret.plain()
    with pytest.raises(ValueError, match="a plain part is not sealed"):
        sealer.seal_part(0, PartBuffer(16, plain=True))
    with pytest.raises(ValueError, match="missing"):
        sealer.index()
    assert len(sealer.seal_part(0, secret, last=True)) == 8 + 16
    with pytest.raises(ValueError, match="finished already"):
        sealer.seal_part(16, PartBuffer(16))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="not Linux")
@pytest.mark.parametrize("end", ["sealer.seal_part(0, part, last=True)", "del part"])
def test_of_a_part_that_grew_nothing_is_left_in_memory(end: str) -> None:
    done = run(
        f"""
        from arrowseal._core import DataKey, PartBuffer, Sealer

        piece, look = 2**19, bytearray(2**20)

        def there():
            found = 0
            with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
                for line in maps.read().splitlines():
                    if " rw-p " in line and line.endswith(" 0 "):
                        begin, end = (int(bound, 16) for bound in line.split()[0].split("-"))
                        for at in range(begin, end, len(look)):
                            memory.seek(at)
                            count = memory.readinto(memoryview(look)[:end - at])
                            found += look.count(0xA7, 0, count) >= piece // 2
                            look[:] = bytes(len(look))
            return found

        source, sealer, part = bytearray(piece), Sealer(DataKey.generate(), 0x73), PartBuffer(2**22)
        source[:] = map(lambda _: 0xA7, range(piece))
        for _ in range(3):
            part.append(source)
        source[:] = bytes(piece)
        print(there() > 0)
        {end}
        print(there())
        """
    )
    assert done.split() == ["True", "0"]


def test_a_buffer_with_gaps_is_refused_and_the_sealer_stays_usable() -> None:
    sealer = Sealer(DataKey(KEY), V3)
    table = np.arange(100).reshape(10, 10)
    for gaps in (table[:, ::2], table.T, memoryview(b"abcdef")[::2]):
        with pytest.raises(BufferError, match="not contiguous"):
            sealer.seal(gaps)
    with pytest.raises(TypeError):
        sealer.seal("text")  # type: ignore[arg-type]
    assert len(sealer.seal(table)) == 816


def test_buffers_compare_with_anything_that_has_the_same_bytes() -> None:
    for buffer in (open_message(seal(b"content")), plain(b"content")):
        assert buffer == b"content" == buffer
        assert buffer == bytearray(b"content")
        assert buffer == memoryview(b"content")
        assert buffer == pa.py_buffer(b"content")
        assert buffer != b"contend"
        assert buffer != b"content!"
        assert buffer != bytearray(b"content!") != buffer
        assert buffer != bytearray(b"conten")
        assert buffer != "content"
        assert buffer != None  # noqa: E711
        assert memoryview(buffer)[3:] == b"tent"


def keepers_of_secrets() -> list[Any]:
    message = seal(b"secret!!" * 100)
    return [
        DataKey(KEY),
        Sealer(DataKey(KEY), V3),
        Sealer(DataKey(KEY), V3).seal(b"secret!!" * 100),
        opener(message),
        opener(message).window(0, 16),
        open_message(message),
        PlainReceiver(10),
        plain(b"secret!!"),
    ]


@pytest.mark.parametrize("keeper", keepers_of_secrets(), ids=lambda it: type(it).__name__)
def test_nothing_that_holds_keys_or_content_is_pickled_copied_or_printed(keeper: Any) -> None:
    name = type(keeper).__name__
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=f"a {name} holds keys or content"):
            pickle.dumps(keeper, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=f"a {name} holds keys or content"):
            duplicate(keeper)
    for text in (repr(keeper), str(keeper), f"{keeper}"):
        assert text.startswith(f"<{name}")
        assert "secret" not in text
        assert KEY.hex()[:8] not in text
    with pytest.raises(AttributeError):
        keeper.another = 1


def test_a_second_interpreter_is_refused_with_an_import_error(tmp_path: Path) -> None:
    said = tmp_path / "said"
    inside = (
        "try:\n"
        "    import arrowseal._core\n"
        "    said = 'imported'\n"
        "except ImportError as error:\n"
        "    said = str(error)\n"
        f"open({str(said)!r}, 'w').write(said)\n"
    )
    outside = (
        "import arrowseal._core\n"
        "try:\n"
        "    import _interpreters as interpreters\n"
        "    run = interpreters.exec\n"
        "except ImportError:\n"
        "    import _xxsubinterpreters as interpreters\n"
        "    run = interpreters.run_string\n"
        f"run(interpreters.create(), {inside!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", outside], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "subinterpreter" in said.read_text()
