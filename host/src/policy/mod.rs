//! `brink policy`: checks cache policies, and explains what they do with a request.
//!
//! Nothing is started and nothing is sent: the rules are those of `brink_cache::policy`, the
//! same that edges run. `brink up --policy` puts one in force and keeps it so: [`Follower`].

mod follow;
mod report;
mod request;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use brink_cache::policy::{Action, Mistakes, Sharing, Written};
use brink_cache::{Policy, Tenants};

pub use follow::{Document, Follower};
use report::Report;
use request::Request;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The policy has mistakes; all of them are listed.
    #[error("{}: {mistakes}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Every mistake.
        mistakes: Mistakes,
    },
    /// The request file is not what is wanted.
    #[error("the request file {} is not understood: {problem}", path.display())]
    Request {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Checks a policy file and sums up what it says.
///
/// # Errors
/// When the file cannot be read or has mistakes.
pub fn check(file: &Path) -> Result<String, PolicyError> {
    let policy = load(file)?;
    let mut summary = format!(
        "{} is in order: policy \"{}\", version {}, {} rule(s), {} bytes compiled",
        file.display(),
        policy.name(),
        policy.version(),
        policy.rules().len(),
        policy.encode().len()
    );
    for (index, rule) in policy.rules().iter().enumerate() {
        let action = summed_up(&rule.action);
        write!(summary, "\n  {} \"{}\": {action}", index + 1, rule.name)
            .expect("a text takes whatever is written to it");
    }
    let origins = policy.origins().iter().map(|origin| {
        let routes = origin.json.len();
        let (path, upstream) = (&origin.path, &origin.upstream);
        format!("{path} goes to {upstream}, {routes} JSON route(s)")
    });
    let aliases = policy.aliases().iter();
    let aliases = aliases.map(|alias| format!("{} means the model {}", alias.name, alias.model));
    for line in origins.chain(aliases) {
        write!(summary, "\n  {line}").expect("a text takes whatever is written to it");
    }
    Ok(summary)
}

fn summed_up(action: &Action) -> String {
    match action {
        Action::Bypass { reason } => format!("not stored, {reason}"),
        Action::Store(storing) => {
            let sharing = match storing.sharing {
                Sharing::Tenant => "each tenant's apart",
                Sharing::Public => "shared by all",
            };
            format!("stored for {}, {sharing}", Written(storing.lifetimes.fresh))
        }
    }
}

/// Explains what a policy does with the request in a file; the built-in policy if none is named.
///
/// # Errors
/// When a file cannot be read, the policy has mistakes, or the request is not understood.
pub fn explain(request: &Path, policy: Option<&Path>) -> Result<String, PolicyError> {
    let bytes = read(request)?;
    let policy = policy.map_or_else(|| Ok(Policy::default()), load)?;
    let request = Request::parse(&bytes, &policy).map_err(|problem| PolicyError::Request {
        path: request.to_owned(),
        problem,
    })?;
    Ok(Report::new(&policy, &request).to_string())
}

fn load(path: &Path) -> Result<Policy, PolicyError> {
    let bytes = read(path)?;
    let source = String::from_utf8_lossy(&bytes);
    Policy::parse(&source).map_err(|mistakes| PolicyError::Wrong {
        path: path.to_owned(),
        mistakes,
    })
}

fn load_tenants(path: &Path) -> Result<Tenants, PolicyError> {
    let bytes = read(path)?;
    let source = String::from_utf8_lossy(&bytes);
    Tenants::parse(&source).map_err(|mistakes| PolicyError::Wrong {
        path: path.to_owned(),
        mistakes,
    })
}

/// Checks a file of tenants and sums up what it says.
///
/// # Errors
/// When the file cannot be read or has mistakes.
pub fn check_tenants(file: &Path) -> Result<String, PolicyError> {
    let tenants = load_tenants(file)?;
    let mut summary = format!(
        "{} is in order: {} tenant(s), {} bytes compiled",
        file.display(),
        tenants.list().len(),
        tenants.encode().len()
    );
    for tenant in tenants.list() {
        let keys = tenant.key_hashes.len();
        write!(summary, "\n  {}: {keys} API key(s)", tenant.name)
            .expect("a text takes whatever is written to it");
    }
    Ok(summary)
}

fn read(path: &Path) -> Result<Vec<u8>, PolicyError> {
    std::fs::read(path).map_err(|source| PolicyError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
