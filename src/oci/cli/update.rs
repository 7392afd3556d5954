//! update: its words, as the resources of a config.json.

use crate::oci::{facts, life, state::States};
use anyhow::{Context, Result};
use clap::Args;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args)]
pub struct Update {
    id: String,
    /// A file with resources, as config.json has them; - is stdin
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<i64>,
    /// Memory and swap together, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<i64>,
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
}

impl Update {
    pub fn main(self, states: &States) -> Result<()> {
        let container = states.find(&self.id)?;
        let resources = match &self.resources {
            Some(file) => facts::read(file)?,
            None => self.asked(),
        };
        let resources: LinuxResources = serde_json::from_value(resources)
            .context("these are no resources of the OCI runtime specification")?;
        life::update(&container, &resources)
    }

    fn asked(&self) -> Value {
        let given = |pairs: &[(&str, Value)]| -> Value {
            pairs
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        let mut all = json!({
            "memory": given(&[
                ("limit", json!(self.memory)),
                ("swap", json!(self.memory_swap)),
                ("reservation", json!(self.memory_reservation)),
            ]),
            "cpu": given(&[
                ("shares", json!(self.cpu_share)),
                ("period", json!(self.cpu_period)),
                ("quota", json!(self.cpu_quota)),
                ("cpus", json!(self.cpuset_cpus)),
                ("mems", json!(self.cpuset_mems)),
            ]),
            "blockIO": given(&[("weight", json!(self.blkio_weight))]),
        });
        if let Some(limit) = self.pids_limit {
            all["pids"] = json!({ "limit": limit });
        }
        all
    }
}
