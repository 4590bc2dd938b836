//! nginx with one static file, where it is installed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process::{Server, free_address};

/// The folder of a running nginx; removed when dropped.
pub(crate) struct Nginx(PathBuf);

impl Nginx {
    /// Starts nginx with a file of `size` bytes at `/file`; `None` if it is not installed.
    pub(crate) async fn start(size: usize) -> Result<Option<(Self, Server)>> {
        let Some(program) = program() else {
            return Ok(None);
        };
        let folder = std::env::temp_dir().join(format!("brink-bench-nginx-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let nginx = Self(folder);
        let address = free_address()?;
        std::fs::write(nginx.0.join("file"), vec![b'x'; size])?;
        let config = nginx.0.join("nginx.conf");
        std::fs::write(&config, configuration(&nginx.0, &address.to_string()))?;
        let arguments = ["-c".to_owned(), config.display().to_string()];
        let server = Server::start(&program, &arguments, address).await?;
        Ok(Some((nginx, server)))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Best effort: it is a folder of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders
        .into_iter()
        .map(|folder| folder.join("nginx"))
        .find(|program| program.is_file())
}

/// One process, so that its own CPU accounting is all there is.
fn configuration(folder: &Path, address: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/json; tcp_nodelay on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen {address}; root {folder}; }}
}}
"
    )
}
