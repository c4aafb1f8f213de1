"""What the scripts share: the ports of the server, from the env file, and a client that verifies its certificate."""
import os
import ssl
import sys
import time

HOST = "localhost"
DOMAIN = os.environ["DOMAIN"]
PASSWORD = os.environ["PASSWORD"]
CA = os.environ["CA"]

# What the other side appends: large enough to be sent piece by piece.
LARGE = b"Subject: from the other side\r\n\r\n" + b"the text\r\n" * 40_000


def port(name):
    return int(os.environ[name])


def tls():
    return ssl.create_default_context(cafile=CA)


def user(name):
    return f"{name}@{DOMAIN}"


def wait_for(what, look):
    """Until look() says something; a minute at most."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def step(done):
    """Says what is done, and goes on when the other side has looked at it and done its own part."""
    print(done, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "go", f"{done}: {answer}"
