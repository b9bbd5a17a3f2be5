/* What users do with the C client (multi-threaded flavour). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <pthread.h>
#include <zookeeper/zookeeper.h>

static const char *hosts;
static char why[512];

#define CHECK(holds, ...) \
    do { \
        if (!(holds)) { \
            snprintf(why, sizeof why, __VA_ARGS__); \
            return 0; \
        } \
    } while (0)

struct watch {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int connected;
    int events;
    int last;
    char path[256];
};

static void seen(zhandle_t *zh, int type, int state, const char *path, void *context) {
    struct watch *w = context;
    (void)zh;
    if (!w) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (type == ZOO_SESSION_EVENT) {
        w->connected = state == ZOO_CONNECTED_STATE;
    } else {
        w->events++;
        w->last = type;
        snprintf(w->path, sizeof w->path, "%s", path ? path : "");
    }
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static struct watch *fresh(void) {
    struct watch *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    return w;
}

static int await_event(struct watch *w, int count) {
    for (int i = 0; i < 600; i++) {
        pthread_mutex_lock(&w->lock);
        int enough = w->events >= count;
        pthread_mutex_unlock(&w->lock);
        if (enough) {
            return 1;
        }
        usleep(50000);
    }
    return 0;
}

static zhandle_t *open_handle(void) {
    struct watch *w = fresh();
    zhandle_t *zh = zookeeper_init(hosts, seen, 15000, NULL, w, 0);
    for (int i = 0; zh && i < 1200; i++) {
        if (zoo_state(zh) == ZOO_CONNECTED_STATE) {
            return zh;
        }
        usleep(50000);
    }
    return NULL;
}

static char *at(const char *root, const char *rest) {
    static char buffers[16][300];
    static int next;
    char *b = buffers[next++ % 16];
    snprintf(b, 300, "%s%s", root, rest);
    return b;
}

static int basics(zhandle_t *zh, const char *root) {
    char buffer[1000];
    int len = sizeof buffer;
    struct Stat stat;
    CHECK(zoo_create(zh, at(root, "/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, buffer, sizeof buffer) == ZOK, "create");
    CHECK(zoo_get(zh, at(root, "/a"), 0, buffer, &len, &stat) == ZOK && len == 1 && stat.version == 0, "get");
    CHECK(zoo_set2(zh, at(root, "/a"), "22", 2, 0, &stat) == ZOK && stat.version == 1, "set");
    CHECK(zoo_set(zh, at(root, "/a"), "3", 1, 0) == ZBADVERSION, "bad version");
    CHECK(zoo_create(zh, at(root, "/a"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZNODEEXISTS, "exists");
    CHECK(zoo_exists(zh, at(root, "/none"), 0, &stat) == ZNONODE, "none");
    CHECK(zoo_create(zh, at(root, "/a/b"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "null data");
    len = sizeof buffer;
    CHECK(zoo_get(zh, at(root, "/a/b"), 0, buffer, &len, &stat) == ZOK && len == -1, "null data is %d long", len);
    CHECK(zoo_delete(zh, at(root, "/a"), -1) == ZNOTEMPTY, "not empty");
    CHECK(zoo_create(zh, at(root, "/s-"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, buffer, sizeof buffer) == ZOK
              && strcmp(buffer, at(root, "/s-0000000001")) == 0, "sequence %s", buffer);
    CHECK(zoo_create2(zh, at(root, "/two"), "xyz", 3, &ZOO_OPEN_ACL_UNSAFE, 0, buffer, sizeof buffer, &stat) == ZOK
              && stat.dataLength == 3, "create2");
    struct String_vector names;
    CHECK(zoo_get_children2(zh, root, 0, &names, &stat) == ZOK && names.count == 3, "children");
    deallocate_String_vector(&names);
    return 1;
}

static int config_watch(zhandle_t *zh, const char *root) {
    zhandle_t *other = open_handle();
    CHECK(other, "not connected");
    char buffer[100];
    CHECK(zoo_create(zh, at(root, "/config"), "v0", 2, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "create");
    for (int i = 0; i < 10; i++) {
        struct watch *w = fresh();
        int len = sizeof buffer;
        struct Stat stat;
        CHECK(zoo_wget(zh, at(root, "/config"), seen, w, buffer, &len, &stat) == ZOK && stat.version == i, "get");
        CHECK(zoo_set(other, at(root, "/config"), "v", 1, i) == ZOK, "set");
        CHECK(await_event(w, 1) && w->last == ZOO_CHANGED_EVENT, "event");
    }
    struct watch *w = fresh();
    struct Stat stat;
    CHECK(zoo_wexists(zh, at(root, "/later"), seen, w, &stat) == ZNONODE, "not there yet");
    CHECK(zoo_create(other, at(root, "/later"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "create");
    CHECK(await_event(w, 1) && w->last == ZOO_CREATED_EVENT, "created");
    zookeeper_close(other);
    return 1;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int turns, inside, broken;

static void *lock_worker(void *argument) {
    const char *root = argument;
    zhandle_t *zh = open_handle();
    for (int i = 0; zh && i < 4; i++) {
        char mine[300];
        zoo_create(zh, at(root, "/lock-"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, mine,
                   sizeof mine);
        for (;;) {
            struct String_vector names;
            if (zoo_get_children(zh, root, 0, &names) != ZOK) {
                broken = 1;
                return NULL;
            }
            qsort(names.data, names.count, sizeof *names.data, by_name);
            int place = 0;
            while (place < names.count && strcmp(names.data[place], mine + strlen(root) + 1) != 0) {
                place++;
            }
            char before[300];
            if (place > 0) {
                snprintf(before, sizeof before, "%s/%s", root, names.data[place - 1]);
            }
            deallocate_String_vector(&names);
            if (place == 0) {
                break;
            }
            struct watch *w = fresh();
            struct Stat stat;
            if (zoo_wexists(zh, before, seen, w, &stat) == ZOK && !await_event(w, 1)) {
                broken = 1;
                return NULL;
            }
        }
        if (__sync_add_and_fetch(&inside, 1) != 1) {
            broken = 1;
        }
        __sync_add_and_fetch(&turns, 1);
        __sync_sub_and_fetch(&inside, 1);
        zoo_delete(zh, mine, -1);
    }
    zookeeper_close(zh);
    return NULL;
}

static int lock(zhandle_t *zh, const char *root) {
    (void)zh;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, lock_worker, (void *)root);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(turns == 12 && !broken, "%d turns, broken %d", turns, broken);
    return 1;
}

static int queue(zhandle_t *zh, const char *root) {
    char data[20];
    for (int i = 0; i < 20; i++) {
        int len = snprintf(data, sizeof data, "%d", i);
        CHECK(zoo_create(zh, at(root, "/i-"), data, len, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, NULL, 0) == ZOK, "put");
    }
    for (int i = 0; i < 20; i++) {
        struct String_vector names;
        CHECK(zoo_get_children(zh, root, 0, &names) == ZOK, "children");
        qsort(names.data, names.count, sizeof *names.data, by_name);
        char path[300];
        snprintf(path, sizeof path, "%s/%s", root, names.data[0]);
        deallocate_String_vector(&names);
        int len = sizeof data;
        memset(data, 0, sizeof data);
        CHECK(zoo_get(zh, path, 0, data, &len, NULL) == ZOK && atoi(data) == i, "order: %s for %d", data, i);
        CHECK(zoo_delete(zh, path, -1) == ZOK, "take");
    }
    return 1;
}

static int membership(zhandle_t *zh, const char *root) {
    struct watch *w = fresh();
    struct String_vector names;
    CHECK(zoo_wget_children(zh, root, seen, w, &names) == ZOK, "children");
    zhandle_t *other = open_handle();
    CHECK(zoo_create(other, at(root, "/m"), "h", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK, "join");
    CHECK(await_event(w, 1) && w->last == ZOO_CHILD_EVENT, "joined");
    struct Stat stat;
    CHECK(zoo_exists(zh, at(root, "/m"), 0, &stat) == ZOK
              && stat.ephemeralOwner == zoo_client_id(other)->client_id, "owner");
    w = fresh();
    CHECK(zoo_wget_children(zh, root, seen, w, &names) == ZOK, "children");
    zookeeper_close(other);
    CHECK(await_event(w, 1) && w->last == ZOO_CHILD_EVENT, "left");
    return 1;
}

static void synced(int rc, const char *value, const void *data) {
    (void)rc;
    (void)value;
    *(volatile int *)data = 1;
}

/* What another session wrote may not have reached this one's member yet. */
static void sync_now(zhandle_t *zh, const char *path) {
    volatile int *done = calloc(1, sizeof *done);
    zoo_async(zh, path, synced, (void *)done);
    for (int i = 0; i < 30000 && !*done; i++) {
        usleep(1000);
    }
}

/* Who has the smallest number leads; the others watch the one before them. */
static int election(zhandle_t *zh, const char *root) {
    (void)zh;
    zhandle_t *all[3];
    char places[3][300];
    for (int i = 0; i < 3; i++) {
        all[i] = open_handle();
        CHECK(all[i] && zoo_create(all[i], at(root, "/n-"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE,
                                   ZOO_EPHEMERAL | ZOO_SEQUENCE, places[i], sizeof places[i]) == ZOK, "candidate");
    }
    for (int i = 0; i < 3; i++) {
        if (i > 0) {
            struct watch *w = fresh();
            struct Stat stat;
            CHECK(zoo_wexists(all[i], places[i - 1], seen, w, &stat) == ZNONODE
                      || (await_event(w, 1) && w->last == ZOO_DELETED_EVENT), "the leader left");
        }
        struct String_vector names;
        sync_now(all[i], root);
        CHECK(zoo_get_children(all[i], root, 0, &names) == ZOK && names.count == 3 - i, "%d left", names.count);
        deallocate_String_vector(&names);
        zookeeper_close(all[i]);
    }
    return 1;
}

static int passed;

static void *barrier_worker(void *argument) {
    const char *root = argument;
    zhandle_t *zh = open_handle();
    char mine[300];
    snprintf(mine, sizeof mine, "%s/m-", root);
    if (!zh || zoo_create(zh, mine, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL | ZOO_SEQUENCE, NULL, 0) != ZOK) {
        return NULL;
    }
    for (;;) {
        struct watch *w = fresh();
        struct String_vector names;
        if (zoo_wget_children(zh, root, seen, w, &names) != ZOK) {
            return NULL;
        }
        int inside_now = names.count;
        deallocate_String_vector(&names);
        if (inside_now == 3) {
            break;
        }
        if (!await_event(w, 1)) {
            return NULL;
        }
    }
    __sync_add_and_fetch(&passed, 1);
    for (int i = 0; i < 600 && __sync_add_and_fetch(&passed, 0) < 3; i++) {
        usleep(50000);
    }
    zookeeper_close(zh);
    return NULL;
}

static int barrier(zhandle_t *zh, const char *root) {
    (void)zh;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, barrier_worker, (void *)root);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(passed == 3, "%d came through", passed);
    return 1;
}

static int registry(zhandle_t *zh, const char *root) {
    zhandle_t *servers[3];
    for (int i = 0; i < 3; i++) {
        servers[i] = open_handle();
        char address[20];
        int len = snprintf(address, sizeof address, "10.0.0.%d:80", i);
        CHECK(servers[i] && zoo_create(servers[i], at(root, "/host-"), address, len, &ZOO_OPEN_ACL_UNSAFE,
                                       ZOO_EPHEMERAL | ZOO_SEQUENCE, NULL, 0) == ZOK, "register");
    }
    sync_now(zh, root);
    struct watch *w = fresh();
    struct String_vector names;
    CHECK(zoo_wget_children(zh, root, seen, w, &names) == ZOK && names.count == 3, "%d hosts", names.count);
    qsort(names.data, names.count, sizeof *names.data, by_name);
    char path[300], data[20];
    snprintf(path, sizeof path, "%s/%s", root, names.data[1]);
    deallocate_String_vector(&names);
    int len = sizeof data;
    CHECK(zoo_get(zh, path, 0, data, &len, NULL) == ZOK && len == 11 && memcmp(data, "10.0.0.1:80", 11) == 0, "data");
    zookeeper_close(servers[1]);
    CHECK(await_event(w, 1) && w->last == ZOO_CHILD_EVENT, "one left");
    CHECK(zoo_get_children(zh, root, 0, &names) == ZOK && names.count == 2, "%d hosts", names.count);
    deallocate_String_vector(&names);
    zookeeper_close(servers[0]);
    zookeeper_close(servers[2]);
    return 1;
}

/* The session goes on through the last of the members. */
static int session_move(zhandle_t *zh, const char *root) {
    (void)zh;
    const char *old = hosts;
    char first_host[100];
    snprintf(first_host, sizeof first_host, "%.*s", (int)strcspn(hosts, ","), hosts);
    hosts = first_host;
    zhandle_t *first = open_handle();
    hosts = old;
    CHECK(first && zoo_create(first, at(root, "/e"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK,
          "create");
    const char *last = strrchr(hosts, ',') ? strrchr(hosts, ',') + 1 : hosts;
    clientid_t id = *zoo_client_id(first);
    zhandle_t *second = zookeeper_init(last, seen, 15000, &id, fresh(), 0);
    for (int i = 0; i < 1200 && zoo_state(second) != ZOO_CONNECTED_STATE; i++) {
        usleep(50000);
    }
    CHECK(zoo_client_id(second)->client_id == id.client_id, "another session");
    /* The first handle takes the session back when it can: two that share one take turns. */
    struct Stat stat;
    int rc = -1;
    for (int i = 0; i < 100 && rc != ZOK && rc != ZNONODE; i++) {
        sync_now(second, root);
        rc = zoo_exists(second, at(root, "/e"), 0, &stat);
    }
    CHECK(rc == ZOK && stat.ephemeralOwner == id.client_id, "ephemeral: %d", rc);
    zookeeper_close(second);
    zookeeper_close(first);
    return 1;
}

static int multi(zhandle_t *zh, const char *root) {
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    char path[300];
    struct Stat stat;
    zoo_create_op_init(&ops[0], at(root, "/a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_set_op_init(&ops[1], at(root, "/a"), "2", 1, 0, &stat);
    zoo_check_op_init(&ops[2], at(root, "/a"), 1);
    CHECK(zoo_multi(zh, 3, ops, results) == ZOK && stat.version == 1, "multi");
    zoo_create_op_init(&ops[0], at(root, "/b"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_delete_op_init(&ops[1], at(root, "/none"), -1);
    zoo_set_op_init(&ops[2], at(root, "/a"), "3", 1, -1, &stat);
    int rc = zoo_multi(zh, 3, ops, results);
    CHECK(rc == ZNONODE && results[0].err == ZOK && results[1].err == ZNONODE
              && results[2].err == ZRUNTIMEINCONSISTENCY,
          "failed multi: %d: %d %d %d", rc, results[0].err, results[1].err, results[2].err);
    CHECK(zoo_exists(zh, at(root, "/b"), 0, &stat) == ZNONODE, "nothing may be done");
    return 1;
}

static int authed;

static void auth_done(int rc, const void *data) {
    (void)data;
    authed = rc == ZOK ? 1 : -1;
}

static int acl(zhandle_t *zh, const char *root) {
    zhandle_t *bob = open_handle();
    zoo_add_auth(bob, "digest", "bob:secret", 10, auth_done, NULL);
    for (int i = 0; i < 600 && !authed; i++) {
        usleep(50000);
    }
    CHECK(authed == 1, "auth");
    CHECK(zoo_create(bob, at(root, "/mine"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0) == ZOK, "create");
    char buffer[20];
    int len = sizeof buffer;
    sync_now(zh, root);
    CHECK(zoo_get(zh, at(root, "/mine"), 0, buffer, &len, NULL) == ZNOAUTH, "not for others");
    CHECK(zoo_get(bob, at(root, "/mine"), 0, buffer, &len, NULL) == ZOK, "but for me");
    struct ACL_vector list;
    struct Stat stat;
    CHECK(zoo_get_acl(bob, at(root, "/mine"), &list, &stat) == ZOK && strcmp(list.data[0].id.scheme, "digest") == 0,
          "getACL");
    CHECK(zoo_set_acl(bob, at(root, "/mine"), stat.aversion, &ZOO_OPEN_ACL_UNSAFE) == ZOK, "setACL");
    len = sizeof buffer;
    sync_now(zh, root);
    CHECK(zoo_get(zh, at(root, "/mine"), 0, buffer, &len, NULL) == ZOK, "open now");
    zookeeper_close(bob);
    return 1;
}

static int chroot_scenario(zhandle_t *zh, const char *root) {
    char where[600];
    snprintf(where, sizeof where, "%s%s", hosts, root);
    const char *old = hosts;
    hosts = where;
    zhandle_t *inside = open_handle();
    hosts = old;
    char path[100];
    CHECK(zoo_create(inside, "/x", "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path) == ZOK
              && strcmp(path, "/x") == 0, "create %s", path);
    struct Stat stat;
    sync_now(zh, root);
    CHECK(zoo_exists(zh, at(root, "/x"), 0, &stat) == ZOK, "outside");
    zookeeper_close(inside);
    return 1;
}

static int large(zhandle_t *zh, const char *root) {
    char path[300];
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "%s/n%05d", root, i);
        CHECK(zoo_create(zh, path, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "create %d", i);
    }
    struct String_vector names;
    CHECK(zoo_get_children(zh, root, 0, &names) == ZOK && names.count == 1000, "children");
    deallocate_String_vector(&names);
    int size = 1000000;
    char *big = malloc(size);
    memset(big, 'x', size);
    CHECK(zoo_create(zh, at(root, "/big"), big, size, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "big");
    int len = size;
    CHECK(zoo_get(zh, at(root, "/big"), 0, big, &len, NULL) == ZOK && len == size, "big is %d", len);
    free(big);
    return 1;
}

static int reconnect(zhandle_t *zh, const char *root) {
    CHECK(zoo_create(zh, at(root, "/e"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK, "create");
    CHECK(zoo_create(zh, at(root, "/w"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK, "create");
    struct watch *w = fresh();
    struct Stat stat;
    CHECK(zoo_wexists(zh, at(root, "/w"), seen, w, &stat) == ZOK, "watch");
    int64_t id = zoo_client_id(zh)->client_id;
    printf("@restart\n");
    fflush(stdout);
    char line[100];
    CHECK(fgets(line, sizeof line, stdin), "no answer");
    int rc = -1;
    for (int i = 0; i < 200; i++) {
        rc = zoo_exists(zh, at(root, "/e"), 0, &stat);
        if (rc == ZOK || rc == ZNONODE || is_unrecoverable(zh)) {
            break;
        }
        usleep(200000);
    }
    CHECK(rc == ZOK && stat.ephemeralOwner == id && zoo_client_id(zh)->client_id == id, "after the restart: %d", rc);
    CHECK(zoo_set(zh, at(root, "/w"), "1", 1, -1) == ZOK, "set");
    for (int i = 0; i < 600 && w->last != ZOO_CHANGED_EVENT; i++) {
        usleep(50000);
    }
    CHECK(w->last == ZOO_CHANGED_EVENT, "the watch goes on");
    return 1;
}

/* Many sessions come back at once. */
static int storm(zhandle_t *zh, const char *root) {
    enum { COUNT = 20 };
    zhandle_t *all[COUNT];
    int64_t ids[COUNT];
    char path[300];
    (void)zh;
    for (int i = 0; i < COUNT; i++) {
        all[i] = open_handle();
        snprintf(path, sizeof path, "%s/e%d", root, i);
        CHECK(all[i] && zoo_create(all[i], path, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0) == ZOK, "create");
        ids[i] = zoo_client_id(all[i])->client_id;
    }
    printf("@restart\n");
    fflush(stdout);
    char line[100];
    CHECK(fgets(line, sizeof line, stdin), "no answer");
    for (int i = 0; i < COUNT; i++) {
        struct Stat stat;
        int rc = -1;
        snprintf(path, sizeof path, "%s/e%d", root, i);
        for (int j = 0; j < 200; j++) {
            rc = zoo_exists(all[i], path, 0, &stat);
            if (rc == ZOK || rc == ZNONODE || is_unrecoverable(all[i])) {
                break;
            }
            usleep(200000);
        }
        CHECK(rc == ZOK && stat.ephemeralOwner == ids[i] && zoo_client_id(all[i])->client_id == ids[i], "session %d: %d",
              i, rc);
    }
    for (int i = 0; i < COUNT; i++) {
        zookeeper_close(all[i]);
    }
    return 1;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(zhandle_t *, const char *);
    } all[] = {
        {"basics", basics}, {"config_watch", config_watch}, {"lock", lock}, {"election", election}, {"queue", queue},
        {"barrier", barrier}, {"registry", registry}, {"session_move", session_move},
        {"membership", membership}, {"multi", multi}, {"acl", acl}, {"chroot", chroot_scenario},
        {"large", large}, {"reconnect", reconnect}, {"storm", storm},
    };
    int good = 1;
    (void)argc;
    hosts = argv[1];
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char root[100];
        snprintf(root, sizeof root, "/%s", all[i].name);
        zhandle_t *zh = open_handle();
        snprintf(why, sizeof why, "not connected");
        if (zh && zoo_create(zh, root, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0) == ZOK && all[i].run(zh, root)) {
            printf("ok %s\n", all[i].name);
        } else {
            printf("FAILED %s: %s\n", all[i].name, why);
            good = 0;
        }
        fflush(stdout);
        if (zh) {
            zookeeper_close(zh);
        }
    }
    return good ? 0 : 1;
}
