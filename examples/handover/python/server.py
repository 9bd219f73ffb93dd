"""An application whose visitors come over: a page, a sign-in at the new system (OpenID
Connect with PKCE), and an API. What is about the bridge is in handover.py and in the page."""

import base64
import hashlib
import http.cookies
import http.server
import json
import os
import pathlib
import secrets
import urllib.error
import urllib.parse
import urllib.request

from handover import HandoverError, ended, handover, token_of

LISTEN, ISSUER, TARGET, CLIENT_ID = (os.environ[name] for name in ("LISTEN", "ISSUER", "TARGET", "CLIENT_ID"))
BASE = "http://" + LISTEN
FILES = {"/": ("index.html", "text/html"), "/handover.js": ("handover.js", "text/javascript")}
USERS = {}  # who is signed in, by the cookie of this application


def unpadded(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def subject(jwt):
    """Reads a token that came straight from the new system."""
    return json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))["sub"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", kind="application/json", location="", cookies=()):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cookie(self, name):
        found = http.cookies.SimpleCookie(self.headers.get("Cookie", "")).get(name)
        return found.value if found else ""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/me":
            user = USERS.get(self.cookie("app"))
            self.answer(200 if user else 401, json.dumps({"user": user}).encode())
        elif url.path == "/login":
            self.login(query)
        elif url.path == "/callback":
            self.callback(query)
        elif url.path in FILES:
            name, kind = FILES[url.path]
            self.answer(200, (pathlib.Path(__file__).parent.parent / "browser" / name).read_bytes(), kind)
        else:
            self.answer(404)

    def login(self, query):
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        ask = {
            "client_id": CLIENT_ID, "redirect_uri": BASE + "/callback", "response_type": "code", "scope": "openid", "state": state,
            "code_challenge": unpadded(hashlib.sha256(verifier.encode()).digest()), "code_challenge_method": "S256",
        }
        ask.update({name: query[name] for name in ("kc_idp_hint", "prompt") if name in query})
        self.answer(
            302, location=f"{TARGET}/protocol/openid-connect/auth?{urllib.parse.urlencode(ask)}",
            cookies=[f"login-{state}={verifier}; Path=/callback; HttpOnly; SameSite=Lax; Max-Age=600"],
        )

    def callback(self, query):
        verifier = self.cookie("login-" + query.get("state", ""))
        error = query.get("error") or ("" if verifier else "invalid_request")
        if not error:
            form = {
                "grant_type": "authorization_code", "code": query.get("code", ""), "redirect_uri": BASE + "/callback", "client_id": CLIENT_ID,
                "code_verifier": verifier,
            }
            try:
                with urllib.request.urlopen(f"{TARGET}/protocol/openid-connect/token", urllib.parse.urlencode(form).encode(), timeout=30) as tokens:
                    user = subject(json.load(tokens)["access_token"])
            except urllib.error.URLError:
                error = "server_error"
        if error:
            self.answer(302, location="/?" + urllib.parse.urlencode({"error": error}))
            return
        session = secrets.token_urlsafe(32)
        USERS[session] = user
        self.answer(302, location="/", cookies=[f"app={session}; Path=/; HttpOnly; SameSite=Lax"])

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/clear":
            self.answer(204, cookies=ended())
        elif self.path == "/switch":  # for clients that are no browser and bring their old token along
            try:
                self.answer(200, json.dumps(handover(ISSUER, token_of(self.headers))).encode(), cookies=ended())
            except HandoverError as e:
                self.answer({"no_session": 401, "not_loaded": 403, "later": 503}[e.reason], json.dumps({"reason": e.reason}).encode())
        else:
            self.answer(404)

    def log_message(self, *args):
        pass  # addresses of requests have codes in them


if __name__ == "__main__":
    host, port = LISTEN.split(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    print("listening on " + BASE, flush=True)
    server.serve_forever()
