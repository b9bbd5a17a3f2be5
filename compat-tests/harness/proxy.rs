//! A proxy that writes down what passes, in both directions and in order of arrival.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What happened on one proxied connection.
#[derive(Clone, Debug)]
pub enum Passed {
    /// The dialling side connected.
    Open,
    /// Bytes from the dialling side.
    Forth(Vec<u8>),
    /// Bytes from the listening side.
    Back(Vec<u8>),
    /// One side closed.
    Closed,
}

/// One line of a recording: which connection, what.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Connections are numbered from 0 in order of their opening.
    pub connection: usize,
    /// What happened.
    pub passed: Passed,
}

/// Everything one proxy saw.
pub type Tape = Arc<Mutex<Vec<Entry>>>;

/// Listens on a port of its own and forwards to another.
pub struct Proxy {
    /// Where to dial.
    pub port: u16,
    tape: Tape,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Forwards from `port` (which must be free) to `target`.
    pub fn start(port: u16, target: SocketAddr) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let tape: Tape = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (tape2, stop2, open2) = (tape.clone(), stop.clone(), open.clone());
        std::thread::spawn(move || {
            let mut count = 0;
            for dialled in listener.incoming() {
                if stop2.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(dialled) = dialled else { continue };
                let Ok(onward) = TcpStream::connect(target) else {
                    continue;
                };
                let _ = dialled.set_nodelay(true);
                let _ = onward.set_nodelay(true);
                let connection = count;
                count += 1;
                note(&tape2, connection, Passed::Open);
                let (Ok(d2), Ok(o2)) = (dialled.try_clone(), onward.try_clone()) else {
                    continue;
                };
                if let (Ok(d3), Ok(o3)) = (dialled.try_clone(), onward.try_clone()) {
                    let mut all = open2.lock().unwrap_or_else(|e| e.into_inner());
                    all.push(d3);
                    all.push(o3);
                }
                let (t1, t2) = (tape2.clone(), tape2.clone());
                std::thread::spawn(move || pump(dialled, o2, t1, connection, true));
                std::thread::spawn(move || pump(onward, d2, t2, connection, false));
            }
        });
        Ok(Proxy { port, tape, stop, open })
    }

    /// What passed since the last call.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.tape.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Cuts all connections that are open now.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn note(tape: &Tape, connection: usize, passed: Passed) {
    let mut tape = tape.lock().unwrap_or_else(|e| e.into_inner());
    // Neighbouring pieces of one direction are one piece: TCP has no message boundaries.
    if let Some(last) = tape.iter_mut().rev().find(|e| e.connection == connection) {
        match (&mut last.passed, &passed) {
            (Passed::Forth(old), Passed::Forth(new)) | (Passed::Back(old), Passed::Back(new)) => {
                old.extend_from_slice(new);
                return;
            }
            (Passed::Closed, Passed::Closed) => return,
            _ => {}
        }
    }
    tape.push(Entry { connection, passed });
}

fn pump(mut from: TcpStream, mut to: TcpStream, tape: Tape, connection: usize, forth: bool) {
    let mut chunk = [0u8; 65536];
    loop {
        match from.read(&mut chunk) {
            Ok(n) if n > 0 => {
                let bytes = chunk[..n].to_vec();
                let passed = if forth { Passed::Forth(bytes) } else { Passed::Back(bytes) };
                note(&tape, connection, passed);
                if to.write_all(&chunk[..n]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    note(&tape, connection, Passed::Closed);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
