"""What a back end in Python asks the bridge. It needs nothing else. See docs/bridge.md."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request


class HandoverError(Exception):
    """Why there are no tokens: "no_session", "not_loaded" or "later", when the session is still good."""

    def __init__(self, reason, message, retry_after=0):
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


def handover(issuer, token):
    """Returns the tokens of the new system for one of SuperTokens', which ends the old session."""
    return _ask(issuer + "/handover", token, {})


def ticket(issuer, token, client_id, code_challenge):
    """Returns a ticket that stands for the session in the authorization request with this challenge, for 60 seconds."""
    return _ask(issuer + "/handover/ticket", token, {"client_id": client_id, "code_challenge": code_challenge})["ticket"]


def _ask(url, token, body, tries=3):
    if not token:
        raise HandoverError("no_session", "there is no token")
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=35) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            status, text, wait = e.code, e.read().decode(errors="replace"), _seconds(e.headers.get("Retry-After"))
        except (OSError, ValueError) as e:  # it may have done it: asking again is for the visitor to decide
            raise HandoverError("later", f"the bridge does not answer: {e}") from e
        if status == 401:
            raise HandoverError("no_session", text)
        if status == 403:
            raise HandoverError("not_loaded", text)
        tries -= 1
        if status not in (429, 503) or tries == 0 or wait > 5:
            raise HandoverError("later", f"{status} {text}", wait)
        time.sleep(wait)


def _seconds(text):
    return int(text) if text and text.isdigit() else 0


def token_of(headers):
    """Returns the token of a session in the headers of a request, "" where there is none: a bearer token before cookies."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    # http.cookies gives all up for one cookie of somebody else's that it does not like.
    cookies = dict(part.partition("=")[::2] for part in headers.get("Cookie", "").split("; "))
    return urllib.parse.unquote(cookies.get("sAccessToken") or cookies.get("sRefreshToken") or "")


def ended(domain="", refresh_path="/auth/session/refresh"):
    """Returns headers Set-Cookie that end SuperTokens' cookies. The domain is its cookieDomain, if one was set."""
    where = f"; Domain={domain}" if domain else ""
    return [
        f"{name}=; Path={refresh_path if name == 'sRefreshToken' else '/'}; Max-Age=0{where}"
        for name in ("sAccessToken", "sRefreshToken", "sIdRefreshToken", "sFrontToken", "sAntiCsrf")
    ]
