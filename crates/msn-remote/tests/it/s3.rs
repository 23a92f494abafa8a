//! The S3 API of moto.

use msn_remote::{Error, Patience, RemoteFile};

use crate::again::run_again;
use crate::servers::{Server, put};

/// Credentials come from the environment, so that this test runs itself once more with those of its server.
#[test]
fn objects_are_read_with_credentials_of_the_environment() {
    if std::env::var_os("MSN_TEST_S3").is_some() {
        return read_objects();
    }
    let Some(server) = Server::s3() else { return };
    assert!(put(server.port, "/bucket", b"").contains(" 200 "));
    let content: Vec<u8> = (0..=250).cycle().take(50_000).collect();
    assert!(put(server.port, "/bucket/some/shard-0.tar", &content).contains(" 200 "));
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    run_again(
        "s3::objects_are_read_with_credentials_of_the_environment",
        &[
            ("MSN_TEST_S3", "1"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            // Not for a server on this machine.
            ("HTTP_PROXY", "http://proxy.invalid"),
        ],
        &["NO_PROXY", "no_proxy", "http_proxy"],
    );
}

fn read_objects() {
    let file = RemoteFile::open("s3://bucket/some/shard-0.tar", &Patience::default()).unwrap();
    assert_eq!(file.length(), 50_000);
    let content: Vec<u8> = (0..=250).cycle().take(50_000).collect();
    let mut bytes = Vec::new();
    file.download(&mut bytes).unwrap();
    assert_eq!(bytes, content);
    file.read_range(10_000..10_005, &mut bytes).unwrap();
    assert_eq!(bytes, content[10_000..10_005]);
    let error = RemoteFile::open("s3://bucket/missing", &Patience::default()).err().unwrap();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
