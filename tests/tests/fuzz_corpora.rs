//! The corpora of the fuzz targets and every input that once broke one, through the same code as
//! under a fuzzer. A new find is put under `tests/fuzz/regressions/TARGET/` with a line in the
//! README there, and is walked from then on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use switchd_tests::fuzz::{self, TARGETS};

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a folder, in order of their names; none if there is no such folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).map(|d| d.map(|e| e.expect("an entry").path()).collect());
    let mut all: Vec<PathBuf> = all.unwrap_or_default();
    all.sort();
    all
}

/// Walks all inputs of a target; the name of the one under way is told when it fails.
fn walk(name: &str) {
    let body = TARGETS.iter().find(|t| t.0 == name).expect("a target").1;
    let corpus = files(&home().join("corpus").join(name));
    assert!(!corpus.is_empty(), "the corpus of {name} is empty");
    for path in corpus
        .iter()
        .chain(&files(&home().join("regressions").join(name)))
    {
        let data = fs::read(path).expect("an input");
        if let Err(panic) = std::panic::catch_unwind(|| body(&data)) {
            eprintln!("with {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

macro_rules! walk {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            walk(stringify!($name));
        })*

        #[test]
        fn every_target_is_walked() {
            let walked = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|t| t.0), walked);
        }
    };
}

walk!(api capture parse switch tcp vnet_hdr words);

/// Targets, programs, corpora: the same names.
#[test]
fn every_target_has_its_program() {
    let names: BTreeSet<String> = TARGETS.iter().map(|t| t.0.to_owned()).collect();
    let stems = |dir: &str| -> BTreeSet<String> {
        let all = files(&home().join(dir)).into_iter();
        all.map(|p| {
            p.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
    let manifest = fs::read_to_string(home().join("Cargo.toml")).expect("a manifest");
    let bins: BTreeSet<String> = manifest
        .lines()
        .filter_map(|l| l.strip_prefix("path = \"fuzz_targets/"))
        .map(|l| l.trim_end_matches(".rs\"").to_owned())
        .collect();
    assert_eq!(bins, names);
}

/// A find without a word on what it was teaches nobody.
#[test]
fn every_regression_is_described() {
    let dir = home().join("regressions");
    let told = fs::read_to_string(dir.join("README.md")).expect("a README");
    for (name, _) in TARGETS {
        for path in files(&dir.join(name)) {
            let file = path.file_name().expect("a name").to_string_lossy();
            assert!(told.contains(&format!("`{name}/{file}`")), "{name}/{file}");
        }
    }
}

/// The inputs that the fuzzers were started from.
#[test]
fn seeds() {
    for seed in fuzz::parse::seeds() {
        fuzz::parse::parse(&seed);
    }
    for seed in fuzz::hostile::seeds() {
        fuzz::hostile::vnet_hdr(&seed);
    }
}

/// Writes them into the folders given as `SEEDS`, for whoever starts anew.
#[test]
#[ignore = "writes files: SEEDS=DIR cargo test --test fuzz_corpora -- --ignored"]
fn write_seeds() {
    let dir = PathBuf::from(std::env::var_os("SEEDS").expect("SEEDS=DIR"));
    for (name, seeds) in [
        ("parse", fuzz::parse::seeds()),
        ("vnet_hdr", fuzz::hostile::seeds()),
    ] {
        fs::create_dir_all(dir.join(name)).expect("a folder");
        for (i, seed) in seeds.iter().enumerate() {
            fs::write(dir.join(name).join(format!("seed-{i}")), seed).expect("a file");
        }
    }
}
