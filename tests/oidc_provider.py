"""An OpenID Connect provider on this machine: whoever chooses a name there is who they say.

Authorization code with PKCE (S256), a client secret, ID tokens signed with RS256. It checks what
the protocol asks of it, and has no passwords.
"""

import base64
import hashlib
import html
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.local_server import Quiet, listening

CLIENT, SECRET = "pairtrace", "a secret of this test"


class Provider:
    """People by name, each with the claims that the provider makes about them."""

    def __init__(self, people: Mapping[str, dict[str, Any]]) -> None:
        self.people = people
        self.key = RSAKey.generate_key(2048, {"use": "sig", "kid": "one"})
        self.codes: dict[str, dict[str, str]] = {}
        self.url = ""

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def page(self, query: str) -> str:
        """Everybody as a link that says yes to the client."""
        links = [
            f'<p><a href="/chosen?{html.escape(query)}&amp;name={name}">{name}</a></p>'
            for name in self.people
        ]
        return f"<h1>Who are you?</h1>{''.join(links)}"

    def chosen(self, asked: dict[str, str]) -> str:
        """Where somebody who chose a name is sent back to."""
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, asked: dict[str, str], authorization: str) -> dict[str, Any]:
        """The tokens for a code, which works once."""
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        assert [unquote(part) for part in given.split(":")] == [CLIENT, SECRET]
        before = self.codes.pop(asked["code"])
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == before["code_challenge"]
        assert asked["redirect_uri"] == before["redirect_uri"]
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": before["nonce"],
            "sub": before["name"],
            **self.people[before["name"]],
        }
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return {"access_token": "x", "token_type": "Bearer", "expires_in": 300, "id_token": signed}


@contextmanager
def oidc_provider(people: Mapping[str, dict[str, Any]]) -> Iterator[Provider]:
    provider = Provider(people)

    class Handler(Quiet):
        def do_GET(self):
            parts = urlsplit(self.path)
            if parts.path == "/chosen":
                self.send_response(302)
                self.send_header("Location", provider.chosen(dict(parse_qsl(parts.query))))
                self.end_headers()
            elif parts.path == "/authorize":
                self.answer(provider.page(parts.query).encode(), "text/html")
            elif parts.path == "/keys":
                self.say({"keys": [provider.key.as_dict(private=False)]})
            elif parts.path == "/.well-known/openid-configuration":
                self.say(provider.metadata())
            else:
                self.send_error(404)

        def do_POST(self):
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked = {name: values[0] for name, values in body.items()}
            self.say(provider.token(asked, self.headers["Authorization"]))

        def say(self, content):
            self.answer(json.dumps(content).encode(), "application/json")

        def answer(self, body, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with listening(Handler) as address:
        provider.url = address
        yield provider
