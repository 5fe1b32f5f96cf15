"""Headless Chromium, driven over a pipe with the DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""
import base64
import fcntl
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,1000 --remote-debugging-pipe""".split()
PATIENCE = 30  # seconds


def find(named=None):
    """The path of a Chromium, or None."""
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """A browser with an empty profile. Leaving the `with` block ends it."""

    def __init__(self, executable, *flags):
        self.profile = tempfile.mkdtemp(prefix="reco-browser-")
        # It reads commands on descriptor 3 and writes on 4; ours must not be in the way of those.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (*os.pipe(), *os.pipe())]
        read, self.to_browser, self.from_browser, write = ends
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", executable, *FLAGS, *flags,
             f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read)
        os.close(write)
        self.lock = threading.Lock()
        self.last_id = 0
        self.answers = {}
        self.pages = {}
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            shutil.rmtree(self.profile, ignore_errors=True)

    def _read(self):
        with os.fdopen(self.from_browser, "rb") as pipe:
            rest = b""
            while chunk := pipe.read1(1 << 16):
                *messages, rest = (rest + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self.answers[message["id"]].put(message)
                    elif message.get("sessionId") in self.pages:
                        self.pages[message["sessionId"]]._event(message["method"], message["params"])

    def call(self, method, session=None, **params):
        """Sends one command and returns its result."""
        with self.lock:
            self.last_id += 1
            number, answer = self.last_id, queue.Queue()
            self.answers[number] = answer
            command = {"id": number, "method": method, "params": params}
            if session:
                command["sessionId"] = session
            os.write(self.to_browser, json.dumps(command).encode() + b"\0")
        message = answer.get(timeout=PATIENCE)
        del self.answers[number]
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def shopper(self):
        """A browser of its own: its tabs share storage with each other and with nobody else."""
        return self.call("Target.createBrowserContext")["browserContextId"]

    def tab(self, shopper, url=None, before=None):
        """A new tab; `before` is a script that runs before those of every page."""
        return Tab(self, shopper, url, before)


class Tab:
    """One tab, and what its console said."""

    def __init__(self, browser, shopper, url, before):
        self.browser = browser
        self.console, self.exceptions = [], []
        self.requests, self.log = [], []
        self.loaded = threading.Event()
        self.target = browser.call("Target.createTarget", url="about:blank", browserContextId=shopper)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        if url:
            self.open(url)

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def _event(self, method, params):
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.log.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.exceptions.append(details.get("exception", {}).get("description", details["text"]))

    def watch(self):
        """From now on, keeps what the tab asks for and what the browser says about it."""
        for domain in ("Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, url):
        """Opens the page and waits until it has loaded."""
        self.loaded.clear()
        result = self.call("Page.navigate", url=url)
        assert not result.get("errorText"), f"{url}: {result['errorText']}"
        assert self.loaded.wait(PATIENCE), f"{url} does not load"

    def reload(self):
        self.loaded.clear()
        self.call("Page.reload")
        assert self.loaded.wait(PATIENCE), "the page does not load again"

    def js(self, expression):
        """The value of the expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise AssertionError(f"{expression}: {details.get('exception', {}).get('description', details['text'])}")
        return result["result"].get("value")

    def until(self, expression):
        """Waits until the expression is true in the page."""
        deadline = time.monotonic() + PATIENCE
        while not self.js(expression):
            assert time.monotonic() < deadline, f"never true: {expression}; the console said {self.console}"
            self.js("new Promise((resolve) => setTimeout(resolve, 20))")

    def close(self):
        """Closes the tab as its user does: the page is told."""
        self.call("Page.close")

    def leave(self):
        """Goes where no script runs."""
        try:
            self.open("about:blank")
        except RuntimeError:
            pass  # It was closed.

    def screenshot(self, path, width=1280, height=1000):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(picture))
