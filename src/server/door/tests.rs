use super::*;
use crate::config::{Overrides, RealFiles, load_positional};
use crate::ops::Metrics;
use crate::storage::RealDisk;

async fn door() -> (Door, SocketAddr) {
    let overrides = Overrides {
        defines: vec![("zookeeper.4lw.commands.whitelist".to_owned(), "*".to_owned())],
        sets: Vec::new(),
    };
    let args = ["0".to_owned(), "/nowhere".to_owned()];
    let loaded = load_positional(&args, &overrides, &RealFiles).expect("a configuration");
    let metrics = Arc::new(Metrics::new(false));
    let reporter = Reporter::new(Arc::new(loaded.config), RealDisk::shared(), metrics, 0, 0);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    (Door::new(listener, Arc::new(reporter), 512), address)
}

async fn four(address: SocketAddr, word: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    for piece in word.chunks(3) {
        stream.write_all(piece).await.expect("ask");
    }
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text));
    read.await.expect("in time").expect("an answer");
    text
}

#[tokio::test]
async fn words_are_answered_before_there_is_a_server() {
    let (_door, address) = door().await;
    let not_serving = format!("{}\n", crate::ops::four_letter::NOT_SERVING);
    for (word, expected) in [
        (&b"ruok"[..], "imok"),
        (b"isro", "null"),
        (b"srvr", &not_serving),
        (b"mntr", &not_serving),
        (b"gtmk", "306"),
        (b"stmk\0\0\0\0\0\0\0\x07", "7"),
        (b"gtmk", "7"),
    ] {
        assert_eq!(four(address, word).await, expected, "{word:?}");
    }
    assert!(four(address, b"envi").await.starts_with("Environment:\n"));
}

#[tokio::test]
async fn who_is_no_probe_waits_with_all_it_has_sent() {
    let (door, address) = door().await;
    let mut clients = Vec::new();
    for n in 0..3_u8 {
        let mut client = TcpStream::connect(address).await.expect("connect");
        client.write_all(&[0, 0, 0, 44, n]).await.expect("half a connect request");
        clients.push(client);
    }
    let mut silent = TcpStream::connect(address).await.expect("connect");
    assert_eq!(four(address, b"ruok").await, "imok");
    let (_listener, visitors) = door.open().await.expect("open");
    assert_eq!(visitors.len(), 4);
    for (n, (mut stream, remote)) in visitors.into_iter().enumerate() {
        if let Some(client) = clients.get(n) {
            assert_eq!(remote, client.local_addr().expect("address"));
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.expect("nothing is lost");
            assert_eq!(usize::from(head[4]), n);
        } else {
            assert_eq!(remote, silent.local_addr().expect("address"));
            stream.write_all(b"x").await.expect("it is still there");
            assert_eq!(silent.read_u8().await.expect("open"), b'x');
        }
    }
}

#[tokio::test]
async fn those_who_wait_are_bounded() {
    let (door, address) = door().await;
    let mut clients = Vec::new();
    for _ in 0..WAITING_MAX + 8 {
        let mut client = TcpStream::connect(address).await.expect("connect");
        client.write_all(&[0, 0, 0, 44]).await.expect("a length");
        clients.push(client);
    }
    // The last of them was accepted when this is answered.
    assert_eq!(four(address, b"ruok").await, "imok");
    let (_listener, visitors) = door.open().await.expect("open");
    assert!(visitors.len() <= WAITING_MAX, "{}", visitors.len());
    assert!(clients[0].read_u8().await.is_err(), "the oldest was closed");
}
