//! Checkpoints of other programs.

mod build;
mod hostile;

use msn_store::{Array, StateDict};

use build::{Pickle, View, archive, counting, legacy, opened, refused};

/// All tensors of a section.
fn read(bytes: &[u8], section: &str) -> Result<StateDict, msn_store::StoreError> {
    let mut file = opened(bytes)?;
    let names: Vec<String> = file.shapes()[section].keys().cloned().collect();
    file.read(section, names.iter().map(String::as_str))
}

fn one(bytes: &[u8]) -> Array {
    read(bytes, "").unwrap().remove("w").unwrap()
}

#[test]
fn both_formats_of_pytorch_hold_the_same_tensors() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    let expected = Array::new(vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(one(&archive(&pickle, &[("0", &counting(6))])), expected);
    assert_eq!(one(&legacy(&pickle, &[("0", 6, &counting(6))])), expected);
}

#[test]
fn dictionaries_in_the_outermost_one_are_sections() {
    let inner = |pickle: Pickle, name: &str| {
        let pickle = pickle.text(name).raw(b"}").text("w").tensor(View::PLAIN).raw(b"s");
        // What is no tensor is left out: a number, an optimizer's deeper dictionaries, a Namespace.
        pickle.text("epoch-of-it").raw(b"K\x07")
    };
    let pickle = inner(inner(Pickle::new().raw(b"}("), "teacher"), "student").text("args");
    let pickle =
        pickle.global("argparse", "Namespace").raw(b")\x81}").text("lr").raw(b"G?\xf0\0\0\0\0\0\0sbu.");
    let file = opened(&archive(&pickle.0, &[("0", &counting(6))])).unwrap();
    let shapes = file.shapes();
    assert_eq!(shapes.keys().collect::<Vec<_>>(), ["student", "teacher"]);
    assert_eq!(shapes["teacher"]["w"], [2, 3]);
}

#[test]
fn an_ordered_dictionary_with_its_attributes_is_a_dictionary() {
    let pickle = Pickle::new().global("collections", "OrderedDict").raw(b")R(").text("w").tensor(View::PLAIN);
    let pickle = pickle.raw(b"u}").text("_metadata").raw(b"}sb.");
    assert_eq!(one(&archive(&pickle.0, &[("0", &counting(6))])).shape, [2, 3]);
}

#[test]
fn views_take_their_elements_by_offset_and_strides() {
    for (offset, shape, strides, expected) in [
        (0, &[3, 2][..], &[1, 3][..], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]),
        (3, &[3], &[1], &[3.0, 4.0, 5.0]),
        (1, &[2], &[3], &[1.0, 4.0]),
        (5, &[], &[], &[5.0]),
        (0, &[0, 4], &[4, 1], &[]),
    ] {
        let view = View { offset, shape, strides, ..View::PLAIN };
        let pickle = Pickle::of(&[("w", view)]);
        assert_eq!(one(&archive(&pickle, &[("0", &counting(6))])).data, expected, "{shape:?}");
        assert_eq!(one(&legacy(&pickle, &[("0", 6, &counting(6))])).data, expected, "{shape:?}");
    }
}

#[test]
fn halves_bfloats_and_doubles_become_floats() {
    // 1, -2 and 0.5.
    let half = [0x3c00u16, 0xc000, 0x3800].map(u16::to_le_bytes).concat();
    let bfloat = [0x3f80u16, 0xc000, 0x3f00].map(u16::to_le_bytes).concat();
    let double = [1.0f64, -2.0, 0.5].map(f64::to_le_bytes).concat();
    for (storage, bytes) in [("HalfStorage", half), ("BFloat16Storage", bfloat), ("DoubleStorage", double)] {
        let view = View { storage, elements: 3, shape: &[3], strides: &[1], ..View::PLAIN };
        let array = one(&archive(&Pickle::of(&[("w", view)]), &[("0", &bytes)]));
        assert_eq!(array.data, [1.0, -2.0, 0.5], "{storage}");
    }
}

#[test]
fn whole_numbers_are_no_weights_and_harm_only_if_asked_for() {
    let counter =
        View { storage: "LongStorage", key: "1", elements: 1, shape: &[], strides: &[], ..View::PLAIN };
    let pickle = Pickle::of(&[("w", View::PLAIN), ("counter", counter)]);
    let bytes = archive(&pickle, &[("0", &counting(6)), ("1", &7u64.to_le_bytes())]);
    let mut file = opened(&bytes).unwrap();
    assert_eq!(file.read("", ["w"]).unwrap()["w"].data.len(), 6);
    let message = file.read("", ["counter"]).unwrap_err().to_string();
    assert!(message.contains("counter") && message.contains("I64"), "{message}");
}

#[test]
fn a_safetensors_file_is_read_in_parts() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("weights");
    let array = |value: f32| Array::new(vec![2], vec![value; 2]);
    let tensors = StateDict::from([("a".to_owned(), array(1.0)), ("b".to_owned(), array(2.0))]);
    msn_store::write_safetensors(&path, &tensors).unwrap();
    let mut file = msn_store::ForeignFile::open(&path).unwrap();
    assert_eq!(file.read("", ["b"]).unwrap(), StateDict::from([("b".to_owned(), array(2.0))]));
}

#[test]
fn other_files_are_named_as_such() {
    for bytes in [&b""[..], b"hello, world", b"\x80\x04\x95", b"\x89PNG\r\n\x1a\n"] {
        let message = refused(bytes);
        assert!(message.contains("PyTorch") && message.contains(".safetensors"), "{message}");
    }
}
