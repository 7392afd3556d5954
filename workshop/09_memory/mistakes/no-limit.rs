//! Wrong: swap and processes are limited, and memory is not.

fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>, by_default| {
        settings.extend(value.map(|value| Setting { controller, file, value, by_default }));
    };
    let sum = limits.memory_and_swap.or(limits.memory.map(|bytes| 2 * bytes as i64));
    let by_default = limits.memory_and_swap.is_none();
    let swap = sum.map(|sum| if sum < 0 { sum } else { sum - limits.memory.unwrap_or(0) as i64 });
    match version {
        Version::V1 => {
            set("pids", "pids.max", limits.pids.map(max), false);
        }
        Version::V2 => {
            set("memory", "memory.swap.max", swap.map(max), by_default);
            set("pids", "pids.max", limits.pids.map(max), false);
        }
    }
    settings
}
