//! PyTorch files, put together byte by byte.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use msn_store::{ForeignFile, StoreError};

/// A pickle of protocol 2 in the making. The instructions are described in Python's `pickletools`.
#[derive(Clone)]
pub(super) struct Pickle(pub(super) Vec<u8>);

/// A tensor as a pickle describes it.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) storage: &'a str,
    pub(super) key: &'a str,
    pub(super) elements: i32,
    pub(super) offset: i32,
    pub(super) shape: &'a [i32],
    pub(super) strides: &'a [i32],
}

impl View<'_> {
    /// The numbers 0 to 5 as [2, 3], of f32, under the key 0.
    pub(super) const PLAIN: Self =
        View { storage: "FloatStorage", key: "0", elements: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] };
}

impl Pickle {
    pub(super) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(super) fn int(self, value: i32) -> Self {
        self.raw(b"J").raw(&value.to_le_bytes())
    }

    fn ints(self, values: &[i32]) -> Self {
        values.iter().fold(self.raw(b"("), |pickle, &value| pickle.int(value)).raw(b"t")
    }

    pub(super) fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(super) fn tensor(self, view: View<'_>) -> Self {
        let id = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        let id = id.global("torch", view.storage).text(view.key).text("cpu").int(view.elements).raw(b"tQ");
        id.int(view.offset).ints(view.shape).ints(view.strides).raw(b"\x89}tR")
    }

    /// A dictionary of these tensors, and the end.
    pub(super) fn of(tensors: &[(&str, View<'_>)]) -> Vec<u8> {
        let start = Self::new().raw(b"}(");
        let entry = |pickle: Self, (name, view): &(&str, View<'_>)| pickle.text(name).tensor(*view);
        tensors.iter().fold(start, entry).raw(b"u.").0
    }
}

/// 0, 1, 2, ... as f32.
pub(super) fn counting(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// The zip archive that `torch.save` makes of a pickle and storages.
pub(super) fn archive(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    archive_in_order(b"little", pickle, storages)
}

/// The same on a machine of this byte order.
pub(super) fn archive_in_order(order: &[u8], pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zip = rawzip::ZipArchiveWriter::new(&mut bytes);
    let mut add = |name: &str, content: &[u8]| {
        let (mut entry, config) = zip.new_file(name).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    };
    add("model/data.pkl", pickle);
    add("model/byteorder", order);
    for (key, content) in storages {
        add(&format!("model/data/{key}"), content);
    }
    zip.finish().unwrap();
    bytes
}

/// The format before the zip archive.
pub(super) fn legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.");
    bytes.extend(Pickle::new().raw(b"}.").0);
    bytes.extend(pickle);
    let keys = storages.iter().fold(Pickle::new().raw(b"]("), |keys, (key, ..)| keys.text(key));
    bytes.extend(keys.raw(b"e.").0);
    for (_, elements, content) in storages {
        bytes.extend(elements.to_le_bytes());
        bytes.extend(*content);
    }
    bytes
}

/// Opens `bytes` as a file.
pub(super) fn opened(bytes: &[u8]) -> Result<ForeignFile, StoreError> {
    let length = bytes.len() as u64;
    ForeignFile::read_from(Path::new("model.pth"), std::io::Cursor::new(bytes.to_vec()), length)
}

/// The message with which a file is refused, which names it.
pub(super) fn refused(bytes: &[u8]) -> String {
    let message = opened(bytes).expect_err("refused").to_string();
    assert!(message.starts_with(&PathBuf::from("model.pth").display().to_string()), "{message}");
    message
}
