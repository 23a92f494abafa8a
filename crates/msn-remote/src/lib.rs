//! Files at `http(s)://`, `s3://` and `gs://` addresses: parts of them, and whole ones in a local cache.
//!
//! The functions block; what is asynchronous about a network stays in here. Everything is tried again after failures
//! that may pass, and a transfer that breaks goes on from the byte where it broke, so that nothing is lost or read
//! twice. What was found at an address is told apart from what is there later: a file that changes in between is an
//! error.
//!
//! Credentials come from the environment, under the names that the tools of the providers have for them (their files, such
//! as `~/.aws/credentials`, are not read): `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_SKIP_SIGNATURE=true` for public buckets;
//! `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SKIP_SIGNATURE=true`.
//! Servers are asked through the proxies that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name; those on this machine
//! (`localhost`, 127.0.0.0/8, ::1) never are.
//! Certificates are checked with the authorities that the system trusts, or those of the file that `SSL_CERT_FILE` names.

mod address;
mod error;
mod file;
mod patience;
mod runtime;

pub use address::is_remote;
pub use error::Error;
pub use file::RemoteFile;
pub use patience::Patience;
