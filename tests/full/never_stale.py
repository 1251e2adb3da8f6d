"""Runs inside the lab's network, as somebody outside: people who write reviews, and others who look whether they are there.

Standard library only. Standard input is a plan (JSON), standard output the result; see test_never_stale.py.

A pair is a write that was acknowledged, and the first answer that another person, by another connection and another gateway where
there are two, gets to a request that began a second later. It must show what was written. In between the page is asked for all the
time, so that there is a copy to be stale.
"""

import contextlib
import http.client
import json
import re
import secrets
import socket
import ssl
import sys
import threading
import time
from collections import Counter, deque
from urllib.parse import urlencode

PATIENCE_SECONDS = 20
#: A site that is away for longer than this is a failure of its own.
AWAY_SECONDS = 90


class Person:
    """One browser: a connection to each gateway, cookies, perhaps a name."""

    def __init__(self, plan, user=None):
        self.plan, self.user = plan, user
        self.context = ssl.create_default_context(cafile=plan["ca"])
        self.connections, self.cookies = {}, {}
        self.address = None  # of the gateway that was asked last

    def ask(self, method, path, body=None, headers=()):
        """(status, headers, text), or None when no answer came."""
        self.address = address = secrets.choice(self.plan["addresses"])
        headers = {"Host": self.plan["authority"], "User-Agent": "never-stale", **dict(headers)}
        if method == "POST":
            headers["Origin"] = f"https://{self.plan['authority']}"
            headers["Referer"] = f"{headers['Origin']}/"
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            if address not in self.connections:
                connection = http.client.HTTPSConnection(self.plan["domain"], timeout=PATIENCE_SECONDS)
                plain = socket.create_connection((address, 443), PATIENCE_SECONDS)
                connection.sock = self.context.wrap_socket(plain, server_hostname=self.plan["domain"])
                self.connections[address] = connection
            self.connections[address].request(method, path, body, headers)
            answer = self.connections[address].getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            with contextlib.suppress(KeyError):
                self.connections.pop(address).close()
            return None
        if answer.will_close:
            self.connections.pop(address).close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value
        return answer.status, answer.headers, text

    def post_form(self, path, fields):
        """Fetch a form's token, send it. The status, or 0."""
        form = self.ask("GET", path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[2]) if form else None
        if not token:
            return 0
        body = urlencode({"csrfmiddlewaretoken": token[1], **fields})
        answer = self.ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        return answer[0] if answer else 0

    def sign_in(self):
        fields = {"username": self.user["username"], "password": self.user["password"]}
        if self.post_form("/account/login/", fields) != 302:
            raise SystemExit(f"{self.user['username']} could not sign in")

    def write_review(self, slug, text):
        """By the form where anonymous, by the API where signed in. Whether it was acknowledged."""
        fields = {"rating": "4", "name": "Somebody", "text": text}
        if self.user is None:
            return self.post_form(f"/products/{slug}/review/", fields) == 302
        headers = {"Content-Type": "application/json", "X-CSRFToken": self.cookies.get("csrftoken", "")}
        answer = self.ask("POST", f"/api/products/{slug}/reviews/", json.dumps(fields), headers)
        return answer is not None and answer[0] == 201


class Trial:
    """All who take part, and what was seen."""

    def __init__(self, plan):
        self.plan = plan
        self.lock = threading.Lock()
        self.left = plan["pairs"]
        self.due = deque()  # (when, path, text) in the order of their time
        self.writing = plan["writers"]
        self.seen = Counter()
        self.stale, self.foreign, self.problems = [], [], []
        self.end = time.monotonic() + plan["seconds"]

    def take(self):
        with self.lock:
            self.left -= 1
            return self.left >= 0 and time.monotonic() < self.end

    def count(self, what, number=1):
        with self.lock:
            self.seen[what] += number

    def look(self, person, path, own=None):
        """Ask for a page; note whose it is and where it came from. Its text, or None."""
        answer = person.ask("GET", path)
        if answer is None or answer[0] != 200:
            self.count("not answered")
            return None
        state = (answer[1].get("X-Cache") or "none").split()[0]
        self.count(f"X-Cache {state}")
        self.count(f"{state} by {person.address}")
        strangers = [user["username"] for user in self.plan["users"] if user["username"] != own and user["username"] in answer[2]]
        if strangers or (own and own not in answer[2]):
            with self.lock:
                self.foreign.append({"path": path, "own": own, "shows": strangers})
        return answer[2]

    def write(self, number):
        users = self.plan["users"]
        person = Person(self.plan, users[number // 2 % len(users)] if number % 2 else None)
        if person.user:
            person.sign_in()
        try:
            turn = 0
            while self.take():
                slug, text = secrets.choice(self.plan["slugs"]), f"pair-{number}-{turn}-{secrets.token_hex(6)}."
                turn += 1
                page = f"/products/{slug}/"
                anonymous = Person(self.plan)
                self.look(anonymous, page)
                self.look(anonymous, page)
                if not person.write_review(slug, text):
                    self.count("writes refused")
                    time.sleep(0.2)
                    continue
                acknowledged = time.monotonic()
                self.count("writes")
                shown = self.look(anonymous, page)
                self.count("late by less than a second", int(shown is not None and text not in shown))
                for connection in anonymous.connections.values():
                    connection.close()
                # The API is never kept by a gateway: what it tells comes from cachalot or the database.
                with self.lock:
                    self.due.append((acknowledged + self.plan["patience"], page if turn % 4 else f"/api{page}reviews/", text))
                if person.user and turn % 3 == 0:
                    self.look(person, "/account/", person.user["username"])
        finally:
            with self.lock:
                self.writing -= 1

    def read(self, number):
        person = Person(self.plan)
        while True:
            with self.lock:
                item = self.due.popleft() if self.due else None
                over = not self.writing
            if item is None:
                if over:
                    return
                time.sleep(0.02)
                continue
            when, path, text = item
            time.sleep(max(0, when - time.monotonic()))
            began = time.monotonic()
            while (shown := self.look(person, path)) is None and time.monotonic() - began < AWAY_SECONDS:
                time.sleep(0.2)
            with self.lock:
                if shown is None:
                    self.problems.append(f"{path} did not answer for {AWAY_SECONDS} s")
                else:
                    self.seen["pairs"] += 1
                    if text not in shown:
                        self.stale.append({"path": path, "text": text, "seconds": time.monotonic() - when + self.plan["patience"]})

    def run(self):
        def guarded(work, number):
            try:
                work(number)
            except BaseException as problem:
                with self.lock:
                    self.problems.append(f"{work.__name__} {number}: {problem!r}")

        jobs = [(work, number) for work, name in ((self.write, "writers"), (self.read, "readers")) for number in range(self.plan[name])]
        threads = [threading.Thread(target=guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"seen": dict(self.seen), "stale": self.stale[:20], "foreign": self.foreign[:20], "problems": self.problems[:20]}


if __name__ == "__main__":
    json.dump(Trial(json.load(sys.stdin)).run(), sys.stdout)
