import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** What users do with Curator. */
public final class CuratorScenarios {
    static String hosts;
    static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

    interface Scenario {
        void run(CuratorFramework curator, String root) throws Exception;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static CuratorFramework open() {
        CuratorFramework curator = CuratorFrameworkFactory.builder().connectString(hosts)
                .sessionTimeoutMs(15000).connectionTimeoutMs(15000).retryPolicy(new RetryNTimes(30, 500)).build();
        curator.start();
        return curator;
    }

    static void until(Callable<Boolean> holds, String what) throws Exception {
        for (int i = 0; i < 300; i++) {
            if (holds.call()) {
                return;
            }
            Thread.sleep(100);
        }
        throw new AssertionError(what);
    }

    static void basics(CuratorFramework c, String root) throws Exception {
        c.create().creatingParentContainersIfNeeded().forPath(root + "/a/b/c", "1".getBytes());
        check(new String(c.getData().forPath(root + "/a/b/c")).equals("1"), "data");
        c.setData().withVersion(0).forPath(root + "/a/b/c", "2".getBytes());
        String p = c.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(root + "/p-");
        check(c.checkExists().forPath(p) != null, "protected");
        c.create().orSetData().forPath(root + "/a/b/c", "3".getBytes());
        c.delete().guaranteed().deletingChildrenIfNeeded().forPath(root + "/a");
        check(c.checkExists().forPath(root + "/a") == null, "deleted");
        Stat stat = new Stat();
        c.create().storingStatIn(stat).forPath(root + "/stat", new byte[5]);
        check(stat.getDataLength() == 5, "create2's stat");
    }

    static void ttl(CuratorFramework c, String root) throws Exception {
        c.create().withTtl(3600000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(root + "/t");
        check(c.checkExists().forPath(root + "/t").getEphemeralOwner() == 0, "owner of a TTL node");
    }

    static void mutex(CuratorFramework c, String root) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger turns = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            Thread thread = new Thread(() -> {
                try (CuratorFramework mine = open()) {
                    InterProcessMutex lock = new InterProcessMutex(mine, root + "/lock");
                    for (int i = 0; i < 5; i++) {
                        check(lock.acquire(30, TimeUnit.SECONDS), "lock");
                        check(inside.incrementAndGet() == 1, "two hold it");
                        turns.incrementAndGet();
                        inside.decrementAndGet();
                        lock.release();
                    }
                } catch (Throwable e) {
                    e.printStackTrace();
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join(60000);
        }
        check(turns.get() == 20, turns + " turns");
    }

    static void readWrite(CuratorFramework c, String root) throws Exception {
        InterProcessReadWriteLock lock = new InterProcessReadWriteLock(c, root + "/rw");
        lock.readLock().acquire();
        try (CuratorFramework other = open()) {
            InterProcessReadWriteLock theirs = new InterProcessReadWriteLock(other, root + "/rw");
            check(theirs.readLock().acquire(10, TimeUnit.SECONDS), "two readers");
            check(!theirs.writeLock().acquire(300, TimeUnit.MILLISECONDS), "no writer beside readers");
            theirs.readLock().release();
        }
        lock.readLock().release();
        check(lock.writeLock().acquire(10, TimeUnit.SECONDS), "a writer");
        lock.writeLock().release();
    }

    static void semaphore(CuratorFramework c, String root) throws Exception {
        InterProcessSemaphoreV2 two = new InterProcessSemaphoreV2(c, root + "/sem", 2);
        Lease a = two.acquire();
        Lease b = two.acquire();
        check(two.acquire(300, TimeUnit.MILLISECONDS) == null, "only two");
        two.returnLease(a);
        Lease d = two.acquire(10, TimeUnit.SECONDS);
        check(d != null, "free again");
        two.returnLease(b);
        two.returnLease(d);
    }

    static void latch(CuratorFramework c, String root) throws Exception {
        try (CuratorFramework c2 = open()) {
            LeaderLatch first = new LeaderLatch(c, root + "/leader", "1");
            LeaderLatch second = new LeaderLatch(c2, root + "/leader", "2");
            first.start();
            until(first::hasLeadership, "the first leads");
            second.start();
            until(() -> first.getParticipants().size() == 2, "two take part");
            check(!second.hasLeadership(), "one leader");
            first.close();
            until(second::hasLeadership, "the second leads");
            second.close();
        }
    }

    static void queue(CuratorFramework c, String root) throws Exception {
        SimpleDistributedQueue queue = new SimpleDistributedQueue(c, root + "/queue");
        for (int i = 0; i < 20; i++) {
            queue.offer(("" + i).getBytes());
        }
        for (int i = 0; i < 20; i++) {
            check(new String(queue.take()).equals("" + i), "order");
        }
        check(queue.poll() == null, "empty");
    }

    static void barrier(CuratorFramework c, String root) throws Exception {
        CountDownLatch left = new CountDownLatch(3);
        for (int i = 0; i < 3; i++) {
            new Thread(() -> {
                try (CuratorFramework mine = open()) {
                    DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(mine, root + "/barrier", 3);
                    check(barrier.enter(30, TimeUnit.SECONDS), "enter");
                    check(barrier.leave(30, TimeUnit.SECONDS), "leave");
                    left.countDown();
                } catch (Throwable e) {
                    e.printStackTrace();
                }
            }).start();
        }
        check(left.await(60, TimeUnit.SECONDS), "all left");
    }

    static void cache(CuratorFramework c, String root) throws Exception {
        c.create().creatingParentsIfNeeded().forPath(root + "/cached/a", "1".getBytes());
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        CountDownLatch ready = new CountDownLatch(1);
        try (CuratorCache cache = CuratorCache.build(c, root + "/cached")) {
            cache.listenable().addListener(CuratorCacheListener.builder()
                    .forInitialized(ready::countDown)
                    .forChanges((old, now) -> seen.add("changed " + now.getPath()))
                    .forCreates(now -> seen.add("created " + now.getPath()))
                    .forDeletes(old -> seen.add("deleted " + old.getPath())).build());
            cache.start();
            check(ready.await(30, TimeUnit.SECONDS), "initialised");
            List<String> all = new ArrayList<>();
            try (CuratorFramework writer = open()) {
                writer.setData().forPath(root + "/cached/a", "2".getBytes());
                writer.create().forPath(root + "/cached/b", "x".getBytes());
                // A node that comes and goes too quickly is never seen by the cache.
                until(() -> {
                    seen.drainTo(all);
                    return all.contains("created " + root + "/cached/b");
                }, "the new node");
                writer.delete().forPath(root + "/cached/b");

                until(() -> {
                    seen.drainTo(all);
                    return all.contains("changed " + root + "/cached/a")
                            && all.contains("created " + root + "/cached/b")
                            && all.contains("deleted " + root + "/cached/b");
                }, "not all");
            } catch (AssertionError e) {
                throw new AssertionError("the cache saw " + all);
            }
        }
    }

    static void counters(CuratorFramework c, String root) throws Exception {
        DistributedAtomicLong number = new DistributedAtomicLong(c, root + "/number", new RetryNTimes(10, 50));
        for (int i = 0; i < 10; i++) {
            check(number.increment().succeeded(), "increment");
        }
        check(number.get().postValue() == 10, "ten");
        SharedCount count = new SharedCount(c, root + "/count", 5);
        count.start();
        count.setCount(6);
        check(count.getCount() == 6, "six");
        count.close();
    }

    static void membership(CuratorFramework c, String root) throws Exception {
        GroupMember one = new GroupMember(c, root + "/group", "one");
        one.start();
        try (CuratorFramework c2 = open()) {
            GroupMember two = new GroupMember(c2, root + "/group", "two");
            two.start();
            until(() -> one.getCurrentMembers().size() == 2, "two members");
            two.close();
        }
        until(() -> one.getCurrentMembers().size() == 1, "one member");
        one.close();
    }

    static void transaction(CuratorFramework c, String root) throws Exception {
        Collection<CuratorTransactionResult> results = c.transaction().forOperations(
                c.transactionOp().create().forPath(root + "/t", "1".getBytes()),
                c.transactionOp().setData().withVersion(0).forPath(root + "/t", "2".getBytes()),
                c.transactionOp().check().withVersion(1).forPath(root + "/t"));
        check(results.size() == 3, "three results");
    }

    static void registry(CuratorFramework c, String root) throws Exception {
        try (ServiceDiscovery<Void> discovery =
                ServiceDiscoveryBuilder.builder(Void.class).client(c).basePath(root + "/services").build()) {
            discovery.start();
            ServiceInstance<Void> me =
                    ServiceInstance.<Void>builder().name("web").address("127.0.0.1").port(80).build();
            discovery.registerService(me);
            check(discovery.queryForInstances("web").size() == 1, "registered");
            discovery.unregisterService(me);
            check(discovery.queryForInstances("web").isEmpty(), "unregistered");
        }
    }

    static void acl(CuratorFramework c, String root) throws Exception {
        try (CuratorFramework bob = CuratorFrameworkFactory.builder().connectString(hosts)
                .retryPolicy(new RetryNTimes(30, 500)).authorization("digest", "bob:secret".getBytes()).build()) {
            bob.start();
            bob.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath(root + "/mine", "x".getBytes());
            check(new String(bob.getData().forPath(root + "/mine")).equals("x"), "but for me");
            c.sync().forPath(root);
            try {
                c.getData().forPath(root + "/mine");
                throw new AssertionError("not for others");
            } catch (KeeperException.NoAuthException e) {
                check(bob.getACL().forPath(root + "/mine").get(0).getId().getScheme().equals("digest"), "scheme");
            }
        }
    }

    static void chroot(CuratorFramework c, String root) throws Exception {
        try (CuratorFramework inside = CuratorFrameworkFactory.newClient(hosts + root, new RetryNTimes(30, 500))) {
            inside.start();
            inside.create().forPath("/x", "1".getBytes());
            check(inside.getChildren().forPath("/").size() == 1, "inside");
            c.sync().forPath(root);
            check(new String(c.getData().forPath(root + "/x")).equals("1"), "outside");
            CuratorFramework named = c.usingNamespace(root.substring(1));
            check(named.checkExists().forPath("/x") != null, "a namespace");
        }
    }

    static void persistent(CuratorFramework c, String root) throws Exception {
        BlockingQueue<String> seen = new LinkedBlockingQueue<>();
        CuratorWatcher watcher = e -> seen.add(e.getType() + " " + e.getPath());
        c.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(watcher).forPath(root);
        try (CuratorFramework writer = open()) {
            for (int i = 0; i < 3; i++) {
                writer.create().creatingParentsIfNeeded().forPath(root + "/d/k" + i);
            }
            writer.setData().forPath(root + "/d/k1", "2".getBytes());
            String[] wanted = {"NodeCreated " + root + "/d", "NodeCreated " + root + "/d/k0",
                    "NodeCreated " + root + "/d/k1", "NodeCreated " + root + "/d/k2",
                    "NodeDataChanged " + root + "/d/k1"};
            for (String event : wanted) {
                String got = seen.poll(30, TimeUnit.SECONDS);
                check(event.equals(got), "wanted " + event + ", got " + got);
            }
        }
        c.watchers().removeAll().forPath(root);
    }

    static void large(CuratorFramework c, String root) throws Exception {
        CountDownLatch done = new CountDownLatch(2000);
        for (int i = 0; i < 2000; i++) {
            c.create().inBackground((f, event) -> done.countDown()).forPath(root + "/n" + i);
        }
        check(done.await(60, TimeUnit.SECONDS), "2000 creates");
        check(c.getChildren().forPath(root).size() == 2000, "2000 children");
        c.create().forPath(root + "/big", new byte[1000000]);
        check(c.getData().forPath(root + "/big").length == 1000000, "big");
    }

    static void sessionMove(CuratorFramework c, String root) throws Exception {
        String[] members = hosts.split(",");
        c.create().withMode(CreateMode.EPHEMERAL).forPath(root + "/e");
        ZooKeeper zk = c.getZookeeperClient().getZooKeeper();
        // The same session through another member, as Curator's own tests do it.
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper moved = new ZooKeeper(members[members.length - 1], 15000, e -> {
            if (e.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        }, zk.getSessionId(), zk.getSessionPasswd());
        check(connected.await(60, TimeUnit.SECONDS), "the session did not move");
        check(moved.getSessionId() == zk.getSessionId(), "another session");
        // Curator takes it back.
        until(() -> c.checkExists().forPath(root + "/e") != null, "its ephemeral is there");
        check(c.getZookeeperClient().getZooKeeper().getSessionId() == zk.getSessionId(), "another session");
    }

    /** Many clients come back at once. */
    static void storm(CuratorFramework c, String root) throws Exception {
        List<CuratorFramework> all = new ArrayList<>();
        List<Long> ids = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            CuratorFramework mine = open();
            mine.create().withMode(CreateMode.EPHEMERAL).forPath(root + "/e" + i);
            ids.add(mine.getZookeeperClient().getZooKeeper().getSessionId());
            all.add(mine);
        }
        System.out.println("@restart");
        System.out.flush();
        INPUT.readLine();
        for (int i = 0; i < 20; i++) {
            Stat stat = all.get(i).checkExists().forPath(root + "/e" + i);
            check(stat != null && stat.getEphemeralOwner() == ids.get(i), "session " + i);
            all.get(i).close();
        }
    }

    static void reconnect(CuratorFramework c, String root) throws Exception {
        PersistentNode node = new PersistentNode(c, CreateMode.EPHEMERAL, false, root + "/alive", "x".getBytes());
        node.start();
        check(node.waitForInitialCreate(30, TimeUnit.SECONDS), "created");
        long id = c.getZookeeperClient().getZooKeeper().getSessionId();
        System.out.println("@restart");
        System.out.flush();
        INPUT.readLine();
        until(() -> {
            Stat stat = c.checkExists().forPath(root + "/alive");
            return stat != null && stat.getEphemeralOwner() == id;
        }, "the session and its node go on");
        node.close();
    }

    public static void main(String[] args) {
        hosts = args[0];
        String[] names = {"basics", "ttl", "lock", "readWrite", "semaphore", "election", "queue", "barrier", "configWatch",
                "counters", "membership", "multi", "registry", "acl", "chroot", "persistent", "large",
                "sessionMove", "reconnect", "storm"};
        Scenario[] all = {CuratorScenarios::basics, CuratorScenarios::ttl, CuratorScenarios::mutex,
                CuratorScenarios::readWrite, CuratorScenarios::semaphore, CuratorScenarios::latch,
                CuratorScenarios::queue, CuratorScenarios::barrier, CuratorScenarios::cache,
                CuratorScenarios::counters, CuratorScenarios::membership, CuratorScenarios::transaction,
                CuratorScenarios::registry, CuratorScenarios::acl, CuratorScenarios::chroot,
                CuratorScenarios::persistent, CuratorScenarios::large, CuratorScenarios::sessionMove,
                CuratorScenarios::reconnect, CuratorScenarios::storm};
        boolean good = true;
        for (int i = 0; i < all.length; i++) {
            try (CuratorFramework curator = open()) {
                curator.create().forPath("/" + names[i]);
                all[i].run(curator, "/" + names[i]);
                System.out.println("ok " + names[i]);
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
