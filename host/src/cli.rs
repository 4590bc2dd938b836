//! The command line.

mod models;
mod warm_up;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::application::Files;
use crate::config::{Settings, SettingsError};
pub use models::ModelsCommand;
pub use warm_up::{WarmUp, WarmUpError};

/// Answers AI requests at the edge: cached per item, computed in batches on misses.
#[derive(Debug, Parser)]
#[command(name = "brink", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  brink up                                   gateway and inference host in one process
  brink up --listen 0.0.0.0:8080             the gateway on another address
  brink up --set inference.sessions=2        a setting from the command line
  brink host                                 the inference host alone, for edges that run under Spin
  brink check --config brink.toml            tells what is wrong with settings and manifest
  brink up --policy policy.toml              with a cache policy of one's own
  brink up --listen 0.0.0.0:80 --tenants FILE  for clients with API keys
  brink policy check policy.toml             tells what is wrong with a cache policy
  brink policy explain request.json          tells what the policy does with a request, without sending it
  brink models load NAME                     puts new files of a model in place, without a restart
  brink warm-up list.jsonl --url URL --model NEW  has an edge compute what clients asked before

Every setting is in brink.example.toml. A signal (SIGTERM, SIGINT) drains: what was accepted is
answered; a second one ends at once. SIGHUP reads the manifest and its components anew and loses no
request. The log goes to standard error; RUST_LOG overrides its level.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the components of a Spin manifest, and the inference host in the same process
    Up(Up),
    /// Runs the inference host alone, for edges elsewhere (such as `spin up`)
    Host(Host),
    /// Checks settings and manifest, and starts nothing
    Check(Check),
    /// Lists, checks, loads and unloads models, without a restart
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Checks files of tenants, and hashes API keys
    #[command(subcommand)]
    Tenants(TenantsCommand),
    /// Checks cache policies and explains what they do; starts and sends nothing
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Sends recorded requests to an edge, so that a new model's results are stored before it is used
    WarmUp(WarmUp),
}

/// `brink tenants`
#[derive(Debug, Subcommand)]
pub enum TenantsCommand {
    /// Tells every mistake of a file of tenants, or who is in it
    Check {
        /// The file
        file: PathBuf,
    },
    /// Reads an API key from standard input and prints its hash, for key_hashes
    HashKey,
}

/// `brink policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Tells every mistake of a policy file, or what its rules do
    Check {
        /// The policy; cache/policy.toml documents every key
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Tells which rule decides about a request, the key's parts, and what would be stored
    #[command(after_help = REQUEST_FILE)]
    Explain {
        /// The request, as a JSON object
        #[arg(value_name = "REQUEST.json")]
        request: PathBuf,
        /// The policy (default: the built-in one)
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

const REQUEST_FILE: &str = "\
The request file, all members but route optional:
  route          \"/v1/embeddings\"
  method         default \"POST\"
  tenant         default \"default\"
  model          default the body's member model
  task           default what the route is known for, otherwise \"origin\"
  digest         the model's digest, 64 hexadecimal digits; without it no keys are printed
  cache_control  the request's Cache-Control
  body           the JSON body";

/// Options that `up` and `host` share.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Settings file (default: brink.toml, if there is one)
    #[arg(long, value_name = "FILE", env = "BRINK_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, over the file's; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

/// Options of what needs models.
#[derive(Clone, Debug, Args)]
pub struct ModelFiles {
    /// Folder that holds a folder per model
    #[arg(
        long,
        value_name = "DIR",
        env = "BRINK_MODELS",
        default_value = "models"
    )]
    models: PathBuf,
    /// The ONNX Runtime library
    #[arg(
        long,
        value_name = "FILE",
        env = "BRINK_ONNXRUNTIME",
        default_value = "libonnxruntime.so"
    )]
    onnxruntime: PathBuf,
    /// Where health and metrics are (default: 127.0.0.1:3001)
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
}

/// `brink up`
#[derive(Clone, Debug, Args)]
pub struct Up {
    /// The Spin manifest
    #[arg(long, short, value_name = "FILE", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// Where the gateway listens (default: 127.0.0.1:3000)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The cache policy; a change of the file is in force within two seconds (default: the one stored, or
    /// the built-in one, which cache/policy.toml shows)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Tenants and the hashes of their API keys; followed like the policy (default: those stored)
    #[arg(long, value_name = "FILE")]
    pub tenants: Option<PathBuf>,
    /// Value of an application variable; may be repeated. SPIN_VARIABLE_NAME does the same
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub variables: Vec<(String, String)>,
    /// Models and admin pages.
    #[command(flatten)]
    pub files: ModelFiles,
    /// Settings.
    #[command(flatten)]
    pub common: Common,
}

/// `brink host`
#[derive(Clone, Debug, Args)]
pub struct Host {
    /// Where edges call the host (default: 127.0.0.1:3002)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Models and admin pages.
    #[command(flatten)]
    pub files: ModelFiles,
    /// Settings.
    #[command(flatten)]
    pub common: Common,
}

/// `brink check`
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The Spin manifest
    #[arg(long, short, value_name = "FILE", default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// Value of an application variable; may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub variables: Vec<(String, String)>,
    /// Settings.
    #[command(flatten)]
    pub common: Common,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Variables by name; the last of several values wins.
pub fn variables(given: &[(String, String)]) -> BTreeMap<String, String> {
    given.iter().cloned().collect()
}

impl Common {
    /// Reads the settings.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let default = PathBuf::from("brink.toml");
        let file = match &self.config {
            Some(named) => Some(named.clone()),
            None => default.is_file().then_some(default),
        };
        Settings::load(file.as_deref(), &self.set)
    }
}

impl ModelFiles {
    /// Where the files are.
    pub fn files(&self) -> Files {
        Files {
            models: self.models.clone(),
            onnxruntime: self.onnxruntime.clone(),
        }
    }
}

impl Up {
    /// The settings, with the options on top.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = self.common.settings()?;
        let server = &mut settings.server;
        server.listen = self.listen.unwrap_or(server.listen);
        server.admin_listen = self.files.admin_listen.unwrap_or(server.admin_listen);
        Ok(settings)
    }
}

impl Host {
    /// The settings, with the options on top.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings = self.common.settings()?;
        let server = &mut settings.server;
        server.inference_listen = self.listen.unwrap_or(server.inference_listen);
        server.admin_listen = self.files.admin_listen.unwrap_or(server.admin_listen);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_win_over_settings() {
        let arguments = [
            "brink",
            "up",
            "--listen",
            "127.0.0.1:1",
            "--set",
            "server.listen=127.0.0.1:2",
            "--variable",
            "a=b=c",
        ];
        let Command::Up(up) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("up")
        };
        assert_eq!(up.settings().unwrap().server.listen.port(), 1);
        assert_eq!(variables(&up.variables)["a"], "b=c");
    }
}
