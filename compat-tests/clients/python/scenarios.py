"""What users do with kazoo."""
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient
from kazoo.exceptions import (BadVersionError, NoAuthError, NodeExistsError, NoNodeError, NotEmptyError,
                              RolledBackError, SessionExpiredError)
from kazoo.security import make_digest_acl
from kazoo.recipe.watchers import PatientChildrenWatch

HOSTS = sys.argv[1]


def client(**options):
    zk = KazooClient(hosts=HOSTS, timeout=15.0, **options)
    zk.start(timeout=60)
    return zk


def stop(*clients):
    for zk in clients:
        zk.stop()
        zk.close()


def until(holds, what):
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError(what)


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError("wanted %s" % error)


def basics(zk, root):
    assert zk.create(root + "/a", b"1") == root + "/a"
    data, stat = zk.get(root + "/a")
    assert data == b"1" and stat.version == 0
    assert zk.set(root + "/a", b"22", version=0).version == 1
    refused(BadVersionError, zk.set, root + "/a", b"", version=0)
    refused(NodeExistsError, zk.create, root + "/a")
    refused(NoNodeError, zk.get, root + "/none")
    zk.create(root + "/a/b/c/d", makepath=True)
    refused(NotEmptyError, zk.delete, root + "/a")
    zk.delete(root + "/a", recursive=True)
    assert zk.exists(root + "/a") is None
    path, stat = zk.create(root + "/s-", b"xyz", sequence=True, include_data=True)
    assert path == root + "/s-0000000001" and stat.dataLength == 3
    assert zk.create(root + "/\u4e2d\u6587", "\u6587".encode()) == root + "/\u4e2d\u6587"
    zk.sync(root)


def config_watch(zk, root):
    seen = []
    zk.create(root + "/config", b"v0")

    @zk.DataWatch(root + "/config")
    def changed(data, stat):
        seen.append(data)

    other = client()
    for i in range(1, 6):
        other.set(root + "/config", b"v%d" % i)
        until(lambda: seen[-1] == b"v%d" % i, "version %d" % i)
    other.delete(root + "/config")
    until(lambda: seen[-1] is None, "deletion")
    stop(other)


def children_watch(zk, root):
    seen = []
    zk.ChildrenWatch(root, lambda children: seen.append(sorted(children)) and None)
    other = client()
    other.create(root + "/m1", ephemeral=True)
    until(lambda: seen[-1] == ["m1"], "member")
    stop(other)
    until(lambda: seen[-1] == [], "gone")


def lock(zk, root):
    inside, turns, errors = [], [], []

    def work(name):
        mine = client()
        try:
            for _ in range(4):
                with mine.Lock(root + "/lock", name):
                    inside.append(name)
                    assert len(inside) == 1
                    turns.append(name)
                    inside.remove(name)
        except Exception as e:
            errors.append(e)
        finally:
            stop(mine)

    threads = [threading.Thread(target=work, args=("w%d" % i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert not errors and len(turns) == 16, (errors, turns)


def election(zk, root):
    led = []
    done = threading.Event()

    def lead(name):
        led.append(name)
        if len(led) == 3:
            done.set()

    threads, clients = [], []
    for i in range(3):
        mine = client()
        clients.append(mine)
        threads.append(threading.Thread(target=mine.Election(root + "/e", "c%d" % i).run, args=(lead, "c%d" % i)))
    [t.start() for t in threads]
    assert done.wait(60)
    [t.join(60) for t in threads]
    assert sorted(led) == ["c0", "c1", "c2"]
    stop(*clients)


def queue(zk, root):
    q = zk.LockingQueue(root + "/q")
    for i in range(10):
        q.put(b"%d" % i)
    for i in range(10):
        assert q.get(10) == b"%d" % i
        assert q.consume()
    plain = zk.Queue(root + "/p")
    plain.put(b"low", priority=200)
    plain.put(b"high", priority=1)
    assert plain.get() == b"high" and plain.get() == b"low" and plain.get() is None


def barrier(zk, root):
    gone = []
    b = zk.Barrier(root + "/b")
    b.create()
    other = client()
    t = threading.Thread(target=lambda: gone.append(other.Barrier(root + "/b").wait(30)))
    t.start()
    until(t.is_alive, "waiting")
    b.remove()
    t.join(60)
    assert gone == [True], gone
    left = []

    def enter(mine):
        double = mine.DoubleBarrier(root + "/d", 2)
        double.enter()
        double.leave()
        left.append(1)

    threads = [threading.Thread(target=enter, args=(c,)) for c in (zk, other)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert len(left) == 2, left
    stop(other)


def membership(zk, root):
    other = client()
    one, two = zk.Party(root + "/party", "one"), other.Party(root + "/party", "two")
    one.join()
    two.join()
    until(lambda: sorted(one) == ["one", "two"], "two members")
    two.leave()
    until(lambda: list(one) == ["one"], "one member")
    shallow = zk.ShallowParty(root + "/shallow", "s")
    shallow.join()
    assert len(shallow) == 1
    stop(other)


def registry(zk, root):
    members = PatientChildrenWatch(zk, root, time_boundary=0.2).start()
    other = client()
    other.create(root + "/service-", b"127.0.0.1:80", ephemeral=True, sequence=True)
    children, _ = members.get(timeout=30)
    assert len(children) == 1, children
    stop(other)


def counter(zk, root):
    c = zk.Counter(root + "/n")
    for _ in range(5):
        c += 2
    c -= 1
    assert c.value == 9
    s = zk.Semaphore(root + "/s", max_leases=2)
    with s:
        pass


def session_move(zk, root):
    members = HOSTS.split(",")
    first = KazooClient(hosts=members[0], timeout=15.0)
    first.start(timeout=60)
    first.create(root + "/e", ephemeral=True)
    identity = first.client_id
    # The former connection is closed; this client must not come back for the session.
    first.set_hosts("127.0.0.1:1")
    second = KazooClient(hosts=members[-1], timeout=15.0, client_id=identity)
    second.start(timeout=60)
    assert second.client_id[0] == identity[0]
    second.sync(root)
    assert second.exists(root + "/e").ephemeralOwner == identity[0]
    stop(second)
    zk.sync(root)
    assert zk.exists(root + "/e") is None
    stop(first)


def multi(zk, root):
    t = zk.transaction()
    t.create(root + "/a", b"1")
    t.set_data(root + "/a", b"2", version=0)
    t.check(root + "/a", version=1)
    results = t.commit()
    assert results[0] == root + "/a" and results[1].version == 1 and results[2] is True, results
    t = zk.transaction()
    t.create(root + "/b")
    t.delete(root + "/none")
    t.set_data(root + "/a", b"")
    results = t.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], NoNodeError), results
    assert zk.exists(root + "/b") is None


def acl(zk, root):
    bob = client(auth_data=[("digest", "bob:secret")])
    bob.create(root + "/mine", b"x", acl=[make_digest_acl("bob", "secret", all=True)])
    assert bob.get(root + "/mine")[0] == b"x"
    zk.sync(root)
    refused(NoAuthError, zk.get, root + "/mine")
    zk.add_auth("digest", "bob:secret")
    assert zk.get(root + "/mine")[0] == b"x"
    acls, stat = bob.get_acls(root + "/mine")
    assert acls[0].id.scheme == "digest"
    stop(bob)


def chroot(zk, root):
    inside = client()
    inside.chroot = root
    inside.create("/x", b"1")
    zk.sync(root)
    assert zk.get(root + "/x")[0] == b"1"
    assert inside.get_children("/") == ["x"]
    stop(inside)


def large(zk, root):
    pending = [zk.create_async(root + "/n%05d" % i) for i in range(2000)]
    [p.get(60) for p in pending]
    assert len(zk.get_children(root)) == 2000
    big = b"x" * 1000000
    zk.create(root + "/big", big)
    assert zk.get(root + "/big")[0] == big


def four_letters(zk, root):
    assert zk.server_version()[:2] >= (3, 4)
    assert "Mode" in zk.command(b"stat")


def reconnect(zk, root):
    zk.create(root + "/e", ephemeral=True)
    zk.create(root + "/w", b"0")
    seen = []
    zk.DataWatch(root + "/w", lambda data, stat: seen.append(data) and None)
    identity = zk.client_id[0]
    print("@restart", flush=True)
    sys.stdin.readline()
    stat = zk.retry(zk.exists, root + "/e")
    assert stat is not None and stat.ephemeralOwner == identity and zk.client_id[0] == identity
    zk.retry(zk.set, root + "/w", b"1")
    until(lambda: seen[-1] == b"1", "the watch goes on")


def storm(zk, root):
    clients = [client() for _ in range(20)]
    for i, c in enumerate(clients):
        c.create(root + "/e%d" % i, ephemeral=True)
    ids = [c.client_id[0] for c in clients]
    print("@restart", flush=True)
    sys.stdin.readline()
    for i, c in enumerate(clients):
        stat = c.retry(c.exists, root + "/e%d" % i)
        assert stat is not None and stat.ephemeralOwner == ids[i] == c.client_id[0], i
    stop(*clients)


good = True
for scenario in (basics, config_watch, children_watch, lock, election, queue, barrier, membership, registry,
                 counter, session_move, multi, acl, chroot, large, four_letters, reconnect, storm):
    name = scenario.__name__
    try:
        main = client()
        main.create("/" + name)
        scenario(main, "/" + name)
        stop(main)
        print("ok", name, flush=True)
    except BaseException as e:
        traceback.print_exc()
        print("FAILED %s: %r" % (name, e), flush=True)
        good = False
sys.exit(0 if good else 1)
