import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** What users do with the official client; compiles against every release from 3.4 on. */
public final class Scenarios {
    static String hosts;
    static final List<ACL> OPEN = ZooDefs.Ids.OPEN_ACL_UNSAFE;

    /** The library has no such thing. */
    static final class NotThere extends Exception {
    }

    interface Scenario {
        void run(String root) throws Exception;
    }

    static final class Events implements Watcher {
        final BlockingQueue<WatchedEvent> all = new LinkedBlockingQueue<>();
        final CountDownLatch connected = new CountDownLatch(1);

        @Override
        public void process(WatchedEvent event) {
            if (event.getType() == Event.EventType.None) {
                if (event.getState() == Event.KeeperState.SyncConnected) {
                    connected.countDown();
                }
                return;
            }
            all.add(event);
        }

        WatchedEvent next() throws Exception {
            WatchedEvent event = all.poll(30, TimeUnit.SECONDS);
            check(event != null, "no event came");
            return event;
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void same(Object want, Object got) {
        check(want == null ? got == null : want.equals(got), "wanted " + want + ", got " + got);
    }

    static ZooKeeper open(String suffix, Watcher watcher) throws Exception {
        Events first = new Events();
        ZooKeeper zk = new ZooKeeper(hosts + suffix, 15000, first);
        check(first.connected.await(60, TimeUnit.SECONDS), "not connected");
        if (watcher != null) {
            zk.register(watcher);
        }
        return zk;
    }

    /** What another session wrote may not have reached this one's member yet. */
    static void sync(ZooKeeper zk, String path) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        zk.sync(path, (rc, p, ctx) -> done.countDown(), null);
        check(done.await(30, TimeUnit.SECONDS), "sync");
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static <T extends KeeperException> void refused(Class<T> kind, java.util.concurrent.Callable<?> call)
            throws Exception {
        try {
            call.call();
        } catch (KeeperException e) {
            check(kind.isInstance(e), "wanted " + kind + ", got " + e);
            return;
        }
        throw new AssertionError("wanted " + kind);
    }

    static void basics(String root) throws Exception {
        ZooKeeper zk = open("", null);
        same(root + "/a", zk.create(root + "/a", bytes("1"), OPEN, CreateMode.PERSISTENT));
        Stat stat = new Stat();
        same("1", new String(zk.getData(root + "/a", false, stat)));
        same(0, stat.getVersion());
        same(1, zk.setData(root + "/a", bytes("22"), 0).getVersion());
        refused(KeeperException.BadVersionException.class, () -> zk.setData(root + "/a", null, 0));
        refused(KeeperException.NodeExistsException.class,
                () -> zk.create(root + "/a", null, OPEN, CreateMode.PERSISTENT));
        refused(KeeperException.NoNodeException.class, () -> zk.getData(root + "/none", false, null));
        zk.create(root + "/a/b", null, OPEN, CreateMode.PERSISTENT);
        refused(KeeperException.NotEmptyException.class, () -> {
            zk.delete(root + "/a", -1);
            return null;
        });
        same(null, zk.getData(root + "/a/b", false, null));
        String s = zk.create(root + "/s-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL);
        same(root + "/s-0000000001", s);
        same(1, zk.exists(root + "/a", false).getNumChildren());
        same(null, zk.exists(root + "/none", false));
        zk.delete(root + "/a/b", 0);
        same(2, zk.exists(root + "/a", false).getCversion());
        zk.close();
    }

    static void configWatch(String root) throws Exception {
        Events events = new Events();
        ZooKeeper reader = open("", null);
        ZooKeeper writer = open("", null);
        writer.create(root + "/config", bytes("v0"), OPEN, CreateMode.PERSISTENT);
        sync(reader, root);
        for (int i = 0; i < 20; i++) {
            String seen = new String(reader.getData(root + "/config", events, null));
            same("v" + i, seen);
            writer.setData(root + "/config", bytes("v" + (i + 1)), -1);
            WatchedEvent event = events.next();
            same(Watcher.Event.EventType.NodeDataChanged, event.getType());
            same(root + "/config", event.getPath());
        }
        check(reader.exists(root + "/later", events) == null, "not there yet");
        reader.getChildren(root, events);
        writer.create(root + "/later", null, OPEN, CreateMode.PERSISTENT);
        List<Watcher.Event.EventType> got = Arrays.asList(events.next().getType(), events.next().getType());
        check(got.contains(Watcher.Event.EventType.NodeCreated), "created: " + got);
        check(got.contains(Watcher.Event.EventType.NodeChildrenChanged), "children: " + got);
        reader.close();
        writer.close();
    }

    static String lockPath(ZooKeeper zk, String root) throws Exception {
        return zk.create(root + "/lock-", null, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL);
    }

    static void awaitLock(ZooKeeper zk, String root, String mine) throws Exception {
        while (true) {
            List<String> all = zk.getChildren(root, false);
            Collections.sort(all);
            int at = all.indexOf(mine.substring(root.length() + 1));
            check(at >= 0, "my place is gone");
            if (at == 0) {
                return;
            }
            Events events = new Events();
            if (zk.exists(root + "/" + all.get(at - 1), events) != null) {
                events.next();
            }
        }
    }

    static void lock(String root) throws Exception {
        final AtomicInteger inside = new AtomicInteger();
        final AtomicInteger turns = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        final List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (int t = 0; t < 4; t++) {
            Thread thread = new Thread(() -> {
                try {
                    ZooKeeper zk = open("", null);
                    for (int i = 0; i < 5; i++) {
                        String mine = lockPath(zk, root);
                        awaitLock(zk, root, mine);
                        check(inside.incrementAndGet() == 1, "two hold the lock");
                        turns.incrementAndGet();
                        inside.decrementAndGet();
                        zk.delete(mine, -1);
                    }
                    zk.close();
                } catch (Throwable e) {
                    failures.add(e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join(60000);
        }
        check(failures.isEmpty(), "" + failures);
        same(20, turns.get());
    }

    static void election(String root) throws Exception {
        List<ZooKeeper> all = new ArrayList<>();
        List<String> places = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            all.add(open("", null));
            places.add(lockPath(all.get(i), root));
        }
        for (int i = 0; i < 3; i++) {
            awaitLock(all.get(i), root, places.get(i));
            all.get(i).close();
        }
    }

    static void queue(String root) throws Exception {
        ZooKeeper producer = open("", null);
        ZooKeeper consumer = open("", null);
        for (int i = 0; i < 50; i++) {
            producer.create(root + "/item-", bytes("" + i), OPEN, CreateMode.PERSISTENT_SEQUENTIAL);
        }
        sync(consumer, root);
        for (int i = 0; i < 50; i++) {
            List<String> items = consumer.getChildren(root, false);
            Collections.sort(items);
            String path = root + "/" + items.get(0);
            same("" + i, new String(consumer.getData(path, false, null)));
            consumer.delete(path, -1);
        }
        same(0, consumer.getChildren(root, false).size());
        producer.close();
        consumer.close();
    }

    static void barrier(String root) throws Exception {
        final CountDownLatch through = new CountDownLatch(3);
        for (int i = 0; i < 3; i++) {
            final String me = "/m" + i;
            new Thread(() -> {
                try {
                    ZooKeeper zk = open("", null);
                    zk.create(root + me, null, OPEN, CreateMode.EPHEMERAL);
                    while (true) {
                        Events events = new Events();
                        if (zk.getChildren(root, events).size() >= 3) {
                            break;
                        }
                        events.next();
                    }
                    through.countDown();
                    through.await(60, TimeUnit.SECONDS);
                    zk.close();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            }).start();
        }
        check(through.await(60, TimeUnit.SECONDS), "not all came through");
    }

    static void membership(String root) throws Exception {
        Events events = new Events();
        ZooKeeper watcher = open("", null);
        watcher.getChildren(root, events);
        ZooKeeper member = open("", null);
        member.create(root + "/m", bytes("host:1"), OPEN, CreateMode.EPHEMERAL);
        events.next();
        same(member.getSessionId(), watcher.exists(root + "/m", false).getEphemeralOwner());
        watcher.getChildren(root, events);
        member.close();
        events.next();
        same(0, watcher.getChildren(root, false).size());
        watcher.close();
    }

    static void multi(String root) throws Exception {
        ZooKeeper zk = open("", null);
        List<OpResult> results = zk.multi(Arrays.asList(
                Op.create(root + "/a", bytes("1"), OPEN, CreateMode.PERSISTENT),
                Op.create(root + "/a/s-", null, OPEN, CreateMode.PERSISTENT_SEQUENTIAL),
                Op.setData(root + "/a", bytes("2"), 0),
                Op.check(root + "/a", 1)));
        same(4, results.size());
        same(root + "/a/s-0000000000", ((OpResult.CreateResult) results.get(1)).getPath());
        try {
            zk.multi(Arrays.asList(
                    Op.create(root + "/b", null, OPEN, CreateMode.PERSISTENT),
                    Op.delete(root + "/none", -1),
                    Op.setData(root + "/a", null, -1)));
            throw new AssertionError("must fail");
        } catch (KeeperException.NoNodeException e) {
            same(3, e.getResults().size());
        }
        check(zk.exists(root + "/b", false) == null, "nothing may be done");
        zk.transaction().delete(root + "/a/s-0000000000", -1).delete(root + "/a", -1).commit();
        check(zk.exists(root + "/a", false) == null, "gone");
        zk.close();
    }

    static void acl(String root) throws Exception {
        ZooKeeper bob = open("", null);
        ZooKeeper eve = open("", null);
        bob.addAuthInfo("digest", bytes("bob:secret"));
        eve.addAuthInfo("digest", bytes("eve:guess"));
        bob.create(root + "/mine", bytes("x"), ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        same("x", new String(bob.getData(root + "/mine", false, null)));
        sync(eve, root);
        refused(KeeperException.NoAuthException.class, () -> eve.getData(root + "/mine", false, null));
        refused(KeeperException.NoAuthException.class, () -> eve.setData(root + "/mine", null, -1));
        refused(KeeperException.InvalidACLException.class, () -> bob.create(root + "/bad", null,
                Collections.singletonList(new ACL(31, new Id("nothing", "x"))), CreateMode.PERSISTENT));
        Stat stat = new Stat();
        List<ACL> list = bob.getACL(root + "/mine", stat);
        same("digest", list.get(0).getId().getScheme());
        bob.setACL(root + "/mine", OPEN, stat.getAversion());
        sync(eve, root);
        same("x", new String(eve.getData(root + "/mine", false, null)));
        bob.close();
        eve.close();
    }

    static void chroot(String root) throws Exception {
        ZooKeeper inside = open(root, null);
        ZooKeeper outside = open("", null);
        Events events = new Events();
        same("/x", inside.create("/x", bytes("1"), OPEN, CreateMode.PERSISTENT));
        sync(outside, root);
        same("1", new String(outside.getData(root + "/x", false, null)));
        inside.exists("/x", events);
        outside.setData(root + "/x", bytes("2"), -1);
        same("/x", events.next().getPath());
        same(Collections.singletonList("x"), inside.getChildren("/", false));
        inside.close();
        outside.close();
    }

    /** Persistent watches, where the client has them (3.6 and later). */
    static void persistent(String root) throws Exception {
        Method add;
        Class<?> mode;
        try {
            mode = Class.forName("org.apache.zookeeper.AddWatchMode");
            add = ZooKeeper.class.getMethod("addWatch", String.class, Watcher.class, mode);
        } catch (ClassNotFoundException e) {
            throw new NotThere();
        }
        ZooKeeper zk = open("", null);
        ZooKeeper writer = open("", null);
        Events plain = new Events();
        Events deep = new Events();
        // Clients before 3.9 mix the two up where both are on one path.
        String below = root + "/below";
        writer.create(below, null, OPEN, CreateMode.PERSISTENT);
        add.invoke(zk, root, plain, mode.getField("PERSISTENT").get(null));
        add.invoke(zk, below, deep, mode.getField("PERSISTENT_RECURSIVE").get(null));
        for (int i = 0; i < 3; i++) {
            writer.create(root + "/k" + i, null, OPEN, CreateMode.PERSISTENT);
            same(Watcher.Event.EventType.NodeChildrenChanged, plain.next().getType());
            writer.create(below + "/k" + i, null, OPEN, CreateMode.PERSISTENT);
            WatchedEvent event = deep.next();
            same(Watcher.Event.EventType.NodeCreated, event.getType());
            same(below + "/k" + i, event.getPath());
        }
        writer.create(below + "/k0/deep", null, OPEN, CreateMode.PERSISTENT);
        same(below + "/k0/deep", deep.next().getPath());
        writer.setData(root, bytes("x"), -1);
        same(Watcher.Event.EventType.NodeDataChanged, plain.next().getType());
        writer.setData(below, bytes("x"), -1);
        same(Watcher.Event.EventType.NodeDataChanged, deep.next().getType());
        zk.close();
        writer.close();
    }

    static void large(String root) throws Exception {
        ZooKeeper zk = open("", null);
        final CountDownLatch done = new CountDownLatch(3000);
        final AtomicInteger failed = new AtomicInteger();
        AsyncCallback.StringCallback callback = (rc, path, ctx, name) -> {
            if (rc != 0) {
                failed.incrementAndGet();
            }
            done.countDown();
        };
        for (int i = 0; i < 3000; i++) {
            zk.create(root + "/some-longer-name-" + i, null, OPEN, CreateMode.PERSISTENT, callback, null);
        }
        check(done.await(60, TimeUnit.SECONDS), "3000 creates");
        same(0, failed.get());
        same(3000, zk.getChildren(root, false).size());
        byte[] big = new byte[1000000];
        Arrays.fill(big, (byte) 'x');
        zk.create(root + "/big", big, OPEN, CreateMode.PERSISTENT);
        same(big.length, zk.getData(root + "/big", false, null).length);
        zk.close();
    }

    static void reconnect(String root) throws Exception {
        ZooKeeper zk = open("", null);
        long id = zk.getSessionId();
        Events events = new Events();
        zk.create(root + "/e", bytes("x"), OPEN, CreateMode.EPHEMERAL);
        zk.create(root + "/watched", bytes("0"), OPEN, CreateMode.PERSISTENT);
        zk.getData(root + "/watched", events, null);
        restart();
        Stat stat = null;
        for (int i = 0; i < 60 && stat == null; i++) {
            try {
                stat = zk.exists(root + "/e", false);
            } catch (KeeperException.ConnectionLossException e) {
                Thread.sleep(200);
            }
        }
        check(stat != null, "the ephemeral is gone");
        same(id, zk.getSessionId());
        same(id, stat.getEphemeralOwner());
        zk.setData(root + "/watched", bytes("1"), -1);
        same(Watcher.Event.EventType.NodeDataChanged, events.next().getType());
        zk.close();
    }

    static void sessionMove(String root) throws Exception {
        String[] members = hosts.split(",");
        Events begun = new Events();
        ZooKeeper first = new ZooKeeper(members[0], 15000, begun);
        check(begun.connected.await(60, TimeUnit.SECONDS), "not connected");
        first.create(root + "/e", null, OPEN, CreateMode.EPHEMERAL);
        Events connected = new Events();
        ZooKeeper second = new ZooKeeper(members[members.length - 1], 15000, connected, first.getSessionId(),
                first.getSessionPasswd());
        check(connected.connected.await(60, TimeUnit.SECONDS), "the session did not move");
        same(first.getSessionId(), second.getSessionId());
        // The first handle takes the session back when it can: two that share one take turns.
        Stat stat = null;
        for (int i = 0; i < 100 && stat == null; i++) {
            try {
                sync(second, root);
                stat = second.exists(root + "/e", false);
                check(stat != null, "its ephemeral is gone");
            } catch (KeeperException.ConnectionLossException e) {
                Thread.sleep(100);
            }
        }
        check(stat != null, "never connected again");
        second.close();
        ZooKeeper third = open("", null);
        check(third.exists(root + "/e", false) == null, "and goes with it");
        third.close();
        first.close();
    }

    static void registry(String root) throws Exception {
        ZooKeeper client = open("", null);
        Events events = new Events();
        List<ZooKeeper> servers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            servers.add(open("", null));
            servers.get(i).create(root + "/host-", bytes("10.0.0." + i + ":80"), OPEN,
                    CreateMode.EPHEMERAL_SEQUENTIAL);
        }
        sync(client, root);
        List<String> found = client.getChildren(root, events);
        Collections.sort(found);
        same(3, found.size());
        same("10.0.0.1:80", new String(client.getData(root + "/" + found.get(1), false, null)));
        servers.get(1).close();
        same(Watcher.Event.EventType.NodeChildrenChanged, events.next().getType());
        same(2, client.getChildren(root, false).size());
        servers.get(0).close();
        servers.get(2).close();
        client.close();
    }

    /** Many sessions come back at once. */
    static void storm(String root) throws Exception {
        List<ZooKeeper> all = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            all.add(open("", null));
            all.get(i).create(root + "/e" + i, null, OPEN, CreateMode.EPHEMERAL);
        }
        restart();
        for (int i = 0; i < 30; i++) {
            Stat stat = null;
            for (int j = 0; j < 100 && stat == null; j++) {
                try {
                    stat = all.get(i).exists(root + "/e" + i, false);
                    check(stat != null, "an ephemeral is gone");
                } catch (KeeperException.ConnectionLossException e) {
                    Thread.sleep(200);
                }
            }
            check(stat != null && stat.getEphemeralOwner() == all.get(i).getSessionId(), "session " + i);
        }
        for (ZooKeeper zk : all) {
            zk.close();
        }
    }

    static void restart() throws Exception {
        System.out.println("@restart");
        System.out.flush();
        check(INPUT.readLine() != null, "no answer");
    }

    static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        String[] names = {"basics", "configWatch", "lock", "election", "queue", "barrier", "membership", "multi",
                "registry", "acl", "chroot", "persistent", "large", "sessionMove", "reconnect", "storm"};
        Scenario[] all = {Scenarios::basics, Scenarios::configWatch, Scenarios::lock, Scenarios::election,
                Scenarios::queue, Scenarios::barrier, Scenarios::membership, Scenarios::multi, Scenarios::registry, Scenarios::acl,
                Scenarios::chroot, Scenarios::persistent, Scenarios::large, Scenarios::sessionMove,
                Scenarios::reconnect, Scenarios::storm};
        boolean good = true;
        for (int i = 0; i < all.length; i++) {
            try {
                ZooKeeper zk = open("", null);
                zk.create("/" + names[i], null, OPEN, CreateMode.PERSISTENT);
                zk.close();
                all[i].run("/" + names[i]);
                System.out.println("ok " + names[i]);
            } catch (NotThere e) {
                System.out.println("not in this library: " + names[i]);
            } catch (Throwable e) {
                e.printStackTrace();
                System.out.println("FAILED " + names[i] + ": " + e);
                good = false;
            }
            System.out.flush();
        }
        System.exit(good ? 0 : 1);
    }
}
