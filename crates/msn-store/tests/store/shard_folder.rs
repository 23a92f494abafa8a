//! Folders of shards.

use std::fs;
use std::io;

use msn_store::{ShardFolder, StoreError};

use crate::support::names;

#[test]
fn a_folder_of_shards_is_taken_up_again_without_what_was_left_half_written() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("new/shards");
    let folder = ShardFolder::create(&path).unwrap();
    assert!(matches!(ShardFolder::resume(&path), Err(StoreError::NoShards { .. })), "no record yet");
    folder.write_record(&[1, 2]).unwrap();
    folder.write_shard("a.tar", |out| out.write_all(b"whole")).unwrap();
    let failed = folder.write_shard("b.tar", |out| {
        out.write_all(b"half")?;
        Err(io::Error::other("no more"))
    });
    assert!(failed.unwrap_err().to_string().contains("no more"));
    assert!(matches!(ShardFolder::resume(&path), Err(StoreError::Locked { .. })));
    drop(folder);
    fs::write(path.join(".msn-tmp-killed"), "half").unwrap();
    assert!(matches!(ShardFolder::create(&path), Err(StoreError::NotEmpty { .. })));
    let folder = ShardFolder::resume(&path).unwrap();
    assert_eq!(folder.record::<Vec<u32>>().unwrap(), [1, 2]);
    assert!(matches!(folder.record::<String>(), Err(StoreError::Json { .. })));
    assert_eq!(names(&path), [".lock", "a.tar", "shards.json"]);
}
