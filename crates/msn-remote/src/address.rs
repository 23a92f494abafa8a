//! From an address to the server and the path there.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::{Error, Patience};

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
        // How long a transfer takes is not bounded; that bytes keep coming is checked where they are read.
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(patience.stall.min(Duration::from_secs(10)))
            .with_read_timeout(patience.stall);
        // Failures are counted in one place, where the bytes are read.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let unusable = |source| Error::Refused { address: text.to_owned(), source };
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "http" | "https" => Arc::new(
                HttpBuilder::new()
                    .with_url(&url[..Position::BeforePath])
                    .with_client_options(client.with_allow_http(true))
                    .with_retry(retry)
                    .build()
                    .map_err(unusable)?,
            ),
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(host).with_retry(retry);
                // An address without TLS has to be written out to be used, in AWS_ENDPOINT_URL.
                let plain = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("http://"));
                let builder = builder.with_client_options(client.with_allow_http(plain));
                Arc::new(builder.build().map_err(unusable)?)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(host).with_retry(retry);
                let plain = std::env::var("GOOGLE_BASE_URL").is_ok_and(|url| url.starts_with("http://"));
                let builder = builder.with_client_options(client.with_allow_http(plain));
                Arc::new(builder.build().map_err(unusable)?)
            }
            scheme => return Err(wrong(format!("found the scheme `{scheme}`"))),
        };
        Ok(Self { store, path })
    }
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
