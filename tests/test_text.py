"""Text from outside: names, one-line messages, passwords."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bench.registry import RegistryError
from bench.study.definition import Failure, StudyError
from bench.text import LONGEST_LINE, BadName, escaped, is_name, line, named, printable, reason, without_passwords
from bench.tracking.errors import StoreError


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "-x", "_", "a" * 100, "conv_vae", "1.5"])
def test_a_name_is_letters_digits_and_three_signs(name: str) -> None:
    assert named("study", name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "../a", "/etc/x", "a\\b", "a b", "a\n", "\n", "a\0", "é", "a" * 101, "a:b", "~"],
)
def test_what_could_lead_elsewhere_is_no_name(name: str) -> None:
    with pytest.raises(BadName, match=r"a name must be letters, digits, '\.', '_' and '-'"):
        named("study", name)


@given(st.text())
def test_a_name_that_is_one_stays_in_its_folder(text: str) -> None:
    if is_name(text):
        assert "/" not in text
        assert text not in (".", "..")
        assert len(text.encode()) <= 100


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:s3cret@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg://me:s3cret@host/db", "postgresql+psycopg://***@host/db"),
        ("postgresql://me:s3@cret/s3cret@host/db", "postgresql://***@host/db"),
        ("https://s3cret@host", "https://***@host"),
        ("http://me:s3cret", "http://me:***"),  # of which somebody has forgotten the host
        ("postgresql://host/db?user=me&password=s3cret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("http://host/?Auth_Token=s3cret", "http://host/?Auth_Token=***"),
        ("in 'http://me:s3cret@host': refused", "in 'http://***@host': refused"),
        ("http://me:12345@host", "http://***@host"),
        ("http://127.0.0.1:9 cannot be used", "http://127.0.0.1:9 cannot be used"),
        ("http://[::1]:5000/", "http://[::1]:5000/"),
        ("http://host:5000: refused", "http://host:5000: refused"),
        ("sqlite:////home/me@work/mlruns/mlflow.db", "sqlite:////home/me@work/mlruns/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_passwords(address) == shown
    for error in (StudyError, StoreError, RegistryError):
        assert str(error(f"see {address}")) == f"see {shown}"


@given(st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), min_size=1))
def test_no_password_is_shown_whatever_it_is(password: str) -> None:
    secret = f"<{password}>"  # no part of the rest
    assert secret not in without_passwords(f"http://me:{secret}@host:5000/ is out of reach")


@given(st.text(max_size=300))
def test_a_line_is_one_printable_line_and_settled(text: str) -> None:
    shown = line(text)
    assert shown.isprintable()
    assert line(shown) == shown


@pytest.mark.parametrize("text", ["x" * 5000, "x " * 5000, "\n" * 5000, "é" * 10**7])
def test_what_is_endless_is_cut_and_says_how_long_it_was(text: str) -> None:
    shown = line(text)
    assert len(shown) < LONGEST_LINE + 100
    assert " characters)..." in shown


def test_line_breaks_and_colours_are_shown_as_such() -> None:
    assert line("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"
    assert reason(ValueError("a\n  b")) == "a b"
    assert reason(MemoryError()) == "MemoryError"
    assert Failure("data", "a\nb").reason == "a\\nb"


# Of CommonMark with GitHub's tables and strikethrough, a second reader: it shows what was written, and nothing else.
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
SIGNS = st.text(alphabet="ab1 .\n#*_`~<>[]()|\\&;:!-+=$/\"'", max_size=30)


@given(SIGNS | st.text(max_size=30))
@example("# a")
@example("1. a")
@example("- a")
@example("> a")
@example("---")
@example("```\na")
@example("~~~")
@example("[a]: /b")
@example("![a](b)")
@example("<script>alert(1)</script>")
@example("<!-- a")
@example("<http://a.b>")
@example("__a__ _a_ a_b")
@example("&lt;b&#62;")
@example("a | b\n--|--")
@example("\\\\*a*")
@example("- [x] a")
def test_a_text_in_markdown_is_shown_as_it_is_wherever_it_stands(text: str) -> None:
    shown = escape(printable(" ".join(text.split()))).replace("&#x27;", "'")
    assert READER.render(f"before\n\n{escaped(text)}\n\nafter") == (
        f"<p>before</p>\n<p>{shown}</p>\n<p>after</p>\n" if shown else "<p>before</p>\n<p>after</p>\n"
    )
    table = READER.render(f"| a | b |\n|---|---|\n| {escaped(text)} | c |")
    assert f"<td>{shown}</td>\n<td>c</td>" in table
    assert f"<li>a: {shown}".rstrip() in READER.render(f"* a: {escaped(text)}")


def test_what_needs_no_escape_is_left_as_it_reads() -> None:
    for text in (
        "latent_dim=2 against latent_dim=5: -9.80 ± 0.50 (n = 3), p < 0.0001",
        "What does 1e-3 do?",
        "-5 to 0.5",
    ):
        assert escaped(text) == text
