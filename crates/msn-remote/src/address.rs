//! From an address to the server and the path there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::{Host, Position, Url};

use crate::{Error, Patience};

/// Variables of the environment that name another server than the provider's.
/// The first that is set counts.
const AWS_ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
const GOOGLE_ENDPOINTS: [&str; 1] = ["GOOGLE_BASE_URL"];

/// A proxy that nothing goes through takes the place of the one that the environment names: clients have no setting for none.
/// That holds for all that the client asks, where a server redirects to as well.
const UNUSED_PROXY: &str = "http://localhost";
const EVERYTHING: &str = "*,0.0.0.0/0,::/0";

const SCHEMES: [&str; 5] = ["http", "https", "s3", "s3a", "gs"];

/// True for text that begins like an address which this crate reads.
pub fn is_remote(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// A server, and a file there.
pub(crate) struct Address {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
}

impl Address {
    pub(crate) fn parse(text: &str, patience: &Patience) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Address { address: text.to_owned(), reason };
        let url = Url::parse(text).map_err(|e| wrong(e.to_string()))?;
        if url.query().is_some() {
            return Err(wrong("a query (`?...`) is not supported".to_owned()));
        }
        let path = Path::from_url_path(url.path()).map_err(|e| wrong(e.to_string()))?;
        let host = url.host_str().filter(|_| !path.as_ref().is_empty());
        let host = host.ok_or_else(|| wrong("no server, or no file on it".to_owned()))?;
        let store = store(&url, host, patience).map_err(|reason| match reason {
            Unusable::Scheme => wrong(format!("found the scheme `{}`", url.scheme())),
            Unusable::Settings(source) => Error::Refused { address: text.to_owned(), source },
        })?;
        Ok(Self { store, path })
    }
}

/// Why there is no client for an address.
enum Unusable {
    Scheme,
    Settings(object_store::Error),
}

/// The client for the server of an address: one for all files there, since each has its own connections and credentials.
fn store(url: &Url, host: &str, patience: &Patience) -> Result<Arc<dyn ObjectStore>, Unusable> {
    /// By server and settings.
    static KNOWN: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>> = Mutex::new(BTreeMap::new());
    let names = AWS_ENDPOINTS.iter().chain(&GOOGLE_ENDPOINTS);
    let endpoints: Vec<String> = names.map(|name| std::env::var(name).unwrap_or_default()).collect();
    let key = format!("{}\n{:?}\n{}", &url[..Position::BeforePath], patience.stall, endpoints.join("\n"));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = known.get(&key) {
        return Ok(Arc::clone(store));
    }
    let store = new_store(url, host, patience)?;
    known.insert(key, Arc::clone(&store));
    Ok(store)
}

/// Whether the server is this machine, which is no business of a proxy.
fn is_loopback(server: &Url) -> bool {
    match server.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn new_store(url: &Url, host: &str, patience: &Patience) -> Result<Arc<dyn ObjectStore>, Unusable> {
    // How long a transfer takes is not bounded; that bytes keep coming is checked where they are read.
    let client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(patience.stall.min(Duration::from_secs(10)))
        .with_read_timeout(patience.stall);
    // Failures are counted in one place, where the bytes are read.
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let endpoint = |names: &[&str]| {
        let named = names.iter().find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
        named.and_then(|url| Url::parse(&url).ok())
    };
    let server = match url.scheme() {
        "s3" | "s3a" => endpoint(&AWS_ENDPOINTS),
        "gs" => endpoint(&GOOGLE_ENDPOINTS),
        _ => Some(url.clone()),
    };
    let client = match &server {
        Some(server) if is_loopback(server) => {
            client.with_proxy_url(UNUSED_PROXY).with_proxy_excludes(EVERYTHING)
        }
        _ => client,
    };
    // An address without TLS has to be written out to be used.
    let client = client.with_allow_http(server.is_some_and(|server| server.scheme() == "http"));
    let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match url.scheme() {
        "http" | "https" => HttpBuilder::new()
            .with_url(&url[..Position::BeforePath])
            // Also where TLS is left by a redirection.
            .with_client_options(client.with_allow_http(true))
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        "s3" | "s3a" => AmazonS3Builder::from_env()
            .with_bucket_name(host)
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        "gs" => GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(host)
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map(|store| Arc::new(store) as _),
        _ => return Err(Unusable::Scheme),
    };
    store.map_err(Unusable::Settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        for text in ["https://h/x.tar", "s3://b/x", "gs://b/x-{0..1}.tar", "http://h:1/x"] {
            assert!(is_remote(text), "{text}");
        }
        for text in ["x.tar", "/data/s3/x.tar", "ftp://h/x", "C:\\x", "file:///x"] {
            assert!(!is_remote(text), "{text}");
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for here in [
            "http://127.0.0.1:1/x",
            "http://127.9.9.9",
            "http://[::1]:80",
            "https://localhost/x",
            "http://a.localhost",
        ] {
            assert!(is_loopback(&Url::parse(here).unwrap()), "{here}");
        }
        for elsewhere in [
            "http://128.0.0.1",
            "http://[::2]",
            "http://localhost.example",
            "http://mylocalhost",
            "http://10.0.0.1",
        ] {
            assert!(!is_loopback(&Url::parse(elsewhere).unwrap()), "{elsewhere}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_read_are_explained() {
        for (text, words) in [
            ("ftp://host/x.tar", "found the scheme `ftp`"),
            ("https://host/x.tar?signature=1", "a query"),
            ("s3://bucket", "no file"),
            ("https://", "empty host"),
        ] {
            let Err(error) = Address::parse(text, &Patience::default()) else { panic!("{text} is accepted") };
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
