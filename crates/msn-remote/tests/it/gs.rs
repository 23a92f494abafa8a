//! Google Cloud Storage's API, as far as reading needs it, from a server of our own: there is none to install.

use msn_remote::{Patience, RemoteFile};

use crate::again::run_again;
use crate::servers::{Fault, Faulty};

fn content() -> Vec<u8> {
    (0..=240).cycle().take(50_000).collect()
}

#[test]
fn objects_are_read_with_credentials_of_the_environment() {
    if std::env::var_os("MSN_TEST_GS").is_some() {
        return read_object();
    }
    let server = Faulty::start(content(), &[Fault::Close(20_000)]);
    run_again(
        "gs::objects_are_read_with_credentials_of_the_environment",
        &[
            ("MSN_TEST_GS", "1"),
            ("GOOGLE_BASE_URL", &format!("http://{}", server.address)),
            ("GOOGLE_BEARER_TOKEN", "a-token"),
            // Not for a server on this machine.
            ("HTTP_PROXY", "http://proxy.invalid"),
        ],
        &["NO_PROXY", "no_proxy", "http_proxy"],
    );
    assert_eq!(server.starts(), [0, 20_000, 10_000], "the whole, the rest of it, a part");
    let heads = server.heads();
    assert_eq!(heads.len(), 4, "one more to look it up");
    for head in heads {
        let (method, path) = head.split_once(' ').unwrap();
        assert!(["HEAD", "GET"].contains(&method), "{head}");
        assert!(path.starts_with("/bucket/some%2Fshard%2D0%2Etar "), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer a-token\r\n"), "{head}");
    }
}

fn read_object() {
    let file = RemoteFile::open("gs://bucket/some/shard-0.tar", &Patience::default()).unwrap();
    assert_eq!(file.length(), 50_000);
    let mut bytes = Vec::new();
    file.download(&mut bytes).unwrap();
    assert_eq!(bytes, content());
    file.read_range(10_000..10_005, &mut bytes).unwrap();
    assert_eq!(bytes, content()[10_000..10_005]);
}
