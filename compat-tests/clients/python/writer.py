"""A user of an ensemble that has trouble: writes one node after another in one session, with kazoo.

Usage: writer.py CONNECT_STRING. Prints "ready" when it has begun. A line on the standard input ends it:
it reads back what was acknowledged and prints "ok COUNT", or "FAILED WHY" as soon as it knows.
"""

import logging
import os
import sys
import threading
import time

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionLoss, NodeExistsError, OperationTimeoutError, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError

HOME = "/guest-python"


def fail(why):
    print("FAILED " + why, flush=True)
    os._exit(1)


def insist(what):
    """Tries again until there is an answer; whether it had to."""
    again = False
    end = time.monotonic() + 120
    while True:
        try:
            return what(), again
        except NodeExistsError:
            if not again:
                raise
            return None, again
        except SessionExpiredError:
            fail("the session was lost")
        except (ConnectionLoss, OperationTimeoutError, KazooTimeoutError) as error:
            if time.monotonic() > end:
                fail("no answer for two minutes: %r" % error)
            again = True
            time.sleep(0.05)


def main():
    logging.basicConfig(level=logging.ERROR)
    client = KazooClient(hosts=sys.argv[1], timeout=30.0, randomize_hosts=True)
    lost = threading.Event()
    client.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
    client.start(timeout=60)
    session = client.client_id[0]
    insist(lambda: client.create(HOME))
    insist(lambda: client.create(HOME + "/alive", ephemeral=True))
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    count = 0
    while not stop.is_set():
        insist(lambda: client.create("%s/w-%08d" % (HOME, count), b"python"))
        count += 1
        if count == 1:
            print("ready", flush=True)
        time.sleep(0.02)
    if lost.is_set() or client.client_id[0] != session:
        fail("the session was lost")
    insist(lambda: client.sync(HOME))
    children, _ = insist(lambda: client.get_children(HOME))
    missing = {"w-%08d" % n for n in range(count)} - set(children)
    if missing:
        fail("%d acknowledged writes are gone, among them %s" % (len(missing), min(missing)))
    if len(children) != count + 1:
        fail("%d children for %d writes and an ephemeral" % (len(children), count))
    stat, _ = insist(lambda: client.exists(HOME + "/alive"))
    if stat is None or stat.ephemeralOwner != session:
        fail("the ephemeral is gone or another's")
    client.stop()
    print("ok %d" % count, flush=True)


main()
