"""The parts of the crawler that need no network: dates, kinds of bodies, addresses, resemblance."""

from __future__ import annotations

import gzip
import random
import socket
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.text.crawl.extract import kind_of, read_feed, read_page, read_sitemap, unpack
from recsys.text.crawl.guard import AddressGuard, RefusedError
from recsys.text.crawl.near import bands, resemblance, signature
from recsys.text.crawl.state import canonical

BODY = "<article><p>{}</p></article>".format(
    "The band played a long and lovely set in London. " * 8
)
FOOTER = "<footer>Copyright 2011-2019 Example. Page made 2018-03-04.</footer>"


def published(markup: str, url: str = "https://example.org/a") -> str | None:
    """Return the date that a page with this markup declares."""
    at = read_page(f"<html><head></head><body>{markup}{FOOTER}</body></html>", url).published_at
    return None if at is None else datetime.fromtimestamp(at / 1000, UTC).date().isoformat()


@pytest.mark.parametrize(
    ("markup", "url", "date"),
    [
        (BODY, "https://example.org/a", None),
        (
            f"<meta property='article:published_time' content='2021-05-06T07:08:09Z'>{BODY}",
            "",
            "2021-05-06",
        ),
        (f"<meta name='date' content='Thu, 06 May 2021 07:08:09 GMT'>{BODY}", "", "2021-05-06"),
        (
            "<script type='application/ld+json'>"
            '{"@graph": [{"@type": "WebSite"}, {"@type": "Article", "comment": '
            '{"datePublished": "2001-01-01"}, "datePublished": "2022-02-03T00:00:00+00:00"}]}'
            f"</script>{BODY}",
            "",
            "2022-02-03",
        ),
        (f"<script type='application/ld+json'>{{broken</script>{BODY}", "", None),
        (f"<article><time datetime='2020-01-02'>then</time>{BODY}</article>", "", "2020-01-02"),
        (f"{BODY}<footer><time datetime='2020-01-02'>now</time></footer>", "", None),
        (BODY, "https://example.org/2019/7/8/review", "2019-07-08"),
        (BODY, "https://example.org/2019/13/8/review", None),
        (f"<meta name='date' content='2999-01-01'>{BODY}", "", None),
        (f"<meta name='date' content='1066-10-14'>{BODY}", "", None),
        (f"<meta name='date' content='last week'>{BODY}", "", None),
    ],
)
def test_a_date_is_read_where_the_page_declares_it(markup: str, url: str, date: str | None) -> None:
    assert published(markup, url or "https://example.org/a") == date


def test_a_page_without_text_is_empty_and_has_no_language() -> None:
    for html in ("", "   ", "<html></html>", "\x00\x01"):
        assert read_page(html, "https://example.org/").text == ""


@given(st.text(max_size=300))
def test_any_text_can_be_read_as_a_page(html: str) -> None:
    read_page(html, "https://example.org/")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<?xml version='1.0'?><rss version='2.0'>", "feed"),
        (b"\xef\xbb\xbf <feed xmlns='http://www.w3.org/2005/Atom'>", "feed"),
        (b"<rdf:RDF xmlns:rdf='x'>", "feed"),
        (b"<!-- c --><urlset xmlns='x'>", "sitemap"),
        (b"<ns:sitemapindex xmlns:ns='x'>", "sitemap"),
        (b"<!DOCTYPE html><html><body>&lt;rss ></body>", "page"),
        (b"no markup at all", "page"),
    ],
)
def test_a_body_shows_what_it_is(body: bytes, kind: str) -> None:
    assert kind_of(body, "text/html") == kind


def test_feed_entries_without_an_address_are_skipped() -> None:
    rss = b"<rss version='2.0'><channel><item><title>x</title></item></channel></rss>"
    assert read_feed(rss) == []
    assert read_feed(b"/etc/passwd") == [], "bytes are never taken for a file name"


def test_a_sitemap_must_be_xml() -> None:
    with pytest.raises(ValueError, match="sitemap"):
        read_sitemap(b"")


def test_a_gzip_file_is_unpacked_up_to_the_limit() -> None:
    assert unpack(b"plain", 3) == b"plain"
    assert unpack(gzip.compress(b"x" * 100), 100) == b"x" * 100
    with pytest.raises(ValueError, match="more than 99"):
        unpack(gzip.compress(b"x" * 100), 99)
    with pytest.raises(ValueError, match="gzip"):
        unpack(b"\x1f\x8bnonsense", 99)


def test_a_gzip_file_over_the_limit_is_never_in_memory() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            unpack(bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:192.168.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
    ],
)
def test_private_addresses_are_refused_at_the_socket(address: str) -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80))
    with pytest.raises(RefusedError, match="not a public address"):
        AddressGuard().socket(info)
    AddressGuard(["0.0.0.0/0", "::/0"]).socket(info).close()


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressGuard().allows(address)


def test_only_the_network_that_was_allowed_is_opened() -> None:
    guard = AddressGuard(["127.0.0.1/32"])
    assert guard.allows("127.0.0.1")
    assert not guard.allows("127.0.0.2")
    assert not guard.allows("10.0.0.1")


def test_spellings_of_one_address_have_one_name() -> None:
    wanted = canonical("https://example.org/a?b=1&c=2")
    assert canonical("https://EXAMPLE.org/a?c=2&b=1&utm_source=rss#part") == wanted
    assert canonical("https://example.org/b") != wanted


def test_edited_copies_resemble_and_others_do_not() -> None:
    draw = random.Random(0)
    vocabulary = [f"word{n}" for n in range(200)]
    text = [draw.choice(vocabulary) for _ in range(400)]
    copy = text.copy()
    for place in draw.sample(range(400), 8):
        copy[place] = "edited"
    signed, edited = signature(" ".join(text)), signature(" ".join(copy))
    other = signature(" ".join(draw.choice(vocabulary) for _ in range(400)))
    assert resemblance(signed, edited) > 0.75
    assert resemblance(signed, other) < 0.1
    assert set(enumerate(bands(signed))) & set(enumerate(bands(edited)))
    assert not set(enumerate(bands(signed))) & set(enumerate(bands(other)))


def test_the_estimate_follows_the_true_resemblance() -> None:
    """The slow twin: Jaccard of the sets of word 4-grams."""
    draw = random.Random(1)
    for share in (0.2, 0.5, 0.9):
        common = [f"c{n}" for n in range(int(1000 * share))]
        one = " ".join(common + [f"a{draw.random()}" for _ in range(1000 - len(common))])
        two = " ".join(common + [f"b{draw.random()}" for _ in range(1000 - len(common))])
        grams = [
            {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
            for words in (one.replace(".", " ").split(), two.replace(".", " ").split())
        ]
        true = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
        assert abs(resemblance(signature(one), signature(two)) - true) < 0.18


@given(st.text(max_size=60))
def test_a_signature_has_a_fixed_shape_and_is_its_own_twin(text: str) -> None:
    signed = signature(text)
    assert signed.shape == (64,)
    assert signed.dtype == np.uint32
    assert resemblance(signed, signature(text.upper().lower())) >= 0.0
    assert resemblance(signed, signed) == 1.0
