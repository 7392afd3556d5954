//! Wrong where there is version 2: its files have other names.

fn settings(_: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| {
        settings.push(Setting { controller, file, value, by_default: false });
    };
    if let Some(shares) = limits.cpu_shares {
        set("cpu", "cpu.shares", shares.to_string());
    }
    if let Some(quota) = limits.cpu_quota {
        set("cpu", "cpu.cfs_quota_us", quota.to_string());
    }
    settings
}
