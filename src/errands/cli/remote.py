"""The API of a server, over the network."""

import httpx2

from errands.model.errors import InvalidConfig, Unavailable

SECONDS = 30.0
"""How long a server may take to answer."""
CONNECT_SECONDS = 5.0


class Remote:
    """See `connection.Transport`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._client = httpx2.Client(
                base_url=url,
                headers=headers,
                timeout=httpx2.Timeout(SECONDS, connect=CONNECT_SECONDS),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise InvalidConfig(
                f"{url!r} is no URL of a server: {error}.", hint="For example http://127.0.0.1:8288"
            ) from None

    def ask(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        target = f"{path}?{query}" if query else path
        try:
            answer = self._client.request(method, target, content=body)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            said = str(error) or type(error).__name__
            raise Unavailable(
                f"No errands server answers at {self._url}: {said}.",
                hint="Start it (`errands dev`, or `errands serve`), or say where it is: --url, or "
                "ERRANDS_URL.",
            ) from error
        return answer.status_code, answer.content

    def close(self) -> None:
        self._client.close()
