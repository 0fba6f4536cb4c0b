"""The command against `arrowseal local`, called in this process: what it writes, says and returns."""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import pytest

if TYPE_CHECKING:
    from command_runs import Run

V2_POLICY = ("--commitment-policy", "forbid-encrypt-allow-decrypt")


@pytest.fixture
def s3(environment: dict[str, str]) -> Any:
    """A plain boto3 client on the same server."""
    session = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"]
    )
    options = botocore.config.Config(s3={"addressing_style": "path"})
    return session.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL_S3"], config=options)


def key(url: str) -> str:
    return url.split("/", 3)[3]


def metadata(s3: Any, url: str) -> dict[str, str]:
    found: dict[str, str] = s3.head_object(Bucket="arrowseal", Key=key(url))["Metadata"]
    return found


def test_a_file_goes_up_sealed_and_comes_back(run: Run, s3: Any, folder: str, tmp_path: Path) -> None:
    (tmp_path / "flights.csv").write_bytes(b"carrier,flight\nUA,1545\n")
    done = run("cp", "flights.csv", f"{folder}/up.csv")
    assert done.stdout.decode() == f"upload: flights.csv to {folder}/up.csv\n"
    assert b"carrier" not in s3.get_object(Bucket="arrowseal", Key=key(f"{folder}/up.csv"))["Body"].read()
    assert metadata(s3, f"{folder}/up.csv")["x-amz-c"] == "115"

    done = run("cp", f"{folder}/up.csv", "down.csv")
    assert done.stdout.decode() == f"download: {folder}/up.csv to down.csv\n"
    assert (tmp_path / "down.csv").read_bytes() == b"carrier,flight\nUA,1545\n"
    assert run("cat", f"{folder}/up.csv", f"{folder}/up.csv").stdout == 2 * b"carrier,flight\nUA,1545\n"


def test_a_dash_is_standard_input_and_output(run: Run, folder: str) -> None:
    content = bytes(range(256)) * 5000
    assert run("cp", "-", f"{folder}/stream", stdin=content).stdout == b""
    assert run("cp", f"{folder}/stream", "-").stdout == content
    run("cp", "-", f"{folder}/empty")
    assert run("cat", f"{folder}/empty").stdout == b""


def test_directories_and_trailing_slashes_keep_the_name(run: Run, s3: Any, folder: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "a.txt").write_bytes(b"a")
    run("cp", "a.txt", f"{folder}/")
    run("cp", f"{folder}/a.txt", "here")
    run("cp", f"{folder}/a.txt", "new/")
    run("cp", f"{folder}/a.txt", "deep/er/b.txt")
    run("cp", f"{folder}/a.txt", f"{folder}/copy/")
    for path in ("here/a.txt", "new/a.txt", "deep/er/b.txt"):
        assert (tmp_path / path).read_bytes() == b"a"
    assert metadata(s3, f"{folder}/copy/a.txt") == metadata(s3, f"{folder}/a.txt")


def test_a_bucket_alone_takes_the_name(run: Run, tmp_path: Path) -> None:
    name = uuid.uuid4().hex
    (tmp_path / name).write_bytes(b"a")
    run("cp", name, "s3://arrowseal")
    assert run("cat", f"s3://arrowseal/{name}").stdout == b"a"


def test_a_tree_goes_up_and_comes_back(run: Run, folder: str, tmp_path: Path) -> None:
    files = {
        "a.csv": b"a",
        "b/c.csv": b"c" * 100_000,
        "b/d/e f.csv": b"",
        "b/\N{LATIN SMALL LETTER U WITH DIAERESIS}": b"u",
    }
    for name, content in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(content)
    done = run("cp", "tree", folder, "--recursive")
    assert sorted(done.stdout.decode().splitlines()) == sorted(
        f"upload: tree/{name} to {folder}/{name}" for name in files
    )
    assert run("cp", folder, "back", "--recursive", "--quiet").stdout == b""
    found = {
        path.relative_to(tmp_path / "back").as_posix(): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert found == files
    run("cp", folder + "/", folder + "-copy/", "--recursive", "--no-progress")
    assert run("cat", f"{folder}-copy/b/c.csv").stdout == files["b/c.csv"]


def test_a_prefix_does_not_take_in_its_neighbours(run: Run, folder: str, tmp_path: Path) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"a")
    run("cp", "-", f"{folder}-neighbour/b", stdin=b"b")
    run("cp", folder, "back", "--recursive")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a"]


def test_one_that_fails_in_a_tree_does_not_stop_the_others(run: Run, s3: Any, folder: str, tmp_path: Path) -> None:
    run("cp", "-", f"{folder}/good", stdin=b"good")
    s3.put_object(Bucket="arrowseal", Key=key(f"{folder}/plain"), Body=b"plain")
    done = run("cp", folder, "back", "--recursive", code=1)
    assert f"download failed: {folder}/plain to back/plain" in done.stderr.decode()
    assert "--allow-plaintext" in done.stderr.decode()
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["good"]


def test_a_key_that_names_no_file_in_a_tree_does_not_stop_the_others(
    run: Run, s3: Any, folder: str, tmp_path: Path
) -> None:
    for name in ("good", "good too"):
        run("cp", "-", f"{folder}/{name}", stdin=b"good")
    odd = (f"{folder}//x", f"{folder}/../evil")
    for url in odd:
        s3.copy_object(
            Bucket="arrowseal", Key=key(url), CopySource={"Bucket": "arrowseal", "Key": key(f"{folder}/good")}
        )
    told = run("cp", folder, "back", "--recursive", code=1).stderr.decode().splitlines()
    assert len(told) == len(odd)
    for url in odd:
        assert any(f"download failed: {url} to back: the key" in line and "would leave back" in line for line in told)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["back", "good", "good too"]


def test_what_cannot_be_copied_of_a_directory_is_told_and_does_not_stop_the_others(
    run: Run, folder: str, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "linked").symlink_to("below")
    for path in (tree / "good", tree / "below" / "good", tree / os.fsdecode(b"odd\xff")):
        path.write_bytes(b"good")
    (tree / "below" / "up").symlink_to("..")
    (tree / "broken").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    done = run("cp", "tree", folder, "--recursive", code=1)
    names = ("good", "below/good", "linked/good")
    assert sorted(done.stdout.decode().splitlines()) == sorted(
        f"upload: tree/{name} to {folder}/{name}" for name in names
    )
    told = sorted(line.partition("failed: ")[2] for line in done.stderr.decode().splitlines())
    link = "a link to a directory that it lies in"
    bucket_key = f"{key(folder)}/odd\\udcff"
    assert told == [
        f"tree/below/up to {folder}/below/up: tree/below/up: {link}",
        f"tree/broken to {folder}/broken: tree/broken: No such file or directory",
        f"tree/linked/up to {folder}/linked/up: tree/linked/up: {link}",
        f"tree/odd\\udcff to {folder}/: the key '{bucket_key}' cannot be written as UTF-8",
        f"tree/pipe to {folder}/pipe: tree/pipe: neither a file nor a directory: copy it by itself",
    ]


def test_a_directory_that_may_not_be_read_is_told_and_the_others_are_copied(
    run: Run, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree" / "closed").mkdir(parents=True)
    (tmp_path / "tree" / "good").write_bytes(b"good")
    scandir = os.scandir

    def denied(path: str) -> Any:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)  # permissions do not bind who may do everything
    done = run("cp", "tree", folder, "--recursive", code=1)
    assert done.stdout.decode() == f"upload: tree/good to {folder}/good\n"
    assert done.stderr.decode().endswith(f"tree/closed to {folder}/closed: tree/closed: Permission denied\n")


def test_names_in_a_bucket_stay_on_their_line_and_do_nothing_to_a_terminal(
    run: Run, s3: Any, folder: str, tmp_path: Path
) -> None:
    run("cp", "-", f"{folder}/good", stdin=b"good")
    odd = "a\tb\N{LATIN SMALL LETTER U WITH DIAERESIS}\x7f\x9b2J"
    source = {"Bucket": "arrowseal", "Key": key(f"{folder}/good")}
    s3.copy_object(Bucket="arrowseal", Key=key(f"{folder}/{odd}"), CopySource=source)
    s3.put_object(Bucket="arrowseal", Key=key(f"{folder}/{odd}-plain"), Body=b"x")
    seen = "a\\tb\N{LATIN SMALL LETTER U WITH DIAERESIS}\\x7f\\x9b2J"
    listed = run("ls", f"{folder}/").stdout.decode().splitlines()
    assert [line[31:] for line in listed] == [seen, f"{seen}-plain", "good"]
    done = run("cp", folder, "back", "--recursive", code=1)
    assert f"download: {folder}/{seen} to back/{seen}" in done.stdout.decode().splitlines()
    assert f"download failed: {folder}/{seen}-plain to back/{seen}-plain: s3://" in done.stderr.decode()
    assert (tmp_path / "back" / odd).read_bytes() == b"good"


def test_a_failed_read_leaves_no_file_and_touches_none(run: Run, s3: Any, folder: str, tmp_path: Path) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"a" * 1000)
    stored = s3.get_object(Bucket="arrowseal", Key=key(f"{folder}/a"))
    body = bytearray(stored["Body"].read())
    body[500] ^= 1
    s3.put_object(Bucket="arrowseal", Key=key(f"{folder}/a"), Body=bytes(body), Metadata=stored["Metadata"])
    (tmp_path / "old").write_bytes(b"old")
    for target in ("old", "new"):
        done = run("cp", f"{folder}/a", target, code=1)
        assert f"{folder}/a" in done.stderr.decode()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old": b"old"}
    assert run("cat", f"{folder}/a", code=1).stdout == b""


def test_cat_goes_on_after_one_that_fails(run: Run, folder: str) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"a")
    done = run("cat", f"{folder}/a", f"{folder}/missing", f"{folder}/a", code=1)
    assert done.stdout == b"aa"
    assert done.stderr.decode().startswith(f"arrowseal: {folder}/missing: no such object")


def test_v2_needs_a_policy_that_allows_it_and_the_error_says_which(run: Run, s3: Any, folder: str) -> None:
    done = run("cp", "-", f"{folder}/v2", "--format", "v2", stdin=b"a", code=2)
    assert "commitment_policy=" in done.stderr.decode()
    assert "--commitment-policy forbid-encrypt-allow-decrypt" in done.stderr.decode()
    run("cp", "-", f"{folder}/v2", "--format", "V2", *V2_POLICY, stdin=b"a")
    assert metadata(s3, f"{folder}/v2")["x-amz-cek-alg"] == "AES/GCM/NoPadding"

    refused = run("cat", f"{folder}/v2", code=1)
    assert refused.stdout == b""
    assert "--commitment-policy require-encrypt-allow-decrypt" in refused.stderr.decode()
    assert run("cat", f"{folder}/v2", "--commitment-policy", "Require_Encrypt-allow_DECRYPT").stdout == b"a"


def test_an_encryption_context_is_bound_and_compared(run: Run, folder: str) -> None:
    given = ("--encryption-context", "team=weather", "--encryption-context", "note=a=b c")
    run("cp", "-", f"{folder}/a", *given, stdin=b"a")
    assert run("cat", f"{folder}/a", *given).stdout == b"a"
    for wrong in ((), given[:2], (*given[:2], "--encryption-context", "note=other")):
        done = run("cat", f"{folder}/a", *wrong, code=1)
        assert "--encryption-context NAME=VALUE" in done.stderr.decode()
        assert "weather" not in done.stderr.decode()
    head = json.loads(run("head", f"{folder}/a", "--json").stdout)
    assert sorted(head["context_keys"]) == ["note", "team"]


def test_plain_objects_are_written_and_read_only_when_asked_for(run: Run, s3: Any, folder: str) -> None:
    run("cp", "-", f"{folder}/plain", "--encryption", "plain", stdin=b"hello")
    assert s3.get_object(Bucket="arrowseal", Key=key(f"{folder}/plain"))["Body"].read() == b"hello"
    assert "--allow-plaintext" in run("cat", f"{folder}/plain", code=1).stderr.decode()
    assert run("cat", f"{folder}/plain", "--allow-plaintext").stdout == b"hello"


@pytest.mark.parametrize(("arm", "algorithm"), [("sse-s3", "AES256"), ("sse-kms", "aws:kms")])
def test_the_server_encrypts_when_asked_to(run: Run, s3: Any, folder: str, arm: str, algorithm: str) -> None:
    run("cp", "-", f"{folder}/a", "--encryption", arm, stdin=b"hello")
    stored = s3.head_object(Bucket="arrowseal", Key=key(f"{folder}/a"))
    assert stored["ServerSideEncryption"] == algorithm
    assert stored["Metadata"] == {}


def test_ls_lists_as_the_aws_command_does(run: Run, folder: str) -> None:
    run("cp", "-", f"{folder}/a.csv", stdin=b"12345")
    run("cp", "-", f"{folder}/b/c.csv", stdin=b"")
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    level, below = run("ls", f"{folder}/").stdout.decode().splitlines()
    assert level == " " * 27 + "PRE b/"
    assert re.fullmatch(rf"{when} {21:>10} a\.csv", below)
    assert run("ls", folder).stdout.decode() == " " * 27 + f"PRE {key(folder)}/\n"
    assert run("ls", folder.removeprefix("s3://") + "/a").stdout.decode().endswith(" a.csv\n")
    keys = [line.split()[-1] for line in run("ls", folder, "--recursive").stdout.decode().splitlines()]
    assert keys == [f"{key(folder)}/a.csv", f"{key(folder)}/b/c.csv"]
    for words in ((), ("s3://",)):
        assert re.search(rf"(?m)^{when} arrowseal$", run("ls", *words).stdout.decode())
    assert run("ls", f"{folder}/nothing", code=1).stdout == b""
    assert b"'s3a://lake' is not an s3://bucket/key URL" in run("ls", "s3a://lake", code=2).stderr


def test_head_tells_how_an_object_is_encrypted(run: Run, folder: str) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"12345")
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in run("head", f"{folder}/a").stdout.decode().splitlines())
    assert lines["encryption"] == "CSE V3"
    assert lines["plaintext bytes"] == "5"
    assert lines["stored bytes"] == "21"
    found = json.loads(run("head", f"{folder}/a", "--json").stdout)
    assert (found["bucket"], found["key"], found["encryption"]) == ("arrowseal", key(f"{folder}/a"), "CSE V3")


def test_index_makes_indexes_of_what_has_none(run: Run, s3: Any, folder: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(9 * 2**20))
    run("cp", "--quiet", "large", f"{folder}/large")
    run("cp", "--quiet", "-", f"{folder}/small", stdin=b"small")
    bucket, prefix = folder.removeprefix("s3://").split("/", 1)
    index = {"Bucket": bucket, "Key": f"{prefix}/_arrowseal.large.index"}
    made = s3.get_object(**index)["Body"].read()
    s3.delete_object(**index)
    done = run("index", "--recursive", f"{folder}/")
    assert done.stdout.decode().split() == ["index:", f"{folder}/large"]
    assert s3.get_object(**index)["Body"].read() == made
    done = run("index", f"{folder}/missing", f"{folder}/small", code=1)
    assert b"no such object" in done.stderr
    assert done.stdout.decode().split() == ["index:", f"{folder}/small"]
    assert b".index" not in run("ls", "--recursive", f"{folder}/").stdout


def test_the_endpoint_option_serves_s3_and_kms(run: Run, environment: dict[str, str], folder: str) -> None:
    nowhere = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_KMS": ""}
    endpoint = environment["AWS_ENDPOINT_URL_S3"]
    run("cp", "-", f"{folder}/a", "--endpoint-url", endpoint, stdin=b"a", env=nowhere)
    options = ("--endpoint-url", endpoint, "--kms-endpoint-url", environment["AWS_ENDPOINT_URL_KMS"])
    assert run("cat", f"{folder}/a", *options, env=nowhere).stdout == b"a"


def test_the_key_may_be_an_alias_and_without_one_nothing_is_sent(run: Run, folder: str) -> None:
    no_key = {"ARROWSEAL_KMS_KEY_ID": ""}
    run("cp", "-", f"{folder}/a", "--kms-key-id", "alias/arrowseal", stdin=b"a", env=no_key)
    nowhere = no_key | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    for words in (("cat", f"{folder}/a"), ("cp", "-", f"{folder}/a")):
        assert "--kms-key-id" in run(*words, code=2, env=nowhere).stderr.decode()
    assert "alias/none" in run("cp", "-", f"{folder}/a", "--kms-key-id", "alias/none", code=1).stderr.decode()


def test_an_empty_key_of_the_options_does_not_stand_for_that_of_the_environment(run: Run, folder: str) -> None:
    said = run("cp", "-", f"{folder}/a", "--kms-key-id", "", stdin=b"a", code=2).stderr.decode()
    assert "KMS keys are given as strings" in said
    assert run("ls", f"{folder}/", code=1).stdout == b""


def begun(s3: Any, url: str) -> str:
    """The id of an upload with one part that nobody finishes."""
    upload_id: str = s3.create_multipart_upload(Bucket="arrowseal", Key=key(url))["UploadId"]
    s3.upload_part(Bucket="arrowseal", Key=key(url), UploadId=upload_id, PartNumber=1, Body=b"a")
    return upload_id


def test_uploads_lists_what_was_never_finished_and_aborts_it(run: Run, s3: Any, folder: str) -> None:
    first, second = begun(s3, f"{folder}/a"), begun(s3, f"{folder}/b")
    neighbour = begun(s3, f"{folder}-neighbour")
    lines = run("uploads", f"{folder}/").stdout.decode().splitlines()
    assert [line.split()[-2:] for line in lines] == [[f"{folder}/a", first], [f"{folder}/b", second]]
    assert neighbour in run("uploads", "s3://arrowseal").stdout.decode()
    assert neighbour in run("uploads").stdout.decode()

    (row,) = json.loads(run("uploads", f"{folder}/a", "--json").stdout)
    assert (row["bucket"], row["key"], row["upload_id"]) == ("arrowseal", key(f"{folder}/a"), first)
    assert row["age_seconds"] > 0

    (row,) = json.loads(run("uploads", f"{folder}/a", "--abort", "--older-than", "0s", "--json").stdout)
    assert row["aborted"] is True
    done = run("uploads", f"{folder}/", "--abort", "--older-than", "0s").stdout.decode()
    assert re.fullmatch(rf"aborted .* {folder}/b +{second}\n", done)
    assert run("uploads", f"{folder}/").stdout == b""
    assert neighbour in run("uploads", f"{folder}-neighbour").stdout.decode()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "required: COMMAND"),
        (("uploads", "s3://arrowseal", "--older-than", "24"), "no span of time"),
        (("uploads", "arrowseal"), "not an s3://bucket/key URL"),
        (("mv", "a", "b"), "invalid choice"),
        (("cp", "a"), "required: DST"),
        (("cat", "s3://arrowseal/a", "--frmat", "v2"), "unrecognized"),
        (("cat", "s3://arrowseal/a", "--format", "v1"), "invalid choice"),
        (("cat", "s3://arrowseal/a", "--commitment-policy", "none"), "invalid choice"),
        (("cat", "s3://arrowseal/a", "--encryption-context", "secret"), "NAME=VALUE"),
        (("cat", "s3://arrowseal/a", "--encryption-context", "a=1", "--encryption-context", "a=2"), "'a' twice"),
        (("cat", "flights.csv"), "not an s3://bucket/key URL"),
        (("cat", "s3://arrowseal/folder/"), "names a prefix"),
        (("cp", "a", "b"), "s3:// URL on at least one side"),
        (("cp", "-", "-"), "s3:// URL on at least one side"),
        (("cp", ".", "s3://arrowseal/a"), "--recursive"),
        (("cp", "missing", "s3://arrowseal/a", "--recursive"), "not a directory"),
        (("cp", "-", "s3://arrowseal/", "--recursive"), "--recursive"),
        (("cp", "-", "s3://arrowseal/folder/"), "names a prefix"),
        (("cp", "s3://arrowseal/a", "s3://arrowseal/b", "--encryption", "cse"), "--encryption cse is for uploads"),
        (("cat", "s3://arrowseal/a", "--profile", "missing"), "missing"),
        (("local", "--"), "unrecognized"),
        (("local", "--alias", "tables"), "alias/"),
        (("demo", "--rows", "0"), "a number from 1 up"),
        (("demo", "--rows", "ten"), "a number from 1 up"),
    ],
)
def test_what_is_asked_for_wrongly_gives_2_and_a_reason(run: Run, words: tuple[str, ...], reason: str) -> None:
    errors = run(*words, code=2).stderr.decode()
    assert reason in errors
    assert "secret" not in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("cat", "s3://arrowseal/missing"), "s3://arrowseal/missing: no such object"),
        (("cp", "s3://never-created/a", "b"), "s3://never-created/a: no such bucket"),
        (("cp", "missing", "s3://arrowseal/a"), "missing: No such file or directory"),
        (("cp", "s3://arrowseal/none/", "here", "--recursive"), "nothing under s3://arrowseal/none/"),
        (("ls", "s3://never-created"), "no such bucket"),
        (("uploads", "s3://never-created"), "no such bucket"),
        (("head", "s3://arrowseal/missing"), "no such object"),
    ],
)
def test_what_fails_gives_1_and_one_line(run: Run, words: tuple[str, ...], reason: str) -> None:
    errors = run(*words, code=1).stderr.decode()
    assert reason in errors
    assert errors.count("\n") == 1


def test_without_credentials_one_line_says_so(run: Run, environment: dict[str, str]) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    for words in (("cat", "s3://arrowseal/a"), ("ls",)):
        assert "credentials" in run(*words, code=1, env=none).stderr.decode()


def test_the_version_is_told(run: Run) -> None:
    assert re.fullmatch(rb"arrowseal \d+\.\d+\.\d+\S*\n", run("--version").stdout)


def test_a_device_is_written_to_and_a_link_followed(run: Run, folder: str, tmp_path: Path) -> None:
    run("cp", "-", f"{folder}/a", stdin=b"new")
    run("cp", f"{folder}/a", os.devnull)
    assert not Path(os.devnull).is_file()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    run("cp", f"{folder}/a", "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_ls_shows_sizes_and_totals_as_the_aws_command_does(run: Run, folder: str) -> None:
    for name, size in (("a", 0), ("b", 1000), ("c", 1520)):
        run("cp", "-", f"{folder}/{name}", stdin=b"x" * size)
    text = run("ls", f"{folder}/", "--human-readable", "--summarize").stdout.decode()
    *rows, blank, objects, total = text.splitlines()
    assert [row[19:] for row in rows] == ["   16 Bytes a", " 1016 Bytes b", "    1.5 KiB c"]
    assert (blank, objects, total) == ("", "Total Objects: 3", "   Total Size: 2.5 KiB")
    assert run("ls", f"{folder}/none", "--summarize", code=1).stdout.decode().endswith("\n   Total Size: 0\n")
