//! The kept list of a large folder.

use std::fs::{self, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

use msn_data::{Access, open_with};
use msn_store::CacheFolder;

use crate::common::wait_until;

const FOLDERS: usize = 100;
const EACH: usize = 100;

/// Ten thousand empty files.
fn large(root: &Path) {
    for folder in 0..FOLDERS {
        let folder = root.join(format!("{folder:03}"));
        fs::create_dir(&folder).unwrap();
        for file in 0..EACH {
            fs::write(folder.join(format!("{file:03}.png")), []).unwrap();
        }
    }
}

fn set_modified(folder: &Path, time: SystemTime) {
    fs::File::open(folder).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

fn count(root: &Path, access: &Access) -> usize {
    open_with(root, access).unwrap().len()
}

#[cfg(unix)]
#[test]
fn a_kept_list_is_used_until_a_folder_changes() {
    let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, lists) = (data.path(), kept.path().join("lists"));
    #[cfg_attr(
        not(feature = "remote"),
        expect(clippy::needless_update, reason = "more fields with the feature")
    )]
    let access = Access { lists: Some(CacheFolder::new(lists.clone(), 1 << 30)), ..Access::default() };
    large(root);
    // However long it takes to look: it has changed in an hour from now.
    set_modified(&root.join("003"), SystemTime::now() + Duration::from_secs(3600));
    assert_eq!(count(root, &access), FOLDERS * EACH);
    assert!(
        !lists.exists(),
        "folders that have just changed may change again within the same tick of the clock"
    );
    set_modified(&root.join("003"), SystemTime::UNIX_EPOCH);
    wait_until("the folders are old enough", || {
        assert_eq!(count(root, &access), FOLDERS * EACH);
        lists.exists()
    });
    let list = fs::read_dir(&lists).unwrap().next().expect("the list is kept").unwrap().path();

    // That the list is used shows in what it says: it is changed here, which no one else does.
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("\"007/007.png\",", "")).unwrap();
    assert_eq!(count(root, &access), FOLDERS * EACH - 1);
    assert_eq!(count(root, &Access::default()), FOLDERS * EACH);

    // A file is added, and the folder's time of change set back.
    let folder = root.join("050");
    let before = fs::metadata(&folder).unwrap().modified().unwrap();
    fs::write(folder.join("new.png"), []).unwrap();
    set_modified(&folder, before);
    assert_eq!(count(root, &access), FOLDERS * EACH + 1);
    fs::remove_file(folder.join("new.png")).unwrap();
    assert_eq!(count(root, &access), FOLDERS * EACH);
    fs::remove_dir_all(root.join("051")).unwrap();
    assert_eq!(count(root, &access), (FOLDERS - 1) * EACH);

    // A damaged list is no list.
    fs::write(&list, "{").unwrap();
    assert_eq!(count(root, &access), (FOLDERS - 1) * EACH);
}
