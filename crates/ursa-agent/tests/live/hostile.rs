//! What clients send that is no text.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_bytes_that_are_no_text_cost_no_span() {
    let mut world = World::start().await;
    let running = world.agent().await;
    running.ready().await;
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: app\r\nuser-agent: a\xff\xfe\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for _ in 0..5 {
        world.passes().await;
    }
    assert_eq!(world.spans(6).await.len(), 6);
    running.shutdown().await;
}
