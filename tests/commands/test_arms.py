"""Each arm of server-side encryption on each face that writes: what S3 is told, and what comes back.

moto keeps what it is told of SSE-S3 and SSE-KMS, SeaweedFS is strict about the keys of SSE-C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas
import polars
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
import pytest

import arrowseal.arrow
import arrowseal.pandas
import arrowseal.polars
from arrowseal import CSE, PLAIN, SSE_C, SSE_KMS, SSE_S3, V2, Client, CommitmentPolicy, cli
from arrowseal.exceptions import ConfigurationError, StoreAccessDeniedError, StoreError
from arrowseal.fs import S3CseFileSystem, SealedFileSystem
from arrowseal.transfer import TransferOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from arrowseal.encryption import Encryption
    from arrowseal.local import LocalServers

TABLE = pa.table({"year": [2012, 2013], "fare": [7.5, 12.0]})
CUSTOMER_KEY = b"customer key of 32 bytes exactly"
KEYED = SSE_C(CUSTOMER_KEY)


def by_pandas(url: str, **told: Any) -> None:
    arrowseal.pandas.to_parquet(TABLE.to_pandas(), url, index=False, **told)


def by_polars(url: str, **told: Any) -> None:
    arrowseal.polars.write_parquet(polars.from_arrow(TABLE), url, **told)


def by_sink(url: str, **told: Any) -> None:
    arrowseal.polars.sink_parquet(polars.from_arrow(TABLE).lazy(), url, **told)


def by_arrow(url: str, **told: Any) -> None:
    arrowseal.arrow.write_table(TABLE, url, **told)


def by_dataset(url: str, **told: Any) -> None:
    base, _, name = url.rpartition("/")
    arrowseal.arrow.write_dataset(
        TABLE, base, basename_template=name.replace("o.", "o{i}."), existing_data_behavior="overwrite_or_ignore", **told
    )


def by_put(url: str, *, client: Client, **told: Any) -> None:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(TABLE, sink)
    client.put(url, sink.getvalue(), **told)


def by_writer(url: str, *, client: Client, **told: Any) -> None:
    with client.open(url, "wb", **told) as file:
        pyarrow.parquet.write_table(TABLE, file)


def by_pyarrow_files(url: str, *, client: Client, **told: Any) -> None:
    pyarrow.parquet.write_table(TABLE, url.removeprefix("s3://"), filesystem=SealedFileSystem(client, **told))


def by_fsspec(url: str, *, client: Client, **told: Any) -> None:
    with S3CseFileSystem(client=client, **told).open(url, "wb") as file:
        pyarrow.parquet.write_table(TABLE, file)


def by_copy(url: str, *, client: Client, **told: Any) -> None:
    by_put(url + ".origin", client=client, encryption=PLAIN)
    client.copy(url + ".origin", url, **told)


FACES = [
    by_pandas,
    by_polars,
    by_sink,
    by_arrow,
    by_dataset,
    by_put,
    by_writer,
    by_pyarrow_files,
    by_fsspec,
    by_copy,
]
ARMS: list[tuple[str, Encryption, tuple[str, bool | None]]] = [
    ("SSE-S3", SSE_S3(), ("SSE-S3", None)),
    ("SSE-KMS", SSE_KMS("alias/arrowseal"), ("SSE-KMS", False)),
    ("SSE-KMS, bucket key", SSE_KMS("alias/arrowseal", bucket_key=True), ("SSE-KMS", True)),
]
faces = pytest.mark.parametrize("write", FACES, ids=lambda face: face.__name__.removeprefix("by_"))


@pytest.fixture(scope="module")
def told(local_servers: LocalServers) -> list[tuple[str, dict[str, Any]]]:
    """What boto3 was told in each request to moto."""
    return []


@pytest.fixture(scope="module")
def listened(local_servers: LocalServers, told: list[tuple[str, dict[str, Any]]]) -> Client:
    """A client on moto that notes the arguments of its requests."""
    s3 = local_servers.s3_client()
    s3.meta.events.register(
        "provide-client-params.s3.*", lambda params, model, **_: told.append((model.name, dict(params)))
    )
    return local_servers.client(session=None, s3=s3, kms=local_servers.kms_client())


def the_key(client: Client, prefix: str) -> str:
    """The object that a face left under a prefix."""
    (row,) = [row for row in client.list(prefix) if not row.location.key.endswith(".origin")]
    return str(row.location)


@faces
@pytest.mark.parametrize(("name", "arm", "seen"), ARMS, ids=[name for name, _, _ in ARMS])
def test_every_face_tells_the_server_how_to_encrypt(
    listened: Client,
    told: list[tuple[str, dict[str, Any]]],
    write: Callable[..., None],
    name: str,
    arm: Any,
    seen: tuple[str, bool | None],
) -> None:
    prefix = f"s3://arrowseal/arms/{write.__name__}/{name.replace(' ', '')}"
    told.clear()
    write(f"{prefix}/o.parquet", client=listened, encryption=arm)
    written = [arguments for action, arguments in told if action in ("PutObject", "CopyObject")][-1]
    assert {name: written.get(name) for name in arm.arguments()} == arm.arguments()
    head = listened.head(the_key(listened, prefix))
    assert (head.server_side, head.bucket_key) == seen
    assert head.encryption == seen[0]


@faces
def test_every_face_writes_under_a_customer_key_that_reads_then_need(
    seaweedfs_servers: LocalServers, write: Callable[..., None]
) -> None:
    client = seaweedfs_servers.client()
    prefix = f"s3://{seaweedfs_servers.bucket}/keyed-{write.__name__}"
    write(f"{prefix}/o.parquet", client=client, encryption=KEYED)
    url = the_key(client, prefix)
    with pytest.raises(StoreError):
        client.get(url, allow_plaintext=True)
    assert client.head(url, encryption=KEYED).encryption == "SSE-C"
    assert arrowseal.arrow.read_table(url, client=client, encryption=KEYED).equals(TABLE)
    assert arrowseal.pandas.read_parquet(url, client=client, encryption=KEYED).equals(TABLE.to_pandas())
    assert (
        arrowseal.polars.scan_parquet(url, client=client, encryption=KEYED).collect().equals(polars.from_arrow(TABLE))
    )
    found = arrowseal.arrow.dataset(prefix, format="parquet", client=client, encryption=KEYED)
    origin = ".origin" in "".join(row.location.key for row in client.list(prefix))
    assert origin or found.to_table().equals(TABLE)


@pytest.mark.parametrize("arm", [KEYED, *(arm for _, arm, _ in ARMS)], ids=lambda arm: f"{arm.label}")
def test_every_request_of_an_upload_in_parts_that_takes_them_has_the_arguments(
    listened: Client, told: list[tuple[str, dict[str, Any]]], local_servers: LocalServers, arm: Any
) -> None:
    client = listened
    told.clear()
    with client.open("s3://arrowseal/parts", "wb", encryption=arm) as file:
        file.write(bytes(9 * 2**20))
    by_action = dict(told)
    created, sent = by_action["CreateMultipartUpload"], by_action["UploadPart"]
    assert {name: created[name] for name in arm.arguments()} == arm.arguments()
    customer = {name: value for name, value in arm.arguments().items() if name.startswith("SSECustomer")}
    assert {name: sent.get(name) for name in customer} == customer
    assert not {"ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"} & sent.keys(), "S3 refuses them here"


def test_parts_under_a_customer_key_are_read_back(seaweedfs_servers: LocalServers) -> None:
    client = seaweedfs_servers.client(transfer=TransferOptions(part_bytes=5 * 2**20))
    url, content = f"s3://{seaweedfs_servers.bucket}/keyed-parts", bytes(range(256)) * 2**15 * 2
    client.put(url, content, encryption=KEYED)
    assert bytes(client.get(url, encryption=KEYED)) == content


def test_an_object_under_a_customer_key_says_how_to_name_it_where_none_is_or_another(
    seaweedfs_servers: LocalServers,
) -> None:
    client, url = seaweedfs_servers.client(allow_plaintext=True), f"s3://{seaweedfs_servers.bucket}/keyed-refused"
    client.put(url, b"content", encryption=KEYED)
    for ask in (client.get, client.head, client.object, lambda of: client.copy(of, f"{of}-copy")):
        with pytest.raises(StoreError, match=r"encryption=SSE_C\(key\).*--customer-key"):
            ask(url)
    for ask in (client.get, client.head):
        with pytest.raises(StoreAccessDeniedError, match="under another SSE-C key"):
            ask(url, encryption=SSE_C(b"x" * 32))


def test_whether_an_object_under_a_customer_key_is_there_is_told_to_who_names_it(
    seaweedfs_servers: LocalServers,
) -> None:
    client = seaweedfs_servers.client()
    url = f"s3://{seaweedfs_servers.bucket}/asked-for"
    client.put(url, b"x", encryption=KEYED)
    with pytest.raises(StoreError, match=r"encryption=SSE_C\(key\)"):
        client.exists(url)
    assert client.exists(url, encryption=KEYED)
    assert not client.exists(url + "-not", encryption=KEYED)
    assert not client.is_encrypted(url, encryption=KEYED)


def test_copies_between_customer_keys_name_both(seaweedfs_servers: LocalServers) -> None:
    client, other = seaweedfs_servers.client(), SSE_C(b"x" * 32)
    here, there = (f"s3://{seaweedfs_servers.bucket}/between/{name}" for name in ("a", "b"))
    client.put(here, b"content", encryption=KEYED)
    with pytest.raises(StoreError):
        client.copy(here, there, encryption=other)
    client.copy(here, there, encryption=other, source_encryption=KEYED)
    assert bytes(client.get(there, encryption=other)) == b"content"
    client.move(there, here, encryption=KEYED, source_encryption=other)
    assert bytes(client.get(here, encryption=KEYED)) == b"content"
    assert not client.list(there)


def test_a_sealed_object_stays_sealed_when_the_server_encrypts_its_copy(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/a", b"content")
    client.copy(f"s3://{bucket}/a", f"s3://{bucket}/b", encryption=SSE_KMS("alias/arrowseal", bucket_key=True))
    head = client.head(f"s3://{bucket}/b")
    assert (head.encryption, head.server_side, head.bucket_key) == ("CSE V3", "SSE-KMS", True)
    assert head.kms_key_arn == client.head(f"s3://{bucket}/a").kms_key_arn, "the key that sealed it, not the server's"
    assert bytes(client.get(f"s3://{bucket}/b")) == b"content"


def test_a_copy_cannot_seal(client: Client) -> None:
    for told in ({"encryption": CSE()}, {"source_encryption": CSE()}):
        with pytest.raises(ConfigurationError, match="can neither seal nor open"):
            client.copy("s3://lake/a", "s3://lake/b", **told)
    assert len(client.counters) == 0


def test_copies_of_a_file_system_have_its_encryption(client: Client, bucket: str) -> None:
    arm = SSE_KMS("alias/arrowseal", bucket_key=True)
    files = SealedFileSystem(client, encryption=arm)
    with files.open_output_stream(f"{bucket}/a") as file:
        file.write(b"content")
    files.copy_file(f"{bucket}/a", f"{bucket}/b")
    files.move(f"{bucket}/b", f"{bucket}/c")
    assert client.head(f"s3://{bucket}/c").bucket_key is True


def test_pandas_names_the_arm_in_its_storage_options(local_servers: LocalServers, local_environ: Any) -> None:
    url, options = "s3cse://arrowseal/by-options.parquet", {"kms_key_id": "alias/arrowseal", "encryption": SSE_S3()}
    pandas.DataFrame({"a": [1]}).to_parquet(url, storage_options=options)
    assert local_servers.client().head("s3://arrowseal/by-options.parquet").encryption == "SSE-S3"


def test_a_listing_tells_encryptions_when_asked_by_one_head_each(client: Client, bucket: str) -> None:
    client.put(f"s3://{bucket}/a", b"1")
    client.put(f"s3://{bucket}/b", b"1", encryption=PLAIN)
    client.put(f"s3://{bucket}/c", b"1", encryption=SSE_KMS("alias/arrowseal", bucket_key=True))
    client.put(f"s3://{bucket}/d/e", b"1", encryption=SSE_S3())
    client.put(f"s3://{bucket}/f", b"1", encryption=PLAIN, s3_additional_kwargs={"Metadata": {"note": "x"}})
    before = len(client.counters)
    rows = client.list(f"s3://{bucket}", delimiter="/", encryption=True)
    told = {row.location.key: (row.encryption, row.server_side, row.bucket_key) for row in rows}
    assert told == {
        "a": ("CSE V3", None, None),
        "b": ("PLAIN", None, None),
        "c": ("SSE-KMS", "SSE-KMS", True),
        "f": ("PLAIN", None, None),
        "d/": (None, None, None),
    }
    assert next(row for row in rows if row.location.key == "c").server_side_key
    (record,) = list(client.counters)[before:]
    assert (record.operation, record.requests) == ("list", 1 + 4)
    assert all(row.encryption is None for row in client.list(f"s3://{bucket}"))


def test_a_listing_tells_nothing_of_customer_keys_and_of_malformed_metadata_that_it_is(
    seaweedfs_servers: LocalServers,
) -> None:
    client, prefix = seaweedfs_servers.client(), f"s3://{seaweedfs_servers.bucket}/told"
    client.put(f"{prefix}/keyed", b"1", encryption=KEYED)
    seaweedfs_servers.s3_client().put_object(
        Bucket=seaweedfs_servers.bucket, Key="told/odd", Body=b"", Metadata={"x-amz-key-v2": "?", "x-amz-iv": "?"}
    )
    told = {row.location.name: row.encryption for row in client.list(prefix, encryption=True)}
    assert told["odd"] == "CSE, malformed"
    assert told["keyed"] in (None, "SSE-C")


def test_a_listing_looks_into_instruction_files_where_the_client_does(client: Client, bucket: str) -> None:
    apart = client.replace(
        instruction_files=True, format=V2, commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
    )
    apart.put(f"s3://{bucket}/o", b"1", encryption=CSE(instruction_file=True))
    apart.put(f"s3://{bucket}/plain", b"1", encryption=PLAIN)
    told = {row.location.key: row.encryption for row in apart.list(f"s3://{bucket}", encryption=True)}
    assert told == {"o": "CSE V2", "plain": "PLAIN"}


def test_the_command_writes_reads_and_copies_every_arm(
    seaweedfs_servers: LocalServers,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    for name, value in seaweedfs_servers.environ.items():
        monkeypatch.setenv(name, value)

    def run(*words: str | Path, code: int = 0) -> bytes:
        assert cli.main([str(word) for word in words]) == code, capfdbinary.readouterr()
        return capfdbinary.readouterr().out

    (tmp_path / "key").write_bytes(CUSTOMER_KEY)
    (tmp_path / "text").write_text("Y3VzdG9tZXIga2V5IG9mIDMyIGJ5dGVzIGV4YWN0bHk=\n")
    (tmp_path / "o").write_bytes(b"content")
    base, key, text = f"s3://{seaweedfs_servers.bucket}/command", tmp_path / "key", tmp_path / "text"
    run("cp", tmp_path / "o", f"{base}/a", "--encryption", "sse-c", "--customer-key", key)
    run("cat", f"{base}/a", code=1)
    assert run("cat", f"{base}/a", "--customer-key", text) == b"content"
    assert b"SSE-C" in run("head", f"{base}/a", "--customer-key", key)
    both = ("--encryption", "sse-c", "--customer-key", key, "--source-customer-key", text)
    run("cp", f"{base}/a", f"{base}/b", *both)
    run("cp", f"{base}/b", tmp_path / "back", "--customer-key", key)
    assert (tmp_path / "back").read_bytes() == b"content"


def test_ls_tells_encryptions_when_asked(
    local_environ: Any, client: Client, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.put(f"s3://{bucket}/a", b"1")
    client.copy(f"s3://{bucket}/a", f"s3://{bucket}/b", encryption=SSE_KMS("alias/arrowseal", bucket_key=True))
    client.put(f"s3://{bucket}/d/c", b"1", encryption=PLAIN)
    assert cli.main(["ls", f"s3://{bucket}", "--encryption"]) == 0
    shown = {line.split()[-1]: line for line in capsys.readouterr().out.splitlines()}
    assert " CSE V3 " in shown["a"]
    assert "CSE V3, SSE-KMS (bucket key)" in shown["b"]
    assert "PRE" in shown["d/"]
    assert cli.main(["ls", f"s3://{bucket}"]) == 0
    assert "CSE" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("s3://lake/o", "here", "--encryption", "sse-s3"), "not for downloads"),
        (("here", "s3://lake/o", "--encryption", "sse-c"), "needs --customer-key"),
        (("here", "s3://lake/o", "--encryption", "sse-c", "--customer-key", "{short}"), "32 bytes"),
        (("here", "s3://lake/o", "--customer-key", "{key}"), "with --encryption sse-c only"),
        (("here", "s3://lake/o", "--bucket-key"), "--encryption sse-kms"),
        (("here", "s3://lake/o", "--source-customer-key", "{key}"), "inside S3"),
        (("s3://lake/a", "s3://lake/b", "--encryption", "cse"), "cannot seal"),
    ],
)
def test_arms_that_cannot_be_are_refused_before_any_request(
    words: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(CUSTOMER_KEY)
    (tmp_path / "short").write_bytes(b"canary")
    (tmp_path / "here").write_bytes(b"")
    named = [word.format(key=tmp_path / "key", short=tmp_path / "short") for word in words]
    assert cli.main(["cp", *(str(tmp_path / "here") if word == "here" else word for word in named)]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "canary" not in error
