//! An HBase master and two region servers on the local file system. Rows must be all there after a
//! region server and the ensemble's leader were killed.

use std::process::Command;
use std::time::Duration;

use crate::clients::subject;
use crate::harness::client::Session;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::{self, Process};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;
use crate::harness::tools::{self, class_path, javac, maven, need};

const VERSION: &str = "2.6.1-hadoop3";

fn java(class_path: &str, heap_mib: u32) -> Result<Command, Stop> {
    let mut command = Command::new(need("java")?);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("-Xmx{heap_mib}m"));
    for package in [
        "java.base/java.lang",
        "java.base/java.nio",
        "java.base/sun.nio.ch",
        "java.base/java.util",
        "java.base/java.lang.reflect",
        "java.base/java.util.concurrent",
        "java.base/jdk.internal.util.random",
    ] {
        command.arg(format!("--add-opens={package}=ALL-UNNAMED"));
    }
    command.args(["-Dorg.apache.logging.log4j.level=WARN", "-cp", class_path]);
    Ok(command)
}

struct HBase {
    class_path: String,
    dir: TempDir,
    ensemble: Ensemble,
    processes: Vec<Process>,
}

impl HBase {
    /// Writes a configuration with ports of its own and starts a class with it.
    fn start(&mut self, name: &str, class: &str) -> Result<(), Stop> {
        let home = self.dir.join(name);
        std::fs::create_dir_all(&home)?;
        self.configure(name)?;
        let path = format!("{}:{}", home.display(), self.class_path);
        let mut command = java(&path, 450)?;
        command.args([class, "start"]).current_dir(&home);
        let process = Process::spawn(name, &mut command, &home.join("out.log"))?;
        self.processes.push(process);
        Ok(())
    }

    fn configure(&self, name: &str) -> Result<(), Stop> {
        let hosts: Vec<&str> = self.ensemble.members.iter().map(|_| "127.0.0.1").collect();
        let quorum: Vec<String> = self
            .ensemble
            .members
            .iter()
            .zip(hosts)
            .map(|(m, h)| format!("{h}:{}", m.port))
            .collect();
        let port = self.ensemble.members[0].port.to_string();
        let root = format!("file://{}", self.dir.join("data").display());
        let temporary = self.dir.join("tmp").display().to_string();
        let ports: Vec<String> = (0..4).map(|_| free_port().to_string()).collect();
        let settings: &[(&str, &str)] = &[
            ("hbase.cluster.distributed", "true"),
            ("hbase.rootdir", &root),
            ("hbase.tmp.dir", &temporary),
            ("hbase.wal.provider", "filesystem"),
            ("hbase.unsafe.stream.capability.enforce", "false"),
            ("hbase.zookeeper.quorum", &quorum.join(",")),
            ("hbase.zookeeper.property.clientPort", &port),
            ("zookeeper.session.timeout", "12000"),
            ("hbase.master.hostname", "localhost"),
            ("hbase.regionserver.hostname", "localhost"),
            ("hbase.master.ipc.address", "127.0.0.1"),
            ("hbase.regionserver.ipc.address", "127.0.0.1"),
            ("hbase.master.port", &ports[0]),
            ("hbase.master.info.port", "-1"),
            ("hbase.regionserver.port", &ports[1]),
            ("hbase.regionserver.info.port", "-1"),
            ("hbase.regionserver.handler.count", "6"),
            ("hbase.master.wait.on.regionservers.mintostart", "2"),
            ("hbase.procedure.store.region.wal.max.size", "16777216"),
            ("hbase.client.retries.number", "60"),
            ("hbase.client.operation.timeout", "240000"),
            ("hbase.hregion.memstore.flush.size", "16777216"),
        ];
        let mut text = String::from("<configuration>\n");
        for (key, value) in settings {
            text.push_str(&format!(
                "<property><name>{key}</name><value>{value}</value></property>\n"
            ));
        }
        text.push_str("</configuration>\n");
        std::fs::write(self.dir.join(name).join("hbase-site.xml"), text)?;
        Ok(())
    }

    fn logs(&self) -> String {
        let logs: String = self.processes.iter().map(|p| p.log_tail()).collect();
        logs + &self.ensemble.log_tails()
    }

    fn client(&self, what: &str, rows: u64, patience: u64) -> Result<String, Stop> {
        let home = self.dir.join("client");
        std::fs::create_dir_all(&home)?;
        self.configure("client")?;
        let path = format!("{}:{}", home.display(), self.class_path);
        let mut command = java(&path, 256)?;
        command.args(["HBaseLoad", what, &rows.to_string()]).current_dir(&home);
        process::run(&mut command, &home.join("client.log"), Duration::from_secs(patience))
            .map_err(|e| Stop::failed(format!("{e}\n{}", self.logs())))
    }
}

/// Puts `rows`, kills, counts.
pub fn run(rows: u64) -> Outcome {
    let lib =
        maven(&format!("hbase-{VERSION}"), &[&format!("org.apache.hbase:hbase-server:{VERSION}")])?;
    let source = tools::root().join("compat-tests/java/HBaseLoad.java");
    let classes = javac("hbase", &[source], &class_path(&[], &lib))?;
    let dir = TempDir::new("hbase");
    let mut ensemble =
        Ensemble::new(&[subject(), subject(), subject()], &dir.join("ensemble"), &[]);
    ensemble.start()?;
    let class_path = class_path(&[&classes], &lib);
    let mut hbase = HBase { class_path, dir, ensemble, processes: Vec::new() };
    hbase.start("master", "org.apache.hadoop.hbase.master.HMaster")?;
    hbase.start("region1", "org.apache.hadoop.hbase.regionserver.HRegionServer")?;
    hbase.start("region2", "org.apache.hadoop.hbase.regionserver.HRegionServer")?;
    hbase.client("create", rows, 300)?;
    hbase.client("put", rows, 600)?;
    let counted =
        |text: &str| text.lines().find_map(|l| l.strip_prefix("rows ")).map(str::to_string);
    let before = counted(&hbase.client("count", rows, 300)?);
    // kill -9 of a region server, then of the ensemble's leader while regions move.
    let mut doomed = hbase.processes.remove(1);
    doomed.kill();
    let leader = hbase.ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    hbase.ensemble.members[leader].kill9();
    hbase.ensemble.wait_serving()?;
    hbase.ensemble.members[leader].start()?;
    let after = counted(&hbase.client("count", rows, 600)?);
    if before != Some(rows.to_string()) || after != before {
        return Err(Stop::failed(format!(
            "{rows} rows put, {before:?} counted, {after:?} after the kills\n{}",
            hbase.logs()
        )));
    }
    let mut session = Session::open(hbase.ensemble.members[0].address(), 10000)?;
    let servers = session.children("/hbase/rs")?.unwrap_or_default();
    session.close();
    if servers.len() != 1 {
        return Err(Stop::failed(format!("region servers: {servers:?}")));
    }
    Ok(format!("{rows} rows, all there after the kills"))
}
