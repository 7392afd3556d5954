//! Wrong: the row for processes is one of the memory controller.

fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>, by_default| {
        settings.extend(value.map(|value| Setting { controller, file, value, by_default }));
    };
    let memory = limits.memory.map(|bytes| bytes.to_string());
    let sum = limits.memory_and_swap.or(limits.memory.map(|bytes| 2 * bytes as i64));
    let by_default = limits.memory_and_swap.is_none();
    let swap = sum.map(|sum| if sum < 0 { sum } else { sum - limits.memory.unwrap_or(0) as i64 });
    match version {
        Version::V1 => {
            set("memory", "memory.limit_in_bytes", memory, false);
            set("memory", "memory.memsw.limit_in_bytes", sum.map(|sum| sum.to_string()), by_default);
            set("memory", "pids.max", limits.pids.map(max), false);
        }
        Version::V2 => {
            set("memory", "memory.max", memory, false);
            set("memory", "memory.swap.max", swap.map(max), by_default);
            set("memory", "pids.max", limits.pids.map(max), false);
        }
    }
    settings
}
