"""Errors of the command: one line, the switch to use, and the right exit code."""

from __future__ import annotations

import argparse
import signal

import pytest

from arrowseal import cli, exceptions
from arrowseal.cli import demo
from arrowseal.cli.connection import connect, context
from arrowseal.cli.signals import ending_by_signals


@pytest.mark.parametrize(
    ("error", "switch"),
    [
        (exceptions.NoKeyError("a"), "--kms-key-id"),
        (exceptions.PolicyConflictError("a"), "--commitment-policy forbid-encrypt-allow-decrypt"),
        (exceptions.CommitmentPolicyError("a"), "--commitment-policy require-encrypt-allow-decrypt"),
        (exceptions.EncryptionContextError("a"), "--encryption-context"),
        (exceptions.NotEncryptedError("a"), "--allow-plaintext"),
        (exceptions.UnsupportedFormatError("a"), "--legacy wrapping"),
        (exceptions.UnsupportedFormatError("a"), "--instruction-files"),
    ],
)
def test_a_refusal_names_the_switch_of_the_command(error: exceptions.ArrowSealError, switch: str) -> None:
    assert switch in cli.describe(error)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("give region_name=, or set AWS_DEFAULT_REGION", "give --region, or set AWS_DEFAULT_REGION"),
        ("give a valid region_name=", "give a valid --region"),
        ("or give profile_name= or session=", "or give --profile"),
        ("give the profile_name= of a profile that exists", "give the --profile of a profile that exists"),
        ("concurrency= is a number of objects at a time", "--concurrency is a number of objects at a time"),
        (
            "delete_source=, file_options= and csv_options= go with format='parquet'",
            "--delete-source goes with --parquet",
        ),
        ("list the prefix with Client.list", "list the prefix with `arrowseal ls`"),
        ("s3://lake/region_name=/a: no such object", "s3://lake/region_name=/a: no such object"),
    ],
)
def test_arguments_of_the_library_are_told_as_options_of_the_command_and_names_of_objects_stay(
    message: str, told: str
) -> None:
    assert cli.describe(exceptions.StoreError(message)) == told


def test_errors_are_one_line_whatever_they_contain() -> None:
    assert cli.describe(exceptions.StoreError("first\n  second\tthird")) == "first second third"
    assert cli.describe(exceptions.StoreError()) == "StoreError"
    assert (
        cli.describe(FileNotFoundError(2, "No such file or directory", "a.csv")) == "a.csv: No such file or directory"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.LocationError("a"), 2),
        (exceptions.NoKeyError("a"), 2),
        (exceptions.MissingExtraError("a"), 1),
        (exceptions.AuthenticationError("a"), 1),
        (exceptions.ObjectNotFoundError("a"), 1),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes_tell_misuse_from_failure(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(demo, "run", fail)
    assert cli.main(["demo"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_signal_that_comes_again_does_not_disturb_the_cleaning_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned_up = []

    def ended(_: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:  # `timeout` signals the process and its group
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            cleaned_up.append(True)
        return 0

    monkeypatch.setattr(demo, "run", ended)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it may be ignored here
    try:
        assert cli.main(["demo"]) == 143
        assert cleaned_up == [True]
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with ending_by_signals():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_command_that_opens_objects_takes_the_switches_of_old_ones() -> None:
    words = ["--legacy", "wrapping", "--legacy", "content", "--instruction-files", ".mine", "--kms-key-id", "alias/a"]
    for command in (["cat", "s3://lake/a"], ["head", "s3://lake/a"], ["rewrap", "s3://lake/a", "--to-key", "alias/b"]):
        options = connect(cli._parser().parse_args([*command, *words])).options
        assert options.legacy == {"wrapping", "content"}
        assert options.instruction_files == ".mine"
        assert connect(cli._parser().parse_args(command)).options.legacy == frozenset()


def test_names_of_arms_that_have_a_comma_in_them_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--arm", "nope"]) == 2
    assert "there is no arm 'nope'; there are: 'PLAIN', " in (told := capsys.readouterr().err)
    assert "'SSE-KMS', 'SSE-KMS, bucket key', " in told


def test_a_name_given_twice_in_a_context_is_refused_without_its_value() -> None:
    arguments = argparse.Namespace(encryption_context=[("team", "secret-1"), ("team", "secret-2")])
    with pytest.raises(exceptions.ConfigurationError, match="'team' twice") as caught:
        context(arguments)
    assert "secret" not in str(caught.value)
