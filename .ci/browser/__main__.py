"""The browser script `examples/web/reco.js` and the demo shop, in a real browser, against a real collector; and the
pages that the example `shop_dashboard` makes.

    python3 .ci/browser --collector TARGET/debug/examples/collect [--pages DIR] [--optional] [--screenshots DIR] [NAME…]

Needs Chromium, and nothing but Python's standard library; with the package `deltalake` it also reads the table that
the collector wrote. Without `--collector` a stand-in accepts everything; without `--pages`, what that
example has written, its pages are not tested. With `--optional` a machine without Chromium
passes. NAMEs choose some of the tests.
"""
import argparse
import inspect
import json
import os
import pathlib
import sys
import tempfile
import time
import urllib.parse

import chromium
import delivery
import pages
import recording
import servers
import shop

TESTS = {name: test for module in (recording, delivery, shop, pages) for name, test in vars(module).items()
         if inspect.isfunction(test) and test.__module__ == module.__name__ and not name.startswith("_")}


# Where the table keeps what an event says.
COLUMNS = {"kind": "kind", "client": "client_id", "session": "session_id", "item": "item_id", "query": "query",
           "price": "price", "quantity": "quantity", "currency": "currency"}


class World:
    """What a test gets: the browser, the servers, and tabs whose uncaught exceptions fail it."""

    def __init__(self, browser, site, collector, screenshots, pages):
        self.browser, self.site, self.collector, self.screenshots = browser, site, collector, screenshots
        self.pages = pages
        self.endpoint = collector.endpoint
        self.tabs = []

    def shopper(self):
        return self.browser.shopper()

    def page(self, **attributes):
        """The address of an empty page with the script; the attributes are those of its tag."""
        return address(self.site.url, endpoint=self.endpoint, **attributes)

    def bare_page(self):
        """The same without an endpoint: the page calls `reco.init` by itself."""
        return f"{self.site.url}/page"

    def tab(self, shopper, url=None, before=None):
        self.tabs.append(self.browser.tab(shopper, url, before))
        return self.tabs[-1]


def address(site, **attributes):
    query = urllib.parse.urlencode({name.replace("_", "-"): value for name, value in attributes.items()})
    return f"{site}/page?{query}"


def check_headers(collector):
    """A page of another origin may read the answer, and how long to wait."""
    event = b'{"id":"0","kind":"pageview","client":"c"}'
    status, headers, _ = servers.forward(collector.url, "/collect", {"Origin": "https://shop.example"}, event)
    headers = {name.lower(): value.lower() for name, value in headers.items()}
    assert status == 202, status
    assert headers.get("access-control-allow-origin") in ("*", "https://shop.example"), headers
    exposed = headers.get("access-control-expose-headers", "")
    assert exposed == "*" or "retry-after" in exposed, f"`Retry-After` is hidden from pages: {headers}"


def check_answers(requests):
    """The collector could read every event that the browser made."""
    for request in requests:
        if request.status < 300:
            answer = json.loads(request.body)
            assert (answer["accepted"], answer["dead_lettered"]) == (len(request.events), 0), answer


def check_table(table, events):
    """Every event that was answered 2xx is in the table, as it was sent."""
    try:
        from deltalake import DeltaTable
    except ImportError:
        print("the package `deltalake` is not installed: the table was not read")
        return
    rows = DeltaTable(str(table)).to_pyarrow_table().to_pylist()
    by_id = {row["id"]: row for row in rows}
    missing = events.keys() - by_id.keys()
    assert not missing, f"{len(missing)} acknowledged events are not in the table: {sorted(missing)[:3]}"
    for name, event in events.items():
        row = by_id[name]
        assert json.loads(row["payload"]) == event, (row, event)
        for member, column in COLUMNS.items():
            assert row[column] == event.get(member), (column, row, event)
        assert round(row["occurred_at"].timestamp() * 1000) == event["occurred_at"], (row, event)
    print(f"the table holds all {len(events)} acknowledged events; {len(rows) - len(by_id)} rows repeat an id")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collector", help="the built example `collect`")
    parser.add_argument("--chromium", help="the browser's executable")
    parser.add_argument("--pages", type=pathlib.Path, help="the folder that the example `shop_dashboard` has written")
    parser.add_argument("--optional", action="store_true", help="pass where there is no Chromium")
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures of the demo shop")
    parser.add_argument("tests", nargs="*", metavar="NAME", help=f"of {', '.join(TESTS)}")
    args = parser.parse_args()
    if unknown := set(args.tests) - set(TESTS):
        parser.error(f"no test is called {', '.join(sorted(unknown))}")
    chosen = args.tests or [name for name, test in TESTS.items() if args.pages or test.__module__ != pages.__name__]
    executable = chromium.find(args.chromium)
    if executable is None:
        print("no Chromium is installed: the browser script was not tested")
        return 0 if args.optional else 1
    if args.screenshots:
        args.screenshots.mkdir(parents=True, exist_ok=True)

    failed, acknowledged = [], {}
    with tempfile.TemporaryDirectory(prefix="reco-collect-") as folder:
        real = servers.RealCollector(args.collector, folder) if args.collector else None
        collector = servers.Collector(real.url if real else None)
        site = servers.pages(pathlib.Path(__file__).resolve().parents[2] / "examples" / "web", collector)
        # A second name for the site, without TLS and not the machine's own: pages there are no secure context.
        with chromium.Chromium(executable, "--host-resolver-rules=MAP shop.test 127.0.0.1") as browser:
            for name in chosen:
                collector.reset()
                world, started = World(browser, site, collector, args.screenshots, args.pages), time.monotonic()
                try:
                    TESTS[name](world)
                    exceptions = [text for tab in world.tabs for text in tab.exceptions]
                    assert not exceptions, f"uncaught in a page: {exceptions}"
                    check_answers(collector.requests)
                    print(f"ok      {name} ({time.monotonic() - started:.1f} s)")
                except Exception as error:  # One broken test must not hide the others.
                    trace = error.__traceback__.tb_next or error.__traceback__
                    print(f"FAILED  {name}, line {trace.tb_lineno}: {type(error).__name__}: {error}")
                    failed.append(name)
                acknowledged.update((event["id"], event) for event in collector.accepted())
                for tab in world.tabs:
                    tab.leave()
        if real:
            check_headers(real)
            assert real.stop(), f"the collector did not end well: {real.log.read_text()[-2000:]}"
            check_table(real.table, acknowledged)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    code = main()
    # pyarrow's own threads abort the interpreter now and then while it shuts down; all is checked by now.
    sys.stdout.flush()
    os._exit(code)
