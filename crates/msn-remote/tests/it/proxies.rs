//! Proxies that the environment names.

use std::time::Duration;

use msn_remote::{Patience, RemoteFile};

use crate::again::run_again;
use crate::servers::Faulty;

/// Set in the process that has a proxy: the file to read.
const FILE: &str = "MSN_TEST_PROXY";

/// Reads the file of `address` where everything is to be asked of `proxy`.
fn read_by(proxy: &Faulty, test: &str, address: &str) {
    let proxy = format!("http://{}", proxy.address);
    // Of this process none is to be left.
    let none = ["NO_PROXY", "no_proxy", "REQUEST_METHOD"];
    let variables = [("HTTP_PROXY", &*proxy), ("http_proxy", &proxy), ("ALL_PROXY", &proxy), (FILE, address)];
    run_again(test, &variables, &none);
}

/// In the process that has a proxy.
fn read() -> Option<()> {
    let address = std::env::var(FILE).ok()?;
    let pause = Duration::from_millis(1);
    let patience = Patience { failures: 2, first_pause: pause, longest_pause: pause, ..Patience::default() };
    let mut bytes = Vec::new();
    RemoteFile::open(&address, &patience).unwrap().download(&mut bytes).unwrap();
    assert_eq!(bytes, [7; 5000]);
    Some(())
}

#[test]
fn servers_on_this_machine_are_asked_without_a_proxy() {
    if read().is_some() {
        return;
    }
    let [proxy, server] = [1, 7].map(|byte| Faulty::start(vec![byte; 5000], &[]));
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("http://{host}:{}/x.bin", server.address.port());
        read_by(&proxy, "proxies::servers_on_this_machine_are_asked_without_a_proxy", &address);
    }
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[test]
fn other_servers_are_asked_through_the_proxy() {
    if read().is_some() {
        return;
    }
    let proxy = Faulty::start(vec![7; 5000], &[]);
    // A name that nobody has (RFC 6761).
    read_by(&proxy, "proxies::other_servers_are_asked_through_the_proxy", "http://files.invalid/x.bin");
    assert!(proxy.heads()[0].contains(" http://files.invalid/x.bin "), "{:?}", proxy.heads());
}
