//! Names for containers that were given none: two words out of the id, so that nothing need be looked up.

const FIRST: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clear", "crisp", "deep", "eager", "fair", "fast", "firm", "fresh",
    "glad", "grand", "keen", "kind", "light", "lucid", "mild", "neat", "noble", "plain", "proud", "quick",
    "quiet", "round", "sharp", "solid", "steady", "swift", "tidy", "warm",
];

const SECOND: [&str; 32] = [
    "anchor", "anvil", "beam", "bolt", "bridge", "cable", "chisel", "clamp", "crane", "dock", "engine",
    "gear", "hammer", "harbor", "hatch", "hinge", "hook", "jack", "kettle", "ladder", "latch", "lever",
    "pulley", "ratchet", "rivet", "rudder", "saddle", "shovel", "spanner", "valve", "wedge", "winch",
];

/// As in `swift_rivet_3f2a`.
pub fn of(id: &str) -> String {
    let number = |at: usize| usize::from_str_radix(id.get(at..at + 2).unwrap_or("0"), 16).unwrap_or(0);
    format!("{}_{}_{}", FIRST[number(0) % 32], SECOND[number(2) % 32], id.get(4..8).unwrap_or(id))
}
