//! What interpreters keep of scripts that have ended.

use larder_tests::{RawClient, TestServer, soon};

/// Waits until INFO tells more bytes than this under a name, or no more.
fn wait_until_held(client: &mut RawClient, name: &str, exceeds: bool, bytes: usize) {
    soon(name, || {
        let info = String::from_utf8(client.ask("INFO memory").text).unwrap();
        let held = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        (held.unwrap().parse::<usize>().unwrap() > bytes) == exceeds
    });
}

#[test]
fn the_garbage_of_a_script_is_collected_when_nothing_else_is_to_run() {
    let server = TestServer::start();
    let mut client = server.client();
    let garbage = |many: usize| format!("local t = {{}} for i = 1, {many} do t[i] = 'x' .. i end return #t");
    client.check(&format!("EVAL \"{}\" 0", garbage(200_000)), ":200000\r\n");
    wait_until_held(&mut client, "used_memory_vm_eval", false, 1 << 20);
    let library = |body: &str| format!("#!lua name=l\nlocal kept\nredis.register_function('f', function() {body} end)");
    let stays = library("kept = {} for i = 1, 200000 do kept[i] = 'x' .. i end return #kept");
    assert_eq!(client.call(&["FUNCTION", "LOAD", &stays]), b"$1\r\nl\r\n");
    client.check("FCALL f 0", ":200000\r\n");
    client.check("MEMORY PURGE", "+OK\r\n");
    client.check("EVAL \"return 1\" 0", ":1\r\n");
    wait_until_held(&mut client, "used_memory_vm_functions", true, 4 << 20);
    let goes = library(&garbage(200_000));
    assert_eq!(client.call(&["FUNCTION", "LOAD", "REPLACE", &goes]), b"$1\r\nl\r\n");
    client.check("FCALL f 0", ":200000\r\n");
    client.check("MEMORY PURGE", "+OK\r\n");
    wait_until_held(&mut client, "used_memory_vm_functions", false, 1 << 20);
    client.check("FCALL f 0", ":200000\r\n");
}
