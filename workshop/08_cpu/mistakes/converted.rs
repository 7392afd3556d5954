//! Wrong: version 1 takes the number of shares, which is not a weight.

fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| {
        settings.push(Setting { controller, file, value, by_default: false });
    };
    match version {
        Version::V1 => {
            if let Some(shares) = limits.cpu_shares {
                set("cpu", "cpu.shares", weight(shares).to_string());
            }
            if let Some(quota) = limits.cpu_quota {
                set("cpu", "cpu.cfs_quota_us", quota.to_string());
            }
        }
        Version::V2 => {
            if let Some(shares) = limits.cpu_shares {
                set("cpu", "cpu.weight", weight(shares).to_string());
            }
            if let Some(quota) = limits.cpu_quota {
                set("cpu", "cpu.max", format!("{quota} {CPU_PERIOD}"));
            }
        }
    }
    settings
}
