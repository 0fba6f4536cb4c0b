"""The Rust core: AES-GCM over memory that it owns, and the keys.

No dicts, paths, callbacks or Arrow types cross this border. Every class is safe to share between threads. Work over
more than 64 KiB runs with the GIL released. Objects that hold keys or content cannot be pickled, copied or printed.
Formats: Amazon S3 Encryption Client V2 and V3.
"""

from typing import Final, Literal, final

from typing_extensions import Buffer

__all__ = [
    "SUITES",
    "AesWrappingKey",
    "AlgorithmSuite",
    "CbcOpener",
    "DataKey",
    "Opener",
    "PartBuffer",
    "PlainReceiver",
    "PlaintextBuffer",
    "ProvenRange",
    "RsaPrivateKey",
    "RsaPublicKey",
    "SealedBuffer",
    "Sealer",
    "SegmentOpener",
    "Survey",
    "UnauthenticatedBuffer",
    "UnauthenticatedOpener",
    "UnauthenticatedRange",
    "Window",
    "__version__",
    "crc32",
    "open_engine",
]

__version__: Final[str]

@final
class AlgorithmSuite:
    """A row of the table of algorithm suites of the S3 Encryption Client specification. Sizes in bytes.

    Raises `ValueError` for an id that no suite has. Pickles as its id.
    """

    def __new__(cls, suite_id: int, /) -> AlgorithmSuite: ...
    @property
    def id(self) -> int:
        """The two-byte id, `0x0073` for the committing suite of format V3."""
    @property
    def name(self) -> str:
        """The specification's name, `ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY` for example."""
    @property
    def content_algorithm(self) -> str | None:
        """How metadata and encryption context spell it: `115`, `AES/GCM/NoPadding`; None where it is never named."""
    @property
    def data_key_bytes(self) -> int: ...
    @property
    def iv_bytes(self) -> int:
        """Length of the IV that is stored with the object: 12 for V2, 0 for V3, which stores a message id instead."""
    @property
    def message_id_bytes(self) -> int:
        """28 for the committing suite, 0 elsewhere."""
    @property
    def commitment_bytes(self) -> int:
        """28 for the committing suite, 0 elsewhere."""
    @property
    def tag_bytes(self) -> int:
        """16 for AES-GCM, 0 for the unauthenticated suites."""
    @property
    def max_content_bytes(self) -> int:
        """The largest plaintext of one object: 2**36 - 32 for AES-GCM."""
    @property
    def committing(self) -> bool: ...
    @property
    def supported(self) -> bool:
        """Whether content can be sealed and opened with it here; the others are only recognised."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

SUITES: Final[tuple[AlgorithmSuite, ...]]
"""Every suite of the specification, by id."""

@final
class DataKey:
    """The 32-byte plaintext data key of one object, copied into memory of the core that is wiped when it is dropped.

    Raises `ValueError` for another length. No repr, pickle, copy or attribute shows its bytes,
    and of its methods `expose_to_kms` alone.
    """

    def __new__(cls, key: bytes, /) -> DataKey: ...
    @staticmethod
    def generate() -> DataKey:
        """A new one from the random generator, seeded by the operating system. Raises `OSError` if that gives none."""

    def expose_to_kms(self) -> bytearray:
        """Its bytes, in memory of Python, for KMS Encrypt, which takes a key in no other way. The caller overwrites
        them.

        Raises `ValueError` for a key out of PKCS#1 v1.5, which only opens content.
        """

@final
class AesWrappingKey:
    """A raw AES-256 key that wraps data keys: `AES/GCM` of the specification (code `02` in V3). Copied into memory of
    the core, and wiped when it is dropped. Raises `ValueError` unless there are 32 bytes, or 24 or 16: such a key,
    which other clients take, only unwraps.

    Nonces are random: one key may wrap some 2**32 data keys (NIST SP 800-38D, 8.3).

    >>> key = AesWrappingKey(bytes(range(32)))
    >>> data_key = key.unwrap(key.wrap(DataKey.generate(), b"115"), b"115")
    """

    def __new__(cls, key: bytes, /) -> AesWrappingKey: ...
    def wrap(self, data_key: DataKey, additional_data: bytes, /) -> bytes:
        """The data key under a new nonce: `nonce || ciphertext || tag`, 60 bytes. `additional_data` is the content
        algorithm: `115` or `AES/GCM/NoPadding`. Raises `ValueError` under a key of 24 or 16 bytes.
        """
    def unwrap(self, wrapped: bytes, additional_data: bytes, /) -> DataKey:
        """The data key. Raises `arrowseal.exceptions.AuthenticationError`, with one message, whatever is wrong."""
    def unwrap_rfc3394(self, wrapped: bytes, /) -> DataKey:
        """The data key out of `AESWrap` (RFC 3394), which old clients wrote. Raises as `unwrap`."""
    def unwrap_ecb(self, wrapped: bytes, /) -> DataKey:
        """The data key out of `AES` of V1: AES-ECB, whose padding is all that tells a wrong key. Raises as `unwrap`."""

@final
class RsaPublicKey:
    """An RSA public key that wraps data keys: `RSA-OAEP-SHA1` of the specification (code `22` in V3).

    A file's bytes: PEM or DER, SubjectPublicKeyInfo or PKCS#1, 2048 to 4096 bits. Raises `ValueError` for anything
    else, and says what it is instead; nothing of it is quoted.
    """

    def __new__(cls, file: bytes, /) -> RsaPublicKey: ...
    def wrap(self, data_key: DataKey, content_algorithm: str, /) -> bytes:
        """RSA-OAEP with SHA-1 over `0x20 || data key || content algorithm`: as many bytes as the modulus has. Raises
        `ValueError` for an algorithm that the table of suites does not spell so.
        """

@final
class RsaPrivateKey:
    """An RSA private key that unwraps data keys. Its memory is the library's, which wipes it.

    A file's bytes: PEM or DER, PKCS#8 or PKCS#1, 2048 to 4096 bits, not encrypted. Raises `ValueError` for anything
    else, and says what it is instead; nothing of it is quoted. Unwrapping takes a millisecond or some, GIL released.

    >>> key = RsaPrivateKey(open("key.pem", "rb").read())  # doctest: +SKIP
    >>> wrapped = key.public_key().wrap(DataKey.generate(), "115")  # doctest: +SKIP
    >>> data_key = key.unwrap(wrapped, "115")  # doctest: +SKIP
    """

    def __new__(cls, file: bytes, /) -> RsaPrivateKey: ...
    def public_key(self) -> RsaPublicKey: ...
    def unwrap(self, wrapped: bytes, content_algorithm: str, /) -> DataKey:
        """The data key, if it was wrapped for content of exactly this algorithm. Raises
        `arrowseal.exceptions.AuthenticationError`, with one message, whatever is wrong.
        """

    def unwrap_oaep_sha256(self, wrapped: bytes, /) -> DataKey:
        """The data key out of RSA-OAEP with SHA-256, which old clients wrote: with MGF1-SHA-1 (Java's own provider), or
        with MGF1-SHA-256 (Bouncy Castle). Raises as `unwrap`.
        """

    def unwrap_pkcs1(self, wrapped: bytes, /) -> DataKey:
        """The data key out of `RSA` of V1: PKCS#1 v1.5. It never tells whether the padding fitted, which would let
        whoever asks often enough decrypt with the private key (Bleichenbacher 1998): a random data key takes the place
        of none. Opening content under that one ends in `arrowseal.exceptions.AuthenticationError`.

        Either kind serves for nothing else: sealing, wrapping and decrypting ranges without proof are a `ValueError`.
        """

@final
class Sealer:
    """Seals one message under one data key, once: a message id (V3) or IV (V2) drawn here never covers two plaintexts.

    Raises `ValueError` for a suite that is not supported.
    """

    def __new__(cls, data_key: DataKey, suite_id: int, /) -> Sealer: ...
    @staticmethod
    def with_fixed_message_id(data_key: DataKey, suite_id: int, message_id: bytes, /) -> Sealer:
        """A sealer whose message id (V3, 28 bytes) or IV (V2, 12 bytes) is given: for known answers only, since
        a second message under the same key and id gives both away. Raises `ValueError` for a wrong length or all zeros.
        """
    @property
    def message_id(self) -> bytes:
        """The message id (V3) or IV (V2) to store with the object."""
    @property
    def commitment(self) -> bytes | None:
        """The key commitment to store with the object; None where the suite has none."""
    def seal(self, content: Buffer, /, *, threads: int = 0) -> SealedBuffer:
        """Ciphertext and tag of `content` in a new buffer of `len(content) + 16` bytes.

        `bytes` and this module's buffers are read with the GIL released; any other buffer could change meanwhile and is
        copied first, while the GIL is held. `threads=0` takes as many as pay. Raises `ValueError` if called a second
        time or for content beyond `max_content_bytes`, `BufferError` for a buffer that is not contiguous, and
        `MemoryError`.
        """

    def seal_part(self, offset: int, part: PartBuffer, /, *, last: bool = False) -> SealedBuffer:
        """Seal the part of the message that begins at `offset`, where it lies, GIL released: any order, any thread. The
        part is used up.

        All parts but the last have a multiple of 16 bytes. `last=True` comes when all others are sealed: it appends the
        tag, and the message is finished. Raises `ValueError` for an offset that is no multiple of 16, a range that was
        sealed before or lies behind the end, a message that was finished or sealed at once, or one that `last` finds
        incomplete; `MemoryError`.
        """

    def seal_range(self, content: bytes, begin: int, end: int, /, *, last: bool = False) -> SealedBuffer:
        """The ciphertext of `content[begin:end]`, where `content` is the whole message. Otherwise like `seal_part`."""
    def index(self) -> bytes:
        """The segment index of a message that was sealed in parts and is finished: 64 bytes and 16 for each 64 KiB. It
        may be published: entries are masked. Raises `ValueError` for any other message.
        """

@final
class PartBuffer:
    """Memory of the core for a part of an object on its way out: filled by `append`, then sealed where it lies by
    `Sealer.seal_part`, or handed over by `plain` if it was made for that. What is dropped unsealed is wiped first.

    `len` is what it holds. Raises `ValueError` for a negative capacity, `MemoryError`.
    """

    def __new__(cls, capacity: int, /, *, plain: bool = False) -> PartBuffer: ...
    def append(self, content: Buffer, /) -> int:
        """Copy as much of a contiguous buffer as there is room for, and return how many bytes that was. The GIL is
        held. Raises `ValueError` after it was sealed or handed over, `BufferError`.
        """
    def plain(self) -> UnauthenticatedBuffer:
        """What it holds, without a copy. Raises `ValueError` if it was not made with `plain=True`, or when repeated."""
    def __len__(self) -> int: ...

@final
class SealedBuffer:
    """Ciphertext and tag of one message, or of a part of it: read-only buffer protocol, memory of the core."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class PlaintextBuffer:
    """Proven plaintext: read-only buffer protocol over memory of the core, 64-byte aligned, so that `memoryview`,
    `numpy.frombuffer` and `pyarrow.py_buffer` wrap it without a copy. The memory is used again only after the last
    export is released, and wholly overwritten first. Compares equal to any buffer of the same bytes. Not picklable.
    """

    @property
    def encryption(self) -> str:
        """How the object was protected: `"CSE V3"` or `"CSE V2"`."""
    def slice(self, offset: int, length: int, /) -> PlaintextBuffer:
        """Those bytes of it, without a copy. Raises `ValueError` for a range outside of it."""
    def joined(self, others: list[PlaintextBuffer], /) -> PlaintextBuffer:
        """Its bytes and those of the others behind each other, copied, GIL held. Raises `MemoryError`."""
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class UnauthenticatedBuffer:
    """The bytes of an object that no key of ours protects, as the server sent them, or what an `UnauthenticatedOpener`
    or a `CbcOpener` made of them; otherwise a `PlaintextBuffer`.
    """

    @property
    def encryption(self) -> str:
        """`"PLAIN"`, `"CSE V3, unauthenticated"`, or, of CBC, `"CSE V1"`."""
    def slice(self, offset: int, length: int, /) -> UnauthenticatedBuffer: ...
    def joined(self, others: list[UnauthenticatedBuffer], /) -> UnauthenticatedBuffer: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Window:
    """A range of an object on its way in: a writable buffer to receive the stored bytes into.

    Ranges of one opener never overlap; a window that is dropped before `received` gives its range back.
    """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def received(self) -> None:
        """Say that the bytes are all there: they are opened in place, GIL released, and stay out of reach until
        `finish` has proven them. Raises `BufferError` while an export of the window lives, `ValueError` when repeated.
        """

@final
class Opener:
    """Opens one message of `stored_bytes` (content and tag) range by range, in any order, on any thread.

    Checks the key commitment before anything else and raises `arrowseal.exceptions.AuthenticationError` if it does
    not fit. Raises `ValueError` for wrong lengths or a suite that is not supported, `MemoryError`.
    """

    def __new__(
        cls, data_key: DataKey, suite_id: int, message_id: bytes, commitment: bytes | None, stored_bytes: int, /
    ) -> Opener: ...
    def window(self, offset: int, length: int, /) -> Window:
        """The window over the stored bytes `[offset, offset + length)`. Borders between windows lie at multiples of 16.
        Raises `ValueError` for a range outside the object, off the borders, or claimed already.
        """
    def receive(self, content: Buffer, /) -> PlaintextBuffer:
        """The proven plaintext of a whole stored message that is there already: what a window over all of it and
        `finish` do. `content` is copied, GIL held unless it is read-only. Raises like those, and `ValueError` for
        another length.
        """
    def finish(self) -> PlaintextBuffer:
        """The proven plaintext. Raises `arrowseal.exceptions.AuthenticationError`, after wiping the buffer, if the tag
        does not fit, `ValueError` if ranges are missing or it was called before.
        """

@final
class PlainReceiver:
    """Takes in an object that is not client-side encrypted, or `stored_bytes` of it from `offset` on, through the same
    windows as `Opener`; proves nothing.
    """

    def __new__(cls, stored_bytes: int, /, *, offset: int = 0) -> PlainReceiver: ...
    def window(self, offset: int, length: int, /) -> Window: ...
    def receive(self, content: Buffer, /) -> UnauthenticatedBuffer: ...
    def finish(self) -> UnauthenticatedBuffer: ...

@final
class SegmentOpener:
    """Opens ranges of one message, each proven on its own: by the object's index, or after a `Survey` of the whole."""

    @staticmethod
    def from_index(
        data_key: DataKey,
        suite_id: int,
        message_id: bytes,
        commitment: bytes | None,
        stored_bytes: int,
        index: bytes,
        /,
    ) -> SegmentOpener | None:
        """By an index; None if these bytes are no index of this message. Raises
        `arrowseal.exceptions.AuthenticationError` if the key commitment does not fit, `ValueError` as `Opener` does.
        """
    @property
    def segment_bytes(self) -> int:
        """The size of a segment; the last one of the message may be shorter."""
    def range(self, offset: int, length: int, /) -> ProvenRange:
        """A receiver for the content `[offset, offset + length)`, whose borders are those of segments. Memory of that
        length. Raises `ValueError` for a range outside the content, `MemoryError`.
        """
    def index(self) -> bytes:
        """The index of the message. GIL released."""

@final
class ProvenRange:
    """A range on its way in. Each window consists of whole segments, and `received` opens and proves them: it wipes the
    window and raises `arrowseal.exceptions.AuthenticationError` if one does not fit.
    """

    def window(self, offset: int, length: int, /) -> Window:
        """The window over `[offset, offset + length)` of the object. Raises as that of `Opener`."""
    def receive(self, content: Buffer, /) -> PlaintextBuffer:
        """The range out of its stored bytes, which are copied, GIL held unless they are read-only."""
    def finish(self) -> PlaintextBuffer:
        """The proven range. Raises `ValueError` if windows are missing or it was called before."""

@final
class Survey:
    """Takes in a message of `stored_bytes` to prove it by its tag, and gives its content up as it comes: what it keeps
    is 16 bytes for each 64 KiB. Borders between windows lie at multiples of 64 KiB. Raises as `Opener` does.
    """

    def __new__(
        cls, data_key: DataKey, suite_id: int, message_id: bytes, commitment: bytes | None, stored_bytes: int, /
    ) -> Survey: ...
    def window(self, offset: int, length: int, /) -> Window: ...
    def receive(self, content: Buffer, /) -> SegmentOpener: ...
    def finish(self) -> SegmentOpener:
        """What opens ranges of the proven message. Raises `arrowseal.exceptions.AuthenticationError` if the tag does
        not fit, `ValueError` if ranges are missing, a window is held, or it was called before.
        """

@final
class UnauthenticatedOpener:
    """Decrypts ranges of one message and proves nothing: whoever can write to the object decides what comes out, bit by
    bit. The key commitment is checked. Raises as `Opener` does.
    """

    def __new__(
        cls, data_key: DataKey, suite_id: int, message_id: bytes, commitment: bytes | None, stored_bytes: int, /
    ) -> UnauthenticatedOpener: ...
    def range(self, offset: int, length: int, /) -> UnauthenticatedRange:
        """A receiver for the content `[offset, offset + length)`, `offset` a multiple of 16."""

@final
class UnauthenticatedRange:
    """A range on its way in that is decrypted and not proven."""

    def window(self, offset: int, length: int, /) -> Window: ...
    def receive(self, content: Buffer, /) -> UnauthenticatedBuffer: ...
    def finish(self) -> UnauthenticatedBuffer: ...

@final
class CbcOpener:
    """Decrypts one object of AES-256-CBC with PKCS#7 padding (V1, and old V2 objects), range by range, in any order, on
    any thread, and proves nothing: whoever could write to the object decides what comes out. Nothing is encrypted so.

    Whatever is wrong is the one `arrowseal.exceptions.AuthenticationError`, here or at the end, after what was
    decrypted is wiped: a length that is no multiple of 16, or 0; padding; a data key that took the place of none.
    Memory: the object. Raises `ValueError` for an IV that has not 16 bytes, `MemoryError`.
    """

    def __new__(
        cls,
        data_key: DataKey,
        iv: bytes,
        stored_bytes: int,
        /,
        *,
        encryption: Literal["CSE V1", "CSE V2"] = "CSE V1",
    ) -> CbcOpener: ...
    def window(self, offset: int, length: int, /) -> Window:
        """The window over the stored bytes `[offset, offset + length)`. Raises as that of `Opener`."""
    def receive(self, content: Buffer, /) -> UnauthenticatedBuffer:
        """The content of a whole stored object that is there already, copied, GIL held unless that is read-only."""
    def finish(self) -> UnauthenticatedBuffer:
        """The content, without its padding. Raises `ValueError` if ranges are missing or it was called before."""

def open_engine() -> Literal["switched", "two-pass"]:
    """How content is opened before its tag is known: by the switch of direction of the fused cipher, or, where the
    self-test at first use finds that it does not behave, by GMAC and then CTR.
    """

def crc32(
    content: bytes | SealedBuffer | UnauthenticatedBuffer | PlaintextBuffer, begin: int = 0, end: int | None = None, /
) -> int:
    """CRC32 (ISO-HDLC) of `content[begin:end]`, as S3 checks it: 32 bits. Raises `TypeError` for content that somebody
    could change meanwhile, `ValueError` for a range outside of it.
    """
