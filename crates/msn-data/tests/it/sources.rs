//! Folders, archives and lists.

use std::fs;
use std::path::Path;

use msn_data::{Error, LabelRows, open};

use crate::common::{labels, names, open_error, png};

fn put(root: &Path, files: &[&str]) {
    for (i, file) in files.iter().enumerate() {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png(i as u32)).unwrap();
    }
}

fn write_tar(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn a_folder_is_read_at_any_depth_in_sorted_order_with_classes() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["b/2.png", "a/x/y/1.JPG", "root.webp", "b/1.tiff", "b/notes.txt", "b/._1.png"]);
    put(&folder.path().join("c"), &["1.jfif", "2.jpe", "3.PPM", "4.pgm", "5.tga"]);
    let dataset = open(folder.path()).unwrap();
    let expected =
        ["a/x/y/1.JPG", "b/1.tiff", "b/2.png", "c/1.jfif", "c/2.jpe", "c/3.PPM", "c/4.pgm", "root.webp"];
    assert_eq!(names(&*dataset), expected);
    assert_eq!(labels(&*dataset)[..4], [Some("y"), Some("b"), Some("b"), Some("c")]);
    assert_eq!(labels(&*dataset)[7], None);
    assert_eq!(dataset.read(2, usize::MAX).unwrap(), png(0));
}

#[test]
fn hidden_folders_hold_no_images_of_the_user() {
    // The root itself is one, as temporary folders are.
    let folder = tempfile::Builder::new().prefix(".hidden-").tempdir().unwrap();
    put(folder.path(), &["cat/1.png", "cat/.ipynb_checkpoints/1.png", ".thumbnails/x/2.png", "cat/.3.png"]);
    let dataset = open(folder.path()).unwrap();
    assert_eq!(names(&*dataset), ["cat/.3.png", "cat/1.png"]);
    // Nor shards.
    let shards = folder.path().join("shards");
    fs::create_dir_all(shards.join(".old")).unwrap();
    write_tar(&shards.join("a.tar"), &[("1.png", &png(1))]);
    write_tar(&shards.join(".old/a.tar"), &[("2.png", &png(2))]);
    assert_eq!(names(&*open(&shards).unwrap()), ["a.tar/1.png"]);
}

#[test]
fn a_second_name_in_a_tar_is_the_image_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(png(7).len() as u64);
    archive.append_data(&mut header, "./cat/1.png", &*png(7)).unwrap();
    for (name, target) in
        [("dog/2.png", "./cat/1.png"), ("dog/3.png", "gone.png"), ("dog/4.png", "dog/2.png")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        archive.append_link(&mut header, name, target).unwrap();
    }
    archive.finish().unwrap();
    let dataset = open(&path).unwrap();
    assert_eq!(names(&*dataset), ["cat/1.png", "dog/2.png", "dog/4.png"]);
    assert_eq!(labels(&*dataset), [Some("cat"), Some("dog"), Some("dog")]);
    assert_eq!(dataset.read(1, usize::MAX).unwrap(), png(7));
    assert_eq!(dataset.read(2, usize::MAX).unwrap(), png(7));
}

#[cfg(unix)]
#[test]
fn symlinks_are_followed_and_loops_are_cut() {
    use std::os::unix::fs::symlink;
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(folder.path(), &["a/1.png"]);
    put(elsewhere.path(), &["2.png"]);
    symlink(elsewhere.path(), folder.path().join("linked")).unwrap();
    symlink(folder.path(), folder.path().join("a/back")).unwrap();
    symlink("nowhere.png", folder.path().join("dangling.png")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(names(&*dataset), ["a/1.png", "dangling.png", "linked/2.png"]);
    assert!(
        matches!(dataset.read(1, usize::MAX), Err(Error::Io { .. })),
        "a link to nowhere is one broken image"
    );
}

#[test]
fn a_source_is_out_of_reach_when_its_files_are_gone_and_not_when_some_are() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    let files = ["a/1.png", "b/2.png", "b/3.png", "c/4.png"];
    put(&images, &files);
    let list = folder.path().join("list.txt");
    fs::write(&list, files.map(|file| format!("images/{file}\n")).concat()).unwrap();
    let wrong = folder.path().join("wrong.txt");
    fs::write(&wrong, "never/there.png\n").unwrap();
    let (opened, listed, never) = (open(&images).unwrap(), open(&list).unwrap(), open(&wrong).unwrap());
    fs::remove_file(images.join("a/1.png")).unwrap();
    assert!(opened.is_reachable() && listed.is_reachable());
    // As the empty folder that a disk leaves behind.
    fs::remove_dir_all(&images).unwrap();
    fs::create_dir(&images).unwrap();
    assert!(!opened.is_reachable() && !listed.is_reachable());
    assert!(never.is_reachable(), "what was never there is a mistake in the list");
}

#[test]
fn shards_of_the_same_name_in_several_folders_name_their_images_apart() {
    let folder = tempfile::tempdir().unwrap();
    for (part, image) in [("train", 1), ("test", 2)] {
        fs::create_dir(folder.path().join(part)).unwrap();
        write_tar(&folder.path().join(part).join("0.tar"), &[("cat/x.png", &png(image))]);
    }
    let dataset = open(folder.path()).unwrap();
    assert_eq!(names(&*dataset), ["test/0.tar/cat/x.png", "train/0.tar/cat/x.png"]);
    assert_eq!(labels(&*dataset), [Some("cat"), Some("cat")]);
    let dataset = open(&folder.path().join("{train,test}/0.tar")).unwrap();
    assert_eq!(names(&*dataset), ["train/0.tar/cat/x.png", "test/0.tar/cat/x.png"]);
    assert_eq!(dataset.read(1, usize::MAX).unwrap(), png(2));
}

#[test]
fn a_tar_is_read_at_random_in_sorted_order_with_classes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.tar");
    let long = format!("{}/last.png", "z".repeat(180));
    let (a, b) = (png(1), png(2));
    write_tar(&path, &[("./b/1.png", &b), ("readme.md", b"text"), ("a/1.png", &a), (&long, &a)]);
    let dataset = open(&path).unwrap();
    assert_eq!(names(&*dataset), ["a/1.png", "b/1.png", &long]);
    assert_eq!(dataset.label(0), Some("a"));
    let (dataset, expected) = (&*dataset, [&a, &b, &a]);
    std::thread::scope(|scope| {
        for i in [2, 0, 1, 0, 2, 1] {
            scope.spawn(move || assert_eq!(&dataset.read(i, usize::MAX).unwrap(), expected[i]));
        }
    });
}

#[test]
fn a_class_in_a_tar_that_cannot_be_read_is_unknown_and_not_the_folders_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.tar");
    let image = png(1);
    let classes: [(&str, &[u8]); 7] = [
        ("dog/0.cls", b"caf\xE9"),
        ("dog/1.json", br#"{"label": "cat", "similarity": NaN}"#),
        ("dog/2.json", b"{"),
        ("dog/2.cls", b"cat"),
        ("dog/3.cls", b"\xEF\xBB\xBFowl\r\n"),
        ("dog/4.json", br#"{"caption": "a dog"}"#),
        ("dog/notes.json", b"of no image"),
    ];
    let names = ["dog/0.png", "dog/1.png", "dog/2.png", "dog/3.png", "dog/4.png"];
    let images = names.map(|name| (name, &*image));
    write_tar(&path, &[&classes[..], &images].concat());
    let dataset = open(&path).unwrap();
    assert_eq!(labels(&*dataset), [None, None, Some("cat"), Some("owl"), Some("dog")]);
    // In the other order too.
    write_tar(&path, &[("dog/2.cls", b"cat"), ("dog/2.json", b"{"), ("dog/2.png", &image)]);
    assert_eq!(labels(&*open(&path).unwrap()), [Some("cat")]);
}

#[test]
fn a_tar_that_is_cut_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.tar");
    let bytes = png(1);
    write_tar(&path, &[("a.png", &bytes), ("b.png", &bytes)]);
    let whole = fs::read(&path).unwrap();
    let second = 512 + bytes.len().next_multiple_of(512);
    for (length, cut_entry) in [(second + 512 + 10, "b.png"), (second + 100, "a.png")] {
        fs::write(&path, &whole[..length]).unwrap();
        match open_error(&path) {
            Error::TruncatedTar { entry, found, complete, .. } => {
                assert_eq!((entry.as_str(), found, complete), (cut_entry, length as u64, 1));
            }
            other => panic!("{other}"),
        }
    }
    let mut damaged = whole;
    damaged[second + 3] ^= 0xFF;
    fs::write(&path, damaged).unwrap();
    assert!(matches!(open_error(&path), Error::MalformedTar { complete: 1, .. }));
}

#[test]
fn a_compressed_tar_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start, advice) in [
        ("x.tar.gz", &[0x1F, 0x8B, 8, 0][..], "gunzip"),
        ("x.tgz", &[0x1F, 0x8B, 8, 0], "gunzip"),
        ("x.tar.zst", &[0x28, 0xB5, 0x2F, 0xFD], "zstd -d"),
        ("x.tar", b"BZh9", "bunzip2"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, start).unwrap();
        let message = open_error(&path).to_string();
        assert!(message.contains(name) && message.contains(advice), "{message}");
    }
}

#[test]
fn a_list_keeps_its_order_and_takes_paths_from_its_folder() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(folder.path(), &["cats/2.png", "cats/1.png"]);
    put(elsewhere.path(), &["far.png"]);
    let far = elsewhere.path().join("far.png");
    let list = folder.path().join("list.txt");
    fs::write(&list, "\u{feff}cats/2.png\r\ncats/1.png\r\n").unwrap();
    assert_eq!(names(&*open(&list).unwrap()), ["cats/2.png", "cats/1.png"], "as Notepad writes it");
    fs::write(&list, b"caf\xE9.png\n").unwrap();
    let message = open_error(&list).to_string();
    assert!(message.contains("list.txt") && message.contains("UTF-8"), "{message}");
    let lines = format!("# chosen by hand\ncats/2.png\r\n\n  cats/1.png\n{}\n", far.display());
    fs::write(&list, lines).unwrap();
    let dataset = open(&list).unwrap();
    assert_eq!(names(&*dataset), ["cats/2.png", "cats/1.png", &far.display().to_string()]);
    assert_eq!(dataset.label(0), Some("cats"));
    assert_eq!(dataset.read(1, usize::MAX).unwrap(), png(1));
    assert_eq!(dataset.read(2, usize::MAX).unwrap(), png(0));
}

#[cfg(unix)]
#[test]
fn backslashes_separate_folders_unless_a_file_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["cats/1.png", r"dogs\2.png"]);
    let list = folder.path().join("list.txt");
    fs::write(&list, "cats\\1.png\ndogs\\2.png\n").unwrap();
    let dataset = open(&list).unwrap();
    assert_eq!(names(&*dataset), ["cats/1.png", r"dogs\2.png"]);
    assert_eq!(
        [dataset.read(0, usize::MAX).unwrap(), dataset.read(1, usize::MAX).unwrap()],
        [png(0), png(1)]
    );
}

#[test]
fn a_csv_gives_paths_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["cats/2.png", "a,b.png"]);
    let list = folder.path().join("list.csv");
    fs::write(&list, "\u{feff}label, path\r\ncat,cats/2.png\r\n,\"a,b.png\"\r\n").unwrap();
    let dataset = open(&list).unwrap();
    assert_eq!(names(&*dataset), ["cats/2.png", "a,b.png"]);
    assert_eq!(labels(&*dataset), [Some("cat"), None]);
    assert_eq!(dataset.read(1, usize::MAX).unwrap(), png(1));
    fs::write(&list, "\u{feff}\"path\",\"label\"\r\n\"cats/2.png\",\"cat\"\r\n").unwrap();
    assert_eq!(labels(&*open(&list).unwrap()), [Some("cat")], "as spreadsheets quote it");
    fs::write(&list, b"path,label\ncats/2.png,caf\xE9\n").unwrap();
    let message = open_error(&list).to_string();
    assert!(message.contains("UTF-8") && message.contains("line 2"), "{message}");
    fs::write(&list, "path\ncats/2.png\n").unwrap();
    assert_eq!(labels(&*open(&list).unwrap()), [Some("cats")], "without labels: the folder");
    for (text, words) in [
        ("file,label\nx.png,1\n", "`path,label`"),
        ("path,label\n,1\n", "list.csv, line 2: expected a path"),
        ("path,label\nx.png,1,2\n", "list.csv, line 2: expected 2 values"),
        ("path,label\n", "no image found: expected a row for each image"),
        ("", "list.csv, line 1: expected a header with the columns `path,label` (or `path` alone)"),
    ] {
        fs::write(&list, text).unwrap();
        let message = open_error(&list).to_string();
        assert!(message.contains("list.csv") && message.contains(words), "{message}");
    }
}

#[test]
fn lines_of_a_list_are_counted_as_an_editor_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.csv");
    for newline in ["\n", "\r\n", "\r"] {
        let lines = [
            "path,label",
            "a.png,cat",
            "",
            "",
            "b.png,\"two\nlines\"",
            "\"c.png\",dog",
            "d.png,",
            "e.png,cat",
        ];
        fs::write(&path, lines.join(newline)).unwrap();
        let mut rows = LabelRows::open(&path).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push((row.line, row.path.to_owned()));
        }
        // The label of the fifth line takes two.
        let expected = [(2, "a.png"), (5, "b.png"), (7, "c.png"), (8, "d.png"), (9, "e.png")];
        assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())), "{newline:?}");
        let mut rows = LabelRows::open_labelled(&path).unwrap();
        let message = loop {
            if let Err(error) = rows.next() {
                break error.to_string();
            }
        };
        assert!(
            message.contains("few.csv, line 8: expected a label for `d.png`, or no line for it"),
            "{message}"
        );
    }
    fs::write(&path, b"path\na.png\n\n\n\xff.png\nb.png\n").unwrap();
    let message = open_error(&path).to_string();
    assert!(message.contains("few.csv, line 5: expected CSV text in UTF-8"), "{message}");
}

#[test]
fn one_image_is_a_source_of_one() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["cat/1.png", "cat/2.png"]);
    let dataset = open(&folder.path().join("cat/2.png")).unwrap();
    assert_eq!(names(&*dataset), ["2.png"]);
    assert_eq!(dataset.read(0, usize::MAX).unwrap(), png(1));
    assert_eq!(labels(&*dataset), [None]);
}

#[cfg(unix)]
#[test]
fn pipes_and_endless_files_neither_hang_nor_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["1.png"]);
    let pipe = folder.path().join("pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.png")).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(names(&*dataset), ["1.png"]);
    let list = folder.path().join("list.txt");
    fs::write(&list, "pipe.png\nzero.png\n1.png\n").unwrap();
    let dataset = open(&list).unwrap();
    for index in [0, 1] {
        let message = dataset.read(index, usize::MAX).unwrap_err().to_string();
        assert!(message.contains("expected a file"), "{message}");
    }
    let message = dataset.read(2, 20).unwrap_err().to_string();
    assert!(message.contains("1.png: expected at most 20 bytes"), "{message}");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_can_be_read() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &["a.png", "z.png"]);
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"m\xFF.png"));
    fs::write(odd, png(7)).unwrap();
    let dataset = open(folder.path()).unwrap();
    assert_eq!(names(&*dataset), ["a.png", "m\u{fffd}.png", "z.png"]);
    assert_eq!(dataset.read(1, usize::MAX).unwrap(), png(7));
}

#[test]
fn sources_without_images_name_the_path_and_what_they_should_hold() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("readme.txt"), "# nothing here\n").unwrap();
    let archive = folder.path().join("empty.tar");
    write_tar(&archive, &[("readme.md", b"text")]);
    let list = folder.path().join("readme.txt");
    for (path, words) in
        [(folder.path(), ".webp"), (&archive, ".webp"), (&list, "the path of an image in each line")]
    {
        let message = open_error(path).to_string();
        assert!(message.contains(&path.display().to_string()) && message.contains(words), "{message}");
    }
}

#[test]
fn unknown_kinds_and_missing_paths_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.zip");
    fs::write(&path, "PK").unwrap();
    let message = open_error(&path).to_string();
    assert!(
        message.contains("images.zip") && message.contains(".tar") && message.contains(".txt"),
        "{message}"
    );
    assert!(matches!(open_error(&folder.path().join("missing")), Error::Io { .. }));
}
