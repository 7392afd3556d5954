//! What an editor must be told to look into the exercises: rust-analyzer knows no feature by itself.

use super::Checkout;
use anyhow::{Context, Result};
use std::fs;

/// Its own target directory, so that neither its builds wait for the checks nor they for it.
const SETTINGS: &str = "{
    \"rust-analyzer.cargo.features\": \"all\",
    \"rust-analyzer.cargo.targetDir\": true
}
";

/// Writes it down for who has settings of the checkout's own, unless somebody has already.
pub fn tell(checkout: &Checkout) -> Result<()> {
    let file = checkout.root().join(".vscode/settings.json");
    if file.exists() {
        return Ok(());
    }
    let written =
        fs::create_dir_all(checkout.root().join(".vscode")).and_then(|()| fs::write(&file, SETTINGS));
    written.with_context(|| format!("cannot write {}", file.display()))
}
