"""Whether a setup can read and write: credentials, endpoints, clock, bucket, key, and each permission."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from arrowseal.aws_services import is_aws
from arrowseal.exceptions import ArrowSealError, ServiceError
from arrowseal.location import ObjectLocation, locate_prefix
from arrowseal.operations.diagnosis import Diagnosis, Examination, Purpose
from arrowseal.operations.doctor_bucket import examine_bucket
from arrowseal.operations.doctor_key import examine_key
from arrowseal.prefix_keys import PrefixKeys
from arrowseal.server_clock import seconds_ahead

if TYPE_CHECKING:
    from arrowseal.client import Client
    from arrowseal.location import Url

_SKEW: Final = 300.0  # what KMS refuses; S3 three times as much


def examine(url: Url | None = None, *, client: Client, purpose: Purpose = "both") -> Diagnosis:
    """Look at what a client of tables needs, each with one or two requests; nothing is left behind.

    Without `url` no bucket is looked at. Under `url` a small object is written and deleted again, if both may be done.
    Keys of `keyring=`, `discovery=` and `decrypt_key_ids=` are not tried. Needed is what `purpose` needs; what else is
    useful is looked at as well. Raises `ConfigurationError` for what cannot be; what fails otherwise is in the
    diagnosis.

    >>> for check in examine("s3://lake/trips/", client=client):  # doctest: +SKIP
    ...     print(check.outcome, check.name, check.detail)
    """
    place = None if url is None else locate_prefix(url)
    examination = Examination(client, purpose)
    if not _credentials(examination):
        return examination.found
    if _endpoint(examination) and place is not None:
        examine_bucket(examination, place)
    key = client.options.kms_key_id
    if key is not None and not isinstance(key, str):
        key = PrefixKeys(key).of(ObjectLocation(place.bucket, f"{place.key}object")) if place else None
    if key is not None:
        examine_key(examination, key, place)
    else:
        _no_key(examination, place)
    return examination.found


def _no_key(examination: Examination, place: ObjectLocation | None) -> None:
    """Writes seal unless they are told otherwise, and what is sealed opens under a key."""
    options = examination.client.options
    if options.keyring:
        examination.note("KMS key", "not checked", "the keys are those of keyring=", needed=False)
    elif place is None and options.kms_key_id is not None:
        examination.note("KMS key", "not checked", "each place has its own: name one", needed=False)
    else:
        opens_without = options.allow_plaintext or bool(options.decrypt_key_ids) or options.discovery is not None
        examination.note(
            "KMS key",
            "missing",
            "none is given for this place" if place else "none is given",
            "name one: --kms-key-id or ARROWSEAL_KMS_KEY_ID, kms_key_id= of a client; `arrowseal kms create` makes one",
            needed=examination.writes or not opens_without,
        )


def _credentials(examination: Examination) -> bool:
    services = examination.services
    try:
        s3 = services.s3
        credentials = s3._get_credentials()  # noqa: SLF001 - a client of botocore has no public way to them
    except ArrowSealError as error:
        examination.note("credentials", "missing", str(error))
        return False
    if credentials is None:
        examination.note(
            "credentials",
            "missing",
            "none were found",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; `aws sso login` renews those of SSO",
        )
        return False
    source = getattr(credentials, "method", None) or "given"
    try:
        who = (
            services.ask("sts:GetCallerIdentity", lambda: services.other("sts").get_caller_identity())["Arn"]
            if (services.knows("sts"))
            else None
        )
    except ServiceError as error:
        examination.note("credentials", "ok", f"found ({source}); who they are of is not told ({error.code})")
        return True
    except ArrowSealError as error:
        examination.note("credentials", "missing", str(error), "renew the credentials, or give others")
        return False
    examination.note("credentials", "ok", f"{who} ({source})" if who else f"found ({source}); no STS here to ask")
    region = s3.meta.region_name
    known = bool(region) and region != "aws-global"
    examination.note("region", "ok" if known else "missing", region or "none", "set AWS_DEFAULT_REGION, or --region")
    return True


def _endpoint(examination: Examination) -> bool:
    """Whether S3 answers at all; also what its clock says."""
    services = examination.services
    endpoint = services.s3.meta.endpoint_url
    answers: list[Any] = []
    services.s3.meta.events.register("after-call.s3", _noting(answers), unique_id="arrowseal-doctor")
    try:
        services.ask("S3", lambda: services.s3.list_buckets())
    except ServiceError as error:
        if not error.code:  # a refusal is an answer too
            examination.note("endpoint", "missing", str(error), "check network, proxy and --endpoint-url")
            return False
    except ArrowSealError as error:
        examination.note("accepted credentials", "missing", str(error), "renew the credentials, or set the clock")
        _clock(examination, answers)
        return False
    finally:
        services.s3.meta.events.unregister("after-call.s3", unique_id="arrowseal-doctor")
    secure = urlsplit(endpoint).scheme == "https"
    tls = "TLS, certificate accepted" if secure else "without TLS" + (", on this machine" if _here(endpoint) else "")
    examination.note(
        "endpoint",
        "ok" if secure or _here(endpoint) else "missing",
        f"{endpoint}: {tls}" + ("" if is_aws(endpoint) else "; not AWS's"),
        "use https: names, plain objects and who reads what cross the network in clear",
        needed=False,
    )
    _clock(examination, answers)
    return True


def _noting(answers: list[Any]) -> Any:
    def note(http_response: Any, **_: Any) -> None:
        answers.append(http_response.headers.get("date"))

    return note


def _clock(examination: Examination, answers: list[Any]) -> None:
    date = next((date for date in reversed(answers) if date), None)
    if date is None:
        examination.note("clock", "not checked", "the server tells no time", needed=False)
        return
    ahead = seconds_ahead(date)
    examination.note(
        "clock",
        "ok" if abs(ahead) < _SKEW else "missing",
        f"{abs(ahead):,.0f} seconds {'behind' if ahead > 0 else 'ahead of'} the server's",
        "set the clock of this machine: KMS refuses what is signed five minutes off, S3 fifteen",
    )


def _here(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
