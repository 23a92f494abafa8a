//! What can go wrong between an address and its bytes.

use std::path::PathBuf;

use msn_store::StoreError;

/// A failure to read a remote file: each says where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no address that can be read.
    #[error("{address}: expected the address of a file (http, https, s3 or gs): {reason}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server says no, or not what a server of files would say.
    #[error("{address}: cannot read: {source}")]
    Refused {
        /// The file.
        address: String,
        /// The answer.
        source: object_store::Error,
    },
    /// The server is not known to be the one that it says it is.
    #[error(
        "{address}: {reason}; if an authority of your own has signed the certificate, name the authority's PEM file in \
         SSL_CERT_FILE"
    )]
    Certificate {
        /// The file.
        address: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The server does not answer, or breaks off, again and again.
    #[error("{address}: gave up after {failures} failures in a row at byte {at}; the last one: {last}")]
    GaveUp {
        /// The file.
        address: String,
        /// Failures without a byte between them.
        failures: u32,
        /// Bytes that had been read.
        at: u64,
        /// The latest failure.
        last: String,
    },
    /// The file is not the one that was there before.
    #[error("{address}: the file has changed: expected {expected}, found {found}")]
    Changed {
        /// The file.
        address: String,
        /// Length or version before.
        expected: String,
        /// Length or version now.
        found: String,
    },
    /// The bytes cannot be written to where they should go.
    #[error("{address}: cannot keep what was read: {source}")]
    Write {
        /// The file.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is larger than all files together may be in the local cache.
    #[error(
        "{address}: expected at most {limit} bytes, which the cache in {} may hold (MSN_CACHE_GIB), found {length}",
        folder.display()
    )]
    LargerThanCache {
        /// The file.
        address: String,
        /// The cache.
        folder: PathBuf,
        /// Bytes that it may hold.
        limit: u64,
        /// Bytes of the file.
        length: u64,
    },
    /// The local cache cannot be used.
    #[error(transparent)]
    Cache(#[from] StoreError),
}

impl Error {
    /// Whether the file that is asked for is not there, or not any more: nothing that waiting would bring back. One that has
    /// changed is there; whoever looks it up again can read it.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { source: object_store::Error::NotFound { .. }, .. })
    }
}
