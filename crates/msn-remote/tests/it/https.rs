//! Servers behind TLS whose certificates an authority of one's own has signed, as inside of companies.

use std::fs;
use std::path::Path;
use std::process::Command;

use msn_remote::{Error, Patience, RemoteFile};

use crate::again::run_again;
use crate::servers::{Server, run};

/// An authority, and a certificate of it for 127.0.0.1. `None` with a message where there is no OpenSSL 3 or later, whose
/// failures are those of the test.
fn certify(authority: &Path, served: &Path) -> Option<()> {
    let mut probe = Command::new("openssl");
    probe.arg("version");
    let version = run(probe).map(|probe| String::from_utf8_lossy(&probe.stdout).into_owned());
    let major = |version: &str| version.strip_prefix("OpenSSL ")?.split('.').next()?.parse::<u32>().ok();
    if version.and_then(|version| major(&version)).is_none_or(|major| major < 3) {
        msn_golden::skip("no openssl 3, which makes the certificates of these tests");
        return None;
    }
    let new = |folder: &Path, name: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "2", "-keyout", "key.pem", "-out", "certificate.pem", "-subj", name]);
        let made = command.args(more).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    new(authority, "/CN=an authority", &[]);
    let [of, key] = ["certificate.pem", "key.pem"].map(|file| authority.join(file).display().to_string());
    let usage = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
    new(served, "/CN=a server", &[&["-CA", &of, "-CAkey", &key][..], &usage].concat());
    Some(())
}

#[test]
fn certificates_are_trusted_if_their_authority_is_named() {
    if let Ok(address) = std::env::var("MSN_TEST_HTTPS") {
        let file = RemoteFile::open(&address, &Patience::default()).unwrap();
        let mut bytes = Vec::new();
        file.download(&mut bytes).unwrap();
        return assert_eq!(bytes, [5; 3000]);
    }
    let [authority, served] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    if certify(authority.path(), served.path()).is_none() {
        return;
    }
    fs::write(served.path().join("x.tar"), [5; 3000]).unwrap();
    let Some(server) = Server::https(served.path()) else { return };
    let address = format!("https://127.0.0.1:{}/x.tar", server.port);
    let named = authority.path().join("certificate.pem").display().to_string();
    run_again(
        "https::certificates_are_trusted_if_their_authority_is_named",
        &[("MSN_TEST_HTTPS", &address), ("SSL_CERT_FILE", &named)],
        &[],
    );
    // Not named, it is refused, with advice, as what no waiting would help against.
    let error = RemoteFile::open(&address, &Patience::default()).err().unwrap();
    assert!(matches!(error, Error::Certificate { .. }), "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
}
