"""A server in this process that speaks S3, where s3fs and moto are installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.request import Request, urlopen

INSTALLED = all(find_spec(name) for name in ("s3fs", "moto", "flask_cors"))


@contextmanager
def serving_s3() -> Iterator[dict[str, str]]:
    """Serve S3, with one empty bucket named `bucket`, to this process.

    Yields the environment with which other processes find it.
    """
    import fsspec
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "endpoint_url": f"http://{host}:{port}",
        "key": "testing",
        "secret": "testing",
    }
    reset = Request(f"{settings['endpoint_url']}/moto-api/reset", method="POST")
    urlopen(reset).close()  # what a server before it in this process held is still there
    fsspec.config.conf["s3"] = settings
    fsspec.filesystem("s3").mkdir("bucket")
    try:
        yield {f"FSSPEC_S3_{name.upper()}": value for name, value in settings.items()}
    finally:
        del fsspec.config.conf["s3"]
        running.stop()
