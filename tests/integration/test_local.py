"""Embedded servers: on loopback only, isolated, and gone when they should be."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.exceptions
import pytest

from arrowseal.exceptions import ConfigurationError, MissingExtraError, StoreError
from arrowseal.local import LocalServers, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ("moto", "seaweedfs")
LISTENING = "0A"  # the state in /proc/net/tcp


def descendants(pid: int) -> set[int]:
    """A process and everything it started, as far as it still runs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if status[0] != "Z":
                parents[int(entry.name)] = int(status[1])
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening_addresses(pids: set[int]) -> list[str]:
    """The local addresses, in the kernel's hexadecimal, that these processes listen on."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))  # noqa: PTH115
            except OSError:
                continue
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and columns[9] in inodes:
                addresses.append(columns[1].split(":")[0])
    return addresses


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def all_descendants(servers: LocalServers) -> set[int]:
    return set().union(*(descendants(pid) for pid in servers.pids))


def running(pids: set[int]) -> set[int]:
    return {pid for pid in pids if descendants(pid)}


def unix_sockets(pids: set[int]) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    inodes = {
        os.readlink(link).removeprefix("socket:[").removesuffix("]")  # noqa: PTH115
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
    }
    return {row[7] for row in rows if len(row) == 8 and row[6] in inodes}


@pytest.fixture(params=KINDS)
def servers(request: pytest.FixtureRequest, local_servers: LocalServers) -> LocalServers:
    if request.param == "moto":
        return local_servers
    found: LocalServers = request.getfixturevalue("seaweedfs_servers")
    return found


def test_they_listen_on_loopback_and_nowhere_else(servers: LocalServers) -> None:
    addresses = listening_addresses(all_descendants(servers))
    assert len(addresses) >= (1 if servers.s3 == "moto" else 10)
    assert set(addresses) == {"0100007F"}  # 127.0.0.1


def test_bucket_key_and_alias_are_there(servers: LocalServers) -> None:
    assert [bucket["Name"] for bucket in servers.s3_client().list_buckets()["Buckets"]][:1]
    servers.s3_client().head_bucket(Bucket=servers.bucket)
    described = servers.kms_client().describe_key(KeyId=servers.kms_alias)
    assert described["KeyMetadata"]["Arn"] == servers.kms_key_arn


def test_an_object_goes_in_and_comes_out(servers: LocalServers) -> None:
    client = servers.client()
    client.put(f"s3://{servers.bucket}/greeting", b"hello")
    assert client.get(f"s3://{servers.bucket}/greeting") == b"hello"
    stored = servers.s3_client().get_object(Bucket=servers.bucket, Key="greeting")["Body"].read()
    assert len(stored) == 5 + 16
    assert b"hello" not in stored


def test_a_missing_bucket_stays_missing(servers: LocalServers) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
        servers.s3_client().put_object(Bucket="never-created", Key="a", Body=b"")


def test_the_environment_points_boto3_at_them(servers: LocalServers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in servers.environ.items():
        monkeypatch.setenv(name, value)
    boto3.Session().client("s3").head_bucket(Bucket=os.environ["ARROWSEAL_BUCKET"])
    boto3.Session().client("kms").describe_key(KeyId=os.environ["ARROWSEAL_KMS_KEY_ID"])


def test_seaweedfs_refuses_a_wrong_secret(seaweedfs_servers: LocalServers) -> None:
    session = boto3.Session(seaweedfs_servers.access_key, "wrong", region_name=seaweedfs_servers.region)
    s3 = session.client("s3", endpoint_url=seaweedfs_servers.s3_endpoint)
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3.list_buckets()


def test_profiles_files_and_proxies_of_the_user_are_not_read(
    servers: LocalServers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile mine]\ns3 =\n    addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    servers.s3_client().head_bucket(Bucket=servers.bucket)
    client = servers.client()
    client.put(f"s3://{servers.bucket}/isolated", b"x")
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    servers.s3_client().head_bucket(Bucket=servers.bucket)


def test_with_a_proxy_the_environment_keeps_loopback_off_it(
    local_servers: LocalServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "NO_PROXY" not in local_servers.environ
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    assert local_servers.environ["NO_PROXY"] == "intranet.example,127.0.0.1"


def test_two_sets_of_servers_share_nothing(local_servers: LocalServers) -> None:
    local_servers.s3_client().put_object(Bucket=local_servers.bucket, Key="mine", Body=b"")
    with LocalServers(region="eu-west-1") as others:
        assert others.s3_client().list_objects_v2(Bucket=others.bucket)["KeyCount"] == 0
        with pytest.raises(botocore.exceptions.ClientError, match="NotFound"):
            others.kms_client().describe_key(KeyId=local_servers.kms_key_arn)
        assert others.kms_key_arn.startswith("arn:aws:kms:eu-west-1:")


@pytest.mark.parametrize("kind", KINDS)
def test_after_stop_no_process_port_or_socket_is_left(kind: Any) -> None:
    servers = LocalServers(s3=kind).start()
    pids = all_descendants(servers)
    sockets = unix_sockets(pids)
    assert len(pids) == (1 if kind == "moto" else 3)
    servers.stop()
    servers.stop()
    assert not running(pids)
    assert not [path for path in sockets if Path(path).exists()]
    port = int(servers.s3_endpoint.rsplit(":", 1)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(ConfigurationError, match="not running"):
        servers.session()


@pytest.mark.parametrize("kind", KINDS)
def test_they_end_when_their_program_is_killed(kind: str) -> None:
    program = (
        "import sys; from arrowseal.local import LocalServers\n"
        f"servers = LocalServers(s3={kind!r}).start(); print(*servers.pids, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = set().union(*(descendants(int(pid)) for pid in process.stdout.readline().split()))
        assert pids
        process.kill()
    assert eventually(lambda: not running(pids))


def test_a_server_that_ends_by_itself_is_noticed() -> None:
    with LocalServers() as servers:
        servers.check()
        os.kill(servers.pids[0], signal.SIGKILL)

        def noticed() -> bool:
            # A killed process may be waited for only when the last of its threads has gone.
            try:
                servers.check()
            except StoreError as error:
                return "has ended" in str(error)
            return False

        assert eventually(noticed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_may_be_chosen_unless_it_is_taken(kind: Any) -> None:
    port = processes._free_ports(1)[0]
    with LocalServers(s3=kind, port=port) as servers:
        assert servers.s3_endpoint == f"http://127.0.0.1:{port}"
        with pytest.raises(ConfigurationError, match=str(port)):
            LocalServers(s3=kind, port=port).start()


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigurationError, match="'minio'"):
        LocalServers(s3="minio")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="alias/"):
        LocalServers(alias="tables")
    for alias in ("alias/", "alias/a b"):
        with pytest.raises(ConfigurationError, match="letters, digits"):
            LocalServers(alias=alias)
    for bucket in ("", "A B", "a/b", "ab"):
        with pytest.raises(ConfigurationError, match="is no name of a bucket"):
            LocalServers(bucket=bucket)
    for region in ("", "x y", "moon-1"):
        servers = LocalServers(region=region)
        with pytest.raises(ConfigurationError, match=f"^'{region}' is no Region"):
            servers.start()
        assert servers.pids == ()
    with pytest.raises(ConfigurationError, match="running already"), LocalServers() as servers:
        servers.start()


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"arrowseal\[local\]"):
        LocalServers().start()
    monkeypatch.undo()

    def no_files(_: str) -> None:
        raise processes.metadata.PackageNotFoundError

    monkeypatch.setattr(processes.metadata, "files", no_files)
    servers = LocalServers(s3="seaweedfs")
    with pytest.raises(MissingExtraError, match=r"arrowseal\[local\]"):
        servers.start()
    assert servers.pids == ()


def test_the_secret_is_in_no_repr(local_servers: LocalServers) -> None:
    assert local_servers.secret_key not in repr(local_servers)
    assert local_servers.secret_key not in str(vars(local_servers).keys())


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `arrowseal local` with more arguments."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "arrowseal", "local", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def exports(process: subprocess.Popen[str]) -> dict[str, str]:
    """What the command prints once the servers are there."""
    assert process.stdout is not None
    variables = {}
    for line in process.stdout:
        if line.startswith("#"):
            continue
        name, _, value = line.removeprefix("export ").strip().partition("=")
        variables[name] = value
        if name == "ARROWSEAL_KMS_KEY_ID":
            break
    return variables


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_exports_and_cleans_up_at_a_signal(
    command: Callable[..., subprocess.Popen[str]], kind: str, number: signal.Signals
) -> None:
    process = command("--s3", kind, "--bucket", "tables", "--alias", "alias/tables")
    variables = exports(process)
    assert variables["ARROWSEAL_BUCKET"] == "tables"
    pids = descendants(process.pid)
    assert len(pids) == (2 if kind == "moto" else 4)
    assert set(listening_addresses(pids)) == {"0100007F"}
    session = boto3.Session(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name=variables["AWS_REGION"]
    )
    options = botocore.config.Config(s3={"addressing_style": "path"})
    session.client("s3", endpoint_url=variables["AWS_ENDPOINT_URL_S3"], config=options).head_bucket(Bucket="tables")
    session.client("kms", endpoint_url=variables["AWS_ENDPOINT_URL_KMS"]).describe_key(KeyId="alias/tables")

    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert eventually(lambda: not running(pids))


def test_the_shell_reads_what_the_command_prints(command: Callable[..., subprocess.Popen[str]]) -> None:
    process = command()
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "ARROWSEAL_KMS_KEY_ID" in line:
            break
    script = "".join(lines) + 'printf %s "$AWS_ENDPOINT_URL_S3 $ARROWSEAL_BUCKET"'
    shown = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("http://127.0.0.1:")
    assert shown.endswith(" arrowseal")


def test_settings_that_would_win_are_unset(
    command: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    process = command(
        "--", sys.executable, "-c", "import os; print({*os.environ} & {'AWS_PROFILE', 'AWS_SESSION_TOKEN'})"
    )
    assert process.communicate(timeout=60)[0].strip() == "set()"
    process = command()
    assert process.stdout is not None
    assert "unset AWS_PROFILE AWS_SESSION_TOKEN\n" in [process.stdout.readline() for _ in range(3)]


def test_one_command_runs_on_the_servers_and_gives_its_exit_code(
    command: Callable[..., subprocess.Popen[str]],
) -> None:
    program = (
        "import arrowseal, os, sys; client = arrowseal.Client(os.environ['ARROWSEAL_KMS_KEY_ID'])\n"
        "client.put('s3://arrowseal/a', b'hello'); print(bytes(client.get('s3://arrowseal/a'))); sys.exit(7)"
    )
    process = command("--", sys.executable, "-c", program)
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("b'hello'\n", "", 7)


@pytest.mark.parametrize(
    ("words", "code"),
    [(["sh", "-c", "kill -9 $$"], 137), (["no-such-program"], 127), (["/"], 126)],
)
def test_exit_codes_of_the_command_are_those_of_a_shell(
    command: Callable[..., subprocess.Popen[str]], words: list[str], code: int
) -> None:
    process = command("--", *words)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
