//! Formats of other programs.

use std::fs;
use std::path::PathBuf;

use msn_store::export;

fn scratch_file(name: &str) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join(name);
    (scratch, path)
}

/// The bytes that `numpy.save` (2.4) writes for `numpy.array([[1, -2, 0.5], [0, 3, 4]], dtype="<f4")`.
#[test]
fn npy_files_are_those_of_numpy() {
    let (_scratch, path) = scratch_file("x.npy");
    export::write_npy(&path, [2, 3], &[1.0, -2.0, 0.5, 0.0, 3.0, 4.0]).unwrap();
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    expected.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    expected.resize(127, b' ');
    expected.push(b'\n');
    for bits in [0x3f80_0000_u32, 0xc000_0000, 0x3f00_0000, 0, 0x4040_0000, 0x4080_0000] {
        expected.extend(bits.to_le_bytes());
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn npy_values_begin_at_a_multiple_of_64_for_every_shape() {
    let (_scratch, path) = scratch_file("x.npy");
    for columns in [0, 1, 1_000_000_000_000] {
        export::write_npy(&path, [0, columns], &[]).unwrap();
        let bytes = fs::read(&path).unwrap();
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!(bytes.len(), 10 + header);
        assert_eq!(bytes.len() % 64, 0);
        assert_eq!(bytes.last(), Some(&b'\n'));
    }
}

#[test]
fn the_rows_of_a_matrix_are_told_by_its_start() {
    let (_scratch, path) = scratch_file("x.npy");
    for rows in [0, 3, 12_345] {
        export::write_npy(&path, [rows, 2], &vec![0.0; 2 * rows]).unwrap();
        assert_eq!(export::npy_rows(&fs::read(&path).unwrap()[..128]), Some(rows));
    }
    let of_another = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }  \n";
    for start in [&of_another[..], b"\x93NUMPY", b""] {
        assert_eq!(export::npy_rows(start), None);
    }
}

#[test]
fn csv_fields_are_quoted_where_needed() {
    let (_scratch, path) = scratch_file("x.csv");
    let rows = [["a,b.png", "cat"], ["say \"hi\".png", "dog"]];
    export::write_csv(&path, &["path", "label"], rows).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "path,label\n\"a,b.png\",cat\n\"say \"\"hi\"\".png\",dog\n");
}

#[test]
fn a_csv_row_of_another_length_is_an_error_and_no_file() {
    let (_scratch, path) = scratch_file("x.csv");
    let err = export::write_csv(&path, &["path", "label"], [vec!["a", "b", "c"]]).unwrap_err();
    assert!(err.to_string().contains("found record with 3 fields, but the previous record has 2"), "{err}");
    assert!(!path.exists());
}

#[test]
fn json_is_indented_and_ends_with_a_line_feed() {
    let (_scratch, path) = scratch_file("x.json");
    export::write_json(&path, &serde_json::json!({ "mean": 0.5 })).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\n  \"mean\": 0.5\n}\n");
}

#[test]
fn lines_stay_in_step_with_rows() {
    let (_scratch, path) = scratch_file("x.txt");
    export::write_lines(&path, ["a.png", "b.png"]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "a.png\nb.png\n");
    assert!(export::write_lines(&path, ["a\nb.png"]).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a.png\nb.png\n");
}
