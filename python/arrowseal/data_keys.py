"""Data keys that are used more than once: unwrapped ones cached for reads, one shared by many objects on writes.

A cache belongs to one keyring, hence to one session and its credentials, and to one process: it is neither pickled nor
inherited across fork. It holds keys of the core, which are wiped when the last reference goes.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from arrowseal.cancellation import cancellation
from arrowseal.exceptions import ArrowSealError, ConfigurationError
from arrowseal.suites import V3, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from arrowseal.materials import EncryptionMaterials

Value = TypeVar("Value")
_LOOK_SECONDS: Final = 1.0
"""After which those who wait for a call see that it was interrupted where it could not tell them."""


@dataclass(frozen=True)
class DataKeyCache:
    """Bounds of the data keys that a client remembers on reads.

    `max_age_seconds` is how long a revoked grant may go unnoticed. `max_bytes` counts encrypted data keys and contexts.
    Raises `ConfigurationError` for bounds that are not positive, or an age beyond five minutes.
    """

    max_keys: int = 10_000
    max_bytes: int = 16 * 2**20
    max_age_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not all(isinstance(number, Real) for number in (self.max_keys, self.max_bytes, self.max_age_seconds)):
            raise ConfigurationError("max_keys, max_bytes and max_age_seconds are numbers")
        if self.max_keys <= 0 or self.max_bytes <= 0 or not 0 < self.max_age_seconds <= 300:
            raise ConfigurationError(
                "a data key cache holds at least one key, for at most 300 seconds; cache=None turns it off"
            )


def failed_for(error: Exception, asked_for: object, wanted_by: object) -> Exception:
    """What a call raised that was made for one object, for another one that shares it: a copy where there is one, so
    that tracebacks stay apart, and an error of ours says which object it is for.
    """
    try:
        own = copy.copy(error)
    except Exception:  # of somebody else's class, which is made in another way
        return error
    named = f"{asked_for}: "
    if isinstance(own, ArrowSealError) and str(own).startswith(named):
        own.args = (f"{wanted_by}: {str(own).removeprefix(named)}", *own.args[1:])
    return own


class _Flight(Generic[Value]):
    """A call that one thread makes and others wait for; `subject` is the object that it is made for."""

    def __init__(self, subject: object) -> None:
        self._subject = subject
        self.leading = threading.Lock()
        """Held by a block while the call is made: whatever Ctrl-C cuts short, that ends."""
        self.landed = threading.Event()
        self.value: Value | None = None
        self.error: Exception | None = None

    def wait(self, timeout: float | None = None, /) -> bool:
        """Whether the call has ended by then."""
        while not self.landed.wait(_LOOK_SECONDS if timeout is None else timeout):
            if not self.leading.locked():
                return True
            if timeout is not None:
                return False
        return True

    def failed(self, subject: object) -> Exception | None:
        """What the call raised, for one more thread."""
        return None if self.error is None else failed_for(self.error, self._subject, subject)


class UnwrappedKeys(Generic[Value]):
    """A bounded cache in which however many threads ask for one key, one of them calls KMS. Failures are not kept."""

    def __init__(self, bounds: DataKeyCache, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._forget()
        _caches.add(self)

    def _forget(self) -> None:
        """Start empty, with a new lock: after a fork, that of the parent may be held by a thread that is gone."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, tuple[float, int, Value]] = OrderedDict()
        self._flights: dict[Hashable, _Flight[Value]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> Any:
        raise TypeError("a cache of data keys is not pickled")

    def get(self, key: Hashable, size: int, load: Callable[[], Value], subject: object = "") -> Value:
        """The value of `key`, from the cache or else by `load`, asked for the object `subject`. Raises what that does.

        A thread that waits for another one's call gets its error too, with its own object in it, unless that thread was
        interrupted: then the next one calls.
        """
        with self._lock:
            cached = self._fresh(key)
        return self._loaded(key, size, load, subject) if cached is None else cached

    def _loaded(self, key: Hashable, size: int, load: Callable[[], Value], subject: object) -> Value:
        own = _Flight[Value](subject)
        while True:
            with own.leading:
                with self._lock:
                    cached = self._fresh(key)
                    if cached is not None:
                        return cached
                    flight = self._flights.get(key)
                    if flight is None or not flight.leading.locked():
                        flight = self._flights[key] = own
                if flight is own:
                    try:
                        return self._lead(key, size, own, load)
                    finally:
                        self._land(key, own)
            cancellation().wait(flight)
            if flight.value is not None:
                return flight.value
            failed = flight.failed(subject)
            if failed is not None:
                raise failed

    def _lead(self, key: Hashable, size: int, flight: _Flight[Value], load: Callable[[], Value]) -> Value:
        started = self._clock()  # the grant was good then; later it may not have been
        try:
            flight.value = load()
        except Exception as error:
            flight.error = error
            raise
        with self._lock:
            self._keep(key, size, started, flight.value)
        return flight.value

    def _land(self, key: Hashable, flight: _Flight[Value]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        flight.landed.set()

    def _fresh(self, key: Hashable) -> Value | None:
        """An entry that is young enough. Those that are too old go: of the others, which are in the order in which KMS
        answered, and not in that in which it was asked, as many as come before a young one.
        """
        oldest = self._clock() - self._bounds.max_age_seconds
        while self._entries:
            first, (since, size, _) = next(iter(self._entries.items()))
            if since > oldest:
                break
            del self._entries[first]
            self._bytes -= size
        entry = self._entries.get(key)
        return None if entry is None or entry[0] <= oldest else entry[2]

    def _keep(self, key: Hashable, size: int, since: float, value: Value) -> None:
        if key in self._entries:
            self._bytes -= self._entries.pop(key)[1]
        self._entries[key] = since, size, value
        self._bytes += size
        while len(self._entries) > self._bounds.max_keys or self._bytes > self._bounds.max_bytes:
            _, (_, dropped, _) = self._entries.popitem(last=False)
            self._bytes -= dropped


_caches: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for cache in list(_caches):
        cache._forget()  # noqa: SLF001 - the one caller


os.register_at_fork(after_in_child=_forget_all)


class SharedDataKeys:
    """One data key for many V3 objects, within bounds; then the next one. For as long as a block of reuse lasts."""

    MAX_OBJECTS: Final = 10_000
    MAX_BYTES: Final = 2**40
    MAX_SECONDS: Final = 900.0
    MAX_KEYS: Final = 10_000
    """Held at a time: objects that each have a context of their own never ask for theirs again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._forget()
        _caches.add(self)

    def _forget(self) -> None:
        """Start empty, with a new lock: a forked child counts for itself, so the bounds hold for its own keys only."""
        self._lock = threading.Lock()
        self._shared: OrderedDict[Hashable, _Shared] = OrderedDict()

    def materials(
        self,
        key: Hashable,
        format: Format,  # noqa: A002 - the public word for it
        size: int,
        generate: Callable[[], EncryptionMaterials],
    ) -> EncryptionMaterials:
        """The materials for one more object of `size` bytes. Raises `ConfigurationError` for V2."""
        if format is not V3:
            raise ConfigurationError(
                "a data key is never reused under format V2: it would encrypt every object itself, and two random IVs "
                "that meet would give both away. V3 derives a key of its own for each object"
            )
        with self._lock:
            shared = self._shared.setdefault(key, _Shared())
            self._shared.move_to_end(key)
            if len(self._shared) > self.MAX_KEYS:
                self._shared.popitem(last=False)
        return shared.taken(size, generate, self._clock)


class _Shared:
    """The present one of the data keys that are shared under one key and context."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._materials: EncryptionMaterials | None = None
        self._since = 0.0
        self._objects = 0
        self._bytes = 0

    def taken(
        self, size: int, generate: Callable[[], EncryptionMaterials], clock: Callable[[], float]
    ) -> EncryptionMaterials:
        with self._lock:  # held while KMS is asked: whoever waits needs the same key
            if self._materials is None or not self._has_room(size, clock()):
                self._materials, self._since, self._objects, self._bytes = generate(), clock(), 0, 0
            self._objects += 1
            self._bytes += size
            return self._materials

    def _has_room(self, size: int, now: float) -> bool:
        return (
            self._objects < SharedDataKeys.MAX_OBJECTS
            and self._bytes + size <= SharedDataKeys.MAX_BYTES
            and now - self._since < SharedDataKeys.MAX_SECONDS
        )


class Reuse:
    """Whether a client shares data keys at the moment: blocks may nest and overlap between threads."""

    def __init__(self) -> None:
        self._blocks = 0
        self._keys: SharedDataKeys | None = None
        self._forget()
        _caches.add(self)

    def _forget(self) -> None:
        """A new lock. A forked child stays inside the block that it was forked in; the keys there forget themselves."""
        self._lock = threading.Lock()

    @property
    def keys(self) -> SharedDataKeys | None:
        """The shared keys inside a block, None outside."""
        return self._keys

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """Share data keys until the last block ends, which forgets them."""
        keys, counted = SharedDataKeys(), False
        try:
            with self._lock:
                self._keys = self._keys or keys
                self._blocks += 1
                counted = True  # nothing is called in between, where Ctrl-C could come
            yield
        finally:
            if counted:
                with self._lock:
                    self._blocks -= 1
                    if self._blocks == 0:
                        self._keys = None
