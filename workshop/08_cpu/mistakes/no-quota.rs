//! Wrong: a share is no limit: alone on a machine it is all of it.

fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| {
        settings.push(Setting { controller, file, value, by_default: false });
    };
    match version {
        Version::V1 => {
            if let Some(shares) = limits.cpu_shares {
                set("cpu", "cpu.shares", shares.to_string());
            }
        }
        Version::V2 => {
            if let Some(shares) = limits.cpu_shares {
                set("cpu", "cpu.weight", weight(shares).to_string());
            }
        }
    }
    settings
}
