//! The source keeps the rules of its architecture: which layer may import which, and where unsafe stands.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, lowest layer first; each imports only from layers below its own, faces also from faces.
const LAYERS: [&[&str]; 5] = [
    &["sys", "sync", "quiet", "log"],
    &["remote", "clock"],
    &["executor", "reactor"],
    &["runtime"],
    &["io", "net", "task", "time"],
];
const FACES: usize = 4;
const LONGEST_FILE: usize = 560;

/// A file of `src`.
struct Source {
    /// Relative to `src`.
    path: String,
    text: String,
}

impl Source {
    /// The module at the top of the crate that this file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The lines without their comments, and their numbers, up to the unit tests at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.find("#[cfg(test)]\nmod tests");
        let code = &self.text[..tests.unwrap_or(self.text.len())];
        (1..).zip(code.lines()).map(|(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (number, code)
        })
    }

    /// How many `super`s lead from this file to the root of the crate.
    fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        folders + usize::from(!self.path.ends_with("mod.rs"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_string_lossy();
                sources.push(Source {
                    path: path.into_owned(),
                    text,
                });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(sources.len() > 20, "the source was not found");
    sources
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The words of a line of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !(character.is_alphanumeric() || character == '_'))
}

/// The modules at the top of the crate that a line of `source` names.
fn imports<'a>(source: &'a Source, code: &'a str) -> Vec<&'a str> {
    let name = |rest: &'a str| words(rest).next().unwrap_or_default();
    let mut imports: Vec<_> = code
        .match_indices("crate::")
        // A macro's `$crate` is expanded where the macro is used.
        .filter(|(at, _)| !code[..*at].ends_with('$'))
        .map(|(at, path)| name(&code[at + path.len()..]))
        .collect();
    // As many `super`s as lead to the root.
    let climb = "super::".repeat(source.depth());
    if source.depth() > 0 && source.module() != "lib" {
        imports.extend(code.split(&climb).skip(1).map(name));
    }
    imports
}

#[test]
fn every_module_has_a_layer() {
    for source in sources() {
        let module = source.module();
        assert!(
            module == "lib" || layer(module).is_some(),
            "{}: say in tests/layers.rs to which layer `{module}` belongs",
            source.path
        );
    }
}

#[test]
fn imports_point_downwards() {
    for source in sources() {
        let Some(from) = layer(source.module()) else {
            continue;
        };
        for (number, code) in source.code() {
            for import in imports(&source, code) {
                let place = format!("src/{}:{number}: {}", source.path, code.trim());
                let to = layer(import).unwrap_or_else(|| panic!("{place}: which module is it?"));
                let is_allowed =
                    import == source.module() || to < from || (to, from) == (FACES, FACES);
                assert!(
                    is_allowed,
                    "{place}: `{}` must not import it",
                    source.module()
                );
            }
        }
    }
}

#[test]
fn executor_and_reactor_do_not_import_each_other() {
    for source in sources() {
        let forbidden = match source.module() {
            "executor" => "reactor",
            "reactor" => "executor",
            _ => continue,
        };
        for (number, code) in source.code() {
            assert!(
                !words(code).any(|word| word == forbidden && code.contains("::")),
                "src/{}:{number}: {code}",
                source.path
            );
        }
    }
}

#[test]
fn sys_imports_nothing_of_the_crate() {
    for source in sources().iter().filter(|source| source.module() == "sys") {
        for (number, code) in source.code() {
            let imports = imports(source, code);
            assert!(
                imports.iter().all(|&import| import == "sys"),
                "src/{}:{number}: {code}",
                source.path
            );
        }
    }
}

#[test]
fn libc_is_called_in_sys_only() {
    for source in sources() {
        if source.module() == "sys" {
            continue;
        }
        for (number, code) in source.code() {
            for call in code.split("libc::").skip(1) {
                let name = words(call).next().unwrap_or_default();
                let is_constant = name.chars().all(|character| !character.is_lowercase());
                assert!(is_constant, "src/{}:{number}: {code}", source.path);
            }
        }
    }
}

/// So that the time can be paused, there is one place to do it.
#[test]
fn clocks_are_read_in_one_place() {
    for source in sources() {
        if ["sys", "clock"].contains(&source.module()) {
            continue;
        }
        for (number, code) in source.code() {
            let reads = [
                "sys::clock",
                "clock::monotonic",
                "std::time::Instant::now",
                "SystemTime",
            ];
            let is_read = reads.iter().any(|read| code.contains(read));
            let is_anchor = source.path == "time/instant.rs" && code.contains("std: std::time");
            assert!(
                !is_read || is_anchor,
                "src/{}:{number}: {code}",
                source.path
            );
        }
    }
}

#[test]
fn unsafe_stands_in_sys_and_in_two_modules_of_the_executor() {
    let allowed = ["executor/task.rs", "executor/task/", "executor/waker.rs"];
    for source in sources() {
        let is_allowed = allowed.iter().any(|path| source.path.starts_with(path));
        if source.module() == "sys" || is_allowed {
            continue;
        }
        for (number, code) in source.code() {
            let is_unsafe = words(code).any(|word| word == "unsafe" || word == "unsafe_code");
            assert!(!is_unsafe, "src/{}:{number}: {code}", source.path);
        }
    }
}

#[test]
fn every_file_begins_with_a_sentence_about_itself() {
    for source in sources() {
        let header: Vec<_> = source
            .text
            .lines()
            .map_while(|line| line.strip_prefix("//! "))
            .collect();
        let header = header.join(" ");
        assert!(
            header.ends_with(['.', ':', '?']) || header.contains(". "),
            "src/{}: the first paragraph is no sentence: {header:?}",
            source.path
        );
        assert!(
            header.starts_with(|first: char| first.is_uppercase()),
            "src/{}: {header:?}",
            source.path
        );
    }
}

#[test]
fn no_file_is_longer_than_can_be_held_in_the_head() {
    for source in sources() {
        let lines = source.text.lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "src/{} has {lines} lines",
            source.path
        );
    }
}

#[test]
fn nothing_is_allowed_by_attribute_and_nothing_unwrapped() {
    for source in sources() {
        for (number, code) in source.code() {
            let is_clean = !code.contains("#[allow") && !code.contains("#![allow");
            assert!(is_clean, "src/{}:{number}: {code}", source.path);
            let is_unwrapped = code.contains(".unwrap()");
            assert!(!is_unwrapped, "src/{}:{number}: {code}", source.path);
        }
    }
}
