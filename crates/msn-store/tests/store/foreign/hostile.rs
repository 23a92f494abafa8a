//! Files made to harm, and files that are broken: each is refused with a message, nothing is executed, and memory and
//! time stay small. That memory does is what the numbers in these tests are for: without bounds they would take
//! gigabytes, or the stack.

use super::build::{Pickle, View, archive, archive_in_order, counting, legacy, opened, refused};

fn pickled(pickle: Pickle) -> String {
    refused(&archive(&pickle.0, &[("0", &counting(6))]))
}

#[test]
fn a_function_is_never_called_but_named() {
    let scratch = tempfile::tempdir().unwrap();
    let witness = scratch.path().join("executed");
    let command = format!("touch {}", witness.display());
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("torch.hub", "load"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
    ] {
        let message = pickled(Pickle::new().global(module, name).raw(b"(").text(&command).raw(b"tR."));
        assert!(
            message.contains(&format!("`{module}.{name}`")) && message.contains("not executed"),
            "{message}"
        );
        // Protocol 4 takes the names from the stack.
        let message = pickled(Pickle::new().text(module).text(name).raw(b"\x93(").text(&command).raw(b"tR."));
        assert!(message.contains(&format!("`{module}.{name}`")), "{message}");
    }
    // Instructions of protocol 0 that make objects.
    let message = pickled(Pickle::new().raw(b"(").text(&command).raw(b"ios\nsystem\n."));
    assert!(message.contains("0x69"), "{message}");
    assert!(!witness.exists());
}

#[test]
fn names_in_messages_are_short_and_printable() {
    let message = pickled(Pickle::new().global(&"\u{1b}[31m".repeat(10_000), "x").raw(b"."));
    assert!(message.len() < 1500 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn nesting_a_hundred_thousand_deep_takes_no_stack() {
    let depth = 100_000;
    for pickle in [
        Pickle::new().raw(&vec![b']'; depth]).raw(&vec![b'a'; depth - 1]).raw(b"."),
        Pickle::new().raw(b")").raw(&vec![0x85; depth]).raw(b"."),
        // A list in itself, and a dictionary in itself.
        Pickle::new().raw(b"]q\0h\0a."),
        Pickle::new().raw(b"}q\0").text("me").raw(b"h\0s."),
    ] {
        // Either no dictionary of tensors, or one without any.
        match opened(&archive(&pickle.0, &[])) {
            Ok(file) => assert!(file.shapes().is_empty()),
            Err(error) => assert!(error.to_string().contains("dictionary"), "{error}"),
        }
    }
}

#[test]
fn a_list_of_lists_of_lists_by_reference_stays_small() {
    // 2^40 elements if it were written out.
    let mut pickle = Pickle::new().raw(b"]q\0");
    for level in 0..40u8 {
        pickle = pickle.raw(&[b']', b'q', level + 1, b'(', b'h', level, b'h', level, b'e']);
    }
    assert!(pickled(pickle.raw(b".")).contains("dictionary"));
}

#[test]
fn lengths_that_nothing_backs_are_truncation() {
    for instruction in [
        &b"X\xff\xff\xff\xff"[..],
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\0\0\0\0\0\0\0\x80",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8a\xff",
        b"\x8c\xffab",
        b"Gab",
        b"cos",
        b"J\0",
    ] {
        let message = pickled(Pickle::new().raw(instruction));
        assert!(message.contains("truncated"), "{instruction:?}: {message}");
    }
}

#[test]
fn a_pickle_makes_no_more_values_than_a_checkpoint_needs() {
    let many = 1 << 20;
    for flood in [
        Pickle::new().raw(&vec![b'N'; many + 1]),
        Pickle::new().raw(&vec![b'('; many + 1]),
        Pickle::new().raw(b"N").raw(&vec![b'2'; many + 1]),
        Pickle::new().raw(b"N").raw(&vec![0x94; many + 1]),
        // A list that is copied into ever more dictionaries.
        (0..1100).fold(
            Pickle::new().raw(b"](").raw(&[b'N'; 1000].map(|_| b"NN\x86".as_slice()).concat()).raw(b"eq\0"),
            |pickle, _| pickle.global("collections", "OrderedDict").raw(b"h\0\x85R"),
        ),
    ] {
        let message = pickled(flood.raw(b"."));
        assert!(message.contains("at most 1048576 values"), "{message}");
    }
    // A place in the memo far away takes no room.
    assert!(pickled(Pickle::new().raw(b"Nr\xff\xff\xff\xff.")).contains("dictionary"));
}

#[test]
fn instructions_without_their_operands_are_explained() {
    for (pickle, words) in [
        (&b"."[..], "a value on the stack"),
        (b"t.", "a mark"),
        (b"(0.", "a value on the stack"),
        (b"N(u.", "a container"),
        (b"h\x07.", "something remembered"),
        (b"NNs.", "a value on the stack"),
        (b"N)R.", "to call"),
        (b"NQ.", "('storage'"),
        (b"](NNu.", "a list, or a dictionary"),
        (b"}(Nu.", "a list, or a dictionary"),
        (b"\xff.", "0xff"),
        (b"Iabc\n.", "0x49"),
        (b"", "truncated"),
    ] {
        let message = pickled(Pickle::new().raw(pickle));
        assert!(message.contains(words), "{pickle:?}: {message}");
    }
}

#[test]
fn views_that_leave_their_storage_or_repeat_it_are_refused() {
    for (offset, shape, strides) in [
        (0, &[2, 4][..], &[3, 1][..]),
        (1, &[2, 3], &[3, 1]),
        (7, &[], &[]),
        (6, &[1], &[1]),
        (0, &[2, 2], &[i32::MAX, i32::MAX]),
        (i32::MAX, &[2], &[i32::MAX]),
        // A thousand elements of one.
        (0, &[1000], &[0]),
        (0, &[i32::MAX; 16], &[i32::MAX; 16]),
        (0, &[1; 17], &[1; 17]),
        (-1, &[2], &[1]),
        (0, &[-2], &[1]),
        (0, &[2], &[-1]),
        (0, &[2, 3], &[1]),
    ] {
        let view = View { offset, shape, strides, ..View::PLAIN };
        let message = refused(&archive(&Pickle::of(&[("w", view)]), &[("0", &counting(6))]));
        assert!(
            ["inside its storage", "at least 0", "as many strides", "at most 16"]
                .iter()
                .any(|w| message.contains(w)),
            "{message}"
        );
    }
}

#[test]
fn storages_that_are_missing_or_of_another_length_are_refused() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    for (key, bytes) in [("0", 20), ("0", 28), ("1", 24)] {
        let message = refused(&archive(&pickle, &[(key, &vec![0; bytes])]));
        assert!(message.contains("storages as long as their tensors need"), "{message}");
    }
    for elements in [5, 7, u64::MAX, 1 << 62] {
        let message = refused(&legacy(&pickle, &[("0", elements, &counting(6))]));
        assert!(message.contains("storage"), "{message}");
    }
    let message = refused(&legacy(&pickle, &[("2", 6, &counting(6))]));
    assert!(message.contains("that a tensor uses"), "{message}");
    // Two billion elements that nobody wrote.
    let huge = View { elements: i32::MAX, shape: &[i32::MAX], strides: &[1], ..View::PLAIN };
    let message = refused(&archive(&Pickle::of(&[("w", huge)]), &[("0", &counting(6))]));
    assert!(message.contains("24 bytes of 8589934588"), "{message}");
}

#[test]
fn a_storage_that_many_tensors_share_is_not_read_for_all_of_them() {
    let names: Vec<String> = (0..2000).map(|i| format!("blocks.{i}")).collect();
    let view = View { elements: 1000, shape: &[1000], strides: &[1], ..View::PLAIN };
    let tensors: Vec<(&str, View<'_>)> = names.iter().map(|name| (name.as_str(), view)).collect();
    let mut file = opened(&archive(&Pickle::of(&tensors), &[("0", &counting(1000))])).unwrap();
    let message = file.read("", names.iter().map(String::as_str)).unwrap_err().to_string();
    assert!(message.contains("2000000 elements"), "{message}");
}

#[test]
fn long_names_are_refused() {
    let name = "n".repeat(100_000);
    let message = refused(&archive(&Pickle::of(&[(&name, View::PLAIN)]), &[("0", &counting(6))]));
    assert!(message.contains("at most 256 bytes") && message.len() < 1000, "{message}");
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    for whole in [archive(&pickle, &[("0", &counting(6))]), legacy(&pickle, &[("0", 6, &counting(6))])] {
        opened(&whole).unwrap();
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
    }
    let whole = archive(&pickle, &[("0", &counting(6))]);
    assert!(refused(&whole[..whole.len() / 2]).contains("a whole zip archive"));
}

#[test]
fn a_flipped_bit_in_the_weights_is_found_by_the_checksum() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    let mut bytes = archive(&pickle, &[("0", &counting(6))]);
    let weights = counting(6);
    let at = bytes.windows(weights.len()).position(|window| window == weights).unwrap();
    bytes[at + 5] ^= 1;
    let message = opened(&bytes).unwrap().read("", ["w"]).unwrap_err().to_string();
    assert!(message.contains("CRC-32"), "{message}");
}

/// A tensor: its section and name, its shape, the bits of its values.
type Tensor = (String, String, Vec<usize>, Vec<u32>);

/// All tensors of a file; `None` if it is refused.
fn contents(bytes: &[u8]) -> Option<Vec<Tensor>> {
    let mut file = opened(bytes).ok()?;
    let mut found = Vec::new();
    for (section, shapes) in file.shapes() {
        for (name, array) in file.read(&section, shapes.keys().map(String::as_str)).ok()? {
            let bits = array.data.iter().map(|value| value.to_bits()).collect();
            found.push((section.clone(), name, array.shape, bits));
        }
    }
    Some(found)
}

#[test]
fn a_file_with_any_byte_changed_is_refused_or_read_as_far_as_checksums_see_it() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    let (zip, old) = (archive(&pickle, &[("0", &counting(6))]), legacy(&pickle, &[("0", 6, &counting(6))]));
    let values: Vec<u32> = (0..6u8).map(|value| f32::from(value).to_bits()).collect();
    let original = vec![(String::new(), "w".to_owned(), vec![2, 3], values.clone())];
    // The format before the zip archive has no checksums, and ends with the values.
    let weights = old.len() - 24;
    for (whole, is_summed) in [(zip, true), (old, false)] {
        assert_eq!(contents(&whole).unwrap(), original);
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let found = contents(&bytes);
                if is_summed {
                    assert!(found.is_none_or(|found| found == original), "byte {at}, {flip:#x}");
                } else if at >= weights {
                    let values = bytes[weights..].chunks_exact(4);
                    let values = values.map(|value| u32::from_le_bytes(value.try_into().unwrap())).collect();
                    let expected = vec![(String::new(), "w".to_owned(), vec![2, 3], values)];
                    assert_eq!(found.unwrap(), expected, "byte {at}, {flip:#x}");
                } else {
                    // Names and shapes may be others, but no values than those of the file.
                    for (.., bits) in found.into_iter().flatten() {
                        assert!(bits.iter().all(|bits| values.contains(bits)), "byte {at}, {flip:#x}");
                    }
                }
            }
        }
    }
}

#[test]
fn compressed_archives_and_other_byte_orders_are_refused() {
    let pickle = Pickle::of(&[("w", View::PLAIN)]);
    let message = refused(&archive_in_order(b"big", &pickle, &[("0", &counting(6))]));
    assert!(message.contains("little-endian order, found big"), "{message}");
    let mut zip = Vec::new();
    let mut writer = rawzip::ZipArchiveWriter::new(&mut zip);
    let method = rawzip::CompressionMethod::DEFLATE;
    let (mut entry, config) = writer.new_file("model/data.pkl").compression_method(method).start().unwrap();
    let (_, descriptor) = config.wrap(&mut entry).finish().unwrap();
    entry.finish(descriptor).unwrap();
    writer.finish().unwrap();
    assert!(refused(&zip).contains("stored as they are"));
}

#[test]
fn a_safetensors_header_that_lies_is_refused() {
    let file = |header: &str, values: usize| {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; values]].concat()
    };
    for (header, values) in [
        (r#"{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#, 24),
        (r#"{"w":{"dtype":"F32","shape":[6],"data_offsets":[0,20]}}"#, 20),
        (r#"{"w":{"dtype":"F32","shape":[6],"data_offsets":[24,0]}}"#, 24),
        (r#"{"w":{"dtype":"F32","shape":[6],"data_offsets":[8,32]}}"#, 32),
        (r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
        (r#"{"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}"#, 25),
        (r#"{"w":{"dtype":"F99","shape":[6],"data_offsets":[0,24]}}"#, 24),
    ] {
        refused(&file(header, values));
    }
    let message = refused(&[&u64::MAX.to_le_bytes()[..], b"{}......"].concat());
    assert!(message.contains("18446744073709551615"), "{message}");
    let nested = "[".repeat(100_000);
    refused(&file(&format!("{{{nested}"), 0));
}
