//! What users do with the crate zookeeper-client.

use std::future::Future;
use std::io::BufRead;
use std::time::Duration;

use zookeeper_client as zk;

type Result = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

const OPEN: zk::Acls<'static> = zk::Acls::anyone_all();

async fn connect(hosts: &str) -> std::result::Result<zk::Client, zk::Error> {
    let mut tries = 0;
    loop {
        let connector = zk::Client::connector().with_session_timeout(Duration::from_secs(15));
        match connector.connect(hosts).await {
            Err(_) if tries < 60 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other,
        }
    }
}

fn check(holds: bool, what: impl Into<String>) -> Result {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

async fn basics(c: zk::Client, _: String, root: String) -> Result {
    let persistent = zk::CreateMode::Persistent.with_acls(OPEN);
    let (stat, _) = c.create(&format!("{root}/a"), b"1", &persistent).await?;
    check(stat.version == 0 && stat.data_length == 1, "create")?;
    let stat = c.set_data(&format!("{root}/a"), b"22", Some(0)).await?;
    check(stat.version == 1, "version")?;
    let stale = c.set_data(&format!("{root}/a"), b"3", Some(0)).await;
    check(stale == Err(zk::Error::BadVersion), format!("{stale:?}"))?;
    let again = c.create(&format!("{root}/a"), b"", &persistent).await;
    check(again.err() == Some(zk::Error::NodeExists), "exists")?;
    let none = c.get_data(&format!("{root}/none")).await;
    check(none.err() == Some(zk::Error::NoNode), "none")?;
    c.mkdir(&format!("{root}/x/y"), &persistent).await?;
    let full = c.delete(&format!("{root}/x"), None).await;
    check(full == Err(zk::Error::NotEmpty), "not empty")?;
    let (_, sequence) =
        c.create(&format!("{root}/s-"), b"", &zk::CreateMode::PersistentSequential.with_acls(OPEN)).await?;
    check(sequence.into_i64() == 2, "sequence")?;
    c.create(&format!("{root}/c"), b"", &zk::CreateMode::Container.with_acls(OPEN)).await?;
    let ttl = zk::CreateMode::Persistent.with_acls(OPEN).with_ttl(Duration::from_secs(3600));
    c.create(&format!("{root}/t"), b"", &ttl).await?;
    check(c.count_descendants_number(&root).await? == 6, "descendants")?;
    c.sync(&root).await?;
    Ok(())
}

async fn config_watch(c: zk::Client, hosts: String, root: String) -> Result {
    let other = connect(&hosts).await?;
    let path = format!("{root}/config");
    c.create(&path, b"v0", &zk::CreateMode::Persistent.with_acls(OPEN)).await?;
    for i in 0..10 {
        let (data, _, watcher) = c.get_and_watch_data(&path).await?;
        check(data == format!("v{i}").as_bytes(), "data")?;
        other.set_data(&path, format!("v{}", i + 1).as_bytes(), None).await?;
        check(watcher.changed().await.event_type == zk::EventType::NodeDataChanged, "event")?;
    }
    Ok(())
}

async fn lock(_: zk::Client, hosts: String, root: String) -> Result {
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (hosts, root) = (hosts.clone(), root.clone());
        tasks.push(tokio::spawn(async move {
            let mine = connect(&hosts).await?;
            for i in 0..3 {
                let dir = format!("{root}/lock");
                let prefix = zk::LockPrefix::new_curator(&dir, "latch-")?;
                let ancestors = zk::CreateMode::Persistent.with_acls(OPEN);
                let options = zk::LockOptions::new(OPEN).with_ancestor_options(ancestors)?;
                let held = mine.lock(prefix, b"", options).await?;
                let name = format!("{root}/inside");
                held.create(&name, b"", &zk::CreateMode::Ephemeral.with_acls(OPEN)).await?;
                held.delete(&name, None).await?;
                let _ = i;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Who has the smallest number leads; the others watch the one before them.
async fn election(_: zk::Client, hosts: String, root: String) -> Result {
    let mut all = Vec::new();
    for _ in 0..3 {
        let mine = connect(&hosts).await?;
        let options = zk::CreateMode::EphemeralSequential.with_acls(OPEN);
        let (_, place) = mine.create(&format!("{root}/n-"), b"", &options).await?;
        all.push((mine, format!("{root}/n-{place}")));
    }
    let mut before: Option<String> = None;
    for (i, (mine, place)) in all.into_iter().enumerate() {
        if let Some(before) = before.replace(place) {
            let (there, watcher) = mine.check_and_watch_stat(&before).await?;
            let left = there.is_none() || watcher.changed().await.event_type == zk::EventType::NodeDeleted;
            check(left, "the leader left")?;
        }
        mine.sync(&root).await?;
        let left = mine.list_children(&root).await?.len();
        check(left == 3 - i, format!("{left} left"))?;
        drop(mine);
    }
    Ok(())
}

async fn barrier(_: zk::Client, hosts: String, root: String) -> Result {
    let mut tasks = Vec::new();
    for i in 0..3 {
        let (hosts, root) = (hosts.clone(), root.clone());
        tasks.push(tokio::spawn(async move {
            let mine = connect(&hosts).await?;
            let options = zk::CreateMode::Persistent.with_acls(OPEN);
            mine.create(&format!("{root}/m{i}"), b"", &options).await?;
            loop {
                let (inside, watcher) = mine.list_and_watch_children(&root).await?;
                if inside.len() == 3 {
                    return Ok::<(), zk::Error>(());
                }
                watcher.changed().await;
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn registry(c: zk::Client, hosts: String, root: String) -> Result {
    let mut servers = Vec::new();
    for i in 0..3 {
        let mine = connect(&hosts).await?;
        let options = zk::CreateMode::EphemeralSequential.with_acls(OPEN);
        mine.create(&format!("{root}/host-"), format!("10.0.0.{i}:80").as_bytes(), &options).await?;
        servers.push(mine);
    }
    c.sync(&root).await?;
    let (mut found, watcher) = c.list_and_watch_children(&root).await?;
    found.sort();
    check(found.len() == 3, "three hosts")?;
    check(c.get_data(&format!("{root}/{}", found[1])).await?.0 == b"10.0.0.1:80", "data")?;
    drop(servers.remove(1));
    check(watcher.changed().await.event_type == zk::EventType::NodeChildrenChanged, "one left")?;
    check(c.list_children(&root).await?.len() == 2, "two hosts")
}

/// The session goes on through the last of the members.
async fn session_move(_: zk::Client, hosts: String, root: String) -> Result {
    let connector = zk::Client::connector().with_session_timeout(Duration::from_secs(15));
    let first = connector.with_detached().connect(hosts.split(',').next().unwrap_or_default()).await?;
    let path = format!("{root}/e");
    first.create(&path, b"", &zk::CreateMode::Ephemeral.with_acls(OPEN)).await?;
    let (id, session) = (first.session_id(), first.into_session());
    let last = hosts.rsplit(',').next().unwrap_or_default();
    let second = zk::Client::connector().with_session(session).connect(last).await?;
    check(second.session_id() == id, "another session")?;
    second.sync(&root).await?;
    check(second.check_stat(&path).await?.is_some(), "its ephemeral is there")
}

async fn large(c: zk::Client, _: String, root: String) -> Result {
    let options = zk::CreateMode::Persistent.with_acls(OPEN);
    for i in 0..1000 {
        c.create(&format!("{root}/n{i:05}"), b"", &options).await?;
    }
    check(c.list_children(&root).await?.len() == 1000, "children")?;
    let big = vec![b'x'; 1_000_000];
    c.create(&format!("{root}/big"), &big, &options).await?;
    check(c.get_data(&format!("{root}/big")).await?.0 == big, "big")
}

/// Many sessions come back at once.
async fn storm(_: zk::Client, hosts: String, root: String) -> Result {
    let mut all = Vec::new();
    for i in 0..50 {
        let mine = connect(&hosts).await?;
        let path = format!("{root}/e{i}");
        mine.create(&path, b"", &zk::CreateMode::Ephemeral.with_acls(OPEN)).await?;
        all.push((mine, path));
    }
    restart().await?;
    for (mine, path) in all {
        again(&mine, &path).await?;
    }
    Ok(())
}

async fn restart() -> Result {
    println!("@restart");
    tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new())).await??;
    Ok(())
}

/// A node that must be there, asked for until there is a connection.
async fn again(c: &zk::Client, path: &str) -> Result {
    for _ in 0..100 {
        match c.check_stat(path).await {
            Ok(stat) => return check(stat.is_some(), "the ephemeral is gone"),
            Err(zk::Error::SessionExpired) => return Err("the session expired".into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    Err("never connected again".into())
}

async fn queue(c: zk::Client, _: String, root: String) -> Result {
    for i in 0..20 {
        let options = zk::CreateMode::PersistentSequential.with_acls(OPEN);
        c.create(&format!("{root}/i-"), format!("{i}").as_bytes(), &options).await?;
    }
    for i in 0..20 {
        let mut items = c.list_children(&root).await?;
        items.sort();
        let path = format!("{root}/{}", items[0]);
        check(c.get_data(&path).await?.0 == format!("{i}").as_bytes(), "order")?;
        c.delete(&path, None).await?;
    }
    Ok(())
}

async fn membership(c: zk::Client, hosts: String, root: String) -> Result {
    let (_, watcher) = c.list_and_watch_children(&root).await?;
    let other = connect(&hosts).await?;
    let id = other.session_id();
    let options = zk::CreateMode::Ephemeral.with_acls(OPEN);
    other.create(&format!("{root}/m"), b"h", &options).await?;
    check(watcher.changed().await.event_type == zk::EventType::NodeChildrenChanged, "joined")?;
    let stat = c.check_stat(&format!("{root}/m")).await?.ok_or("no member")?;
    check(stat.ephemeral_owner == id.into_i64_compatible(), "owner")?;
    check(other.list_ephemerals(&root).await? == vec![format!("{root}/m")], "ephemerals")?;
    let (_, watcher) = c.list_and_watch_children(&root).await?;
    drop(other);
    check(watcher.changed().await.event_type == zk::EventType::NodeChildrenChanged, "left")
}

trait Compatible {
    fn into_i64_compatible(self) -> i64;
}

impl Compatible for zk::SessionId {
    fn into_i64_compatible(self) -> i64 {
        format!("{self}").trim_start_matches("0x").parse::<i64>().unwrap_or_else(|_| {
            u64::from_str_radix(format!("{self}").trim_start_matches("0x"), 16).unwrap_or(0) as i64
        })
    }
}

async fn multi(c: zk::Client, _: String, root: String) -> Result {
    let mut writer = c.new_multi_writer();
    writer.add_create(&format!("{root}/a"), b"1", &zk::CreateMode::Persistent.with_acls(OPEN))?;
    writer.add_set_data(&format!("{root}/a"), b"2", Some(0))?;
    writer.add_check_version(&format!("{root}/a"), 1)?;
    check(writer.commit().await?.len() == 3, "results")?;
    let mut writer = c.new_multi_writer();
    writer.add_create(&format!("{root}/b"), b"", &zk::CreateMode::Persistent.with_acls(OPEN))?;
    writer.add_delete(&format!("{root}/none"), None)?;
    check(writer.commit().await.is_err(), "must fail")?;
    check(c.check_stat(&format!("{root}/b")).await?.is_none(), "nothing may be done")?;
    let mut reader = c.new_multi_reader();
    reader.add_get_data(&format!("{root}/a"))?;
    reader.add_get_children(&root)?;
    reader.add_get_data(&format!("{root}/none"))?;
    check(reader.commit().await?.len() == 3, "reads")
}

async fn acl(c: zk::Client, hosts: String, root: String) -> Result {
    let bob = zk::Client::connector().with_auth("digest", b"bob:secret").connect(&hosts).await?;
    let mine = format!("{root}/mine");
    bob.create(&mine, b"x", &zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all())).await?;
    c.sync(&root).await?;
    check(c.get_data(&mine).await.err() == Some(zk::Error::NoAuth), "not for others")?;
    check(bob.get_data(&mine).await?.0 == b"x", "but for me")?;
    let users = bob.list_auth_users().await?;
    check(users.iter().any(|u| u.user() == "bob"), "whoAmI")?;
    let (acls, stat) = bob.get_acl(&mine).await?;
    check(acls[0].scheme() == "digest", "scheme")?;
    bob.set_acl(&mine, &[zk::Acl::new(zk::Permission::ALL, zk::AuthId::anyone())], Some(stat.aversion)).await?;
    c.sync(&root).await?;
    check(c.get_data(&mine).await?.0 == b"x", "open now")
}

async fn chroot(c: zk::Client, _: String, root: String) -> Result {
    let inside = c.clone().chroot(root.clone()).map_err(|_| "chroot")?;
    inside.create("/x", b"1", &zk::CreateMode::Persistent.with_acls(OPEN)).await?;
    check(c.get_data(&format!("{root}/x")).await?.0 == b"1", "outside")
}

async fn persistent(c: zk::Client, hosts: String, root: String) -> Result {
    let mut plain = c.watch(&root, zk::AddWatchMode::Persistent).await?;
    let mut deep = c.watch(&root, zk::AddWatchMode::PersistentRecursive).await?;
    let other = connect(&hosts).await?;
    for i in 0..3 {
        let path = format!("{root}/k{i}");
        other.create(&path, b"", &zk::CreateMode::Persistent.with_acls(OPEN)).await?;
        check(plain.changed().await.event_type == zk::EventType::NodeChildrenChanged, "plain")?;
        let event = deep.changed().await;
        check(event.event_type == zk::EventType::NodeCreated && event.path == path, "deep")?;
    }
    plain.remove().await?;
    deep.remove().await?;
    Ok(())
}

async fn reconnect(c: zk::Client, _: String, root: String) -> Result {
    let path = format!("{root}/e");
    c.create(&path, b"", &zk::CreateMode::Ephemeral.with_acls(OPEN)).await?;
    let (_, _, watcher) = c.get_and_watch_data(&path).await?;
    restart().await?;
    again(&c, &path).await?;
    c.set_data(&path, b"1", None).await?;
    let event = watcher.changed().await;
    check(event.event_type == zk::EventType::NodeDataChanged, format!("{event:?}"))
}

async fn run<F: Future<Output = Result>>(
    name: &str,
    hosts: &str,
    scenario: impl FnOnce(zk::Client, String, String) -> F,
) -> bool {
    let root = format!("/{name}");
    let outcome = async {
        let c = connect(hosts).await?;
        c.create(&root, b"", &zk::CreateMode::Persistent.with_acls(OPEN)).await?;
        tokio::time::timeout(Duration::from_secs(60), scenario(c, hosts.to_string(), root.clone()))
            .await
            .unwrap_or_else(|_| Err("took longer than a minute".into()))
    }
    .await;
    match outcome {
        Ok(()) => println!("ok {name}"),
        Err(e) => {
            println!("FAILED {name}: {e}");
            return false;
        }
    }
    true
}

#[tokio::main]
async fn main() {
    let hosts = std::env::args().nth(1).expect("a connect string");
    let mut good = true;
    good &= run("basics", &hosts, basics).await;
    good &= run("config_watch", &hosts, config_watch).await;
    good &= run("lock", &hosts, lock).await;
    good &= run("election", &hosts, election).await;
    good &= run("queue", &hosts, queue).await;
    good &= run("barrier", &hosts, barrier).await;
    good &= run("registry", &hosts, registry).await;
    good &= run("session_move", &hosts, session_move).await;
    good &= run("large", &hosts, large).await;
    good &= run("membership", &hosts, membership).await;
    good &= run("multi", &hosts, multi).await;
    good &= run("acl", &hosts, acl).await;
    good &= run("chroot", &hosts, chroot).await;
    good &= run("persistent", &hosts, persistent).await;
    good &= run("reconnect", &hosts, reconnect).await;
    good &= run("storm", &hosts, storm).await;
    std::process::exit(if good { 0 } else { 1 });
}
