"""The servers that the browser talks to: the pages, and a collector that can be told to fail."""
import collections
import http.server
import json
import pathlib
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 30  # seconds
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}

# What the collector got: `mode` is how it was sent ("cors" by fetch, "no-cors" by a beacon), `status` the answer.
Request = collections.namedtuple("Request", "at mode query content_type events status body")


class Server(http.server.ThreadingHTTPServer):
    """A server on a free port of the loopback, in a thread of its own."""

    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A browser may hang up at any time."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The tests say what went wrong."""


def pages(folder, collector):
    """Serves the folder, its pages pointed at the collector, and under `/page` an empty page with the script.

    The query of `/page` becomes the attributes of the script tag."""
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

    class Pages(Handler):
        def do_GET(self):
            address = urllib.parse.urlsplit(self.path)
            attributes = urllib.parse.parse_qs(address.query, keep_blank_values=True)
            if address.path == "/page":
                text = " ".join(f'data-{name}="{value}"' for name, (value, *_) in attributes.items())
                body = f"<!doctype html><title>A page</title><script src=reco.js {text}></script>"
                return self.answer(200, {"Content-Type": "text/html"}, body.encode())
            file = folder / address.path.lstrip("/")
            if file.parent != folder or not file.is_file():
                return self.answer(404, {}, b"")
            body = re.sub(rb'data-endpoint="[^"]*"', f'data-endpoint="{collector.endpoint}"'.encode(), file.read_bytes())
            self.answer(200, {"Content-Type": types[file.suffix] + "; charset=utf-8"}, body)

    return Server(Pages)


class Collector(Server):
    """Takes the events of one test; `plan` says what to answer: None to accept, else (status, headers).

    Accepting is left to a real collector if there is one `behind`. The endpoint is another for each test, so that what
    a page of an earlier one still sends is not taken for the next one's."""

    def __init__(self, behind=None):
        self.behind = behind
        self.n_tests = 0
        self.changed = threading.Condition()
        collector = self

        class Collect(Handler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path, _, query = self.path.partition("?")
                with collector.changed:
                    test = collector.n_tests
                    if f"{collector.url}{path}" != collector.endpoint:
                        return self.answer(503, CORS, b"")
                    collector.at_once += 1
                    collector.most_at_once = max(collector.most_at_once, collector.at_once)
                planned = collector.plan(json.loads(body))
                if planned:
                    status, headers, answer = planned[0], {**CORS, **planned[1]}, b""
                elif collector.behind:
                    status, headers, answer = forward(collector.behind, f"/collect?{query}", self.headers, body)
                else:
                    status, headers = 202, {**CORS, "Content-Type": "application/json"}
                    answer = json.dumps({"accepted": len(json.loads(body)), "dead_lettered": 0}).encode()
                with collector.changed:
                    if test == collector.n_tests:  # Else it was forwarded when its test ended.
                        collector.requests.append(Request(
                            time.monotonic(), self.headers.get("Sec-Fetch-Mode"), query,
                            self.headers.get("Content-Type"), json.loads(body), status, answer))
                        collector.at_once -= 1
                        collector.changed.notify_all()
                self.answer(status, headers, answer)

            def do_OPTIONS(self):
                collector.preflights += 1
                self.answer(204, {**CORS, "Access-Control-Allow-Headers": "*"}, b"")

        super().__init__(Collect)
        self.reset()

    def reset(self):
        with self.changed:
            self.n_tests += 1
            self.endpoint = f"{self.url}/{self.n_tests}/collect"
            self.requests, self.preflights, self.at_once, self.most_at_once = [], 0, 0, 0
            self.plan = lambda events: None

    def accepted(self):
        """The events that were answered 2xx, in the order of arrival, repeats included."""
        with self.changed:
            return [event for request in self.requests if request.status < 300 for event in request.events]

    def wait(self, done, what):
        """Waits until `done()` is true."""
        with self.changed:
            assert self.changed.wait_for(done, PATIENCE), f"{what}; there came {self.requests}"

    def wait_for_events(self, n):
        """The accepted events, as soon as there are `n` different ones."""
        self.wait(lambda: len({event["id"] for event in self.accepted()}) >= n, f"{n} events never came")
        return self.accepted()

    def wait_for_requests(self, n):
        self.wait(lambda: len(self.requests) >= n, f"{n} requests never came")
        return self.requests[:n]


def forward(behind, path, headers, body):
    """What the real collector answers to the same request."""
    kept = {name: headers[name] for name in ("Content-Type", "Origin") if headers.get(name)}
    request = urllib.request.Request(behind + path, data=body, headers=kept)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        answer = error.code, error.headers, error.read()
    status, headers, body = answer
    passed = re.compile("access-control-|vary|retry-after|content-type", re.IGNORECASE)
    return status, {name: value for name, value in headers.items() if passed.match(name)}, body


class RealCollector:
    """The example `collect`, as a process of its own that writes the table below `folder`."""

    def __init__(self, binary, folder):
        self.table, self.log = pathlib.Path(folder) / "events", pathlib.Path(folder) / "collect.log"
        command = [binary, "--listen", "127.0.0.1:0", "--table", str(self.table)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1].rstrip("/")
                break
        else:
            raise AssertionError(f"{binary} ended with {self.process.wait()}: {self.log.read_text()[-2000:]}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def stop(self):
        """Ends it as an operator does; true if it went well."""
        self.process.terminate()
        return self.process.wait(PATIENCE) == 0
