"""Content metadata: every spelling that writers use is read, everything else is refused."""

from __future__ import annotations

import itertools
import json
import quopri
from dataclasses import replace
from typing import Any

import pytest

from arrowseal import metadata
from arrowseal.exceptions import ConfigurationError, MetadataError
from arrowseal.location import ObjectLocation
from arrowseal.metadata import EncryptedMetadata, parse, render
from arrowseal.suites import V2, V3
from specimens import b64, v2, v3


def test_no_encryption_metadata_means_a_plain_object() -> None:
    assert parse({}) is None
    assert parse({"team": "weather", "x-amz-custom": "1"}) is None


def test_both_formats_are_parsed_with_every_field() -> None:
    committed, plain = parse(v3()), parse(v2())
    assert committed is not None
    assert plain is not None
    assert (committed.format, committed.wrap, committed.commitment) == ("V3", "kms+context", bytes([7]) * 28)
    assert committed.message_id == bytes([7]) * 28
    assert (plain.format, plain.content_algorithm, plain.commitment) == ("V2", "AES/GCM/NoPadding", None)
    assert plain.message_id == bytes([7]) * 12


def test_names_are_compared_without_case_as_go_writes_them_in_canonical_case() -> None:
    assert parse({name.title(): value for name, value in v2().items()}) == parse(v2())


def test_a_name_that_occurs_in_two_cases_is_refused() -> None:
    with pytest.raises(MetadataError, match="twice"):
        parse(v3() | {"X-Amz-C": "115"})


@pytest.mark.parametrize("empty", [None, "", "{}", "null", " { } "])
def test_absent_and_empty_descriptions_are_empty(empty: str | None) -> None:
    parsed = parse(v3(t=empty))
    assert parsed is not None
    assert dict(parsed.context) == {}
    assert parse(v3(m=empty)) is not None
    assert parse(v2(matdesc=empty)) is not None


def test_go_writes_empty_entries_that_mean_nothing() -> None:
    assert parse(v3(m="", unencrypted_content_length="")) == parse(v3())


def test_a_missing_tag_length_is_tolerated_and_another_one_is_not() -> None:
    assert parse(v2(tag_len=None)) is not None
    for wrong in ("96", "32", "0", "128 ", "16", "", "0128", "one"):
        with pytest.raises(MetadataError, match="tag-len"):
            parse(v2(tag_len=wrong))


def test_double_encoded_contexts_are_decoded_as_s3_returns_them() -> None:
    context = {"ec-key": "ünï→語", "aws:x-amz-cek-alg": "115"}
    word = "=?UTF-8?B?eyJlYy1rZXkiOiLDg8K8bsODwq/DosKGwpLDqMKqwp4iLCJhd3M6eC1hbXotY2VrLWFsZyI6IjExNSJ9?="
    parsed = parse(v3(t=word))
    assert parsed is not None
    assert parsed.context == context
    quoted = parse(v2(matdesc="=?UTF-8?Q?{=22a=22:=22Mini=C3=83=C2=B6=22}?="))
    assert quoted is not None
    assert quoted.context == {"a": "Miniö"}


def test_contexts_that_writers_sent_as_raw_utf_8_are_read_off_servers_that_give_them_back_so() -> None:
    """As the Go and Ruby clients write them: HTTP clients read headers as Latin-1."""
    context = {"größe": "Zürich → 語 🌊", "aws:x-amz-cek-alg": "115"}
    parsed = parse(v3(t=json.dumps(context, ensure_ascii=False).encode().decode("latin-1")))
    assert parsed is not None
    assert parsed.context == context


@pytest.mark.parametrize("word", ["{}", "=?UTF-8?Q?{}?="])
def test_contexts_that_writers_sent_in_latin_1_are_read_as_they_are(word: str) -> None:
    """As Java's clients write them; S3 makes words of it."""
    text = '{"ort":"Zürich"}'
    quoted = text if word == "{}" else quopri.encodestring(text.encode(), header=True).decode()
    parsed = parse(v3(t=word.replace("{}", quoted)))
    assert parsed is not None
    assert parsed.context == {"ort": "Zürich"}


@pytest.mark.parametrize("bad", ["=?UTF-8?B?!!!?=", "=?x?=", "=?nope-8?B?e30=?=", "=?UTF-8?Q?{=22a=22:=22=FF=22}?="])
def test_encoded_words_that_s3_does_not_make_are_refused(bad: str) -> None:
    with pytest.raises(MetadataError):
        parse(v3(t=bad))


@pytest.mark.parametrize(
    "bad",
    [
        "[]",
        '"text"',
        "{",
        '{"a": 1}',
        '{"a": {}}',
        '{"a": null}',
        '{"a":"1","a":"2"}',
        "[" * 5000,
        "{" * 70_000,
        "7",
        '{"a":"' + "b" * 65_536 + '"}',
        '{"a":"\\ud800"}',
        '{"\\udfff":"a"}',
    ],
)
def test_contexts_that_are_not_flat_maps_of_strings_are_refused(bad: str) -> None:
    with pytest.raises(MetadataError):
        parse(v3(t=bad))
    with pytest.raises(MetadataError):
        parse(v2(matdesc=bad))


def lax_spellings(value: str) -> list[str]:
    """Other spellings of one base64 value that lax decoders take for it."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = value.rstrip("=")[-1]
    stray_bits = value.rstrip("=")[:-1] + alphabet[alphabet.index(last) + 1] + "=="
    url_alphabet = value.replace("+", "-").replace("/", "_")
    rest = [value + "\n", " " + value, value[:4] + " " + value[4:], value.rstrip("="), value + "=", value + "===="]
    return [stray_bits, url_alphabet, *rest, value + "é", ""]


@pytest.mark.parametrize("name", ["x-amz-d", "x-amz-i"])
def test_only_canonical_base64_is_read(name: str) -> None:
    value = b64(28, 0xFB)
    assert parse(v3() | {name: value}) is not None
    for spelling in lax_spellings(value):
        with pytest.raises(MetadataError):
            parse(v3() | {name: spelling})


@pytest.mark.parametrize(
    ("fields", "name"),
    [(v3, "x-amz-d"), (v3, "x-amz-i"), (v2, "x-amz-iv"), (v3, "x-amz-3"), (v2, "x-amz-key-v2")],
)
def test_values_of_another_length_are_refused(fields: Any, name: str) -> None:
    with pytest.raises(MetadataError):
        parse(fields() | {name: ""})
    if name not in ("x-amz-3", "x-amz-key-v2"):
        for length in (1, 11, 13, 16, 27, 29, 32):
            with pytest.raises(MetadataError, match="bytes"):
                parse(fields() | {name: b64(length)})


@pytest.mark.parametrize("spelling", ["0115", "115 ", "\uff11\uff11\uff15", "116", "", "AES/GCM/NoPadding", "112"])
def test_the_content_algorithm_of_v3_has_one_spelling(spelling: str) -> None:
    with pytest.raises(MetadataError):
        parse(v3(c=spelling))


@pytest.mark.parametrize(
    "algorithm", ["AES/CTR/NoPadding", "115", "aes/gcm/nopadding", "AES/GCM/NoPadding ", "AES/GCM", "NULL", ""]
)
def test_v2_algorithms_are_bound_to_their_names_and_ctr_is_always_refused(algorithm: str) -> None:
    with pytest.raises(MetadataError):
        parse(v2(cek_alg=algorithm))


@pytest.mark.parametrize("wrap", ["01", "11", "21", "1 2", "kms+context", "", "kms"])
def test_wrapping_codes_that_v3_does_not_know_are_refused(wrap: str) -> None:
    with pytest.raises(MetadataError):
        parse(v3(w=wrap))


def test_v3_picks_the_description_by_the_wrapping_algorithm() -> None:
    raw = parse(v3(w="02", t='{"a":"b"}', m='{"c":"d"}', **{"3": b64(60)}))
    assert raw is not None
    assert dict(raw.context) == {}
    assert dict(raw.material_description) == {"c": "d"}
    assert raw.wrap == "AES/GCM"


def test_v3_headers_on_a_v2_object_do_not_make_it_committing() -> None:
    with pytest.raises(MetadataError):
        parse(v2(c="115", w="12"))
    with pytest.raises(MetadataError):
        parse(v2(c="115"))


ALL_NAMES = sorted(metadata.RESERVED_NAMES)


def expected_format(names: set[str]) -> str:
    """The decision table of the specification, written down a second time, by names alone."""
    v1_only, v2_only, v3_only = "x-amz-key" in names, "x-amz-key-v2" in names, "x-amz-3" in names
    v2_names = {"x-amz-iv", "x-amz-cek-alg", "x-amz-wrap-alg", "x-amz-matdesc", "x-amz-tag-len"}
    v3_names = {"x-amz-c", "x-amz-w", "x-amz-d", "x-amz-i", "x-amz-t", "x-amz-m"}
    if v1_only + v2_only + v3_only > 1:
        return "refused"
    if v3_only:
        whole = {"x-amz-c", "x-amz-w", "x-amz-d", "x-amz-i"} <= names and not names & v2_names
        return "V3" if whole else "refused"
    if v2_only:
        return "V2" if {"x-amz-iv", "x-amz-cek-alg", "x-amz-wrap-alg"} <= names and not names & v3_names else "refused"
    if v1_only:
        others = (v2_names | v3_names) - {"x-amz-iv", "x-amz-matdesc"}
        return "V1" if "x-amz-iv" in names and not names & others else "refused"
    left = names & (v2_names | v3_names)
    if left == {"x-amz-c", "x-amz-d", "x-amz-i"}:
        return "V3 with instruction file"
    if left:
        return "refused"
    lengths = {"x-amz-unencrypted-content-length", "x-amz-unencrypted-content-md5"}
    return "V2 with instruction file" if names & lengths else "plain"


def test_every_subset_of_the_known_names_is_decided_as_the_specification_says() -> None:
    values = v2() | v3() | {"x-amz-key": b64(48), "x-amz-m": "{}"}
    values |= {name: "1" for name in ALL_NAMES if name not in values}
    decided = dict.fromkeys(["plain", "V1", "V2", "V3", "V2 with instruction file", "V3 with instruction file"], 0)
    for size in range(len(ALL_NAMES) + 1):
        for names in itertools.combinations(ALL_NAMES, size):
            iv = {"x-amz-iv": b64(16)} if {"x-amz-key", "x-amz-iv"} <= set(names) else {}  # V1 has an IV of CBC
            try:
                parsed = parse({name: values[name] for name in names} | iv)
            except MetadataError:
                found = "refused"
            else:
                found = "plain" if parsed is None else parsed.format
                found += " with instruction file" if parsed is not None and parsed.instruction_file else ""
            assert found == expected_format(set(names)), names
            if found in decided:
                decided[found] += 1
    assert all(decided.values())


def test_what_is_rendered_is_what_the_specification_lists_and_parses_back() -> None:
    context = {"purpose": "kat", "naïve": "→"}
    for written, names in ((V3, set(v3())), (V2, set(v2()) | {"x-amz-unencrypted-content-length"})):
        suite = written.suite
        bound = metadata.bound_context(context, written)
        fields = render(
            written,
            encrypted_data_key=b"wrapped",
            message_id=bytes(range(suite.message_id_bytes or suite.iv_bytes)),
            commitment=bytes(range(28)) if suite.committing else None,
            context=bound,
            plaintext_bytes=12,
        )
        assert set(fields) == names
        assert all(value.isascii() for value in fields.values())
        parsed = parse(fields)
        assert parsed is not None
        assert (parsed.format, parsed.encrypted_data_key, parsed.context) == (written.value, b"wrapped", bound)
        assert parsed.user_context == context
    assert json.loads(fields["x-amz-matdesc"])["aws:x-amz-cek-alg"] == "AES/GCM/NoPadding"


RAW = {"purpose": "archive"}


@pytest.mark.parametrize(("wrap", "code"), [("AES/GCM", "02"), ("RSA-OAEP-SHA1", "22")])
@pytest.mark.parametrize("description", [{}, RAW])
def test_raw_wraps_are_rendered_with_their_material_description_and_without_a_context(
    wrap: str, code: str, description: dict[str, str]
) -> None:
    def rendered(written: Any, identifier: int) -> dict[str, str]:
        return render(
            written,
            encrypted_data_key=bytes(60),
            message_id=b"i" * identifier,
            commitment=bytes(28),
            context={"not": "stored"},
            wrap=wrap,
            material_description=description,
        )

    committed, plain = rendered(V3, 28), rendered(V2, 12)
    assert committed["x-amz-w"] == code
    assert "x-amz-t" not in committed
    assert ("x-amz-m" in committed) == bool(description)
    assert plain["x-amz-wrap-alg"] == wrap
    assert json.loads(plain["x-amz-matdesc"]) == description
    for fields in (committed, plain):
        parsed = parse(fields)
        assert parsed is not None
        assert (parsed.wrap, parsed.context, parsed.material_description) == (wrap, {}, description)


@pytest.mark.parametrize("wrap", ["kms", "AESWrap", "AES", "RSA", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding", ""])
def test_wraps_that_are_only_read_are_not_rendered(wrap: str) -> None:
    with pytest.raises(ConfigurationError, match="not written"):
        render(V2, encrypted_data_key=b"x", message_id=bytes(12), commitment=None, context={}, wrap=wrap)


@pytest.mark.parametrize(("length", "wrap"), [(48, "AES"), (49, "RSA"), (128, "RSA"), (256, "RSA")])
def test_the_wrap_of_v1_is_told_by_the_length_of_its_encrypted_data_key(length: int, wrap: str) -> None:
    parsed = parse({"x-amz-key": b64(length), "x-amz-iv": b64(16), "x-amz-matdesc": json.dumps(RAW)})
    assert parsed is not None
    assert (parsed.format, parsed.wrap, len(parsed.encrypted_data_key)) == ("V1", wrap, length)
    assert (len(parsed.message_id), parsed.context, parsed.material_description) == (16, {}, RAW)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (v2(wrap_alg="AES/GCM"), 60),
        (v2(wrap_alg="AESWrap"), 40),
        (v3(w="02"), 60),
        ({"x-amz-key": "", "x-amz-iv": b64(16)}, 48),
    ],
)
def test_wraps_that_make_one_length_are_refused_in_any_other(fields: dict[str, str], size: int) -> None:
    name = next(name for name in ("x-amz-key", "x-amz-key-v2", "x-amz-3") if name in fields)
    assert parse(fields | {name: b64(size)}) is not None
    for wrong in (1, 16, 32, size - 1, 47):
        with pytest.raises(MetadataError, match="makes"):
            parse(fields | {name: b64(wrong)})


V3_OBJECT = {name: v3()[name] for name in ("x-amz-c", "x-amz-d", "x-amz-i")}
V3_FILE = {name: v3()[name] for name in ("x-amz-3", "x-amz-w", "x-amz-t")}
V1_FILE = {"x-amz-key": b64(48), "x-amz-iv": b64(16), "x-amz-matdesc": "{}"}


@pytest.mark.parametrize(
    ("in_object", "in_file", "alone"),
    [(V3_OBJECT, V3_FILE, v3()), ({}, v2(), v2()), ({}, V1_FILE, V1_FILE)],
)
def test_an_instruction_file_and_its_object_say_what_one_object_alone_would(
    in_object: dict[str, str], in_file: dict[str, str], alone: dict[str, str]
) -> None:
    expected = parse(alone)
    assert expected is not None
    for more in ({}, {"x-amz-unencrypted-content-length": "5", "team": "weather"}):
        assert parse(in_object | more, in_file) == replace(expected, instruction_file=True)
    assert parse(in_object, in_file | {"x-amz-unencrypted-content-length": "5"}) is not None  # as PHP writes it
    assert parse(in_object, in_file).pending is False  # type: ignore[union-attr]


ALL_IN_FILE = [
    pytest.param({}, v3(), id="all of V3 in the file"),
    pytest.param(V3_OBJECT, V3_FILE | {"x-amz-d": b64(28)}, id="the commitment in both"),
    pytest.param(V3_OBJECT, V3_FILE | {"x-amz-i": b64(28)}, id="the message id in both"),
    pytest.param(V3_OBJECT, V3_FILE | {"x-amz-c": "115"}, id="the algorithm in both"),
    pytest.param({"x-amz-c": "115", "x-amz-i": b64(28)}, V3_FILE, id="no commitment"),
    pytest.param({}, V3_FILE, id="V3 without anything in the object"),
    pytest.param(V3_OBJECT, v2(), id="V2 in the file, V3 in the object"),
    pytest.param(V3_OBJECT, V1_FILE, id="V1 in the file, V3 in the object"),
    pytest.param({}, v2() | {"x-amz-c": "115"}, id="V2 with the algorithm of V3"),
    pytest.param({}, v2() | V1_FILE, id="two encrypted data keys"),
    pytest.param(v2(), v2(), id="all of it twice"),
    pytest.param(v3(), V3_FILE, id="whole in the object already"),
    pytest.param({"x-amz-iv": b64(12)}, v2(iv=None), id="the IV in the object"),
    pytest.param({"x-amz-cek-alg": "AES/GCM/NoPadding"}, v2(), id="the algorithm in the object as well"),
    pytest.param({}, {}, id="nothing"),
    pytest.param({}, {"x-amz-iv": b64(12), "x-amz-matdesc": "{}"}, id="no encrypted data key"),
    pytest.param({}, v2() | {"note": "mine"}, id="a name of no format"),
    pytest.param({}, {name.upper(): value for name, value in v2().items()}, id="another case"),
    pytest.param({}, v2() | {"x-amz-crypto-instr-file": ""}, id="the marker inside"),
    pytest.param(V3_OBJECT, V3_FILE | {"x-amz-t": "=?UTF-8?B?e30=?="}, id="an encoded word"),
    pytest.param({}, v2(tag_len="96"), id="a short tag"),
]


@pytest.mark.parametrize(("in_object", "in_file"), ALL_IN_FILE)
def test_an_instruction_file_that_does_not_complete_its_object_exactly_is_refused(
    in_object: dict[str, str], in_file: dict[str, str]
) -> None:
    with pytest.raises(MetadataError):
        parse(in_object, in_file)


def test_metadata_that_would_not_fit_into_two_kilobytes_is_refused_before_any_request() -> None:
    location = ObjectLocation("lake", "a")
    metadata.check_room(location, V3, {"a": "b" * 1000}, {})
    with pytest.raises(ConfigurationError, match="2,048"):
        metadata.check_room(location, V3, {"a": "b" * 1700}, {})
    with pytest.raises(ConfigurationError, match="2,048"):
        metadata.check_room(location, V2, {"a": "b"}, {"note": "x" * 1600})


def test_no_repr_shows_the_values_of_a_context_or_an_encrypted_data_key() -> None:
    shown = repr(parse(v3(t='{"aws:x-amz-cek-alg":"115","secretish":"value-of-context"}')))
    assert "value-of-context" not in shown
    assert "encrypted_data_key" not in shown
    described = {"secretish": "value-of-description"}
    raw = EncryptedMetadata("V3", "115", "AES/GCM", b"", b"", b"", {}, material_description=described)
    assert "value-of-description" not in repr(raw)


@pytest.mark.parametrize(
    ("wrap", "named", "expected"),
    [
        ("kms", "arn:aws:kms:eu-west-1:111122223333:key/a", "arn:aws:kms:eu-west-1:111122223333:key/a"),
        ("kms", "alias/tables", None),
        ("kms", "", None),
        ("kms+context", "arn:aws:kms:eu-west-1:111122223333:key/a", None),
    ],
)
def test_the_key_that_an_old_writer_named_is_told(wrap: str, named: str, expected: str | None) -> None:
    parsed = parse(v2(wrap_alg=wrap, matdesc=json.dumps({"kms_cmk_id": named})))
    assert parsed is not None
    assert parsed.named_key == expected
