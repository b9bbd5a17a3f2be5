use super::*;

fn answer(head: &str) -> String {
    String::from_utf8(respond(head.as_bytes(), || "znode_count 5\n".to_owned())).expect("text")
}

#[test]
fn only_metrics_are_served() {
    let text = answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
    assert!(text.contains("Content-Length: 14\r\n") && text.ends_with("\r\n\r\nznode_count 5\n"));
    assert!(answer("HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("close\r\n\r\n"));
    assert!(answer("GET /metrics?name=x HTTP/1.1\r\n\r\n").contains("znode_count"));
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("TRACE /metrics HTTP/1.1\r\n\r\n", "403"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("", "400"),
        ("\u{0}\u{1}garbage", "400"),
    ] {
        assert!(answer(head).starts_with(&format!("HTTP/1.1 {status}")), "{head:?}");
    }
}

#[test]
fn a_scrape_over_a_socket() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve_metrics(listener, || "a 1\n".to_owned()));
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        assert!(text.ends_with("\r\n\r\na 1\n"), "{text}");
        server.abort();
    });
}

/// Sixteen sockets that say nothing used to delay every scrape by five seconds.
#[test]
fn silent_sockets_delay_no_scrape() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(serve_metrics(listener, || "a 1\n".to_owned()));
        let mut silent = Vec::new();
        for _ in 0..3 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.expect("connects"));
        }
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        assert!(text.ends_with("a 1\n"), "{text}");
        assert!(begun.elapsed() < PATIENCE, "nobody's patience was waited for");
        // The oldest is closed, the newest is not.
        let mut byte = [0];
        assert_eq!(silent[0].read(&mut byte).await.unwrap_or(0), 0);
        let newest = silent.last_mut().expect("some");
        newest.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.expect("writes");
        let mut text = String::new();
        newest.read_to_string(&mut text).await.expect("reads");
        assert!(text.ends_with("a 1\n"), "{text}");
        server.abort();
    });
}
