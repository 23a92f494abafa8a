//! What the crate promises, checked on real files.

mod atomic;
mod cache;
mod checkpoints;
mod corruption;
mod export;
mod foreign;
mod full_disk;
mod kill;
mod logs;
mod row_cache;
mod run;
mod shard_folder;
mod support;
mod synced;
mod tensors;
