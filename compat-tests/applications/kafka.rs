//! Three Kafka brokers. What was acknowledged must be there after the controller broker and the
//! ensemble's leader were killed; the brokers must come back under their old ids.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clients::subject;
use crate::harness::client::Session;
use crate::harness::ports::{TempDir, free_port};
use crate::harness::process::{self, Process};
use crate::harness::runner::{Outcome, Stop};
use crate::harness::server::Ensemble;
use crate::harness::tools::{class_path, maven, need};

const VERSION: &str = "3.9.1";

struct Broker {
    id: usize,
    port: u16,
    process: Option<Process>,
}

struct Kafka {
    class_path: String,
    brokers: Vec<Broker>,
    dir: TempDir,
    ensemble: Ensemble,
}

fn java(class_path: &str, heap_mib: u32) -> Result<Command, Stop> {
    let mut command = Command::new(need("java")?);
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("-Xmx{heap_mib}m"));
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(["-cp", class_path]);
    Ok(command)
}

impl Kafka {
    fn start_broker(&mut self, index: usize) -> Result<(), Stop> {
        let connect = format!("{}/kafka", self.ensemble.connect_string());
        let broker = &mut self.brokers[index];
        let home = self.dir.join(&format!("broker{}", broker.id));
        std::fs::create_dir_all(&home)?;
        let text = format!(
            "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:{}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{}\n\
             log.dirs={}\nzookeeper.connect={connect}\nzookeeper.session.timeout.ms=8000\n\
             zookeeper.connection.timeout.ms=30000\nnum.partitions=6\ndefault.replication.factor=3\n\
             min.insync.replicas=2\noffsets.topic.replication.factor=3\noffsets.topic.num.partitions=3\n\
             transaction.state.log.replication.factor=3\ngroup.initial.rebalance.delay.ms=0\n\
             num.network.threads=1\nnum.io.threads=2\nlog.cleaner.enable=false\n",
            broker.id,
            broker.port,
            broker.port,
            home.join("logs").display()
        );
        let config = home.join("server.properties");
        std::fs::write(&config, text)?;
        let mut command = java(&self.class_path, 400)?;
        command.arg("kafka.Kafka").arg(config).current_dir(&home);
        let name = format!("broker {}", broker.id);
        let process = Process::spawn(&name, &mut command, &home.join("out.log"))?;
        broker.process = Some(process);
        Ok(())
    }

    fn servers(&self) -> String {
        let all: Vec<String> =
            self.brokers.iter().map(|b| format!("127.0.0.1:{}", b.port)).collect();
        all.join(",")
    }

    fn session(&self) -> Result<Session, Stop> {
        let mut last = String::new();
        for _ in 0..100 {
            for member in &self.ensemble.members {
                match Session::open(member.address(), 10000) {
                    Ok(session) => return Ok(session),
                    Err(e) => last = e,
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(Stop::failed(last))
    }

    fn read(&self, path: &str) -> Result<Option<String>, Stop> {
        let mut session = self.session()?;
        let data = session.get(path)?.ok().map(|d| String::from_utf8_lossy(&d).into_owned());
        session.close();
        Ok(data)
    }

    /// Waits until exactly these ids are registered.
    fn await_brokers(&self, wanted: &[usize]) -> Result<(), Stop> {
        let wanted: Vec<String> = wanted.iter().map(|id| id.to_string()).collect();
        let end = Instant::now() + Duration::from_secs(90);
        let mut seen = Vec::new();
        while Instant::now() < end {
            let mut session = self.session()?;
            if let Ok(Ok(ids)) = session.children("/kafka/brokers/ids") {
                seen = ids;
            }
            session.close();
            if seen == wanted {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(Stop::failed(format!("brokers {seen:?}, wanted {wanted:?}\n{}", self.logs())))
    }

    fn controller(&self) -> Result<usize, Stop> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if let Some(text) = self.read("/kafka/controller")?
                && let Some(id) = number(&text, "\"brokerid\":")
            {
                return Ok(id as usize);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(Stop::failed(format!("no controller\n{}", self.logs())))
    }

    fn controller_epoch(&self) -> Result<u64, Stop> {
        let text = self.read("/kafka/controller_epoch")?.unwrap_or_default();
        text.trim().parse().map_err(|_| Stop::failed(format!("controller epoch `{text}`")))
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for broker in &self.brokers {
            if let Some(process) = &broker.process {
                text.push_str(&process.log_tail());
            }
        }
        text + &self.ensemble.log_tails()
    }

    fn tool(&self, log: &str, patience: u64, args: &[&str]) -> Result<String, Stop> {
        let mut command = java(&self.class_path, 256)?;
        command.args(args).current_dir(self.dir.path());
        let log = self.dir.join(log);
        process::run(&mut command, &log, Duration::from_secs(patience))
            .map_err(|e| Stop::failed(format!("{}\n{}", e, self.logs())))?;
        Ok(std::fs::read_to_string(log)?)
    }
}

fn number(text: &str, key: &str) -> Option<u64> {
    let rest = &text[text.find(key)? + key.len()..];
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Values of the lines of the producer that were acknowledged.
fn acknowledged(log: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter(|l| l.contains("producer_send_success"))
        .filter_map(|l| number(l, "\"value\":\""))
        .collect()
}

/// Sends `messages` at `per_second` while things are killed.
pub fn run(messages: u64, per_second: u64) -> Outcome {
    let lib = maven(
        &format!("kafka-{VERSION}"),
        &[
            &format!("org.apache.kafka:kafka_2.13:{VERSION}"),
            &format!("org.apache.kafka:kafka-tools:{VERSION}"),
        ],
    )?;
    let dir = TempDir::new("kafka");
    let mut ensemble =
        Ensemble::new(&[subject(), subject(), subject()], &dir.join("ensemble"), &[]);
    ensemble.start()?;
    let mut chroot = Session::open(ensemble.members[0].address(), 10000)?;
    chroot.create("/kafka", b"", 0)?;
    chroot.close();
    let brokers = (1..=3).map(|id| Broker { id, port: free_port(), process: None }).collect();
    let mut kafka = Kafka { class_path: class_path(&[], &lib), brokers, dir, ensemble };
    // One after another: three Java processes starting at once are slow on a small machine.
    for index in 0..3 {
        kafka.start_broker(index)?;
        let up: Vec<usize> = (1..=index + 1).collect();
        kafka.await_brokers(&up)?;
    }
    let servers = kafka.servers();
    kafka.tool(
        "topic.log",
        120,
        &[
            "org.apache.kafka.tools.TopicCommand",
            "--bootstrap-server",
            &servers,
            "--create",
            "--topic",
            "t",
            "--partitions",
            "6",
            "--replication-factor",
            "3",
        ],
    )?;
    let epoch = kafka.controller_epoch()?;

    let produced = kafka.dir.join("producer.log");
    let mut command = java(&kafka.class_path, 256)?;
    command.current_dir(kafka.dir.path()).args([
        "org.apache.kafka.tools.VerifiableProducer",
        "--bootstrap-server",
        &servers,
        "--topic",
        "t",
        "--acks",
        "-1",
        "--max-messages",
        &messages.to_string(),
        "--throughput",
        &per_second.to_string(),
    ]);
    let mut producer = Process::spawn("producer", &mut command, &produced)?;
    let await_acknowledged = |count: u64| -> Result<(), Stop> {
        let end = Instant::now() + Duration::from_secs(180);
        while (acknowledged(&produced).len() as u64) < count {
            if Instant::now() > end {
                return Err(Stop::failed(format!("fewer than {count} acknowledged")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    };
    await_acknowledged(messages / 5).map_err(|e| add_logs(e, &kafka))?;
    // kill -9 of the controller broker.
    let controller = kafka.controller()?;
    if let Some(mut process) = kafka.brokers[controller - 1].process.take() {
        process.kill();
    }
    let others: Vec<usize> = (1..=3).filter(|id| *id != controller).collect();
    kafka.await_brokers(&others)?;
    let next = kafka.controller()?;
    if next == controller {
        return Err(Stop::failed("the killed broker is still the controller"));
    }
    let raised = kafka.controller_epoch()?;
    if raised != epoch + 1 {
        return Err(Stop::failed(format!("controller epoch {epoch}, then {raised}")));
    }
    // kill -9 of the ensemble's leader.
    let leader = kafka.ensemble.leader().ok_or_else(|| Stop::failed("no leader"))?;
    kafka.ensemble.members[leader].kill9();
    kafka.ensemble.wait_serving()?;
    await_acknowledged(messages / 2).map_err(|e| add_logs(e, &kafka))?;
    kafka.ensemble.members[leader].start()?;
    kafka.start_broker(controller - 1)?;
    kafka.await_brokers(&[1, 2, 3])?;
    if producer.wait(Duration::from_secs(600)).is_none() {
        return Err(Stop::failed(format!("the producer does not end\n{}", producer.log_tail())));
    }
    let sent = acknowledged(&produced);
    let text = kafka.tool(
        "consumer.log",
        300,
        &[
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            "--bootstrap-server",
            &servers,
            "--topic",
            "t",
            "--from-beginning",
            "--timeout-ms",
            "20000",
        ],
    );
    // The tool ends by its timeout, which it may call an error.
    let text = match text {
        Ok(text) => text,
        Err(_) => std::fs::read_to_string(kafka.dir.join("consumer.log"))?,
    };
    let seen: BTreeSet<u64> = text.lines().filter_map(|l| l.trim().parse().ok()).collect();
    let lost: Vec<u64> = sent.difference(&seen).copied().collect();
    if !lost.is_empty() {
        return Err(Stop::failed(format!(
            "{} of {} acknowledged messages are lost: {:?} ..\n{}",
            lost.len(),
            sent.len(),
            &lost[..lost.len().min(10)],
            kafka.logs()
        )));
    }
    if kafka.controller_epoch()? != raised {
        return Err(Stop::failed("another controller was elected without need"));
    }
    Ok(format!("{} of {messages} messages acknowledged, none lost", sent.len()))
}

fn add_logs(error: Stop, kafka: &Kafka) -> Stop {
    match error {
        Stop::Failed(text) => Stop::failed(format!("{text}\n{}", kafka.logs())),
        other => other,
    }
}
