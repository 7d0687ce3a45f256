"""News feeds against a local server: as the wild ones write them, and as hostile ones would."""

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from market_http_standin import HttpStandin

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.news import NEWS_SOURCES

NOW = datetime(2025, 3, 3, 15, 0, tzinfo=UTC)


def item(number, title=None, when="Mon, 03 Mar 2025 14:00:00 GMT", **more):
    words = {"title": title or f"Title {number}", "link": f"https://example.org/{number}", "pubDate": when,
             "guid": f"id-{number}", "description": f"About {number}", **more}  # fmt: skip
    return "<item>" + "".join(f"<{n}>{v}</{n}>" for n, v in words.items() if v is not None) + "</item>"


def rss(*items, head='<?xml version="1.0" encoding="UTF-8"?>'):
    inside = "".join(items)
    return f'{head}<rss version="2.0"><channel><title>F</title><link>https://example.org</link>{inside}</channel></rss>'


ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>F</title>
<id>urn:f</id><updated>2025-03-03T14:10:00Z</updated><entry><title type="html">Chips &amp;amp; dips</title>
<id>urn:1</id><link href="https://example.org/a"/><published>2025-03-03T09:00:00-05:00</published>
<updated>2025-03-03T14:10:00Z</updated><summary type="html">&lt;b&gt;Bold&lt;/b&gt; words</summary></entry></feed>"""


class Server(HttpStandin):
    def __init__(self):
        self.document, self.headers = rss(item(1)), {"Content-Type": "application/rss+xml"}
        super().__init__(lambda path, query, headers: (200, self.body(), self.headers))

    def body(self):
        return self.document if isinstance(self.document, bytes) else self.document.encode()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def read(server, seen_before=None, now=NOW, **options):
    return NEWS_SOURCES.create("rss", url=f"{server.url}/feed?token=secret", **options).articles(now, seen_before)


def test_an_article_has_what_its_feed_says_of_it(server):
    (row,) = read(server).rows.iter_rows(named=True)
    assert (row["title"], row["summary"], row["link"]) == ("Title 1", "About 1", "https://example.org/1")
    assert row["time"] == NOW - timedelta(hours=1)


def test_atom_is_read_too_and_markup_is_left_out(server):
    server.document = ATOM
    (row,) = read(server).rows.iter_rows(named=True)
    assert (row["title"], row["summary"], row["time"]) == ("Chips & dips", "Bold words", NOW - timedelta(hours=1))


def test_what_was_there_before_anybody_looked_is_known_since_it_was_published_which_is_assumed(server):
    (row,) = read(server).rows.iter_rows(named=True)
    assert (row["known_at"], row["vintage"]) == (NOW - timedelta(hours=1), "assumed")
    (row,) = read(server, seen_before=NOW - timedelta(minutes=15)).rows.iter_rows(named=True)
    assert (row["known_at"], row["vintage"]) == (NOW, "observed")


@pytest.mark.parametrize("when", [None, "yesterday or so", "Mon, 03 Mar 2031 14:00:00 GMT"])
def test_an_article_without_a_time_that_can_be_is_dated_to_when_it_was_seen(server, when):
    server.document = rss(item(1, when=when))
    (row,) = read(server).rows.iter_rows(named=True)
    assert (row["time"], row["known_at"], row["vintage"]) == (NOW, NOW, "observed")


def test_an_entry_without_title_or_id_is_left_out_and_counted(server):
    server.document = rss(item(1), "<item><title>No id</title></item>", item(2, guid=None, link=None))
    told = read(server)
    assert told.rows.height == 1 and "2 entries" in told.notes[0]


def test_the_next_question_asks_for_changes_only(server):
    server.headers = {**server.headers, "ETag": '"v1"', "Last-Modified": "Mon, 03 Mar 2025 14:00:00 GMT"}
    source = NEWS_SOURCES.create("rss", url=server.url)
    source.articles(NOW, None)
    server.script = [(304, b"", {})]
    assert source.articles(NOW, NOW).rows.is_empty()
    headers = server.asked[-1][2]
    assert headers["if-none-match"] == '"v1"' and headers["if-modified-since"] == "Mon, 03 Mar 2025 14:00:00 GMT"


def test_a_packed_document_is_unpacked_and_measured_after_that(server):
    server.headers = {**server.headers, "Content-Encoding": "gzip"}
    server.document = gzip.compress(rss(item(1)).encode())
    assert read(server).rows.height == 1
    server.document = gzip.compress(rss(item(1, description="x" * 5_000_000)).encode())
    assert len(server.document) < 20_000
    with pytest.raises(DataError, match="more than 1,024 KiB"):
        read(server, kilobytes=1024)


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>"""
QUADRATIC = f'<?xml version="1.0"?><!DOCTYPE x [\n<!ENTITY a "{"A" * 50_000}">\n]>'
FILE = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [BOMB, QUADRATIC, FILE], ids=["nested", "quadratic", "external"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_that_declares_entities_is_not_read(server, head, encoding):
    text = rss(item(1, title="&d;" if "lolz" in head else "&a;"), head=head)
    server.document = text.encode(encoding)
    with pytest.raises(DataError, match="entities"):
        read(server)


def test_an_old_feed_with_a_plain_doctype_is_read(server):
    head = '<?xml version="1.0"?><!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "x.dtd">'
    server.document = rss(item(1), head=head)
    assert read(server).rows.height == 1


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (rss(item(1))[:-60], "well-formed"),
        (rss(item(1, title="AT&T & Co")), "well-formed"),
        ("<html><body>Blocked</body></html>", "no feed"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "well-formed|no feed"),
    ],
)
def test_what_is_no_feed_is_said_to_be_none(server, document, words):
    server.document = document
    with pytest.raises(DataError, match=words) as caught:
        read(server)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("status", "kind"), [(429, RetryError), (500, RetryError), (403, DataError), (404, DataError)])
def test_what_goes_wrong_is_told_by_what_can_be_done(server, status, kind):
    server.script = [(status, b"no", {"Retry-After": "90"})]
    with pytest.raises(kind, match=str(status)) as caught:
        read(server)
    assert "secret" not in str(caught.value)
    assert status != 429 or caught.value.after_s == 90


def test_a_server_that_is_not_there_is_asked_again_later(server):
    server.close()
    with pytest.raises(RetryError, match="did not answer") as caught:
        read(server)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://example.org/feed", "file:///etc/passwd", "example.org", ""])
def test_what_is_no_address_of_a_feed_is_refused(url):
    with pytest.raises(InputError, match="address"):
        NEWS_SOURCES.create("rss", url=url)


def test_huge_fields_are_cut(server):
    server.document = rss(item(1, title="t" * 10_000, description="d" * 100_000))
    (row,) = read(server).rows.iter_rows(named=True)
    assert len(row["title"]) == 500 and len(row["summary"]) == 4000
