//! The page that says what holds us to our promises names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// The file that a row means by `FILE` or `FILE::MODULE`.
fn file(root: &Path, path: &[&str]) -> PathBuf {
    match *path {
        [file] if file.starts_with("src/") => root.join(file),
        ["corpus"] => root.join("tests/stress/tests/corpus.rs"),
        [test] => {
            let folder = root.join("tests").join(test).join("main.rs");
            match folder.exists() {
                true => folder,
                false => root.join("tests").join(format!("{test}.rs")),
            }
        }
        [test, module] => root.join("tests").join(test).join(format!("{module}.rs")),
        _ => panic!("{path:?} is no file of tests"),
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let mut named = 0;
    for words in rows.flat_map(|row| row.split('`').skip(1).step_by(2)) {
        let Some((path, name)) = words.rsplit_once("::") else {
            continue;
        };
        let file = file(root, &Vec::from_iter(path.split("::")));
        let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{words}: no such file"));
        let signature = format!("fn {name}(");
        assert!(text.contains(&signature), "{words}: not in {file:?}");
        named += 1;
    }
    assert!(named > 100, "the page names {named} tests");
}
