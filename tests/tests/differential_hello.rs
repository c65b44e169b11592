//! HELLO, whose reply names the version and a number of the connection: all the rest is compared with a real server.

use larder_tests::frame::{self, Frame};
use larder_tests::{RawClient, Redis, TestServer};

/// The reply with the values of `version` and `id` taken out, and those values.
fn hello(client: &mut RawClient, line: &str) -> (Frame, String, String) {
    let mut reply = client.ask(line);
    let mut values = Vec::new();
    for name in ["version", "id"] {
        let at = reply.items.iter().position(|item| item.text == name.as_bytes()).unwrap();
        let value = &mut reply.items[at + 1].text;
        values.push(String::from_utf8_lossy(value).into_owned());
        value.clear();
    }
    (reply, values[0].clone(), values[1].clone())
}

#[test]
fn hello_is_the_same_but_for_version_and_id() {
    let server = TestServer::start();
    let Some(redis) = Redis::start() else { return };
    let (mut client, mut peer) = (server.client(), redis.client());
    for line in ["HELLO", "HELLO 2", "HELLO 3", "HELLO", "HELLO 3 SETNAME me", "HELLO 2 AUTH default any"] {
        let ((got, version, id), (want, _, _)) = (hello(&mut client, line), hello(&mut peer, line));
        assert_eq!(frame::show(&got.bytes()), frame::show(&want.bytes()), "{line}");
        assert!(version.starts_with("7.4."), "{version}");
        assert_eq!(id, String::from_utf8_lossy(&client.ask("CLIENT ID").text), "{line}");
        peer.ask("CLIENT ID");
    }
}
