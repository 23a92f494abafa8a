//! `msn eval robust`

use super::easy;

#[test]
fn corruptions_are_scored_at_every_severity() {
    let scratch = easy();
    let robust = ["eval", "robust", "--checkpoint", "raw-pixels", "--train", "easy", "--test", "test"];
    let all = scratch.msn(&[&robust[..], &["--json", "robust.json"]].concat()).success();
    let names: Vec<&str> =
        all.stdout.lines().skip(1).map_while(|row| row.split_whitespace().next()).collect();
    assert_eq!(names, ["noise", "blur", "contrast", "brightness", "pixelate", "jpeg"]);
    let scores = scratch.read_json("robust.json");
    assert_eq!((&scores["clean_top1"], &scores["images"]), (&100.0.into(), &20.into()), "{scores}");
    assert!(
        scores["corruptions"].as_array().unwrap().iter().all(|s| s["top1"].as_array().unwrap().len() == 5)
    );
    let two = scratch.msn(&[&robust[..], &["--corruptions", "jpeg,blur", "--shots", "1"]].concat()).success();
    assert!(two.stdout.contains("mean corruption error") && !two.stdout.contains("noise"), "{}", two.stdout);
    let wrong = scratch.msn(&[&robust[..], &["--corruptions", "fog"]].concat());
    wrong.refused_with(&["--corruptions", "fog", "expected one of noise, blur"]);
}
