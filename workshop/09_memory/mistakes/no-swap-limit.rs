//! Wrong: what does not fit is swapped, without a limit.

fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>, by_default| {
        settings.extend(value.map(|value| Setting { controller, file, value, by_default }));
    };
    let memory = limits.memory.map(|bytes| bytes.to_string());
    match version {
        Version::V1 => {
            set("memory", "memory.limit_in_bytes", memory, false);
            set("pids", "pids.max", limits.pids.map(max), false);
        }
        Version::V2 => {
            set("memory", "memory.max", memory, false);
            set("pids", "pids.max", limits.pids.map(max), false);
        }
    }
    settings
}
