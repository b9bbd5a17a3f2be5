import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * A user of an ensemble that has trouble: writes one node after another in one session, with the official
 * client.
 *
 * <p>Takes the connect string, prints "ready" when it has begun. A line on the standard input ends it: it
 * reads back what was acknowledged and prints "ok COUNT", or "FAILED WHY" as soon as it knows.
 */
public class Writer {
    static final String HOME = "/guest-java";
    static volatile boolean stop;

    static void fail(String why) {
        System.out.println("FAILED " + why);
        System.out.flush();
        Runtime.getRuntime().halt(1);
    }

    /** Tries again until there is an answer; a node that exists the second time is ours. */
    static <T> T insist(Callable<T> what) throws Exception {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2);
        for (boolean again = false;; again = true) {
            try {
                return what.call();
            } catch (KeeperException.NodeExistsException e) {
                if (!again) {
                    throw e;
                }
                return null;
            } catch (KeeperException.SessionExpiredException e) {
                fail("the session was lost");
            } catch (KeeperException.ConnectionLossException e) {
                if (System.nanoTime() > end) {
                    fail("no answer for two minutes");
                }
                Thread.sleep(50);
            }
        }
    }

    static String name(int n) {
        return String.format("w-%08d", n);
    }

    public static void main(String[] args) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(args[0], 30_000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            } else if (event.getState() == Watcher.Event.KeeperState.Expired) {
                fail("the session was lost");
            }
        });
        if (!connected.await(60, TimeUnit.SECONDS)) {
            fail("no connection within a minute");
        }
        long session = zk.getSessionId();
        insist(() -> zk.create(HOME, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        insist(() -> zk.create(HOME + "/alive", null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL));
        Thread reader = new Thread(() -> {
            try {
                System.in.read();
            } catch (java.io.IOException e) {
                // The other end is gone, which means the same.
            }
            stop = true;
        });
        reader.setDaemon(true);
        reader.start();
        int count = 0;
        while (!stop) {
            String path = HOME + "/" + name(count);
            insist(() -> zk.create(path, "java".getBytes(), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
            if (++count == 1) {
                System.out.println("ready");
                System.out.flush();
            }
            Thread.sleep(20);
        }
        if (zk.getSessionId() != session) {
            fail("the session was lost");
        }
        insist(() -> {
            CountDownLatch synced = new CountDownLatch(1);
            int[] code = new int[1];
            zk.sync(HOME, (rc, path, context) -> {
                code[0] = rc;
                synced.countDown();
            }, null);
            synced.await();
            if (code[0] != 0) {
                throw KeeperException.create(KeeperException.Code.get(code[0]), HOME);
            }
            return null;
        });
        List<String> children = insist(() -> zk.getChildren(HOME, false));
        Set<String> there = new HashSet<>(children);
        for (int n = 0; n < count; n++) {
            if (!there.contains(name(n))) {
                fail("an acknowledged write is gone: " + name(n));
            }
        }
        if (children.size() != count + 1) {
            fail(children.size() + " children for " + count + " writes and an ephemeral");
        }
        Stat stat = insist(() -> zk.exists(HOME + "/alive", false));
        if (stat == null || stat.getEphemeralOwner() != session) {
            fail("the ephemeral is gone or another's");
        }
        zk.close();
        System.out.println("ok " + count);
        System.out.flush();
        System.exit(0);
    }
}
