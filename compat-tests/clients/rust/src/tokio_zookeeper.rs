//! What users do with the crate tokio-zookeeper. It knows one address, so of an ensemble the first,
//! and dials once when a connection breaks: a kill falls between two scenarios.

use std::future::Future;
use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use tokio_zookeeper::{Acl, CreateMode, WatchedEventType, ZooKeeper, ZooKeeperBuilder};

type Result = std::result::Result<(), String>;

async fn connect(address: SocketAddr) -> std::result::Result<ZooKeeper, String> {
    let mut builder = ZooKeeperBuilder::default();
    builder.set_timeout(Duration::from_secs(15));
    let (zk, mut events) = builder.connect(&address).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move { while events.next().await.is_some() {} });
    Ok(zk)
}

/// The same, as long as nobody listens.
async fn connect_soon(address: SocketAddr) -> std::result::Result<ZooKeeper, String> {
    for _ in 0..100 {
        if let Ok(zk) = connect(address).await {
            return Ok(zk);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    connect(address).await
}

fn check(holds: bool, what: &str) -> Result {
    if holds { Ok(()) } else { Err(what.to_string()) }
}

fn text(e: impl std::fmt::Debug) -> String {
    format!("{e:?}")
}

async fn make(zk: &ZooKeeper, path: &str, data: &'static [u8], mode: CreateMode) -> std::result::Result<String, String> {
    zk.create(path, data, Acl::open_unsafe(), mode).await.map_err(text)?.map_err(text)
}

async fn basics(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    let a = format!("{root}/a");
    check(make(&zk, &a, b"1", CreateMode::Persistent).await? == a, "path")?;
    let (data, stat) = zk.get_data(&a).await.map_err(text)?.ok_or("gone")?;
    check(data == b"1" && stat.version == 0, "data")?;
    let stat = zk.set_data(&a, Some(0), &b"22"[..]).await.map_err(text)?.map_err(text)?;
    check(stat.version == 1, "version")?;
    check(zk.set_data(&a, Some(0), &b"3"[..]).await.map_err(text)?.is_err(), "stale")?;
    check(make(&zk, &a, b"", CreateMode::Persistent).await.is_err(), "exists")?;
    check(zk.get_data(&format!("{root}/none")).await.map_err(text)?.is_none(), "none")?;
    let s = make(&zk, &format!("{root}/s-"), b"", CreateMode::PersistentSequential).await?;
    check(s == format!("{root}/s-0000000001"), "sequence")?;
    let mut names = zk.get_children(&root).await.map_err(text)?.ok_or("gone")?;
    names.sort();
    check(names == ["a", "s-0000000001"], "children")?;
    zk.delete(&a, Some(1)).await.map_err(text)?.map_err(text)?;
    check(zk.exists(&a).await.map_err(text)?.is_none(), "deleted")
}

async fn config_watch(zk: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let other = connect(address).await?;
    let path = format!("{root}/config");
    make(&zk, &path, b"v", CreateMode::Persistent).await?;
    for _ in 0..5 {
        let (event, _, _) = zk.with_watcher().get_data(&path).await.map_err(text)?.ok_or("gone")?;
        other.set_data(&path, None, &b"w"[..]).await.map_err(text)?.map_err(text)?;
        let event = event.await.map_err(text)?;
        check(event.event_type == WatchedEventType::NodeDataChanged, "event")?;
    }
    let later = format!("{root}/later");
    let (event, there) = zk.with_watcher().exists(&later).await.map_err(text)?;
    check(there.is_none(), "not there yet")?;
    make(&other, &later, b"", CreateMode::Persistent).await?;
    check(event.await.map_err(text)?.event_type == WatchedEventType::NodeCreated, "created")
}

async fn membership(zk: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let other = connect(address).await?;
    let (event, _) = zk.with_watcher().get_children(&root).await.map_err(text)?.ok_or("gone")?;
    let member = format!("{root}/m");
    make(&other, &member, b"h", CreateMode::Ephemeral).await?;
    check(event.await.map_err(text)?.event_type == WatchedEventType::NodeChildrenChanged, "joined")?;
    let stat = zk.exists(&member).await.map_err(text)?.ok_or("gone")?;
    check(stat.ephemeral_owner != 0, "owner")
}

async fn queue(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    for _ in 0..20 {
        make(&zk, &format!("{root}/i-"), b"x", CreateMode::PersistentSequential).await?;
    }
    for i in 0..20 {
        let mut items = zk.get_children(&root).await.map_err(text)?.ok_or("gone")?;
        items.sort();
        check(items[0] == format!("i-{i:010}"), "order")?;
        zk.delete(&format!("{root}/{}", items[0]), None).await.map_err(text)?.map_err(text)?;
    }
    Ok(())
}

/// The place of the smallest number is first; the others watch the one before them.
async fn await_place(zk: &ZooKeeper, root: &str, place: &str) -> Result {
    loop {
        let mut all = zk.get_children(root).await.map_err(text)?.ok_or("gone")?;
        all.sort();
        let at = all.iter().position(|name| format!("{root}/{name}") == place).ok_or("my place is gone")?;
        if at == 0 {
            return Ok(());
        }
        let before = format!("{root}/{}", all[at - 1]);
        let (event, there) = zk.with_watcher().exists(&before).await.map_err(text)?;
        if there.is_some() {
            event.await.map_err(text)?;
        }
    }
}

async fn lock(_: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let (root, inside) = (root.clone(), inside.clone());
        tasks.push(tokio::spawn(async move {
            let mine = connect(address).await?;
            for _ in 0..4 {
                let place = make(&mine, &format!("{root}/lock-"), b"", CreateMode::EphemeralSequential).await?;
                await_place(&mine, &root, &place).await?;
                check(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0, "two hold the lock")?;
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                mine.delete(&place, None).await.map_err(text)?.map_err(text)?;
            }
            Ok::<(), String>(())
        }));
    }
    for task in tasks {
        task.await.map_err(text)??;
    }
    Ok(())
}

async fn election(_: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let mut all = Vec::new();
    for _ in 0..3 {
        let mine = connect(address).await?;
        let place = make(&mine, &format!("{root}/n-"), b"", CreateMode::EphemeralSequential).await?;
        all.push((mine, place));
    }
    for (mine, place) in all {
        await_place(&mine, &root, &place).await?;
        // The library has no close that waits, so the leader steps down by deleting its place.
        mine.delete(&place, None).await.map_err(text)?.map_err(text)?;
    }
    Ok(())
}

async fn barrier(_: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let mut tasks = Vec::new();
    for i in 0..3 {
        let root = root.clone();
        tasks.push(tokio::spawn(async move {
            let mine = connect(address).await?;
            make(&mine, &format!("{root}/m{i}"), b"", CreateMode::Persistent).await?;
            loop {
                let (event, inside) =
                    mine.with_watcher().get_children(&root).await.map_err(text)?.ok_or("gone")?;
                if inside.len() == 3 {
                    return Ok::<(), String>(());
                }
                event.await.map_err(text)?;
            }
        }));
    }
    for task in tasks {
        task.await.map_err(text)??;
    }
    Ok(())
}

async fn registry(zk: ZooKeeper, address: SocketAddr, root: String) -> Result {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let mine = connect(address).await?;
        let path = make(&mine, &format!("{root}/host-"), b"10.0.0.1:80", CreateMode::EphemeralSequential).await?;
        servers.push((mine, path));
    }
    let (event, found) = zk.with_watcher().get_children(&root).await.map_err(text)?.ok_or("gone")?;
    check(found.len() == 3, "three hosts")?;
    let (data, _) = zk.get_data(&servers[1].1).await.map_err(text)?.ok_or("gone")?;
    check(data == b"10.0.0.1:80", "data")?;
    servers[1].0.delete(&servers[1].1, None).await.map_err(text)?.map_err(text)?;
    check(event.await.map_err(text)?.event_type == WatchedEventType::NodeChildrenChanged, "one left")
}

async fn large(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    for i in 0..1000 {
        make(&zk, &format!("{root}/n{i:05}"), b"", CreateMode::Persistent).await?;
    }
    check(zk.get_children(&root).await.map_err(text)?.ok_or("gone")?.len() == 1000, "children")
}

async fn multi(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    let (a, b, none) = (format!("{root}/a"), format!("{root}/b"), format!("{root}/none"));
    let results = zk
        .multi()
        .create(&a, &b"1"[..], Acl::open_unsafe(), CreateMode::Persistent)
        .set_data(&a, Some(0), &b"2"[..])
        .check(&a, 1)
        .run()
        .await
        .map_err(text)?;
    check(results.len() == 3 && results.iter().all(|r| r.is_ok()), "multi")?;
    let results = zk
        .multi()
        .create(&b, &b"1"[..], Acl::open_unsafe(), CreateMode::Persistent)
        .delete(&none, None)
        .run()
        .await
        .map_err(text)?;
    check(results.iter().all(|r| r.is_err()), "a failed multi")?;
    check(zk.exists(&b).await.map_err(text)?.is_none(), "nothing may be done")
}

async fn acl(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    let path = format!("{root}/p");
    make(&zk, &path, b"", CreateMode::Persistent).await?;
    let (list, stat) = zk.get_acl(&path).await.map_err(text)?.map_err(text)?;
    check(list == Acl::open_unsafe(), "open")?;
    zk.set_acl(&path, Acl::read_unsafe(), Some(stat.aversion)).await.map_err(text)?.map_err(text)?;
    let (list, _) = zk.get_acl(&path).await.map_err(text)?.map_err(text)?;
    check(list == Acl::read_unsafe(), "read only")
}

async fn restart() -> Result {
    println!("@restart");
    let answer = || std::io::stdin().lock().read_line(&mut String::new());
    tokio::task::spawn_blocking(answer).await.map_err(text)?.map_err(text)?;
    Ok(())
}

/// What was written before the kill is there, and new sessions write.
async fn after_the_kill(zk: ZooKeeper, _: SocketAddr, root: String) -> Result {
    let kept = zk.get_children("/acl").await.map_err(text)?.ok_or("gone")?;
    check(kept == ["p"], "what was written before")?;
    let path = format!("{root}/e");
    let mode = CreateMode::Ephemeral;
    check(make(&zk, &path, b"1", mode).await? == path, "written after")
}

async fn run<F: Future<Output = Result>>(
    name: &str,
    address: SocketAddr,
    scenario: impl FnOnce(ZooKeeper, SocketAddr, String) -> F,
) -> bool {
    let root = format!("/{name}");
    let outcome = async {
        let zk = connect_soon(address).await?;
        make(&zk, &root, b"", CreateMode::Persistent).await?;
        tokio::time::timeout(Duration::from_secs(60), scenario(zk, address, root.clone()))
            .await
            .unwrap_or_else(|_| Err("took longer than a minute".to_string()))
    }
    .await;
    match outcome {
        Ok(()) => println!("ok {name}"),
        Err(e) => println!("FAILED {name}: {e}"),
    }
    true
}

#[tokio::main]
async fn main() {
    let hosts = std::env::args().nth(1).expect("a connect string");
    let first = hosts.split(',').next().unwrap_or_default();
    let address = first.parse().expect("host and port");
    run("basics", address, basics).await;
    run("config_watch", address, config_watch).await;
    run("membership", address, membership).await;
    run("queue", address, queue).await;
    run("lock", address, lock).await;
    run("election", address, election).await;
    run("acl", address, acl).await;
    if let Err(e) = restart().await {
        println!("FAILED restart: {e}");
    }
    run("after_the_kill", address, after_the_kill).await;
    run("barrier", address, barrier).await;
    run("registry", address, registry).await;
    run("large", address, large).await;
    run("multi", address, multi).await;
}
