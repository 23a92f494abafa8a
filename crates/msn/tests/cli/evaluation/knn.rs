//! `msn eval knn`

use serde_json::Value;

use super::easy;

#[test]
fn the_nearest_neighbours_of_easy_images_are_of_their_class() {
    let scratch = easy();
    let knn =
        ["eval", "knn", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test", "--k", "1,5"];
    let finished = scratch.msn(&[&knn[..], &["--json", "knn.json"]].concat()).success();
    assert_eq!(finished.stdout.matches("100.0").count(), 2, "{}", finished.stdout);
    let scores = scratch.read_json("knn.json");
    assert_eq!(
        (&scores["k"]["1"], &scores["k"]["5"]),
        (&Value::from(100.0), &Value::from(100.0)),
        "{scores}"
    );
}
