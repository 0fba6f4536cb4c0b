"""What every keyring does, a user's own among them. A new kind is one entry of `keyring_kinds.KINDS`."""

from __future__ import annotations

import base64
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from keyring_kinds import KINDS, Kind, spelled

from arrowseal import V2, V3, Client, Format, _core, metadata
from arrowseal.counters import Operation
from arrowseal.exceptions import ConfigurationError, KeyMismatchError, KmsAccessDeniedError, SecurityError
from arrowseal.location import ObjectLocation
from doubles import s3_in_memory
from memory_s3 import MemoryS3

if TYPE_CHECKING:
    from pathlib import Path

    from arrowseal import Keyring
    from arrowseal.materials import EncryptionMaterials
    from arrowseal.metadata import EncryptedMetadata

HERE = ObjectLocation("lake", "2013/flights.parquet")
NOT_MINE = (KeyMismatchError, KmsAccessDeniedError)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    return KINDS[request.param](tmp_path)


@pytest.fixture
def writer(kind: Kind) -> Keyring:
    return kind.make()


@pytest.fixture
def reader(kind: Kind) -> Keyring:
    return (kind.reader or kind.make)()


def operation() -> Operation:
    return Operation("get", HERE)


def stored(materials: EncryptionMaterials, sealer: _core.Sealer | None = None) -> EncryptedMetadata:
    """What a reader finds: the materials rendered into metadata, and parsed out of them again."""
    suite = materials.format.suite
    sealer = sealer or _core.Sealer(materials.data_key, suite.id)
    parsed = metadata.parse(
        metadata.render(
            materials.format,
            encrypted_data_key=materials.encrypted_data_key,
            message_id=sealer.message_id,
            commitment=sealer.commitment,
            context=materials.encryption_context,
            wrap=materials.wrap,
            material_description=materials.material_description,
        )
    )
    assert parsed is not None
    return parsed


def opens(data_key: _core.DataKey, found: EncryptedMetadata, body: bytes) -> bytes:
    suite = Format.of(found.format).suite
    return bytes(_core.Opener(data_key, suite.id, found.message_id, found.commitment, len(body)).receive(body))


def unwrapped(keyring: Keyring, found: EncryptedMetadata) -> _core.DataKey:
    return keyring.unwrap(found, HERE, operation()).data_key


@pytest.mark.parametrize("written", [V3, V2])
def test_what_one_keyring_wrapped_another_with_the_same_key_unwraps(
    writer: Keyring, reader: Keyring, written: Format
) -> None:
    materials = writer.generate(written, {}, HERE, operation())
    sealer = _core.Sealer(materials.data_key, written.suite.id)
    body = bytes(sealer.seal(b"content"))
    found = stored(materials, sealer)
    assert found.wrap in reader.wraps
    assert materials.format is written
    assert opens(unwrapped(reader, found), found, body) == b"content"


def test_it_says_which_key_wrapped_and_which_unwrapped(writer: Keyring, reader: Keyring) -> None:
    materials = writer.generate(V3, {}, HERE, operation())
    assert materials.key_name
    assert reader.unwrap(stored(materials), HERE, operation()).key_name


def test_each_object_has_a_data_key_and_a_wrap_of_its_own(writer: Keyring) -> None:
    generated = [writer.generate(V3, {}, HERE, operation()) for _ in range(10)]
    assert len({one.encrypted_data_key for one in generated}) == 10
    message_id, content = bytes(range(28)), b"content"
    sealed = [
        _core.Sealer.with_fixed_message_id(one.data_key, V3.suite.id, message_id).seal(content) for one in generated
    ]
    assert len({bytes(one) for one in sealed}) == 10


def test_another_key_says_that_it_is_not_its(kind: Kind, writer: Keyring) -> None:
    found = stored(writer.generate(V3, {}, HERE, operation()))
    with pytest.raises(NOT_MINE, match=str(HERE)):
        kind.stranger().unwrap(found, HERE, operation())


def test_a_changed_wrap_is_refused_wherever_it_was_changed(writer: Keyring, reader: Keyring) -> None:
    found = stored(writer.generate(V3, {}, HERE, operation()))
    wrapped = found.encrypted_data_key
    changed = [bytes([*wrapped[:at], wrapped[at] ^ 1, *wrapped[at + 1 :]]) for at in range(0, len(wrapped), 7)]
    changed += [wrapped[:-1], wrapped + b"\0", wrapped[:16], b"\0"]
    for one in changed:
        with pytest.raises(NOT_MINE):
            unwrapped(reader, replace(found, encrypted_data_key=one))
    assert unwrapped(reader, found)


def test_a_data_key_of_one_format_is_none_of_the_other(writer: Keyring, reader: Keyring) -> None:
    """The content algorithm is bound to the wrap: by the context, the associated data or the payload."""
    found = {written: stored(writer.generate(written, {}, HERE, operation())) for written in (V2, V3)}
    for written, other in ((V2, V3), (V3, V2)):
        crossed = replace(
            found[written], encrypted_data_key=found[other].encrypted_data_key, context=found[written].context
        )
        with pytest.raises(NOT_MINE):
            unwrapped(reader, crossed)


def test_a_context_is_bound_or_refused(writer: Keyring, reader: Keyring) -> None:
    if "kms+context" not in writer.wraps:
        with pytest.raises(ConfigurationError, match="context"):
            writer.generate(V3, {"team": "weather"}, HERE, operation())
        return
    found = stored(writer.generate(V3, {"team": "weather"}, HERE, operation()))
    assert found.user_context == {"team": "weather"}
    assert unwrapped(reader, found)
    for context in ({"team": "sales"}, {}, {"team": "weather", "more": ""}, {"Team": "weather"}, {"tea": "mweather"}):
        with pytest.raises(NOT_MINE):
            unwrapped(reader, replace(found, context=metadata.bound_context(context, V3)))


def test_its_checks_ask_nobody_and_tell_keys_apart(kind: Kind, writer: Keyring, reader: Keyring) -> None:
    assert hash(writer.check_write(HERE)) == hash(writer.check_write(HERE))
    assert writer.check_write(HERE) == writer.check_write(ObjectLocation("lake", "2014/flights.parquet"))
    reader.check_read(HERE)


def test_no_repr_and_no_pickle_shows_a_key(kind: Kind, writer: Keyring, reader: Keyring) -> None:
    materials = writer.generate(V3, {}, HERE, operation())
    shown = [repr(writer), repr(reader), str(materials), repr(reader.unwrap(stored(materials), HERE, operation()))]
    for keyring in (writer, reader):
        try:
            shown.append(pickle.dumps(keyring).decode("latin-1"))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            shown.append(str(error))
    if kind.secrets and shown[-1].startswith("\x80"):
        pickled = pickle.loads(shown[-1].encode("latin-1"))
        assert unwrapped(pickled, stored(materials))
    if repr(writer).startswith("<Vault"):
        shown = shown[:-2]  # its service is in this process: what its pickle has is the service's own affair
    for secret in kind.secrets:
        for spelling in [*spelled(secret), secret.decode("latin-1"), base64.b64encode(secret).decode()]:
            assert all(spelling not in text for text in shown)


def test_however_many_threads_share_it(writer: Keyring, reader: Keyring) -> None:
    def turn(number: int) -> bool:
        materials = writer.generate(V3, {}, HERE, operation())
        sealer = _core.Sealer(materials.data_key, V3.suite.id)
        body, found = bytes(sealer.seal(b"%d" % number)), stored(materials, sealer)
        return opens(unwrapped(reader, found), found, body) == b"%d" % number

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(turn, range(64)))


def test_a_client_writes_and_reads_with_it_and_a_stranger_does_not(kind: Kind) -> None:
    s3 = s3_in_memory(MemoryS3())
    Client(keyring=kind.make(), s3=s3).put("s3://lake/o", b"content")
    reading = Client(keyring=(kind.reader or kind.make)(), s3=s3)
    assert bytes(reading.get("s3://lake/o")) == b"content"
    with pytest.raises((SecurityError, KmsAccessDeniedError)) as refused:
        Client(keyring=kind.stranger(), s3=s3).get("s3://lake/o")
    assert isinstance(refused.value, NOT_MINE)


def test_objects_of_one_data_key_are_read_each_by_itself(kind: Kind) -> None:
    server = MemoryS3()
    s3 = s3_in_memory(server)
    writing = Client(keyring=kind.make(), s3=s3)
    with writing.data_key_reuse():
        for number in range(5):
            writing.put(f"s3://lake/{number}", b"%d" % number)
    assert len({one.headers["x-amz-meta-x-amz-3"] for one in server.objects.values()}) == 1
    for number in range(5):
        reading = Client(keyring=(kind.reader or kind.make)(), s3=s3)
        assert bytes(reading.get(f"s3://lake/{number}")) == b"%d" % number
