"""What a check of a setup found: one line a check, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from arrowseal.aws_services import AwsServices
from arrowseal.exceptions import ArrowSealError, ServiceDeniedError, ServiceError
from arrowseal.frames import Framed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from arrowseal.client import Client

Outcome = Literal["ok", "missing", "not checked"]
Purpose = Literal["read", "write", "both"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """A permission by its name, `"s3:GetObject"`, or what else was looked at: `"clock"`."""
    outcome: Outcome
    detail: str
    way_out: str = ""
    needed: bool = True
    """Whether reads or writes, as asked for, fail without it."""


class Diagnosis(Framed):
    """The checks in their order: iterable, and a frame."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing that is needed."""
        return not any(check.needed and check.outcome == "missing" for check in self._checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def __len__(self) -> int:
        return len(self._checks)

    def __repr__(self) -> str:
        return f"<Diagnosis: {len(self)} checks, {'healthy' if self.healthy else 'something is missing'}>"

    def add(self, check: Check) -> None:
        """One more."""
        self._checks.append(check)

    def outcome(self, name: str) -> Outcome | None:
        """That of a check by its name; None if there was none."""
        return next((check.outcome for check in self._checks if check.name == name), None)

    def rows(self) -> list[dict[str, Any]]:
        """The checks as dicts."""
        return [{field.name: getattr(check, field.name) for field in fields(Check)} for check in self._checks]

    def to_arrow(self) -> pa.Table:
        """Columns `name`, `outcome`, `detail`, `way_out` and `needed`."""
        import pyarrow as pa

        types = {"needed": pa.bool_()}
        return pa.Table.from_pylist(
            self.rows(), pa.schema([(field.name, types.get(field.name, pa.string())) for field in fields(Check)])
        )


class Examination:
    """A diagnosis under way: asks, and notes what came of it."""

    def __init__(self, client: Client, purpose: Purpose) -> None:
        self.client = client
        self.services = AwsServices.of(client)
        self.found = Diagnosis()
        self.unanswered = False
        """Whether the last request got no answer at all."""
        self.reads = purpose in ("read", "both")
        self.writes = purpose in ("write", "both")

    def note(self, name: str, outcome: Outcome, detail: str, way_out: str = "", *, needed: bool = True) -> None:
        """What came of a check."""
        self.found.add(Check(name, outcome, detail, way_out if outcome == "missing" else "", needed))

    def ask(
        self,
        name: str,
        call: Callable[[], Any],
        *,
        detail: str = "",
        way_out: str = "",
        ways_out: Mapping[str, str] = MappingProxyType({}),
        needed: bool = True,
        fine: tuple[str, ...] = (),
    ) -> Any:
        """The answer to a request, None if it is refused, and the note of either. Error codes in `fine` are answers
        that only who may ask is given: NoSuchKey for what is not there; those in `ways_out` have a way out of their
        own.
        """
        self.unanswered = False
        try:
            answer = self.services.ask(name, call)
        except ServiceError as error:
            self.unanswered = not error.code
            if error.code in fine:
                self.note(name, "ok", detail, needed=needed)
            elif error.unknown_here:
                self.note(name, "not checked", f"this server does not know it ({error.code})", needed=needed)
            else:
                denied = isinstance(error, ServiceDeniedError)
                said = f"denied ({error.code})" if denied else str(error).removeprefix(f"{name}: ")
                way_out = ways_out.get(error.code, way_out) or (f"allow {name}" if denied else "")
                if self.unanswered:  # which no permission mends, and nothing does without
                    way_out, needed = "check network, proxy, --endpoint-url and --kms-endpoint-url", True
                self.note(name, "missing", said, way_out, needed=needed)
            return None
        except ArrowSealError as error:
            self.note(name, "missing", str(error).removeprefix(f"{name}: "), way_out, needed=needed)
            return None
        self.note(name, "ok", detail, needed=needed)
        return answer
